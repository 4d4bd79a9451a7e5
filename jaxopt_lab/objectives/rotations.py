"""Rotations that are applied without a matrix: each is orthogonal and costs O(d) or O(d log d).

householder:  x -> (I - 2 u u') x, one after the other for a few random unit vectors u
hadamard:     x -> H D x, random signs D and the orthonormal Walsh-Hadamard transform H: no axis is left recognizable
"""

import math

import jax
import jax.numpy as jnp

from jaxopt_lab.core import fail


def reflectors(key: jax.Array, dim: int, count: int) -> jax.Array:
    """Random unit vectors, shape [count, d]."""
    drawn = jax.random.normal(key, (count, dim), float)
    return drawn / jnp.sqrt(jnp.sum(drawn**2, axis=1, keepdims=True))


def reflect(units: jax.Array, x: jax.Array) -> jax.Array:
    """Householder reflections of x [d] in the hyperplanes across `units` [count, d], in order."""
    for unit in units:
        x = x - 2 * jnp.sum(unit * x) * unit
    return x


def random_signs(key: jax.Array, dim: int) -> jax.Array:
    """Random signs, shape [d].

    Raises:
      InputError: d is no power of two, which the transform needs.
    """
    if dim & (dim - 1):
        raise fail(
            "quadratic",
            f"rotation='hadamard' needs a power of two as dimension, got {dim}",
            f"Take {2 ** max(round(math.log2(dim)), 0)}, or rotation='householder'.",
        )
    return jax.random.rademacher(key, (dim,), float)


def hadamard(x: jax.Array) -> jax.Array:
    """Orthonormal Walsh-Hadamard transform of x [d], its own inverse. Cost: d log2 d additions.

    Example:
      >>> hadamard(jnp.array([1.0, 0.0, 0.0, 0.0])).tolist()
      [0.5, 0.5, 0.5, 0.5]
    """
    dim = x.shape[0]
    span = 1
    while span < dim:
        pairs = x.reshape(-1, 2, span)
        x = jnp.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1).reshape(dim)
        span *= 2
    return x * jnp.asarray(1 / math.sqrt(dim), x.dtype)
