"""Which variables of a module train, which are frozen, and which the module moves itself."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxopt_lab as lab
from jaxopt_lab import networks
from jaxopt_lab.core import InputError

GENERATOR = np.random.default_rng(0)
INPUTS = jnp.asarray(GENERATOR.normal(size=(16, 3)), jnp.float32)
DATA = (INPUTS, jnp.asarray(GENERATOR.normal(size=16), jnp.float32))


def loss_fn(model, batch):
    return jnp.mean((model(batch[0])[:, 0] - batch[1]) ** 2)


class Gain(nnx.Variable):
    """A user's own kind of variable."""


class Gained(nnx.Module):
    def __init__(self, rngs, kind=Gain):
        self.layer, self.gain = nnx.Linear(3, 1, rngs=rngs), kind(jnp.full(1, 2.0))

    def __call__(self, inputs):
        return self.layer(inputs) * self.gain[...]


class Adapted(nnx.Module):
    def __init__(self, rngs):
        self.layer = nnx.LoRALinear(3, 1, lora_rank=2, rngs=rngs)

    def __call__(self, inputs):
        return self.layer(inputs)


class Averaging(nnx.Module):
    """Moves a variable of its own kind in the call."""

    def __init__(self, rngs):
        self.layer, self.seen = nnx.Linear(3, 1, rngs=rngs), Gain(jnp.zeros(1))

    def __call__(self, inputs):
        outputs = self.layer(inputs)
        self.seen[...] = 0.9 * self.seen[...] + 0.1 * outputs.mean(0)
        return outputs


class Holding(nnx.Module):
    """Arrays that are no variables, and a whole number."""

    def __init__(self, rngs):
        self.layer, self.scale = nnx.Linear(3, 1, rngs=rngs), nnx.data(jnp.full(1, 2.0))
        self.count, self.table = nnx.Variable(jnp.array(3)), nnx.Param(jnp.arange(3))

    def __call__(self, inputs):
        return self.layer(inputs[:, self.table[...]]) * self.scale * self.count[...]


def start(problem):
    return problem.init(jax.random.key(0))


def paths(tree):
    return lab.core.vectors.parameter_paths(tree)


@pytest.mark.parametrize("given", [Gained, Gained(nnx.Rngs(0))], ids=["factory", "module"])
def test_a_floating_variable_of_unknown_kind_is_named_and_wrt_decides(given):
    message = r"from_nnx: gain \(Gain, float32\[1\]\) neither trains nor is moved by the module\. wrt=\(nnx\.Param, Gain\) trains it; wrt=nnx\.Param holds it fixed\.$"
    with pytest.raises(InputError, match=message):
        lab.from_nnx(given, loss_fn, DATA)
    trained = lab.from_nnx(given, loss_fn, DATA, wrt=(nnx.Param, Gain))
    assert paths(start(trained)) == ["gain", "layer/bias", "layer/kernel"]
    assert trained.frozen is None
    moved = lab.run(trained, optax.sgd(0.1), steps=3).params_of()["gain"]
    assert float(moved[0]) != 2.0
    held = lab.from_nnx(given, loss_fn, DATA, wrt=nnx.Param)
    assert paths(start(held)) == ["layer/bias", "layer/kernel"]
    assert held.frozen["gain"].tolist() == [2.0]
    assert held.stateful is None


def test_a_plain_variable_is_shown_the_kind_that_trains():
    with pytest.raises(
        InputError, match=r"gain \(Variable, float32\[1\]\) .* An nnx.Param trains; wrt=nnx.Param holds it"
    ):
        lab.from_nnx(lambda rngs: Gained(rngs, nnx.Variable), loss_fn, DATA)


@pytest.mark.parametrize("given", [Adapted, Adapted(nnx.Rngs(jax.random.key(0)))], ids=["factory", "module"])
def test_lora_trains_alone_on_a_frozen_base_as_in_a_plain_flax_loop(given):
    problem = lab.from_nnx(given, loss_fn, DATA, wrt=nnx.LoRAParam)
    assert str(problem).splitlines()[0] == "Adapted: 8 numbers train, 4 frozen"
    trace = lab.run(problem, optax.sgd(0.1), steps=4)
    model = Adapted(nnx.Rngs(jax.random.key(0)))
    optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.LoRAParam)
    losses = [float(loss_fn(model, DATA))]
    for _ in range(4):
        optimizer.update(model, nnx.grad(loss_fn, argnums=nnx.DiffState(0, nnx.LoRAParam))(model, DATA))
        losses.append(float(loss_fn(model, DATA)))
    if not isinstance(given, nnx.Module):  # a factory draws the adapters of each seed anew
        trace = lab.run(problem, optax.sgd(0.1), steps=4, params=start(problem))
    np.testing.assert_allclose(trace["loss"][0], losses, rtol=1e-5)  # float32
    everything = lab.from_nnx(given, loss_fn, DATA)
    assert str(everything).splitlines()[0] == "Adapted: 12 numbers train"


def test_what_is_frozen_is_the_same_for_every_seed_and_an_argument_of_the_program():
    problem = lab.from_nnx(Adapted, loss_fn, DATA, wrt=nnx.LoRAParam)
    leaves = jax.tree.leaves(problem.loss)
    assert all(any(leaf is held for leaf in leaves) for held in jax.tree.leaves(problem.frozen))
    text = jax.jit(lambda loss, params: loss(params, DATA, None)).lower(problem.loss, start(problem)).as_text()
    assert len([line for line in text.splitlines() if "@main" in line and "tensor<3x1xf32>" in line]) == 1
    losses = lab.run(problem, optax.sgd(0.1), steps=0, seeds=[0, 1, 2])["loss"][:, 0]
    assert len(set(losses.tolist())) == 1  # lora_b starts at zero: the base alone decides


def test_a_frozen_problem_curvature_and_diagnosis_are_those_of_what_trains():
    problem = lab.from_nnx(Adapted, loss_fn, DATA, wrt=nnx.LoRAParam)
    assert lab.curvature.hessian(problem, start(problem)).size == 8
    assert lab.diagnose(problem, optax.sgd(0.1), steps=20).causes


def test_metrics_and_outputs_see_what_is_frozen():
    criterion = lambda outputs, batch: jnp.mean((outputs[:, 0] - batch[1]) ** 2)  # noqa: E731
    problem = lab.from_nnx(
        Adapted, data=DATA, criterion=criterion, wrt=nnx.LoRAParam, metrics={"again": loss_fn}
    )  # fmt: skip
    params = start(problem)
    expected = float(loss_fn(Adapted(nnx.Rngs(jax.random.key(0))), DATA))
    assert float(problem.metrics["again"](params, DATA)) == pytest.approx(expected, rel=1e-6)
    outputs = problem.composite.outputs(params, DATA)
    assert float(criterion(outputs, DATA)) == pytest.approx(expected, rel=1e-6)


def test_a_frozen_base_may_carry_batch_statistics():
    class Normalized(nnx.Module):
        def __init__(self, rngs):
            self.norm, self.head = nnx.BatchNorm(3, rngs=rngs), nnx.LoRALinear(3, 1, lora_rank=1, rngs=rngs)

        def __call__(self, inputs):
            return self.head(self.norm(inputs))

    problem = lab.from_nnx(Normalized, loss_fn, DATA, wrt=nnx.LoRAParam)
    assert paths(problem.model_state) == ["norm/mean", "norm/var"]
    assert paths(problem.frozen) == ["head/bias", "head/kernel", "norm/bias", "norm/scale"]
    trace = lab.run(problem, optax.sgd(0.1), steps=3)
    after = trace.model_state_of()["norm"]["mean"]
    chex.assert_shape(after, (3,))
    assert float(jnp.abs(after).max()) > 0
    frozen = problem.freeze(trace.model_state_of())
    assert float(frozen.full_loss(trace.params_of())) == pytest.approx(
        float(problem.evaluate(trace.params_of(), DATA, trace.model_state_of())), rel=1e-6
    )


def test_a_variable_of_any_kind_that_the_module_moves_is_state():
    problem = lab.from_nnx(Averaging, loss_fn, DATA)
    assert paths(problem.model_state) == ["seen"]
    trace = lab.run(problem, optax.sgd(1e-9), steps=1)
    outputs = Averaging(nnx.Rngs(jax.random.fold_in(jax.random.key(0), 0)))(INPUTS)
    np.testing.assert_allclose(trace.model_state_of()["seen"], 0.1 * outputs.mean(0), rtol=1e-5)  # float32


def test_arrays_and_whole_numbers_are_frozen_without_a_question():
    problem = lab.from_nnx(Holding, loss_fn, DATA)
    assert paths(start(problem)) == ["layer/bias", "layer/kernel"]
    assert paths(problem.frozen) == ["count", "scale", "table"]
    model = Holding(nnx.Rngs(jax.random.key(0)))
    assert float(problem.full_loss(start(problem))) == pytest.approx(float(loss_fn(model, DATA)), rel=1e-6)


@pytest.mark.parametrize(
    ("wrt", "message"),
    [
        (3, r"wrt must be an NNX filter, got 3\. Give a type of variables"),
        (nnx.RngState, r"wrt=RngState selects no floating variable\. The module holds variables of the types BatchStat, Param"),
        (nnx.BatchStat, r"wrt selects mean, var, which the module moves itself\. Leave out nnx\.BatchStat"),
        (..., r"wrt selects mean, var, which the module moves itself"),
    ],
)  # fmt: skip
def test_a_wrong_filter_gets_a_sentence(wrt, message):
    with pytest.raises(InputError, match=message):
        lab.from_nnx(nnx.BatchNorm(3, rngs=nnx.Rngs(0)), loss_fn, DATA, wrt=wrt)


def test_the_functional_form_freezes_what_wrt_leaves_out():
    form = networks.functional_nnx(Adapted(nnx.Rngs(0)), nnx.LoRAParam)
    assert paths(form.params) == ["layer/lora/lora_a", "layer/lora/lora_b"]
    assert paths(form.frozen) == ["layer/bias", "layer/kernel"]
    outputs, _ = form.apply(form.params, form.model_state, INPUTS, training=False)
    np.testing.assert_allclose(outputs, Adapted(nnx.Rngs(0))(INPUTS), rtol=1e-6)
