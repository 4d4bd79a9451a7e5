"""What the reported programs are made of: tables of real data, and problems from an outputs function or a module."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn import datasets

import jaxopt_lab as lab
from jaxopt_lab.core import Problem

Pair = tuple[np.ndarray, np.ndarray]
Criterion = Callable[[jax.Array, jax.Array], jax.Array]
cross_entropy: Criterion = optax.softmax_cross_entropy_with_integer_labels


@functools.cache
def _table(name: str) -> Pair:
    loaders: dict[str, Any] = {
        "tumours": datasets.load_breast_cancer,
        "wine": datasets.load_wine,
        "diabetes": datasets.load_diabetes,
    }
    return loaders[name](return_X_y=True)


def standardized(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """The arrays less the mean of the first and over its deviation, column by column; constant columns become zero."""
    deviation = train.std(0)
    return [((x - train.mean(0)) / np.where(deviation > 0, deviation, 1)).astype(np.float32) for x in (train, *others)]


def table(name: str, seed: int, num_train: int, *, raw: bool = False) -> tuple[Pair, Pair]:
    """A table of scikit-learn in an order of the seed: standardized features (or raw ones) and labels or targets."""
    inputs, targets = _table(name)
    order = np.random.default_rng(seed).permutation(len(targets))
    inputs, targets = inputs[order], targets[order].astype(np.float32 if name == "diabetes" else np.int32)
    seen, held = inputs[:num_train], inputs[num_train:]
    seen, held = (seen.astype(np.float32), held.astype(np.float32)) if raw else standardized(seen, held)
    return (seen, targets[:num_train]), (held, targets[num_train:])


def split(inputs: np.ndarray, targets: np.ndarray, num_train: int) -> tuple[Pair, Pair]:
    """The first examples for training and the rest for validation."""
    return (inputs[:num_train], targets[:num_train]), (inputs[num_train:], targets[num_train:])


def accuracy(scores: jax.Array, labels: Any) -> jax.Array:
    """The share of examples whose largest score is that of their class."""
    return jnp.mean(jnp.argmax(scores, -1) == labels)


def explained(predicted: jax.Array, targets: Any) -> jax.Array:
    """The share of the targets' variance that the predictions explain."""
    return 1 - jnp.mean((predicted - targets) ** 2) / jnp.var(targets)


def of_outputs(
    outputs: Callable[[Any, Any], jax.Array], init: Callable[[jax.Array], Any], train: Pair, held: Pair, *,
    criterion: Criterion = cross_entropy, measure: Callable[[jax.Array, Any], jax.Array] = accuracy,
) -> Problem:  # fmt: skip
    """A problem in plain JAX from (params, inputs) -> outputs; the score is `measure` on the validation data."""

    def loss(params: Any, batch: Any, key: Any) -> jax.Array:
        return jnp.mean(criterion(outputs(params, batch[0]), batch[1]))

    def score(params: Any, batch: Any) -> jax.Array:
        return measure(outputs(params, batch[0]), batch[1])

    return lab.from_loss(loss, init, train, validation=held, metrics={"score": score})


def of_module(
    seed: int, module: nn.Module, train: Pair, held: Pair, *, criterion: Criterion = cross_entropy,
    measure: Callable[[jax.Array, Any], jax.Array] = accuracy,
) -> Problem:  # fmt: skip
    """The same from a Flax Linen module that maps inputs to outputs."""
    variables = module.init(jax.random.key(seed), jnp.asarray(train[0][:2]))

    def loss(model: Any, batch: Any) -> jax.Array:
        return jnp.mean(criterion(model(batch[0]), batch[1]))

    def score(model: Any, batch: Any) -> jax.Array:
        return measure(model(batch[0]), batch[1])

    return lab.from_linen(module, variables, loss, train, validation=held, metrics={"score": score})
