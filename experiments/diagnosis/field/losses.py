"""Reported faults of the loss itself: what it is made of, how it is scaled, and what it has a derivative for."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import jaxopt_lab as lab
from experiments.diagnosis.field.material import cross_entropy, explained, of_outputs, split, table
from experiments.diagnosis.field.programs import Setup, classifier, curve, digits, fault, layers, perceptron, regression


class _Binary(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first, self.second = nnx.Linear(30, 32, rngs=rngs), nnx.Linear(32, 1, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.second(nnx.relu(self.first(x)))[:, 0]


def _tumours(seed: int, criterion: Any, limit: float = 0.0) -> lab.Problem:
    """Two classes from an NNX network; the score counts outputs above the limit as the second one."""
    train, held = table("tumours", seed, 400)
    loss = lambda model, batch: jnp.mean(criterion(model(batch[0]), batch[1]))  # noqa: E731
    score = lambda model, batch: jnp.mean((model(batch[0]) > limit) == batch[1])  # noqa: E731
    return lab.from_nnx(lambda rngs: _Binary(rngs), loss, train, validation=held, metrics={"score": score})


@fault(
    "sigmoid-twice", ["unreachable-loss"], "github yudi-mars/daisyRec pull 15",
    "probabilities where the criterion takes logits: no loss below .31 for class 1, none below .69 for class 0",
)  # fmt: skip
def sigmoid_twice(mended: bool, seed: int) -> Setup:
    """Two classes."""
    outputs = (lambda z: z) if mended else jax.nn.sigmoid
    problem = _tumours(seed, lambda z, y: optax.sigmoid_binary_cross_entropy(outputs(z), y))
    return Setup(problem, optax.adam(3e-3), 32, 300)


@fault(
    "hinge-on-zero-and-one", ["label-range", "unreachable-loss"], "github bfortuner/ml-glossary pull 113",
    "a hinge loss takes -1 and 1: for a label of 0 it is 1, whatever the output",
)  # fmt: skip
def hinge(mended: bool, seed: int) -> Setup:
    """Two classes."""
    signs = (lambda y: 2.0 * y - 1) if mended else (lambda y: y)
    problem = _tumours(seed, lambda z, y: jnp.maximum(0.0, 1 - signs(y) * z), 0.0 if mended else 0.5)
    return Setup(problem, optax.sgd(0.05), 32, 400)


@fault(
    "loss-summed", ["learning-rate-too-high", "dead-units"], "github jax-ml/jax pull 3113",
    "the losses of a batch are summed, not averaged: each step is 128 times as long",
)  # fmt: skip
def summed(mended: bool, seed: int) -> Setup:
    """The rate was chosen for a mean."""
    criterion = lambda z, told: (1 if mended else 128) * cross_entropy(z, told)  # noqa: E731
    return Setup(classifier(*digits(seed), [64, 64, 10], criterion=criterion), optax.sgd(0.1), 128, 300)


@fault(
    "loss-averaged-twice", ["learning-rate-too-low"], "github jfzhang95/pytorch-deeplab-xception issue 55",
    "the mean over a batch is divided by its size again: each step is a sixty-fourth",
)  # fmt: skip
def averaged_twice(mended: bool, seed: int) -> Setup:
    """A rate that is right for one mean."""
    criterion = lambda z, told: cross_entropy(z, told) / (1 if mended else 64)  # noqa: E731
    return Setup(classifier(*digits(seed), [64, 64, 10], criterion=criterion), optax.sgd(0.1), 64, 400)


@fault(
    "likelihood-of-logits", ["unbounded-loss"], "github yanx27/Pointnet_Pointnet2_pytorch issue 30",
    "minus the logit of the class, without the logarithm of a softmax: it falls without end",
)  # fmt: skip
def of_logits(mended: bool, seed: int) -> Setup:
    """Ten classes."""

    def criterion(z: jax.Array, told: jax.Array) -> jax.Array:
        z = jax.nn.log_softmax(z) if mended else z
        return -jnp.take_along_axis(z, told[:, None], 1)[:, 0]

    return Setup(classifier(*digits(seed), [64, 64, 10], criterion=criterion), optax.adam(1e-3), 64, 400)


@fault(
    "accuracy-as-loss", ["no-gradient"], "github google-deepmind/dm-haiku issue 442",
    "the share of wrong answers, by an argmax: flat nearly everywhere",
)  # fmt: skip
def accuracy_as_loss(mended: bool, seed: int) -> Setup:
    """Its gradient is zero wherever it exists."""
    wrong = lambda z, told: 1.0 - (jnp.argmax(z, -1) == told)  # noqa: E731
    problem = classifier(*digits(seed), [64, 32, 10], criterion=cross_entropy if mended else wrong)
    return Setup(problem, optax.adam(1e-3), 64, 300)


@fault(
    "log-of-a-rate", ["non-finite"], "github pytorch/pytorch issue 184030",
    "a Poisson likelihood takes the logarithm of an output that may be negative",
)  # fmt: skip
def log_of_rate(mended: bool, seed: int) -> Setup:
    """Counts; a softplus mends it."""
    inputs, targets = curve(1400, 6, seed)
    counts = np.random.default_rng(seed).poisson(np.exp(0.7 * targets)).astype(np.float32)
    outputs = (lambda z: jax.nn.softplus(z[:, 0]) + 1e-3) if mended else (lambda z: z[:, 0])
    problem = regression(
        *split(inputs, counts, 1000), [6, 32, 1], outputs=outputs, criterion=lambda z, y: z - y * jnp.log(z)
    )
    return Setup(problem, optax.adam(3e-3), 32, 600)


@fault(
    "reconstruction-between-zero-and-one", ["unreachable-loss"], "github yzhao062/pyod issue 314",
    "a sigmoid on the output of an autoencoder whose inputs are standardized",
)  # fmt: skip
def reconstruction(mended: bool, seed: int) -> Setup:
    """Sixteen numbers an image."""
    (images, _), (held, _) = digits(seed, standardized=True)
    outputs = lambda params, x: (perceptron if mended else _bounded)(params, x)  # noqa: E731
    init = lambda key: layers(key, [64, 32, 16, 32, 64])  # noqa: E731
    criterion = lambda z, y: jnp.mean((z - y) ** 2, -1)  # noqa: E731
    problem = of_outputs(outputs, init, (images, images), (held, held), criterion=criterion, measure=explained)
    return Setup(problem, optax.adam(2e-3), 64, 800)


def _bounded(params: Any, x: Any) -> jax.Array:
    return jax.nn.sigmoid(perceptron(params, x))
