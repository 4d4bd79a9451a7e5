"""Reported faults of networks that read sequences: what is carried from step to step, and what is looked up."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import jaxopt_lab as lab
from experiments.diagnosis.field.material import accuracy, cross_entropy, of_module, of_outputs, split
from experiments.diagnosis.field.programs import Setup, digits, fault, layers, perceptron

WIDTH = 32


def _first_symbol(seed: int, length: int) -> tuple[Any, Any]:
    """Noise of two channels in which the first step alone tells which of four classes it is."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 1200).astype(np.int32)
    inputs = 0.3 * rng.standard_normal((1200, length, 2))
    inputs[:, 0] += 1.5 * np.stack([2 * (labels % 2) - 1, 2 * (labels // 2) - 1], 1)
    return split(inputs.astype(np.float32), labels, 900)


def _normal(key: jax.Array, before: int, after: int) -> jax.Array:
    return jax.random.normal(key, (before, after)) / np.sqrt(before)


def _read_gated(params: Any, inputs: Any) -> jax.Array:
    """The outputs of an LSTM, from its last state."""

    def step(carried: Any, x: jax.Array) -> tuple[Any, None]:
        hidden, cell = carried
        gates = jnp.concatenate([x, hidden], -1) @ params["weight"] + params["bias"]
        enter, forget, leave, new = jnp.split(gates, 4, -1)
        cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(enter) * jnp.tanh(new)
        return (jax.nn.sigmoid(leave) * jnp.tanh(cell), cell), None

    start = jnp.zeros((len(inputs), WIDTH))
    (hidden, _), _ = jax.lax.scan(step, (start, start), jnp.moveaxis(jnp.asarray(inputs), 1, 0))
    return hidden @ params["out"]


@fault(
    "forget-gate-shut", ["vanishing-signal", "bad-initialization", "plateau"], "github craffel/nntools issue 19",
    "an LSTM's forget gate starts nearly shut: of the first step nothing is left at the end",
)  # fmt: skip
def forget_gate_shut(mended: bool, seed: int) -> Setup:
    """The class stands in the first of 40 steps; a bias of 4 keeps it."""

    def init(key: jax.Array) -> Any:
        first, second = jax.random.split(key)
        bias = jnp.zeros(4 * WIDTH).at[WIDTH : 2 * WIDTH].set(4.0 if mended else -4.0)
        return {"weight": 0.5 * _normal(first, 2 + WIDTH, 4 * WIDTH), "bias": bias, "out": _normal(second, WIDTH, 4)}

    return Setup(of_outputs(_read_gated, init, *_first_symbol(seed, 40)), optax.adam(1e-3), 32, 500)


def _read(params: Any, inputs: Any) -> jax.Array:
    """The outputs of a plain recurrent network, from its last state."""

    def step(state: jax.Array, x: jax.Array) -> tuple[jax.Array, None]:
        return jnp.tanh(state @ params["state"] + x @ params["in"] + params["bias"]), None

    start = jnp.zeros((len(inputs), WIDTH))
    state, _ = jax.lax.scan(step, start, jnp.moveaxis(jnp.asarray(inputs), 1, 0))
    return state @ params["out"]


def _recurrent(seed: int, scale: float, length: int, rule: optax.GradientTransformation, steps: int) -> Setup:
    def init(key: jax.Array) -> Any:
        keys = jax.random.split(key, 3)
        state = scale * jnp.eye(WIDTH)
        return {
            "in": _normal(keys[1], 2, WIDTH), "state": state,
            "bias": jnp.zeros(WIDTH), "out": _normal(keys[2], WIDTH, 4),
        }  # fmt: skip

    return Setup(of_outputs(_read, init, *_first_symbol(seed, length)), rule, 32, steps)


@fault(
    "state-forgotten", ["vanishing-signal", "bad-initialization", "plateau"], "github batzner/indrnn issue 9",
    "recurrent weights start far below 1: after 28 steps nothing is left of the first",
)  # fmt: skip
def state_forgotten(mended: bool, seed: int) -> Setup:
    """The identity, and a fifth of it."""
    return _recurrent(seed, 1.0 if mended else 0.2, 28, optax.adam(1e-3), 600)


@fault(
    "recurrent-rate-too-high", ["learning-rate-too-high", "exploding-signal"], "github pytorch/examples pull 223",
    "a recurrent network at a rate that is right for another rule: tanh units saturate and nothing is learned",
)  # fmt: skip
def recurrent_too_fast(mended: bool, seed: int) -> Setup:
    """SGD at 5, and at 0.1."""
    return _recurrent(seed, 1.0, 12, optax.sgd(0.1 if mended else 5.0), 800)


class _Attention(nn.Module):
    placed: bool

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        place = self.param("place", nn.initializers.normal(0.5), (8, 16))
        x = nn.Embed(6, 16, embedding_init=nn.initializers.normal(1.0))(tokens)
        x = x + place if self.placed else x
        x = x + jnp.asarray(nn.SelfAttention(2)(nn.LayerNorm()(x)))
        x = x + nn.Dense(16)(nn.gelu(nn.Dense(32)(nn.LayerNorm()(x))))
        return nn.Dense(2)(x.mean(1))


@fault(
    "places-not-added", ["no-gradient", "cannot-memorize", "underfitting"],
    "github guocheng2025/Transformer-Encoder issue 1",
    "the embedding of places is made and never added: attention cannot tell the order of what it reads",
)  # fmt: skip
def places_not_added(mended: bool, seed: int) -> Setup:
    """Eight symbols; which of two marks comes first?"""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(2, 6, (1600, 8))
    places = np.sort(np.argsort(rng.random((1600, 8)), 1)[:, :2], 1)
    labels = rng.integers(0, 2, 1600)
    rows = np.arange(1600)
    tokens[rows, places[:, 0]], tokens[rows, places[:, 1]] = labels, 1 - labels
    train, held = split(tokens.astype(np.int32), labels.astype(np.int32), 1200)
    return Setup(of_module(seed, _Attention(mended), train, held), optax.adam(3e-3), 64, 500)


@fault(
    "vocabulary-too-small", ["cannot-memorize", "underfitting"], "github jax-ml/jax issue 3774",
    "the table of embeddings has twelve rows for forty words: an index beyond it is read as the last row",
)  # fmt: skip
def vocabulary_too_small(mended: bool, seed: int) -> Setup:
    """Each word has a weight of its own, and the sign of the sum over a text is the class."""
    rng = np.random.default_rng(seed)
    weights = rng.choice([-1.0, 1.0], 40) * rng.uniform(0.5, 1.5, 40)
    words = rng.integers(0, 40, (2000, 7)).astype(np.int32)
    train, held = split(words, (weights[words].sum(1) > 0).astype(np.int32), 1500)
    rows = 40 if mended else 12

    def outputs(params: Any, texts: Any) -> jax.Array:
        return params["words"][texts].sum(1) @ params["out"] + params["bias"]

    def init(key: jax.Array) -> Any:
        first, second = jax.random.split(key)
        return {"words": 0.3 * jax.random.normal(first, (rows, 8)), "out": _normal(second, 8, 2), "bias": jnp.zeros(2)}

    return Setup(of_outputs(outputs, init, train, held), optax.adam(1e-2), 64, 500)


class _Words(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.words, self.output = nnx.Embed(50, 16, rngs=rngs), nnx.Linear(16, 2, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.output(self.words(x).mean(1))


@fault(
    "texts-shuffled-alone", ["uninformative-labels"], "github udacity/sdc-issue-reports issue 1326",
    "the texts were put in another order than their labels",
)  # fmt: skip
def shuffled_alone(mended: bool, seed: int) -> Setup:
    """Half of a text's twelve words are of its class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 1200).astype(np.int32)
    words = rng.integers(0, 50, (1200, 12))
    told = rng.integers(0, 25, (1200, 12)) + 25 * labels[:, None]
    words = np.where(rng.random((1200, 12)) < 0.5, words, told).astype(np.int32)
    train, held = split(words if mended else rng.permutation(words), labels, 900)
    loss = lambda model, batch: jnp.mean(cross_entropy(model(batch[0]), batch[1]))  # noqa: E731
    score = lambda model, batch: accuracy(model(batch[0]), batch[1])  # noqa: E731
    problem = lab.from_nnx(lambda rngs: _Words(rngs), loss, train, validation=held, metrics={"score": score})
    return Setup(problem, optax.adam(1e-2), 32, 400)


@fault(
    "reshaped-not-transposed", ["mixed-examples"], "github alshedivat/lola issue 12",
    "a reshape where a transpose was meant: each row holds pixels of many images",
)  # fmt: skip
def reshaped(mended: bool, seed: int) -> Setup:
    """Images that come with the pixels first."""
    outputs = lambda params, x: perceptron(params, x if mended else x.reshape(64, -1).T)  # noqa: E731
    problem = of_outputs(outputs, lambda key: layers(key, [64, 64, 10]), *digits(seed))
    return Setup(problem, optax.adam(1e-3), 64, 400)
