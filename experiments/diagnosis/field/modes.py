"""Reported faults of modes and of numbers: training against evaluation mode, and what becomes NaN or infinite."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import jaxopt_lab as lab
from experiments.diagnosis.field.material import accuracy, cross_entropy, explained, of_module, of_outputs, split, table
from experiments.diagnosis.field.programs import Setup, classifier, curve, digits, fault, layers, perceptron


class _Dropped(nnx.Module):
    def __init__(self, rate: float, rngs: nnx.Rngs) -> None:
        self.first, self.second = nnx.Linear(64, 32, rngs=rngs), nnx.Linear(32, 32, rngs=rngs)
        self.last, self.dropout = nnx.Linear(32, 10, rngs=rngs), nnx.Dropout(rate, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.dropout(nnx.relu(self.first(x)))
        return self.last(self.dropout(nnx.relu(self.second(x))))


@fault(
    "nine-in-ten-dropped", ["train-eval-mismatch", "gradient-noise", "underfitting"],
    "github bonlime/keras-deeplab-v3-plus issue 4",
    "0.9 was the share to keep and is given as the share to drop",
)  # fmt: skip
def nine_dropped(mended: bool, seed: int) -> Setup:
    """Two layers of 32 units, each with dropout."""
    train, held = digits(seed)
    loss = lambda model, batch: jnp.mean(cross_entropy(model(batch[0]), batch[1]))  # noqa: E731

    def score(model: Any, batch: Any) -> jax.Array:
        return accuracy(nnx.view(model, deterministic=True)(batch[0]), batch[1])

    build = lambda rngs: _Dropped(0.1 if mended else 0.9, rngs)  # noqa: E731
    return Setup(lab.from_nnx(build, loss, train, validation=held, metrics={"score": score}), optax.adam(2e-3), 64, 500)


class _Normalized(nn.Module):
    momentum: float
    scale: float = 1.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        for width in (48, 32):
            x = nn.Dense(width)(self.scale * x)
            x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=self.momentum)(x))
        return nn.Dense(10)(x)


@fault(
    "statistics-that-lag", ["train-eval-mismatch"], "github soloice/Chinese-Character-Recognition issue 5",
    "running statistics of momentum 0.9999 in a run of 400 steps: evaluation mode still has those of the start",
)  # fmt: skip
def lagging(mended: bool, seed: int) -> Setup:
    """Pixels between 0 and 16."""
    problem = of_module(seed, _Normalized(0.9 if mended else 0.9999, 16.0), *digits(seed))
    return Setup(problem, optax.adam(2e-3), 64, 400)


@fault(
    "statistics-never-kept", ["train-eval-mismatch"], "github HomericIntelligence/Odyssey issue 5543",
    "the running statistics are computed and thrown away: evaluation mode normalizes by those of the start",
)  # fmt: skip
def never_kept(mended: bool, seed: int) -> Setup:
    """A momentum of 1."""
    problem = of_module(seed, _Normalized(0.9 if mended else 1.0, 8.0), *digits(seed))
    return Setup(problem, optax.sgd(0.05, momentum=0.9), 64, 400)


@fault(
    "statistics-of-one-example", ["train-eval-mismatch", "mixed-examples", "no-gradient"],
    "github karpathy/makemore issue 22",
    "batch normalization over batches of one example: every unit is its own mean, so that nothing passes",
)  # fmt: skip
def one_example(mended: bool, seed: int) -> Setup:
    """Batches of 32 mend it."""
    return Setup(of_module(seed, _Normalized(0.9), *digits(seed)), optax.sgd(0.05), 32 if mended else 1, 600)


@fault(
    "momentum-of-the-other-convention", ["train-eval-mismatch"], "github eriklindernoren/PyTorch-YOLOv3 issue 230",
    "momentum by the other library's convention: the running statistics are those of the last batch of four",
)  # fmt: skip
def other_convention(mended: bool, seed: int) -> Setup:
    """A hundredth is kept where 99 were meant."""
    problem = of_module(seed, _Normalized(0.99 if mended else 0.01), *digits(seed))
    return Setup(problem, optax.sgd(0.02), 4, 600)


class _ByBatch(nn.Module):
    kept: bool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = nn.Dense(48)(x)
        if self.kept:
            x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        else:
            x = (x - x.mean(0)) / jnp.sqrt(x.var(0) + 1e-5)
        return nn.Dense(10)(nn.relu(x))


@fault(
    "batch-statistics-in-use", ["mixed-examples", "train-eval-mismatch"], "github keras-team/keras issue 4708",
    "batch normalization takes the statistics of the batch in evaluation too: an image on its own has none",
)  # fmt: skip
def batch_statistics(mended: bool, seed: int) -> Setup:
    """The score asks for one image at a time."""
    train, held = digits(seed)
    module = _ByBatch(mended)
    variables = module.init(jax.random.key(seed), jnp.asarray(train[0][:2]))
    loss = lambda model, batch: jnp.mean(cross_entropy(model(batch[0]), batch[1]))  # noqa: E731

    def score(model: Any, batch: Any) -> jax.Array:
        return accuracy(jax.lax.map(lambda image: model(image[None])[0], batch[0]), batch[1])

    problem = lab.from_linen(module, variables, loss, train, validation=held, metrics={"score": score})
    return Setup(problem, optax.adam(2e-3), 64, 300)


@fault(
    "log-of-zero", ["non-finite"], "github tiny-dnn/tiny-dnn issue 1030",
    "the logarithm of a softmax that underflows to zero",
)  # fmt: skip
def log_of_zero(mended: bool, seed: int) -> Setup:
    """Pixels up to 255; the logarithm of the softmax in one piece mends it."""
    (images, labels), (held, truth) = digits(seed)
    train, held = (np.float32(255) * images, labels), (np.float32(255) * held, truth)

    def criterion(z: jax.Array, told: jax.Array) -> jax.Array:
        logs = jax.nn.log_softmax(z) if mended else jnp.log(jax.nn.softmax(z))
        return -jnp.sum(jax.nn.one_hot(told, 10) * logs, -1)

    return Setup(classifier(train, held, [64, 48, 10], criterion=criterion), optax.adam(1e-3), 64, 400)


@fault(
    "softmax-by-hand", ["non-finite"], "github zackchase/mxnet-the-straight-dope issue 3",
    "exponentials over their sum without taking off the largest: they overflow once logits pass 88",
)  # fmt: skip
def softmax_by_hand(mended: bool, seed: int) -> Setup:
    """Finite at the start, gone after some steps of SGD."""

    def criterion(z: jax.Array, told: jax.Array) -> jax.Array:
        if mended:
            return cross_entropy(z, told)
        share = jnp.exp(z) / jnp.sum(jnp.exp(z), -1, keepdims=True)
        return -jnp.log(share[jnp.arange(len(told)), told] + 1e-8)

    (images, labels), (held, truth) = digits(seed)
    train, held = (np.float32(32) * images, labels), (np.float32(32) * held, truth)
    return Setup(classifier(train, held, [64, 48, 10], gain=1.0, criterion=criterion), optax.adam(1e-2), 64, 400)


@fault(
    "relu-over-its-sum", ["non-finite", "dead-units"], "github keras-team/keras pull 1368",
    "outputs behind a relu are divided by their sum, and for some examples all of them are zero",
)  # fmt: skip
def relu_over_sum(mended: bool, seed: int) -> Setup:
    """Three outputs that are to add up to one."""

    def outputs(params: Any, x: Any) -> jax.Array:
        z = perceptron(params, x)
        share = jax.nn.softplus(z) if mended else jax.nn.relu(z)
        return share / jnp.sum(share, -1, keepdims=True)

    def criterion(p: jax.Array, told: jax.Array) -> jax.Array:
        return -jnp.log(jnp.clip(p[jnp.arange(len(told)), told], 1e-7, 1.0))

    init = lambda key: layers(key, [13, 16, 3])  # noqa: E731
    return Setup(of_outputs(outputs, init, *table("wine", seed, 120), criterion=criterion), optax.adam(5e-3), 16, 300)


@fault(
    "length-of-zero", ["non-finite"], "github jax-ml/jax issue 3058",
    "the gradient of a norm where the vector is zero",
)  # fmt: skip
def length_of_zero(mended: bool, seed: int) -> Setup:
    """The distance of a target point from an output that starts on it; some targets are the origin."""
    inputs, first = curve(1400, 5, seed)
    targets = np.stack([first, -0.5 * first**2], 1).astype(np.float32)
    targets[::40] = 0.0
    inputs[::40] = 0.0
    train, held = split(inputs, targets, 1000)
    floor = 1e-6 if mended else 0.0
    criterion = lambda z, y: jnp.sqrt(jnp.sum((z - y) ** 2, -1) + floor)  # noqa: E731
    measure = lambda z, y: explained(z, y)  # noqa: E731
    init = lambda key: layers(key, [5, 48, 2])  # noqa: E731
    return Setup(
        of_outputs(perceptron, init, train, held, criterion=criterion, measure=measure), optax.adam(3e-3), 32, 600
    )


@fault(
    "where-after-the-root", ["non-finite"], "github jax-ml/jax issue 347",
    "a root of zero is replaced behind it and not before: the gradient of the unused branch is NaN",
)  # fmt: skip
def where_after_root(mended: bool, seed: int) -> Setup:
    """Rows of features are scaled to length 1; a learned scale stands before, and some rows are empty."""
    (images, labels), (held, truth) = digits(seed)
    images = images.copy()
    images[::50] = 0.0

    def outputs(params: Any, x: Any) -> jax.Array:
        x = x * params["scale"]
        square = jnp.sum(x**2, -1, keepdims=True)
        empty = square == 0
        length = jnp.where(empty, 1.0, jnp.sqrt(jnp.where(empty, 1.0, square) if mended else square))
        return perceptron(params["layers"], 5 * x / length)

    init = lambda key: {"scale": jnp.ones(64), "layers": layers(key, [64, 48, 10])}  # noqa: E731
    return Setup(of_outputs(outputs, init, (images, labels), (held, truth)), optax.adam(2e-3), 64, 400)


@fault(
    "exponential-of-the-variance", ["non-finite", "bad-initialization", "learning-rate-too-high"],
    "github mlberkeley/scae-pytorch pull 4",
    "a likelihood whose variance is the exponential of an output that is not bounded: it overflows in training",
)  # fmt: skip
def exponential(mended: bool, seed: int) -> Setup:
    """A mean and the logarithm of a precision; targets of deviation 300, standardized where mended."""
    inputs, targets = curve(1400, 5, seed)
    train, held = split(inputs, targets if mended else 300 * targets, 1000)

    def criterion(z: jax.Array, y: jax.Array) -> jax.Array:
        return 0.5 * jnp.exp(z[:, 1]) * (z[:, 0] - y) ** 2 - 0.5 * z[:, 1]

    measure = lambda z, y: explained(z[:, 0], y)  # noqa: E731
    init = lambda key: layers(key, [5, 48, 2])  # noqa: E731
    problem = of_outputs(perceptron, init, train, held, criterion=criterion, measure=measure)
    return Setup(problem, optax.sgd(0.02), 32, 800)
