"""Small models that are not linear: logistic regression, one sigmoid unit, two linear layers, a sine."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diagnosis.planting.cases import between, descent, real, trained
from experiments.diagnosis.planting.tables import DIM, HELD, NUM, clean_scores, small_start
from jaxopt_lab import objectives
from jaxopt_lab.core import Batch, Key, Problem, Truth, from_loss


def _logistic_loss(scale: Any, params: jax.Array, batch: Batch, key: Key | None) -> jax.Array:
    del scale, key
    features, labels = batch
    logits = features @ params
    return jnp.mean(jax.nn.softplus(logits) - labels * logits)


@functools.cache
def _logistic(size: float, dtype: str) -> Problem:
    """Labels from a unit vector's side with a tenth of them turned; the start has the given size, on the wrong side."""
    rng = np.random.default_rng(3)
    features = np.concatenate([clean_scores(NUM), rng.normal(size=(HELD, DIM))])
    labels = (features.sum(1) > 0) ^ (rng.random(len(features)) < 0.1)
    data = jnp.asarray(features, dtype), jnp.asarray(labels, dtype)

    def init(key: Key) -> jax.Array:
        return size * jax.random.normal(key, (DIM,), dtype)

    loss = jax.tree_util.Partial(_logistic_loss, None)
    training, held = ((part[:NUM] for part in data), (part[NUM:] for part in data))
    return from_loss(loss, init, tuple(training), validation=tuple(held), name="logistic-regression")


def bad_start(severity: float, seed: int) -> dict[str, Any]:
    """Logistic regression from weights that are far too large."""
    problem, good = _logistic(between(severity, 30.0, 300.0), real()), _logistic(0.1, real())
    return {"problem": problem, "rule": descent(2.0), "steps": 100, "cure": {"problem": good}}


def _sigmoid_loss(scale: Any, params: jax.Array, batch: Batch, key: Key | None) -> jax.Array:
    del key
    features, targets = batch
    return 0.5 * jnp.mean(jnp.square(jax.nn.sigmoid(features @ params) - targets)) * scale


@functools.cache
def _sigmoid(dtype: str) -> Problem:
    rng = np.random.default_rng(5)
    features = np.concatenate([clean_scores(NUM), np.ones((NUM, 1))], axis=1)
    targets = 1 / (1 + np.exp(-features[:, :DIM].sum(1) / 4)) + 0.03 * rng.normal(size=NUM)
    loss = jax.tree_util.Partial(_sigmoid_loss, jnp.asarray(1.0, dtype))
    data = jnp.asarray(features, dtype), jnp.asarray(targets, dtype)
    return from_loss(loss, small_start, data, truth=Truth(), name="sigmoid-unit")


def plateau(severity: float, seed: int) -> dict[str, Any]:
    """One sigmoid unit that stands where every example saturates it."""
    problem = _sigmoid(real())
    near = problem.init(jax.random.key(seed))
    far = near.at[-1].set(-between(severity, 8.5, 14.0))
    return {"problem": problem, "rule": descent(10.0), "params": far, "steps": 150, "cure": {"params": near}}


def _layers_loss(scale: Any, params: Any, batch: Batch, key: Key | None) -> jax.Array:
    del scale, key
    features, targets = batch
    first, second = params
    return 0.5 * jnp.mean(jnp.sum(jnp.square(features @ first.T @ second.T - targets), axis=1))


@functools.cache
def _layers(dtype: str) -> tuple[Problem, Any]:
    """Uncorrelated features, so that the loss is that of a factorized matrix with singular values 1, 1/2, 1/4."""
    target = objectives.planted_matrix([1.0, 0.5, 0.25], 6, DIM, seed=1)
    weights = objectives.balanced_weights(target, [1.0, 0.0, 0.0], width=6)
    features = clean_scores(NUM)
    outputs = features @ np.asarray(target.left * target.values @ target.right.T, np.float64).T
    data = jnp.asarray(features, dtype), jnp.asarray(outputs, dtype)

    def init(key: Key) -> Any:
        keys = jax.random.split(key, 2)
        return tuple(0.3 * jax.random.normal(k, leaf.shape, dtype) for k, leaf in zip(keys, weights, strict=True))

    loss = jax.tree_util.Partial(_layers_loss, None)
    return from_loss(loss, init, data, truth=Truth(minimum=0.0), name="two-linear-layers"), weights


def saddle(severity: float, seed: int) -> dict[str, Any]:
    """Two linear layers with one mode of three learned."""
    problem, weights = _layers(real())
    size = between(severity, 1e-4, 1e-8)
    noise = problem.init(jax.random.key(seed))
    near = tuple(leaf + size * each for leaf, each in zip(weights, noise, strict=True))
    far = tuple(leaf + each for leaf, each in zip(weights, noise, strict=True))
    return {"problem": problem, "rule": descent(0.3), "params": near, "steps": 60, "cure": {"params": far}}


def _sine_loss(scale: Any, params: jax.Array, batch: Batch, key: Key | None) -> jax.Array:
    del scale, key
    times, heights = batch
    return 0.5 * jnp.mean(jnp.square(jnp.sin(times @ params) - heights))


@functools.cache
def _sines(dtype: str) -> Problem:
    """sin(w_1 t_1 + w_2 t_2) with w = (2, -1.5); away from it the loss has many minima near 1/2."""
    rng = np.random.default_rng(11)
    times = rng.uniform(-4, 4, size=(NUM + HELD, 2))
    heights = np.sin(times @ np.array([2.0, -1.5])) + 0.05 * rng.normal(size=len(times))
    parts = [
        (jnp.asarray(times[rows], dtype), jnp.asarray(heights[rows], dtype)) for rows in (slice(NUM), slice(NUM, None))
    ]

    def init(key: Key) -> jax.Array:
        return 3 * jax.random.normal(key, (2,), dtype)

    loss = jax.tree_util.Partial(_sine_loss, None)
    return from_loss(loss, init, parts[0], validation=parts[1], truth=Truth(minimum=0.0), name="sine-frequency")


def local_minimum(severity: float, seed: int) -> dict[str, Any]:
    """A sine at rest at a wrong frequency."""
    problem = _sines(real())
    rng = np.random.default_rng(seed)
    angle, away = rng.uniform(0, 2 * np.pi), between(severity, 1.3, 4.0)
    bottom = np.array([2.0, -1.5])
    near = jnp.asarray(bottom + 0.1 * rng.normal(size=2), real())
    far = jnp.asarray(bottom + away * np.array([np.cos(angle), np.sin(angle)]), real())
    rest = trained(problem, descent(0.1), far, 2000, None, seed)
    return {"problem": problem, "rule": descent(0.1), "params": rest, "steps": 100, "cure": {"params": near}}
