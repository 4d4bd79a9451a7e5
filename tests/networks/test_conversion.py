import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import jaxopt_lab as lab
from jaxopt_lab import networks
from jaxopt_lab.core import InputError, precision
from jaxopt_lab.networks.criteria import CRITERIA, OnOutputs, resolve_criterion

GENERATOR = np.random.default_rng(0)
DATA = (
    jnp.asarray(GENERATOR.normal(size=(12, 3)), jnp.float32),
    jnp.asarray(GENERATOR.integers(0, 2, size=12), jnp.int32),
)


def entropy(outputs, batch):
    return CRITERIA["cross_entropy"](outputs, batch[1])


def loss_fn(model, batch):
    return entropy(model(batch[0]), batch)


def share(model, batch):
    return jnp.mean(jnp.argmax(model(batch[0]), -1) == batch[1])


def normalized(rngs):
    return networks.MLP(3, 2, width=4, depth=1, norm="batch", rngs=rngs)


def start(problem):
    return problem.init(jax.random.key(0))


def test_the_loss_is_the_users_own_on_the_users_own_module():
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    problem = lab.from_nnx(model, loss_fn, DATA)
    assert float(problem.full_loss(start(problem))) == float(loss_fn(model, DATA))
    assert problem.name == "Linear"
    assert problem.stateful is None


def test_a_linen_module_gives_the_loss_of_its_nnx_twin():
    twin, module = nnx.Linear(3, 2, rngs=nnx.Rngs(0)), linen.Dense(2)
    params = {"kernel": twin.kernel[...], "bias": twin.bias[...]}
    problem = lab.from_linen(module, {"params": params}, loss_fn, DATA)
    assert float(problem.full_loss(start(problem))) == pytest.approx(float(loss_fn(twin, DATA)), rel=1e-6)  # float32


def test_a_criterion_fills_the_form_that_curvature_needs():
    problem = lab.from_nnx(normalized, data=DATA, criterion=OnOutputs(entropy, "categorical"))
    params, composite = start(problem), problem.composite
    assert composite.family == "categorical"
    assert composite.outputs(params, DATA).shape == (12, 2)
    assert float(composite.criterion(composite.outputs(params, DATA), DATA)) == float(problem.full_loss(params))


def test_a_criterion_says_what_the_model_takes_of_a_batch():
    named, model = {"image": DATA[0], "label": DATA[1]}, nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    loss = OnOutputs(lambda outputs, batch: entropy(outputs, (None, batch["label"])), inputs=lambda each: each["image"])
    pair, found = (lab.from_nnx(model, data=data, criterion=given) for data, given in ((DATA, entropy), (named, loss)))
    assert float(found.full_loss(start(found))) == float(pair.full_loss(start(pair)))
    assert found.composite.family is None


def test_a_function_of_rngs_starts_elsewhere_for_each_seed_and_a_module_at_its_own_parameters():
    build = lambda rngs: nnx.Linear(3, 2, rngs=rngs)  # noqa: E731
    drawn = lab.from_nnx(build, loss_fn, DATA)
    one, other = (drawn.init(jax.random.key(seed))["kernel"] for seed in (0, 1))
    assert not np.array_equal(one, other)
    model = build(nnx.Rngs(5))
    given = lab.from_nnx(model, loss_fn, DATA)
    np.testing.assert_array_equal(given.init(jax.random.key(3))["kernel"], model.kernel[...])


def test_metrics_normalize_by_the_batch_or_by_the_state_that_is_given():
    problem = lab.from_nnx(normalized, loss_fn, DATA, metrics={"loss": loss_fn})
    params = start(problem)
    assert float(problem.metrics["loss"](params, DATA)) == float(problem.full_loss(params))
    running = problem.metrics["loss"](params, DATA, problem.model_state)
    assert float(running) == float(problem.evaluate(params, DATA))
    assert float(running) != float(problem.full_loss(params))


def test_a_frozen_problem_is_a_mean_over_examples_that_do_not_touch_each_other():
    problem = lab.from_nnx(normalized, data=DATA, criterion=entropy, metrics={"share": share})
    params = start(problem)
    _, state = problem.stateful.loss(params, problem.model_state, DATA, None)
    frozen = problem.freeze(state)
    assert frozen.stateful is None
    whole = frozen.full_loss(params)
    parts = [frozen.loss(params, jax.tree.map(lambda leaf, k=k: leaf[k : k + 4], DATA), None) for k in (0, 4, 8)]
    assert float(whole) == pytest.approx(float(np.mean(parts)), rel=1e-5)  # float32
    assert float(whole) == pytest.approx(float(problem.evaluate(params, DATA, state)), rel=1e-6)
    outputs = frozen.composite.outputs(params, DATA)
    assert float(frozen.composite.criterion(outputs, DATA)) == pytest.approx(float(whole), rel=1e-6)
    assert float(frozen.metrics["share"](params, DATA)) == float(problem.metrics["share"](params, DATA, state))
    assert problem.freeze().freeze() is not None


def test_running_statistics_are_frozen_on_request():
    problem = lab.from_nnx(normalized, loss_fn, DATA, statistics="running")
    assert problem.model_state is None
    usual = lab.from_nnx(normalized, loss_fn, DATA)
    assert float(problem.full_loss(start(problem))) == float(usual.evaluate(start(usual), DATA))


def test_dropout_with_a_stored_stream_follows_the_key_of_the_step():
    model = nnx.Sequential(nnx.Dropout(0.5, rngs=nnx.Rngs(0)), nnx.Linear(3, 2, rngs=nnx.Rngs(1)))
    problem = lab.from_nnx(model, loss_fn, DATA)
    values = [float(problem.loss(start(problem), DATA, key)) for key in (None, *jax.random.split(jax.random.key(0), 3))]
    assert len(set(values)) == 4
    assert values[0] == float(problem.full_loss(start(problem)))


def test_a_loss_that_names_a_key_gets_it():
    model = networks.MLP(3, 2, width=4, depth=1, dropout=0.5, rngs=nnx.Rngs(0))
    problem = lab.from_nnx(model, lambda model, batch, key: entropy(model(batch[0], key=key), batch), DATA)
    params = start(problem)
    assert float(problem.loss(params, DATA, None)) == pytest.approx(float(loss_fn(model, DATA)), rel=1e-6)  # float32
    assert float(problem.loss(params, DATA, jax.random.key(0))) != float(problem.loss(params, DATA, None))


@pytest.mark.parametrize(
    ("name", "outputs", "targets", "expected"),
    [
        ("cross_entropy", [[0.0, np.log(3.0)], [0.0, 0.0]], [1, 0], (np.log(4 / 3) + np.log(2)) / 2),
        ("squared", [[1.0, 2.0], [0.0, 1.0]], [0, 1], 1.0),
        ("squared", [[1.0], [4.0]], [0.0, 2.0], 1.25),
        ("bernoulli", [[0.0], [np.log(3.0)]], [1, 1], (np.log(2) + np.log(4 / 3)) / 2),
    ],
)
def test_criteria_have_the_values_computed_by_hand(name, outputs, targets, expected):
    with precision("float64"):
        targets = jnp.asarray(targets, jnp.int32 if isinstance(targets[0], int) else float)
        value = resolve_criterion(name)(jnp.asarray(outputs, float), targets)
    assert float(value) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", CRITERIA)
def test_criteria_refuse_targets_of_another_shape(name):
    with pytest.raises(InputError, match=rf"{name}: outputs \(2, 3\) need targets"):
        CRITERIA[name](jnp.ones((2, 3)), jnp.ones((5, 4)))


def none(model, batch):
    return model(batch[0])


class Silent(nnx.Module):
    def __call__(self, inputs):
        return None


DROPPING = nnx.Sequential(nnx.Dropout(0.5), nnx.Linear(3, 2, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (normalized, {"loss_fn": none}, r"from_nnx: loss must return a real scalar, MLP returns .*12, 2.*mean over the batch"),
        (Silent(), {"criterion": entropy}, r"from_nnx: the model must return an array, got NoneType"),
        (normalized, {}, r"exactly one of loss_fn and criterion must be given. Give criterion\(outputs, batch\) when"),
        (normalized, {"loss_fn": loss_fn, "criterion": entropy}, r"exactly one of loss_fn and criterion must be given"),
        (normalized, {"loss_fn": loss_fn, "statistics": "runing"}, r"statistics must be one of: .* mean 'running'\?"),
        (lambda rngs: 3, {"loss_fn": loss_fn}, r"must be a flax.nnx.Module or a function of nnx.Rngs .*, got 3"),
        (DROPPING, {"loss_fn": loss_fn}, r"nnx.Dropout without a random stream.* Build it as nnx.Dropout\(rate, rngs=rngs\)"),
        (normalized, {"loss_fn": loss_fn, "data": (DATA[0], DATA[1][:5])}, r"leaves of data must share their leading axis"),
    ],
)  # fmt: skip
def test_what_makes_no_problem_gets_a_clear_sentence(model, options, message):
    with pytest.raises(InputError, match=message):
        lab.from_nnx(model, **{"data": DATA, **options})
