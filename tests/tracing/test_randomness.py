"""Noise that the parameters give its size is told from a mask and from a constant's."""

import jax
import jax.numpy as jnp
import pytest

from jaxopt_lab.tracing.jaxprs import lay_out
from jaxopt_lab.tracing.randomness import asks_for_noise, learns_noise, moves_data, redrawn_weights

PARAMS = {"mean": jnp.ones((4, 2)), "spread": jnp.zeros((4, 2))}
BATCH = jnp.ones((6, 4))


def sampled(params, batch, key):
    mean, spread = batch @ params["mean"], jnp.exp(batch @ params["spread"])
    return jnp.sum((mean + spread * jax.random.normal(key, mean.shape)) ** 2)


def dropped(params, batch, key):
    hidden = batch @ params["mean"]
    return jnp.sum(jnp.where(jax.random.bernoulli(key, 0.5, hidden.shape), 2 * hidden, 0) ** 2)


def disturbed(params, batch, key):
    hidden = batch @ params["mean"]
    return jnp.sum((hidden + 0.1 * jax.random.normal(key, hidden.shape)) ** 2)


def plain(params, batch, key):
    return jnp.sum((batch @ params["mean"]) ** 2)


@pytest.mark.parametrize(("loss", "found"), [(sampled, True), (dropped, False), (disturbed, False), (plain, False)])
def test_only_what_is_sampled_has_a_learned_size(loss, found):
    program = lay_out(loss, PARAMS, BATCH, jax.random.key(0), open_derivatives=False)
    assert learns_noise(program, 2) is found


def test_a_weight_from_a_generator_is_told_by_its_line():
    def loss(params, batch):
        return jnp.sum(batch @ jax.random.normal(jax.random.key(0), (4, 2)) @ params["mean"].T)

    assert "test_randomness.py" in redrawn_weights(lay_out(loss, PARAMS, BATCH, open_derivatives=False), 2)[0]
    kept = lambda params, batch: jnp.sum(batch @ params["mean"])  # noqa: E731
    assert redrawn_weights(lay_out(kept, PARAMS, BATCH, open_derivatives=False), 2) == ()


@pytest.mark.parametrize(("noise", "found"), [(True, True), (False, False)])
def test_noise_that_a_denoiser_is_to_tell_is_asked_for(noise, found):
    def loss(params, batch, key):
        drawn = jax.random.normal(key, batch.shape)
        told = (batch + drawn) @ params["mean"]
        return jnp.mean((told - (drawn if noise else batch)[:, :2]) ** 2)

    program = lay_out(loss, PARAMS, BATCH, jax.random.key(0), open_derivatives=False)
    assert asks_for_noise(program, 2) is found


@pytest.mark.parametrize("masked", [lambda z, kept: z * kept, lambda z, kept: jnp.where(kept, 2 * z, 0)])
def test_dropout_behind_the_outputs_is_not_asked_for(masked):
    def loss(params, batch, key):
        outputs = batch @ params["mean"]
        return jnp.mean((masked(outputs, jax.random.bernoulli(key, 0.5, outputs.shape)) - batch[:, :2]) ** 2)

    assert not asks_for_noise(lay_out(loss, PARAMS, BATCH, jax.random.key(0), open_derivatives=False), 2)


def on_inputs(change):
    def loss(params, batch, key):
        return jnp.sum((change(batch, key) @ params["mean"]) ** 2)

    return loss


@pytest.mark.parametrize(("apart", "found"), [(True, True), (False, False)])
def test_a_mixture_of_examples_moves_inputs_and_targets(apart, found):
    def loss(params, batch, key):
        inputs, targets = batch if apart else (batch[0], batch[0][:, :1])
        shares, order = jax.random.uniform(key, (len(inputs), 1)), jax.random.permutation(key, len(inputs))
        inputs, targets = (shares * each + (1 - shares) * each[order] for each in (inputs, targets))
        return jnp.mean((jnp.tanh(inputs @ params["mean"]) - targets) ** 2)

    program = lay_out(loss, PARAMS, (BATCH, BATCH[:, :1]), jax.random.key(0), open_derivatives=False)
    assert moves_data(program, 2) is found


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        (on_inputs(lambda x, key: jnp.clip(x + 0.3 * jax.random.normal(key, x.shape), 0, 1)), True),
        (on_inputs(lambda x, key: jnp.where(jax.random.bernoulli(key, 0.5, (len(x), 1)), x, x[:, ::-1])), True),
        (on_inputs(lambda x, key: jnp.where(jax.random.bernoulli(key, 0.5, x.shape), x, 0)), False),
        (on_inputs(lambda x, key: x * jax.random.bernoulli(key, 0.5, x.shape)), False),
        (sampled, False), (dropped, False), (disturbed, False), (plain, False),
    ],
)  # fmt: skip
def test_augmentation_moves_the_data_alone(loss, found):
    program = lay_out(loss, PARAMS, BATCH, jax.random.key(0), open_derivatives=False)
    assert moves_data(program, 2) is found


def test_a_mask_on_what_is_made_of_two_leaves_is_no_mixture():
    def loss(params, batch, key):
        both = batch[0] - batch[1]
        return jnp.mean((jax.random.bernoulli(key, 0.5, both.shape) * both @ params["mean"]) ** 2)

    program = lay_out(loss, PARAMS, (BATCH, 2 * BATCH), jax.random.key(0), open_derivatives=False)
    assert not moves_data(program, 2)
