"""Linen modules that are told their mode in the call, that draw from streams of their own, or hold other collections."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen

import jaxopt_lab as lab
from jaxopt_lab.core import InputError

GENERATOR = np.random.default_rng(0)
INPUTS = jnp.asarray(3.0 * GENERATOR.normal(size=(16, 3)) + 1.0, jnp.float32)
DATA = (INPUTS, jnp.asarray(GENERATOR.normal(size=16), jnp.float32))
KEYS = (None, *jax.random.split(jax.random.key(0), 2))


def squared(outputs, batch):
    return jnp.mean((outputs[:, 0] - batch[1]) ** 2)


def loss_fn(model, batch):
    return squared(model(batch[0]), batch)


def told_to_train(model, batch):
    return squared(model(batch[0], train=True), batch)


def told_to_evaluate(model, batch):
    return squared(model(batch[0], train=False), batch)


def start(problem):
    return problem.init(jax.random.key(0))


def values_of(problem):
    """The loss without a key and with two, in evaluation mode, and frozen."""
    params = start(problem)
    keyed = [float(problem.loss(params, DATA, key)) for key in KEYS]
    return keyed, float(problem.evaluate(params, DATA)), float(problem.freeze().full_loss(params))


class ToldLinen(linen.Module):
    @linen.compact
    def __call__(self, inputs, train):
        values = linen.BatchNorm(use_running_average=not train, use_fast_variance=False)(linen.Dense(4)(inputs))
        return linen.Dense(1)(linen.Dropout(0.5, deterministic=not train)(jnp.tanh(values)))


class Noisy(linen.Module):
    """Draws from a stream of its own, in training or always."""

    always: bool = False

    @linen.compact
    def __call__(self, inputs, train=False):
        values = linen.Dense(1)(inputs)
        drawn = train or self.always
        return values + jax.random.normal(self.make_rng("noise"), values.shape) if drawn else values


def variables_of(module):
    return module.init({"params": jax.random.key(0), "noise": jax.random.key(1)}, INPUTS, train=False)


def test_a_linen_module_that_is_told_its_mode_takes_an_evaluation_loss_or_no_flag():
    variables = variables_of(ToldLinen())
    told = values_of(lab.from_linen(ToldLinen(), variables, told_to_train, DATA, eval_loss_fn=told_to_evaluate))
    filled = values_of(lab.from_linen(ToldLinen(), variables, loss_fn, DATA))
    assert told == filled
    outputs = ToldLinen().apply(variables, INPUTS, train=False)
    assert told[1] == pytest.approx(float(squared(outputs, DATA)), rel=1e-5)  # float32
    message = r"loss_fn told_to_train, in evaluation mode, fails \(ModifyScopeVariableError.* Call model\(inputs\) without its flag"
    with pytest.raises(InputError, match=message):
        lab.from_linen(ToldLinen(), variables, told_to_train, DATA)


def test_a_linen_module_draws_from_every_stream_in_training_and_from_none_without_a_key():
    variables = variables_of(Noisy())
    keyed, evaluated, _ = values_of(lab.from_linen(Noisy(), variables, loss_fn, DATA))
    expected = float(squared(Noisy().apply(variables, INPUTS), DATA))
    assert keyed[0] == evaluated == pytest.approx(expected, rel=1e-5)  # float32
    assert len(set(keyed)) == 3


def test_a_linen_module_that_always_draws_is_refused():
    variables = variables_of(Noisy(always=True))
    with pytest.raises(
        InputError, match=r"needs its key: without one it fails \(InvalidRngError.*noise.* eval_loss_fn="
    ):
        lab.from_linen(Noisy(always=True), variables, loss_fn, DATA)


def test_a_linen_loss_may_hand_streams_on_by_name():
    def own(model, batch, key):
        streams = {} if key is None else {"noise": jax.random.key(3)}
        return squared(model(batch[0], train=key is not None, rngs=streams), batch)

    variables = variables_of(Noisy())
    problem = lab.from_linen(Noisy(), variables, own, DATA)
    expected = Noisy().apply(variables, INPUTS, train=True, rngs={"noise": jax.random.key(3)})
    assert float(problem.loss(start(problem), DATA, KEYS[1])) == pytest.approx(float(squared(expected, DATA)), rel=1e-5)


class GainedLinen(linen.Module):
    @linen.compact
    def __call__(self, inputs):
        gain = self.variable("gain", "factor", lambda: jnp.full(1, 2.0))
        return linen.Dense(1)(inputs) * gain.value


def test_a_linen_collection_of_unknown_kind_is_named_and_wrt_decides():
    variables = GainedLinen().init(jax.random.key(0), INPUTS)
    message = r"from_linen: gain \(gain, factor float32\[1\]\) neither trains nor is moved .* wrt=\('params', 'gain'\) trains it; wrt='params' holds it"
    with pytest.raises(InputError, match=message):
        lab.from_linen(GainedLinen(), variables, loss_fn, DATA)
    outputs = float(loss_fn(lambda inputs: GainedLinen().apply(variables, inputs), DATA))
    counts = {("params", "gain"): (5, None), "params": (4, 1), "gain": (1, 4)}
    for wrt, (trained, frozen) in counts.items():
        problem = lab.from_linen(GainedLinen(), variables, loss_fn, DATA, wrt=wrt)
        assert lab.core.vectors.size(start(problem)) == trained
        assert (None if problem.frozen is None else lab.core.vectors.size(problem.frozen)) == frozen
        assert float(problem.full_loss(start(problem))) == pytest.approx(outputs, rel=1e-6)
        assert lab.run(problem, optax.sgd(0.01), steps=3)["loss"][0, -1] < outputs
    with pytest.raises(InputError, match=r"wrt must be one of: gain, params; got 'gian'\. Did you mean 'gain'"):
        lab.from_linen(GainedLinen(), variables, loss_fn, DATA, wrt="gian")
