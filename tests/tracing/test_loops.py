"""Layers and activations inside of loops: their numbers over all turns, and the gradient through a recurrence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxopt_lab as lab
from jaxopt_lab.tracing.layer_statistics import measure_signals

TURNS = 5


def recurrent(looped):
    """A linear recurrence h <- x w + h u + b, relu, summed at its end: as a scan, or written out."""

    def loss(params, batch, key):
        def step(state, x):
            return jax.nn.relu(x @ params["w"] + state @ params["u"] + params["b"]), None

        state = jnp.zeros((batch.shape[1], 3))
        if looped:
            state, _ = jax.lax.scan(step, state, batch)
        else:
            for x in batch:
                state, _ = step(state, x)
        return jnp.mean(jnp.square(state @ params["out"]))

    return loss


def recurrent_params(bias=0.0, scale=1.0):
    keys = jax.random.split(jax.random.key(0), 3)
    return {
        "w": jax.random.normal(keys[0], (2, 3)), "u": scale * jax.random.normal(keys[1], (3, 3)),
        "b": jnp.full(3, bias), "out": jax.random.normal(keys[2], (3, 1)),
    }  # fmt: skip


def test_a_layer_in_a_loop_has_the_numbers_of_all_its_turns():
    params, batch = recurrent_params(), jax.random.normal(jax.random.key(1), (TURNS, 8, 2))
    problem = lambda looped: lab.from_loss(  # noqa: E731
        lambda params, batch, key: recurrent(looped)(params, jnp.swapaxes(batch, 0, 1), key), params,
        jnp.swapaxes(batch, 0, 1),
    )  # fmt: skip
    found, written = (measure_signals(problem(looped), params) for looped in (True, False))
    assert [layer.name for layer in found.layers] == ["w", "u", "out"]
    assert [layer.turns for layer in found.layers] == [TURNS, TURNS, 1]
    assert [layer.is_recurrent for layer in found.layers] == [False, True, False]
    for name in ("w", "u"):
        (one,) = (layer for layer in found.layers if layer.name == name)
        turns = [layer for layer in written.layers if layer.name == name]
        if name == "u":  # written out, the product with the zero state at the start depends on no data
            assert len(turns) == TURNS - 1
            continue
        for field in ("forward", "backward"):
            mean = np.sqrt(np.mean([getattr(turn, field) ** 2 for turn in turns]))
            assert getattr(one, field) == pytest.approx(mean, rel=1e-5)
        assert one.over_turns == pytest.approx(turns[0].backward / turns[-1].backward, rel=1e-5)
    assert found.num_hidden == 1  # the two stand side by side


def test_units_that_are_dead_at_every_turn_of_a_loop_are_seen():
    batch = jax.random.normal(jax.random.key(1), (8, TURNS, 2))
    loss = lambda params, batch, key: recurrent(True)(params, jnp.swapaxes(batch, 0, 1), key)  # noqa: E731
    for bias, share in ((0.0, 0.0), (-100.0, 1.0)):
        params = recurrent_params(bias)
        assert measure_signals(lab.from_loss(loss, params, batch), params).worst_dead == share


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("scale", [0.1, 1e-12])
def test_the_gradient_through_a_recurrence_changes_by_its_weight_a_turn(scale, reverse):
    def loss(params, batch, key):
        step = lambda state, x: (x @ params["w"] + state @ params["u"], None)  # noqa: E731
        state = jnp.zeros((batch.shape[0], 2))
        return jnp.mean(jax.lax.scan(step, state, jnp.swapaxes(batch, 0, 1), reverse=reverse)[0])

    params = {"w": jnp.ones((2, 2)), "u": scale * jnp.eye(2)}
    signals = measure_signals(lab.from_loss(loss, params, jnp.ones((4, TURNS, 2))), params)
    assert signals.recurrent_gain == pytest.approx(scale ** (TURNS - 1), rel=1e-4, abs=1e-44)


def test_an_activation_that_a_loop_reads_is_seen():
    params = recurrent_params() | {"first": jnp.ones((2, 2))}
    loop = recurrent(True)

    def loss(params, batch, key):
        return loop(params, jnp.swapaxes(jax.nn.gelu(batch @ params["first"]), 0, 1), key)

    found = measure_signals(lab.from_loss(loss, params, jnp.ones((8, TURNS, 2))), params)
    assert [layer.name for layer in found.layers] == ["first", "w", "u", "out"]
    assert [(each.operation, each.layer) for each in found.activations] == [("gelu", "first"), ("relu", "u")]


def test_of_long_loops_fewer_examples_are_kept(monkeypatch):
    batch = jax.random.normal(jax.random.key(1), (8, TURNS, 2))
    loss = lambda params, batch, key: recurrent(True)(params, jnp.swapaxes(batch, 0, 1), key)  # noqa: E731
    problem = lab.from_loss(loss, recurrent_params(), batch)
    numbers = TURNS * 8 * 3 * 3  # two layers and an activation
    for most, kept in ((numbers, 8), (numbers - 1, 7), (numbers // 4, 2)):
        monkeypatch.setattr("jaxopt_lab.tracing.layer_statistics._MOST_NUMBERS", most)
        assert measure_signals(problem, recurrent_params()).num_examples == kept


def test_weights_read_turn_by_turn_are_layers_in_depth():
    def loss(weights, batch, key):
        step = lambda values, weight: (jnp.tanh(values @ weight), None)  # noqa: E731
        return jnp.mean(jax.lax.scan(step, batch, weights)[0])

    weights = 0.5 * jnp.stack([jnp.eye(2)] * 3)
    (layer,) = measure_signals(lab.from_loss(loss, weights, jnp.ones((4, 2))), weights).layers
    assert (layer.turns, layer.fan_in, layer.num_units) == (3, 2, 2)
    assert 0.1 < layer.over_turns < 0.25
