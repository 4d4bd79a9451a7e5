"""The features and the start that all cases of `regressions` share."""

import functools

import jax
import numpy as np

from jaxopt_lab.core import Key

DIM, NUM, HELD = 16, 512, 256


@functools.cache
def clean_scores(num: int) -> np.ndarray:
    """Features [n, d] with mean 0, variance 1 and no correlation among the first n."""
    drawn = np.random.default_rng(num).normal(size=(num, DIM))
    return np.sqrt(num) * np.linalg.qr(drawn - drawn.mean(0))[0]


def small_start(key: Key) -> jax.Array:
    """Weights of size 0.1, the last one a bias's."""
    return 0.1 * jax.random.normal(key, (DIM + 1,), float)
