"""A Krylov basis kept as a pytree: one leading axis of rows before each leaf's own axes.

Inner products with all rows are contractions over the leaves' own axes, so that sharded leaves need one all-reduce.
Such a contraction loses digits in float32 over a long axis (1e-4 relative at 1e7 entries); the second pass of the
orthogonalization measures what the first left behind and takes it out, so that the sum of both is accurate.

Reference: Giraud, Langou, Rozloznik, van den Eshof 2005, Rounding error analysis of the classical Gram-Schmidt
orthogonalization process ("twice is enough").
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from jaxopt_lab.core import meshes, vectors

Basis = Any
Vector = Any

BREAKDOWN = 64.0
ROUNDING = 16.0
_LONG = 2**18


def zero_basis(like: Any, num_rows: int) -> Basis:
    """`num_rows` zero vectors, stacked, sharded as the vectors are."""
    if all(_place_of(leaf) is None for leaf in jax.tree.leaves(like)):
        leaves, structure = jax.tree.flatten(like)
        shapes = tuple((tuple(leaf.shape), jnp.dtype(leaf.dtype)) for leaf in leaves)
        return structure.unflatten(_zero_leaves(num_rows, shapes))
    return jax.tree.map(partial(_zero_rows, num_rows), like)


def coefficients(basis: Basis, vector: Vector) -> jax.Array:
    """The inner products [rows] of all rows with a vector."""
    place = meshes.replicated(basis)
    parts = [
        jnp.tensordot(rows, leaf, axes=leaf.ndim, precision="highest", out_sharding=place)
        for rows, leaf in zip(jax.tree.leaves(basis), jax.tree.leaves(vector), strict=True)
    ]
    return sum(parts[1:], parts[0])


def combine(basis: Basis, weights: jax.typing.ArrayLike) -> Vector:
    """The vector sum_j weights[j] row_j, for weights [rows]; for weights [new, rows] a basis of `new` rows."""
    factors = jnp.asarray(weights)
    return jax.tree.map(
        lambda rows: jnp.tensordot(factors.astype(rows.dtype), rows, axes=1, precision="highest"), basis
    )


def row(basis: Basis, place: int) -> Vector:
    """One row of the basis."""
    return _row(basis, jnp.asarray(place, jnp.int32))


def orthogonalize(basis: Basis, count: Any, vector: Vector) -> tuple[Vector, jax.Array, jax.Array]:
    """Takes the span of the first `count` rows out of a vector, twice where once is not enough.

    Once is enough where more than half of the vector is left, so that no digits were lost, and the leaves are short
    enough for the contraction to keep its own.

    Returns:
      (rest, inner products [rows], norm of the rest).
    """

    def taken_out(vector: Vector) -> tuple[Vector, jax.Array, jax.Array]:
        inner = coefficients(basis, vector)
        inner = jnp.where(jnp.arange(inner.size) < count, inner, 0)
        rest = vectors.subtract(vector, combine(basis, inner))
        return rest, inner, vectors.norm(rest)

    def again(first: tuple[Vector, jax.Array, jax.Array]) -> tuple[Vector, jax.Array, jax.Array]:
        rest, inner, norm = taken_out(first[0])
        return rest, first[1] + inner, norm

    first = taken_out(vector)
    if vectors.size(vector) > _LONG:
        return again(first)
    return lax.cond(first[2] > 0.5 * vectors.norm(vector), lambda done: done, again, first)


def append(basis: Basis, count: int, vector: Vector) -> tuple[Basis, jax.Array, jax.Array]:
    """Orthogonalizes a vector against the first `count` rows and puts it, normalized, in row `count`.

    Args:
      basis: stacked rows; donated.
      count: number of rows in use, less than all.
      vector: what to add.

    Returns:
      (basis, inner products with all rows [rows], norm of the rest before it was normalized).
    """
    return meshes.settled(_append(basis, jnp.asarray(count, jnp.int32), vector))


def extend(basis: Basis, num_rows: int) -> Basis:
    """A copy of the basis with `num_rows` rows, the new ones zero."""
    return _extend(num_rows, basis)


def rotate(basis: Basis, weights: jax.typing.ArrayLike, kept: int) -> Basis:
    """Puts weights [new, rows] times the rows in the first `new` rows, and the old row `kept` behind them.

    Cost: O(new rows d), in place but for `new` vectors.
    """
    return meshes.settled(_rotate(basis, jnp.asarray(weights), jnp.asarray(kept, jnp.int32)))


@partial(jax.jit, static_argnums=0)
def _extend(num_rows: int, basis: Basis) -> Basis:
    return jax.tree.map(lambda rows: jnp.pad(rows, [(0, num_rows - rows.shape[0])] + [(0, 0)] * (rows.ndim - 1)), basis)


@partial(jax.jit, donate_argnums=0)
def _append(basis: Basis, count: jax.Array, vector: Vector) -> tuple[Basis, jax.Array, jax.Array]:
    rest, inner, norm = orthogonalize(basis, count, vector)
    unit = vectors.scale(1 / jnp.where(norm > 0, norm, 1), rest)
    return jax.tree.map(lambda rows, leaf: put(rows, leaf, count), basis, unit), inner, norm


@jax.jit
def _row(basis: Basis, place: jax.Array) -> Vector:
    return jax.tree.map(lambda rows: lax.dynamic_index_in_dim(rows, place, keepdims=False), basis)


@partial(jax.jit, donate_argnums=0)
def _rotate(basis: Basis, weights: jax.Array, kept: jax.Array) -> Basis:
    last = _row(basis, kept)
    new = combine(basis, weights)
    num_new = weights.shape[0]

    def fill(rows: jax.Array, turned: jax.Array, leaf: jax.Array) -> jax.Array:
        return put(lax.dynamic_update_slice_in_dim(rows, turned, 0, 0), leaf, num_new)

    return jax.tree.map(fill, basis, new, last)


def put(rows: jax.Array, leaf: jax.Array, place: Any) -> jax.Array:
    """One leaf's rows with a vector's leaf, in their dtype, at a place."""
    return lax.dynamic_update_index_in_dim(rows, leaf.astype(rows.dtype), place, 0)


def _zero_rows(num_rows: int, leaf: jax.ShapeDtypeStruct) -> jax.Array:
    return jnp.zeros((num_rows, *leaf.shape), leaf.dtype, device=_place_of(leaf))


def _place_of(leaf: jax.ShapeDtypeStruct) -> Any:
    """Where rows of a leaf belong; None where no device was asked for: each program would be compiled for both."""
    sharding = leaf.sharding
    if isinstance(sharding, NamedSharding):
        return NamedSharding(sharding.mesh, PartitionSpec(None, *sharding.spec))
    if sharding is None or len(sharding.device_set) > 1 or sharding.device_set == {jax.devices()[0]}:
        return None
    return sharding


@partial(jax.jit, static_argnums=(0, 1))
def _zero_leaves(num_rows: int, shapes: tuple[Any, ...]) -> list[jax.Array]:
    return [jnp.zeros((num_rows, *shape), dtype) for shape, dtype in shapes]
