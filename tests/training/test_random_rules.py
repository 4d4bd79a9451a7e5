"""Rules that keep a PRNG key in their state: every loop, packing away, devices, checkpoints, sweeps, diagnosis."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab import search, training
from jaxopt_lab.core import InputError, from_loss
from jaxopt_lab.core.leaves import is_key

GENERATOR = np.random.default_rng(0)
DATA = (jnp.asarray(GENERATOR.normal(size=(12, 3)), jnp.float32), jnp.asarray(GENERATOR.normal(size=12), jnp.float32))
PROBLEM = from_loss(lambda w, batch, key: jnp.mean((batch[0] @ w - batch[1]) ** 2), jnp.ones(3), DATA, name="fit")


def drawing(learning_rate, typed=True):
    """Gradient descent with noise from a key in its state, of either kind."""

    def init(params):
        return jax.random.key(3) if typed else jax.random.PRNGKey(3)

    def update(grads, state, params=None):
        state, draw = jax.random.split(state)
        noise = lambda leaf: -learning_rate * (leaf + 0.1 * jax.random.normal(draw, leaf.shape))  # noqa: E731
        return jax.tree.map(noise, grads), state

    return optax.GradientTransformation(init, update)


def drawing_raw(learning_rate):
    return drawing(learning_rate, typed=False)


def noisy_sgd(learning_rate, key=0):
    return optax.noisy_sgd(learning_rate, key=key)


RULES = {"noisy_sgd": noisy_sgd, "typed": drawing, "raw": drawing_raw}
RATES = {"learning_rate": np.array([0.1, 0.2, 0.05])}


def plain_losses(rule, steps):
    """The losses of a plain optax loop."""
    params, losses = jnp.ones(3), []
    state = rule.init(params)
    for _ in range(steps):
        losses.append(float(PROBLEM.full_loss(params)))
        updates, state = rule.update(jax.grad(PROBLEM.full_loss)(params), state, params)
        params = optax.apply_updates(params, updates)
    return [*losses, float(PROBLEM.full_loss(params))]


@pytest.mark.parametrize("loop", ["vmap", "map", "step"])
@pytest.mark.parametrize("name", RULES)
def test_every_loop_draws_as_a_plain_optax_loop_does(name, loop):
    trace = training.run(PROBLEM, RULES[name], RATES, steps=4, execution=training.Execution(loop=loop))
    for row, rate in zip(trace["loss"], RATES["learning_rate"], strict=True):
        np.testing.assert_allclose(row, plain_losses(RULES[name](float(rate)), 4), rtol=1e-5)  # float32


def test_a_single_configuration_draws_too():
    trace = training.run(PROBLEM, optax.chain(optax.add_noise(0.01, 0.55, 0), optax.sgd(0.1)), steps=4)
    rule = optax.chain(optax.add_noise(0.01, 0.55, 0), optax.sgd(0.1))
    np.testing.assert_allclose(trace["loss"][0], plain_losses(rule, 4), rtol=1e-5)  # float32


@pytest.mark.parametrize("name", RULES)
def test_keys_are_packed_with_their_configurations(name):
    rates = np.array([0.1, 1e9, 1e9, 1e9, 0.2])
    packed = training.run(
        PROBLEM, RULES[name], {"learning_rate": rates}, steps=24, execution=training.Execution(width=2, segments=6)
    )
    assert [status.feasible for status in packed.status] == [True, False, False, False, True]
    alone = training.run(
        PROBLEM,
        RULES[name],
        {"learning_rate": rates[[0, 4]]},
        steps=24,
        execution=training.Execution(width=2, segments=6),
    )
    np.testing.assert_array_equal(packed["loss"][[0, 4]], alone["loss"])


def test_keys_go_to_every_device():
    one, two = (
        training.run(PROBLEM, noisy_sgd, RATES, steps=4, execution=training.Execution(width=2, devices=count))
        for count in (1, 2)
    )
    np.testing.assert_array_equal(one["loss"], two["loss"])


@pytest.mark.parametrize("name", RULES)
def test_a_killed_run_resumes_with_its_keys_bit_by_bit(name, tmp_path, monkeypatch):
    options = {"steps": 8, "execution": training.Execution(segments=4, checkpoint_seconds=0)}
    whole = training.run(PROBLEM, RULES[name], RATES, **options)
    move, calls = training.engine.groups.move, []

    def stop_at_third(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return move(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training.engine.groups, "move", stop_at_third)
        with pytest.raises(KeyboardInterrupt):
            training.run(PROBLEM, RULES[name], RATES, folder=tmp_path, **options)
    resumed = training.run(PROBLEM, RULES[name], RATES, folder=tmp_path, **options)
    np.testing.assert_array_equal(whole["loss"], resumed["loss"])
    keys = [leaf for leaf in jax.tree.leaves(resumed.state) if is_key(leaf)]
    assert [jax.random.key_impl(leaf) for leaf in keys] == [jax.random.key_impl(jax.random.key(0))] * (name != "raw")


def test_the_key_may_be_a_hyperparameter():
    trace = training.run(PROBLEM, noisy_sgd, {"learning_rate": 0.1, "key": [0, 1, 1]}, steps=4)
    assert trace["loss"][0, -1] != trace["loss"][1, -1]
    assert trace["loss"][1, -1] == trace["loss"][2, -1]


@pytest.mark.parametrize("name", RULES)
def test_sweeps_and_diagnoses_take_such_rules(name):
    space = search.Space(learning_rate=search.log_uniform(0.01, 0.2))
    best = search.sweep(PROBLEM, RULES[name], space, num_trials=2, steps=4, num_seeds=1).best()
    assert best["median"] < float(PROBLEM.full_loss(jnp.ones(3)))
    assert lab.diagnose(PROBLEM, RULES[name](0.1), steps=20).causes


def test_chunks_would_draw_the_same_numbers_and_are_refused():
    bowl = lab.objectives.quadratic(jnp.ones(40), start=1.0)
    for name in RULES:
        with pytest.raises(InputError, match="loop='chunks' would give every chunk the same random numbers"):
            training.run(
                bowl, RULES[name], {"learning_rate": 0.1}, steps=1, execution=training.Execution(loop="chunks")
            )
