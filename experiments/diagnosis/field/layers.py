"""Reported faults of the layers: where the weights start, what carries the signal, what is left out of training."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from sklearn import datasets

import jaxopt_lab as lab
from experiments.diagnosis.field.material import accuracy, explained, of_module, of_outputs, split
from experiments.diagnosis.field.programs import Setup, classifier, curve, digits, fault, layers, perceptron


@fault(
    "weights-of-zero", ["no-gradient", "bad-initialization", "saddle", "dead-units"],
    "github davharris/mistnet issue 87",
    "all weights start at zero: only the last biases have a gradient",
)  # fmt: skip
def weights_of_zero(mended: bool, seed: int) -> Setup:
    """Relu units."""

    def init(key: jax.Array) -> Any:
        params = layers(key, [64, 48, 10])
        return params if mended else jax.tree.map(jnp.zeros_like, params)

    return Setup(of_outputs(perceptron, init, *digits(seed)), optax.adam(2e-3), 64, 400)


@fault(
    "weights-all-alike", ["bad-initialization", "saddle"], "github BitTiger-MP/DS502-AI-Engineer issue 27",
    "every weight starts at the same number: all hidden units stay copies of one",
)  # fmt: skip
def weights_all_alike(mended: bool, seed: int) -> Setup:
    """Tanh units, weights of 0.1."""
    train, held = digits(seed, standardized=True)
    outputs = lambda params, x: perceptron(params, x, jnp.tanh)  # noqa: E731

    def init(key: jax.Array) -> Any:
        params = layers(key, [64, 32, 10], 1.0)
        return params if mended else [{**p, "weight": jnp.full_like(p["weight"], 0.1)} for p in params]

    return Setup(of_outputs(outputs, init, train, held), optax.sgd(0.05, momentum=0.9), 64, 400)


@fault(
    "weights-of-deviation-one", ["bad-initialization", "exploding-signal", "learning-rate-too-high"],
    "github MichalDanielDobrzanski/DeepLearningPython issue 13",
    "weights of deviation 1 under relu units: outputs in the thousands at the start",
)  # fmt: skip
def weights_of_one(mended: bool, seed: int) -> Setup:
    """The start was made for sigmoid units."""

    def init(key: jax.Array) -> Any:
        params = layers(key, [64, 100, 100, 100, 10])
        if mended:
            return params
        return [{**p, "weight": p["weight"] * np.float32(np.sqrt(len(p["weight"]) / 2))} for p in params]

    return Setup(of_outputs(perceptron, init, *digits(seed)), optax.sgd(0.1), 64, 400)


@fault(
    "layers-fading", ["vanishing-signal", "bad-initialization"], "github SilasMarvin/dnns-from-scratch-in-zig pull 7",
    "weights of a tenth of the variance that relu units need: after twelve layers no signal is left",
)  # fmt: skip
def fading(mended: bool, seed: int) -> Setup:
    """Twelve layers of 32 units."""
    problem = classifier(*digits(seed, standardized=True), [64, *12 * [32], 10], gain=2.0 if mended else 0.2)
    return Setup(problem, optax.sgd(0.02, momentum=0.9), 64, 500)


@fault(
    "layers-growing", ["exploding-signal", "bad-initialization", "learning-rate-too-high"],
    "github leonardoaraujosantos/DLMatFramework issue 16",
    "weights of four times the variance that relu units need: every layer doubles the signal",
)  # fmt: skip
def growing(mended: bool, seed: int) -> Setup:
    """Eight layers of 32 units."""
    problem = classifier(*digits(seed, standardized=True), [64, *8 * [32], 10], gain=2.0 if mended else 8.0)
    return Setup(problem, optax.sgd(0.02), 64, 500)


class _Deep(nn.Module):
    activation: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(6):
            x = self.activation(nn.Dense(40)(x))
        return nn.Dense(10)(x)


@fault(
    "six-sigmoid-layers", ["vanishing-signal", "plateau"], "github aymericdamien/TensorFlow-Examples pull 146",
    "sigmoid units in six layers: each takes at least three quarters of the gradient",
)  # fmt: skip
def six_sigmoids(mended: bool, seed: int) -> Setup:
    """Relu units train at the same rate."""
    module = _Deep(nn.relu if mended else nn.sigmoid)
    return Setup(of_module(seed, module, *digits(seed)), optax.sgd(0.05, momentum=0.9), 64, 500)


@fault(
    "biases-far-below", ["dead-units", "bad-initialization", "no-gradient"],
    "github neuroinfo-os/deep-bottleneck issue 168",
    "biases start at -12: no relu unit is on for any example, so that none has a gradient",
)  # fmt: skip
def biases_far_below(mended: bool, seed: int) -> Setup:
    """Standardized digits."""

    def init(key: jax.Array) -> Any:
        params = layers(key, [64, 48, 10])
        return params if mended else [{**params[0], "bias": params[0]["bias"] - 12}, params[1]]

    return Setup(of_outputs(perceptron, init, *digits(seed, standardized=True)), optax.adam(2e-3), 64, 400)


@fault(
    "units-die-in-training", ["dead-units", "learning-rate-too-high"], "github dangitstam/topic-rnn pull 9",
    "a rate that throws the relu units of a regression below zero in the first steps",
)  # fmt: skip
def units_die(mended: bool, seed: int) -> Setup:
    """Nothing diverges: the outputs become a constant."""
    train, held = split(*curve(1400, 6, seed), 1000)
    criterion = lambda z, y: (z[:, 0] - y) ** 2  # noqa: E731
    measure = lambda z, y: explained(z[:, 0], y)  # noqa: E731
    init = lambda key: layers(key, [6, 24, 24, 24, 1])  # noqa: E731
    problem = of_outputs(perceptron, init, train, held, criterion=criterion, measure=measure)
    rule = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.03 if mended else 3.0))
    return Setup(problem, rule, 32, 800)


def _xor(seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 2, (800, 2))
    inputs = (corners + 0.1 * rng.standard_normal((800, 2))).astype(np.float32)
    return split(inputs, (corners[:, 0] ^ corners[:, 1]).astype(np.int32), 500)


@fault(
    "xor-stays-at-a-half", ["saddle", "plateau", "bad-initialization", "local-minimum"],
    "github ivan-vasilev/neuralnetworks issue 37",
    "exclusive or, sigmoid units, weights within 0.01: the output stays at one half",
)  # fmt: skip
def xor(mended: bool, seed: int) -> Setup:
    """Squared error on a sigmoid, SGD with momentum."""
    outputs = lambda params, x: jax.nn.sigmoid(perceptron(params, x, jax.nn.sigmoid)[:, 0])  # noqa: E731
    criterion = lambda p, y: (p - y) ** 2  # noqa: E731
    measure = lambda p, y: jnp.mean((p > 0.5) == (y > 0))  # noqa: E731
    gain = 40.0 if mended else 1e-4
    init = lambda key: layers(key, [2, 16, 1], gain)  # noqa: E731
    return Setup(
        of_outputs(outputs, init, *_xor(seed), criterion=criterion, measure=measure), optax.sgd(0.2, 0.7), 32, 800
    )


@fault(
    "no-activation", ["cannot-memorize", "underfitting"], "github aymericdamien/TensorFlow-Examples issue 270",
    "two hidden layers without an activation are one linear map, and the classes are rings",
)  # fmt: skip
def no_activation(mended: bool, seed: int) -> Setup:
    """Circles one in the other."""
    inputs, labels = datasets.make_circles(900, noise=0.1, factor=0.4, random_state=seed)
    train, held = split(inputs.astype(np.float32), labels.astype(np.int32), 600)
    activation = jax.nn.relu if mended else lambda z: z
    return Setup(classifier(train, held, [2, 32, 32, 2], activation=activation), optax.adam(3e-3), 32, 500)


@fault(
    "two-hidden-units", ["cannot-memorize", "underfitting", "dead-units"], "github kdexd/digit-classifier issue 5",
    "a hidden layer of two units for ten classes",
)  # fmt: skip
def two_units(mended: bool, seed: int) -> Setup:
    """Digits through a needle's eye."""
    width = 48 if mended else 2
    return Setup(classifier(*digits(seed), [64, width, 10], activation=jnp.tanh, gain=1.0), optax.adam(5e-3), 64, 500)


class _Detached(nn.Module):
    detached: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        z = nn.relu(nn.Dense(6, name="encoder")(x))
        z = jax.lax.stop_gradient(z) if self.detached else z
        return nn.Dense(10)(nn.relu(nn.Dense(24)(z)))


@fault(
    "detached-encoder", ["no-gradient"], "github lucidrains/CoCa-pytorch issue 6",
    "the encoder's outputs are cut off from the gradient: its weights stay where they start",
)  # fmt: skip
def detached_encoder(mended: bool, seed: int) -> Setup:
    """The head learns from six random features."""
    return Setup(of_module(seed, _Detached(not mended), *digits(seed)), optax.adam(5e-3), 64, 600)


class _Renewed(nnx.Module):
    def __init__(self, renewed: bool, rngs: nnx.Rngs) -> None:
        self.hidden, self.head = nnx.Linear(64, 5, rngs=rngs), nnx.Linear(5, 10, rngs=rngs)
        self.renewed = renewed

    def __call__(self, x: jax.Array) -> jax.Array:
        hidden = nnx.Linear(64, 5, rngs=nnx.Rngs(3)) if self.renewed else self.hidden
        return self.head(nnx.tanh(hidden(x)))


@fault(
    "layer-made-in-the-call", ["no-gradient", "cannot-memorize", "underfitting"],
    "github keiserlab/keras-neural-graph-fingerprint issue 2",
    "the inner layer is built anew in every call; the one that the rule moves is never used",
)  # fmt: skip
def layer_made_anew(mended: bool, seed: int) -> Setup:
    """Five features that cannot be trained."""
    train, held = digits(seed)

    def loss(model: Any, batch: Any) -> jax.Array:
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(model(batch[0]), batch[1]))

    score = lambda model, batch: accuracy(model(batch[0]), batch[1])  # noqa: E731
    build = lambda rngs: _Renewed(not mended, rngs)  # noqa: E731
    problem = lab.from_nnx(build, loss, train, validation=held, metrics={"score": score})
    return Setup(problem, optax.adam(1e-2), 64, 600)


@fault(
    "hard-code-within", ["no-gradient"], "github eriklindernoren/Keras-GAN issue 61",
    "argmax between two parts of a network: the first part has no gradient",
)  # fmt: skip
def hard_code(mended: bool, seed: int) -> Setup:
    """The encoder of digits chooses one of twelve codes; a softmax in its place lets the gradient through."""

    def outputs(params: Any, x: Any) -> jax.Array:
        code = perceptron(params["encoder"], x)
        soft = jax.nn.softmax(code) if mended else jax.nn.one_hot(jnp.argmax(code, -1), 12)
        return perceptron(params["decoder"], soft)

    def init(key: jax.Array) -> Any:
        first, second = jax.random.split(key)
        return {"encoder": layers(first, [64, 32, 12]), "decoder": layers(second, [12, 32, 10])}

    return Setup(of_outputs(outputs, init, *digits(seed)), optax.adam(3e-3), 64, 500)


@fault(
    "both-factors-zero", ["no-gradient", "saddle", "bad-initialization"], "github Guitaricet/relora issue 18",
    "the two factors of a correction of low rank both start at zero: neither has a gradient while the other is zero",
)  # fmt: skip
def both_factors_zero(mended: bool, seed: int) -> Setup:
    """A fixed random layer under a fixed head; the correction alone trains, and one factor at random mends it."""
    first, second, third = jax.random.split(jax.random.key(seed), 3)
    base, head = jax.random.normal(first, (64, 32)) / 8, jax.random.normal(second, (32, 10)) / 4

    def outputs(params: Any, x: Any) -> jax.Array:
        return jax.nn.relu(x @ (base + params["left"] @ params["right"])) @ head

    def init(key: jax.Array) -> Any:
        scale = 0.1 if mended else 0.0
        return {"left": scale * jax.random.normal(third, (64, 12)), "right": jnp.zeros((12, 32))}

    return Setup(of_outputs(outputs, init, *digits(seed)), optax.adam(3e-3), 64, 500)


class _Relation(nnx.Module):
    def __init__(self, mended: bool, rngs: nnx.Rngs) -> None:
        start = nnx.initializers.normal(0.5) if mended else nnx.initializers.zeros
        self.words = nnx.Embed(40, 8, embedding_init=start, rngs=rngs)
        self.gate = nnx.Linear(8, 16, use_bias=False, rngs=rngs)
        self.head = nnx.Linear(16, 2, rngs=rngs)

    def __call__(self, words: jax.Array) -> jax.Array:
        return self.head(nnx.relu(self.gate(self.words(words))).sum(1))


@fault(
    "zero-embedding-under-relu", ["no-gradient", "bad-initialization", "dead-units", "saddle"],
    "github mrchor/HiNet issue 1",
    "an embedding that starts at zero under a relu: the relu is off at zero, so that neither is ever moved",
)  # fmt: skip
def zero_embedding(mended: bool, seed: int) -> Setup:
    """Which texts have more of the first twenty words?"""
    words = np.random.default_rng(seed).integers(0, 40, (1600, 7)).astype(np.int32)
    train, held = split(words, ((words < 20).sum(1) > 3).astype(np.int32), 1200)

    def loss(model: Any, batch: Any) -> jax.Array:
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(model(batch[0]), batch[1]))

    score = lambda model, batch: accuracy(model(batch[0]), batch[1])  # noqa: E731
    build = lambda rngs: _Relation(mended, rngs)  # noqa: E731
    return Setup(lab.from_nnx(build, loss, train, validation=held, metrics={"score": score}), optax.adam(5e-3), 64, 400)
