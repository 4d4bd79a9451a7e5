"""What a program of the field is: a training as people write it, with a fault that was reported, or none."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn import datasets

import jaxopt_lab as lab
from jaxopt_lab.core import Problem

PROGRAMS: dict[str, "Program"] = {}


@dataclasses.dataclass(frozen=True)
class Setup:
    """A training as it is run.

    Attributes:
      problem: with validation data and the metric "score", higher for better.
      rule: in use.
      batch_size: examples a step.
      steps: planned.
    """

    problem: Problem
    rule: optax.GradientTransformation
    batch_size: int
    steps: int


@dataclasses.dataclass(frozen=True)
class Program:
    """A kind of training.

    Attributes:
      name: of the program.
      causes: names of the diagnosis that are true of it, any of which may stand first; ("healthy",) for a sound one.
      source: the report, by its site and number, or "" for a sound one.
      truth: the fault in a sentence.
      build: (mended, seed) -> the training.
    """

    name: str
    causes: tuple[str, ...]
    source: str
    truth: str
    build: Callable[[bool, int], Setup]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.causes == ("healthy",)


def fault(name: str, causes: Sequence[str], source: str, truth: str) -> Callable[[Any], Any]:
    """Registers a builder (mended, seed) -> Setup as a reported fault."""

    def register(build: Callable[[bool, int], Setup]) -> Callable[[bool, int], Setup]:
        PROGRAMS[name] = Program(name, tuple(causes), source, truth, build)
        return build

    return register


def sound(name: str, truth: str) -> Callable[[Any], Any]:
    """Registers a builder (seed) -> Setup as a training with which nothing is wrong."""

    def register(build: Callable[[int], Setup]) -> Callable[[int], Setup]:
        PROGRAMS[name] = Program(name, ("healthy",), "", truth, lambda mended, seed: build(seed))
        return build

    return register


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    images, labels = map(np.asarray, datasets.load_digits(return_X_y=True))
    return (images / 16).astype(np.float32), labels.astype(np.int32)


def digits(seed: int, *, standardized: bool = False, num_train: int = 1297) -> tuple[Any, Any]:
    """Images of 64 pixels in [0, 1] and labels: training and validation pairs, in an order of the seed."""
    images, labels = _digits()
    order = np.random.default_rng(seed).permutation(len(labels))
    images, labels = images[order], labels[order]
    if standardized:
        deviation = images[:num_train].std(0)
        images = (images - images[:num_train].mean(0)) / np.where(deviation > 0, deviation, 1)
    return (images[:num_train], labels[:num_train]), (images[1297:], labels[1297:])


def curve(num: int, dim: int, seed: int, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Inputs [num, dim] and targets of mean 0 and deviation 1: a smooth function of three projections, and noise."""
    rng = np.random.default_rng(seed)
    inputs, weights = rng.standard_normal((num, dim)), rng.standard_normal((dim, 3)) / np.sqrt(dim)
    first, second, third = (inputs @ weights).T
    targets = np.tanh(2 * first) + 0.5 * second * third
    targets = (targets - targets.mean()) / targets.std() * np.sqrt(1 - noise) + np.sqrt(noise) * rng.standard_normal(
        num
    )
    return inputs.astype(np.float32), targets.astype(np.float32)


def layers(key: jax.Array, sizes: Sequence[int], gain: float = 2.0, dtype: Any = jnp.float32) -> list[dict[str, Any]]:
    """Weights of variance gain / fan-in and zero biases."""
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        {
            "weight": (np.sqrt(gain / before) * jax.random.normal(k, (before, after))).astype(dtype),
            "bias": jnp.zeros(after, dtype),
        }
        for k, before, after in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]


def perceptron(params: Sequence[Any], inputs: Any, activation: Any = jax.nn.relu) -> jax.Array:
    """The outputs of a perceptron, the last layer linear."""
    for layer in params[:-1]:
        inputs = activation(inputs @ layer["weight"] + layer["bias"])
    return inputs @ params[-1]["weight"] + params[-1]["bias"]


def classifier(
    train: Any, held: Any, sizes: Sequence[int], *, activation: Any = jax.nn.relu, gain: float = 2.0,
    outputs: Any = lambda z: z, criterion: Any = optax.softmax_cross_entropy_with_integer_labels, labels: Any = None,
) -> Problem:  # fmt: skip
    """A perceptron on classes; the score is its accuracy on the validation images, of `labels` where they are given."""

    def loss(params: Any, batch: Any, key: Any) -> jax.Array:
        return jnp.mean(criterion(outputs(perceptron(params, batch[0], activation)), batch[1]))

    def score(params: Any, batch: Any) -> jax.Array:
        truth = batch[1] if labels is None else labels
        return jnp.mean(jnp.argmax(perceptron(params, batch[0], activation), -1) == truth)

    init = lambda key: layers(key, sizes, gain)  # noqa: E731
    return lab.from_loss(loss, init, train, validation=held, metrics={"score": score})


def regression(
    train: Any, held: Any, sizes: Sequence[int], *, activation: Any = jax.nn.relu, gain: float = 2.0,
    outputs: Any = lambda z: z[:, 0], criterion: Any = lambda z, y: (z - y) ** 2, compared: Any = None,
) -> Problem:  # fmt: skip
    """A perceptron on one target; the score is the share of its variance that is explained on the validation data."""

    def loss(params: Any, batch: Any, key: Any) -> jax.Array:
        return jnp.mean(criterion(outputs(perceptron(params, batch[0], activation)), batch[1]))

    def score(params: Any, batch: Any) -> jax.Array:
        predicted = (compared or outputs)(perceptron(params, batch[0], activation))
        return 1 - jnp.mean((predicted - batch[1]) ** 2) / jnp.var(batch[1])

    init = lambda key: layers(key, sizes, gain)  # noqa: E731
    return lab.from_loss(loss, init, train, validation=held, metrics={"score": score})
