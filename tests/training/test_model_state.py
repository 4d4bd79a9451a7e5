"""Models with state: running statistics in the engine against a plain Flax loop, checkpoints, evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

import jaxopt_lab as lab
from jaxopt_lab import networks, training
from jaxopt_lab.core import InputError, precision
from jaxopt_lab.networks.criteria import CRITERIA

GENERATOR = np.random.default_rng(0)
FEATURES, LABELS = GENERATOR.normal(size=(20, 3)) + 1.0, GENERATOR.integers(0, 2, size=20)


def loss_fn(model, batch):
    return CRITERIA["cross_entropy"](model(batch[0]), batch[1])


def correct(model, batch):
    return jnp.mean(jnp.argmax(model(batch[0]), -1) == batch[1])


def build(rngs):
    return networks.MLP(3, 2, width=4, depth=1, activation="tanh", norm="batch", rngs=rngs)


def make(model=build):
    data = (jnp.asarray(FEATURES[:16], float), jnp.asarray(LABELS[:16], jnp.int32))
    validation = (jnp.asarray(FEATURES[16:], float), jnp.asarray(LABELS[16:], jnp.int32))
    return lab.from_nnx(model, loss_fn, data, validation=validation, metrics={"accuracy": correct})


PROBES = (
    training.loss(),
    training.validation_loss(),
    training.metric("accuracy"),
    training.metric("accuracy", on="training"),
)


def test_running_statistics_and_parameters_equal_those_of_a_plain_flax_loop_in_float64():
    with precision("float64"):
        model = build(nnx.Rngs(0))
        problem = make(model)
        trace = training.run(problem, optax.sgd(0.1), steps=7, probes=PROBES)
        optimizer, gradient = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param), nnx.jit(nnx.grad(loss_fn))
        for _ in range(7):
            optimizer.update(model, gradient(model, problem.data))
        form = networks.functional_nnx(model)
        model.eval()
        expected_loss, expected_share = (float(each(model, problem.validation)) for each in (loss_fn, correct))
        evaluated = float(problem.evaluate(trace.params_of(0), problem.validation, trace.model_state_of(0)))
    close = lambda left, right: np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-15)  # noqa: E731  (rounding of 7 steps; the bias before the norm is 0)
    jax.tree.map(close, trace.model_state_of(0), form.model_state)
    jax.tree.map(close, trace.params_of(0), form.params)
    assert trace["validation_loss"][0, -1] == pytest.approx(expected_loss, rel=1e-10)
    assert trace["validation_accuracy"][0, -1] == expected_share
    assert evaluated == pytest.approx(expected_loss, rel=1e-10)


class Twin(linen.Module):
    @linen.compact
    def __call__(self, inputs, train):
        return linen.Dense(2)(jnp.tanh(linen.BatchNorm(use_running_average=not train)(linen.Dense(4)(inputs))))


def test_a_linen_modules_running_statistics_equal_those_of_a_plain_linen_loop():
    data = make().data
    variables = Twin().init(jax.random.key(0), data[0], train=False)
    problem = lab.from_linen(Twin(), variables, loss_fn, data)
    trace = training.run(problem, optax.sgd(0.1), steps=5)
    params, state = variables["params"], variables["batch_stats"]

    def loss(params, state):
        outputs, changed = Twin().apply(
            {"params": params, "batch_stats": state}, data[0], train=True, mutable=["batch_stats"]
        )
        return CRITERIA["cross_entropy"](outputs, data[1]), changed["batch_stats"]

    gradient = jax.jit(jax.grad(loss, has_aux=True))
    for _ in range(5):
        grads, state = gradient(params, state)
        params = jax.tree.map(lambda point, slope: point - 0.1 * slope, params, grads)
    jax.tree.map(
        lambda left, right: np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-7),  # float32
        trace.model_state_of(0), {"batch_stats": state},
    )  # fmt: skip


@pytest.mark.parametrize("loop", ["map", "step"])
def test_every_loop_carries_the_state(loop):
    problem = make()
    rates = {"learning_rate": np.array([0.1, 0.2, 0.3])}
    usual = training.run(problem, optax.sgd, rates, steps=4, batch_size=8, probes=PROBES)
    other = training.run(
        problem, optax.sgd, rates, steps=4, batch_size=8, probes=PROBES, execution=training.Execution(loop=loop)
    )
    jax.tree.map(
        lambda left, right: np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-6),  # float32, another order
        usual.model_state, other.model_state,
    )  # fmt: skip
    assert jax.tree.leaves(usual.model_state)[0].shape == (3, 4)


def test_a_resumed_run_keeps_the_running_statistics_bit_by_bit(tmp_path, monkeypatch):
    problem = make()
    whole = training.run(problem, optax.sgd(0.1), steps=8, execution=training.Execution(segments=4), probes=PROBES)
    move, calls = training.engine.groups.move, []

    def stop_at_third(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return move(*arguments)

    execution = training.Execution(segments=4, checkpoint_seconds=0)
    options = {"steps": 8, "probes": PROBES, "folder": tmp_path, "execution": execution}
    with monkeypatch.context() as patch:
        patch.setattr(training.engine.groups, "move", stop_at_third)
        with pytest.raises(KeyboardInterrupt):
            training.run(problem, optax.sgd(0.1), **options)
    resumed = training.run(problem, optax.sgd(0.1), **options)
    jax.tree.map(np.testing.assert_array_equal, whole.model_state, resumed.model_state)
    assert np.array_equal(whole["validation_loss"], resumed["validation_loss"])


def test_a_stepped_run_of_another_loss_is_not_taken_for_the_same(tmp_path):
    options = {"steps": 2, "execution": training.Execution(loop="step"), "folder": tmp_path}
    training.run(make(), optax.sgd(0.1), **options)
    training.run(make(), optax.sgd(0.1), **options)
    other = lab.from_nnx(build, lambda model, batch: 2 * loss_fn(model, batch), make().data)
    with pytest.raises(InputError, match="the folder holds another run: it differs in program"):
        training.run(other, optax.sgd(0.1), **options)


def test_a_problem_without_state_has_none_and_is_evaluated_all_the_same():
    problem = make(lambda rngs: networks.MLP(3, 2, width=4, depth=1, rngs=rngs))
    trace = training.run(problem, optax.sgd(0.1), steps=2, probes=PROBES)
    assert trace.model_state is None
    params = trace.params_of(0)
    assert trace["validation_loss"][0, -1] == pytest.approx(
        float(problem.evaluate(params, problem.validation)),
        rel=1e-5,  # a float32 mean, compiled and not
    )


def test_convolutions_are_stepped_from_python_on_a_cpu():
    images = (jnp.ones((4, 6, 6, 1)), jnp.zeros(4, jnp.int32))
    problem = lab.from_nnx(lambda rngs: networks.ConvNet(1, 2, width=2, depth=1, rngs=rngs), loss_fn, images)
    chosen = training.run(problem, optax.sgd(0.1), steps=1).facts["loop"]
    assert chosen == ("step" if jax.default_backend() == "cpu" else "vmap")
    assert training.run(make(), optax.sgd(0.1), steps=1).facts["loop"] == "vmap"


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        (training.metric("acuracy"), r"run: the probe metric must be one of: accuracy; got 'acuracy'. Did you mean 'accur"),
        (training.metric("accuracy"), r"run: the probe validation_accuracy needs validation data, MLP has none"),
        (training.validation_loss(), r"run: the probe validation_loss needs validation data, MLP has none"),
    ],
)  # fmt: skip
def test_a_probe_that_cannot_be_measured_is_refused_before_any_compute(probe, message):
    problem = lab.from_nnx(build, loss_fn, make().data, metrics={"accuracy": correct})
    with pytest.raises(InputError, match=message):
        training.run(problem, optax.sgd(0.1), steps=1, probes=[probe])


def test_a_metric_is_taken_on_training_or_validation_data_only():
    with pytest.raises(InputError, match=r"metric: on must be one of: validation, training; got 'test'"):
        training.metric("accuracy", on="test")
