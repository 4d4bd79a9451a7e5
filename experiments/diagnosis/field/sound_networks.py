"""Sound trainings of Flax networks and of a recurrent one: convolutions, dropout, attention."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import jaxopt_lab as lab
from experiments.diagnosis.field.programs import Setup, digits, sound


class _Convolutions(nn.Module):
    normalized: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = x.reshape(-1, 8, 8, 1)
        for channels in (8, 16):
            x = nn.Conv(channels, (3, 3))(x)
            if self.normalized:
                x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
            x = nn.relu(x)
            x = nn.avg_pool(x, (2, 2), (2, 2))
        return nn.Dense(10)(x.reshape(len(x), -1))


def _linen(seed: int, module: nn.Module, rule: Any, steps: int) -> Setup:
    train, held = digits(seed)
    variables = module.init(jax.random.key(seed), train[0][:2])

    def loss(model: Any, batch: Any) -> jax.Array:
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(model(batch[0]), batch[1]))

    def score(model: Any, batch: Any) -> jax.Array:
        return jnp.mean(jnp.argmax(model(batch[0]), -1) == batch[1])

    problem = lab.from_linen(module, variables, loss, train, validation=held, metrics={"score": score})
    return Setup(problem, rule, 64, steps)


@sound("convolutions", "two convolutions with batch normalization")
def convolutions(seed: int) -> Setup:
    """Running statistics of momentum .9."""
    return _linen(seed, _Convolutions(), optax.adam(3e-3), 300)


@sound("convolutions-plain", "two convolutions, no normalization, SGD")
def convolutions_plain(seed: int) -> Setup:
    """Momentum."""
    return _linen(seed, _Convolutions(normalized=False), optax.sgd(0.1, momentum=0.9), 400)


class _Dropped(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first, self.last = nnx.Linear(64, 96, rngs=rngs), nnx.Linear(96, 10, rngs=rngs)
        self.dropout = nnx.Dropout(0.3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.last(self.dropout(nnx.relu(self.first(x))))


@sound("dropout", "three units in ten dropped")
def dropout(seed: int) -> Setup:
    """Training mode has the higher loss, as it should."""
    train, held = digits(seed)

    def loss(model: Any, batch: Any) -> jax.Array:
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(model(batch[0]), batch[1]))

    def score(model: Any, batch: Any) -> jax.Array:
        return jnp.mean(jnp.argmax(model(batch[0]), -1) == batch[1])

    problem = lab.from_nnx(lambda rngs: _Dropped(rngs), loss, train, validation=held, metrics={"score": score})
    return Setup(problem, optax.adam(3e-3), 64, 500)


@sound("recurrent", "a recurrent network that reads images row by row")
def recurrent(seed: int) -> Setup:
    """Eight rows of eight pixels."""
    train, held = digits(seed, standardized=True)

    def init(key: jax.Array) -> dict[str, jax.Array]:
        keys = jax.random.split(key, 3)
        return {
            "in": jax.random.normal(keys[0], (8, 48)) / np.sqrt(8),
            "state": jnp.linalg.qr(jax.random.normal(keys[1], (48, 48)))[0],
            "out": jax.random.normal(keys[2], (48, 10)) / np.sqrt(48),
        }

    def outputs(params: Any, images: jax.Array) -> jax.Array:
        rows = jnp.moveaxis(images.reshape(-1, 8, 8), 1, 0)
        step = lambda state, row: (jnp.tanh(state @ params["state"] + row @ params["in"]), None)  # noqa: E731
        state, _ = jax.lax.scan(step, jnp.zeros((len(images), 48)), rows)
        return state @ params["out"]

    def loss(params: Any, batch: Any, key: Any) -> jax.Array:
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs(params, batch[0]), batch[1]))

    def score(params: Any, batch: Any) -> jax.Array:
        return jnp.mean(jnp.argmax(outputs(params, held[0]), -1) == held[1])

    problem = lab.from_loss(loss, init, train, validation=held, metrics={"score": score})
    return Setup(problem, optax.adam(2e-3), 64, 500)


class _Block(nn.Module):
    before: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        attend: Any = nn.SelfAttention(2)
        inner = lambda h: nn.Dense(24)(nn.gelu(nn.Dense(48)(h)))  # noqa: E731
        if self.before:
            x = x + attend(nn.LayerNorm()(x))
            return x + inner(nn.LayerNorm()(x))
        x = nn.LayerNorm()(x + attend(x))
        return nn.LayerNorm()(x + inner(x))


class _Attention(nn.Module):
    before: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Dense(24)(x.reshape(-1, 8, 8))
        x = x + self.param("place", nn.initializers.normal(0.1), (8, 24))
        for _ in range(2):
            x = _Block(self.before)(x)
        return nn.Dense(10)(x.mean(1))


@sound("attention-pre-norm", "two blocks of attention over the rows of an image, normalized before")
def attention_before(seed: int) -> Setup:
    """Adam at a usual rate."""
    return _linen(seed, _Attention(before=True), optax.adam(2e-3), 400)


@sound("attention-post-norm", "the same, normalized behind, with a warm-up")
def attention_after(seed: int) -> Setup:
    """A warm-up of forty steps."""
    return _linen(seed, _Attention(before=False), optax.adam(optax.warmup_constant_schedule(0, 2e-3, 40)), 400)
