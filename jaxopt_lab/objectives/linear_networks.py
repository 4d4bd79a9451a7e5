"""Deep linear networks and matrix factorization, whose saddles are all known.

    f = 1/2 |W_L ... W_1 - A|_F^2,   A = U diag(s) V' of rank r, hidden width h >= r

A critical point fits a subset of A's singular triples; with two layers its loss, index and smallest eigenvalue are
those of `theory.linear_networks.linear_network_saddle`. From small weights a run passes the saddles
that fit the largest values first.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Problem, Truth, fail, vectors
from jaxopt_lab.core.errors import (
    is_concrete_number,
    require_between,
    require_choice,
    require_count,
    require_memory,
    require_size,
)
from jaxopt_lab.core.memory import available_memory
from jaxopt_lab.core.problem import Batch, Key

Weights = tuple[jax.Array, ...]


class PlantedMatrix(NamedTuple):
    """A matrix by its singular triples, A = left diag(values) right'; it is never made whole.

    Attributes:
      left: [rows, r], orthonormal columns.
      values: [r], positive.
      right: [columns, r], orthonormal columns.
    """

    left: jax.Array
    values: jax.Array
    right: jax.Array


def planted_matrix(
    singular_values: Sequence[float] | np.ndarray, num_rows: int, num_columns: int | None = None, *, seed: int = 0
) -> PlantedMatrix:
    """A matrix with the given singular values and random singular vectors.

    Args:
      singular_values: r positive numbers, in any order.
      num_rows: at least r.
      num_columns: at least r; None for a square matrix.
      seed: seeds the singular vectors.

    Returns:
      The matrix. Memory: r (rows + columns) numbers.

    Raises:
      InputError: a value that is not positive, or more values than rows or columns.

    Example:
      >>> matrix = planted_matrix([3.0, 1.0], 4, 5)
      >>> round(float(jnp.linalg.norm(matrix.left * matrix.values @ matrix.right.T, 2)), 5)
      3.0
    """
    where = "planted_matrix"
    num_columns = num_rows if num_columns is None else num_columns
    for name, count in (("num_rows", num_rows), ("num_columns", num_columns)):
        require_count(where, name, count)
    values = np.asarray(singular_values, float)
    if values.ndim != 1 or len(values) == 0 or not np.all(np.isfinite(values) & (values > 0)):
        raise fail(where, f"singular_values must be positive numbers, got {values.tolist()}", "Zeros are not listed.")
    if len(values) > min(num_rows, num_columns):
        raise fail(where, f"a {num_rows} x {num_columns} matrix cannot have rank {len(values)}")
    rng, real = np.random.default_rng(seed), jnp.zeros((), float).dtype
    left, right = (np.linalg.qr(rng.normal(size=(n, len(values))))[0] for n in (num_rows, num_columns))
    return PlantedMatrix(jnp.asarray(left, real), jnp.asarray(values, real), jnp.asarray(right, real))


def balanced_weights(
    target: PlantedMatrix, strengths: Sequence[float] | np.ndarray | jax.Array, *, depth: int = 2, width: int
) -> Weights:
    """Layers whose product is left diag(strengths) right', every mode shared equally: W_l = strength^(1 / L) each.

    With strengths s on a subset of the triples and 0 elsewhere it is a critical point; with all of them, a minimum.

    Args:
      target: whose singular vectors are used.
      strengths: [r], not negative.
      depth: L >= 2 layers.
      width: h >= r hidden units.

    Returns:
      (W_1 [h, columns], W_2 [h, h], ..., W_L [rows, h]).

    Raises:
      InputError: another number of strengths, a negative one, a width below the rank, or a depth below 2.

    Example:
      >>> first, second = balanced_weights(planted_matrix([4.0], 2), [4.0], width=3)
      >>> round(float(jnp.linalg.norm(first)), 5), round(float(jnp.linalg.norm(second @ first)), 5)
      (2.0, 4.0)
    """
    where, rank = "balanced_weights", len(target.values)
    _require_layers(where, target, depth, width)
    shares = jnp.asarray(strengths, target.values.dtype)
    if shares.shape != (rank,) or (not isinstance(shares, jax.core.Tracer) and bool(jnp.any(shares < 0))):
        raise fail(where, f"strengths must be {rank} numbers that are not negative, got {strengths}")
    diagonal = jnp.zeros((width, rank), shares.dtype).at[:rank, :rank].set(jnp.diag(shares ** (1 / depth)))
    hidden = jnp.zeros((width, width), shares.dtype).at[:, :rank].set(diagonal)
    return (diagonal @ target.right.T, *[hidden] * (depth - 2), target.left @ diagonal.T)


def linear_network(
    target: PlantedMatrix, *, depth: int = 2, width: int | None = None, start: str = "random", scale: float = 1e-3
) -> Problem:
    """Fits a matrix by a product of L others: with two layers, matrix factorization.

    Args:
      target: the matrix A; see `planted_matrix`.
      depth: L >= 2 layers.
      width: h >= r hidden units; None for the larger of rows and columns.
      start: "random", entries N(0, scale^2 / h), so that a unit vector comes out of W_1 with length near `scale`; or
        "balanced", every mode aligned and `scale` in every layer, so that the product starts at scale^L.
      scale: size a > 0 of the start. Below about 1e-5 in float32, rounding and not the start seeds the modes.

    Returns:
      The problem; its parameters are the tuple (W_1, ..., W_L), its metric "strengths" is `mode_strengths`. `truth`
      holds the minimum 0, and index and largest eigenvalue of the saddle at the origin: r h and max s with two layers,
      0 and 0 with more, where it is not strict. There is no `minimizer`: minima are a manifold. Cost of a gradient with
      two layers: 6 h rows columns flops.

    Raises:
      InputError: a rank above the width, a start at the saddle itself, an unknown start, or too little memory.

    Example:
      >>> problem = linear_network(planted_matrix([3.0, 2.0, 1.0], 4), width=4)
      >>> round(float(problem.full_loss(problem.init(jax.random.key(0)))), 3), problem.truth.index
      (7.0, 12)
    """
    where, rows, columns = "linear_network", target.left.shape[0], target.right.shape[0]
    width = max(rows, columns) if width is None else width
    _require_layers(where, target, depth, width)
    require_choice(where, "start", start, ("random", "balanced"))
    if is_concrete_number(scale) and scale == 0:
        raise fail(where, "scale is 0: the start is the saddle itself", "Gradients vanish there, and descent stays.")
    require_between(where, "scale", scale, 0.0, np.inf, ends="()")
    real = target.values.dtype
    size = width * (rows + columns + (depth - 2) * width)
    require_memory(where, 3 * size * real.itemsize, available_memory(), f"a network of {size:.3g} weights")

    def random(key: Key) -> Weights:
        shapes = [(width, columns), *[(width, width)] * (depth - 2), (rows, width)]
        keys = jax.random.split(key, depth)
        each = jnp.asarray(scale / math.sqrt(width), real)
        return tuple(each * jax.random.normal(k, shape, real) for k, shape in zip(keys, shapes, strict=True))

    def balanced(key: Key) -> Weights:
        del key
        return balanced_weights(target, jnp.full(len(target.values), scale**depth, real), depth=depth, width=width)

    strict = depth == 2
    return Problem(
        loss=jax.tree_util.Partial(_product_loss, target),
        init=random if start == "random" else balanced,
        metrics={"strengths": jax.tree_util.Partial(_strengths, target)},
        truth=Truth(
            smoothness=float(jnp.max(target.values)) if strict else 0.0,
            minimum=0.0,
            index=len(target.values) * width if strict else 0,
        ),
        name=f"linear-network-{depth}",
    )


def mode_strengths(target: PlantedMatrix, weights: Weights) -> jax.Array:
    """How much of each triple the product of the layers has learned, [r]: left_i' W_L ... W_1 right_i.

    Example:
      >>> target = planted_matrix([3.0, 1.0], 4)
      >>> mode_strengths(target, balanced_weights(target, [2.0, 0.5], width=4)).round(5).tolist()
      [2.0, 0.5]
    """
    learned = target.right
    for layer in weights:
        learned = layer @ learned
    return jnp.sum(target.left * learned, axis=0)


def _product_loss(target: PlantedMatrix, params: Weights, batch: Batch, key: Key | None) -> jax.Array:
    del batch, key
    product = params[0]
    for layer in params[1:]:
        product = layer @ product
    return 0.5 * vectors.sum_of_squares(product - target.left * target.values @ target.right.T)


def _strengths(target: PlantedMatrix, params: Weights, batch: Batch) -> jax.Array:
    del batch
    return mode_strengths(target, params)


def _require_layers(where: str, target: PlantedMatrix, depth: int, width: int) -> None:
    require_count(where, "depth", depth, minimum=2, why="One layer has no saddle.")
    require_size(where, "width", width)
    rank = len(target.values)
    if width < rank:
        raise fail(where, f"width must be at least the rank {rank} of the target, got {width}", "It cannot be fitted.")
