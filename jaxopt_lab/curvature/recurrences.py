"""Lanczos' three-term recurrence, whose directions are kept apart by a basis at less cost, or by none.

    A q_k = beta_(k-1) q_(k-1) + alpha_k q_k + sum_i c_ik q_i + beta_k q_(k+1)

The large coefficients are those of the last two directions, which are at hand as they are. The basis takes out what
rounding has put back of the others, which is little; so it may lie far away, or be rounded itself. A row in bfloat16
is off by 2^-9, and so Q'Q by as much an entry from 1. With the c_ik in it, H has the eigenvalues of the projection, and
its symmetric part, which is T, has them up to |Q'Q - 1|^2 |A|. The first direction is kept as it is, so that weights
are those of the vector.

Reference: Simon 1984, Analysis of the symmetric Lanczos algorithm with reorthogonalization methods.
"""

import functools
import math
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxopt_lab.core import fail, meshes, vectors
from jaxopt_lab.curvature import krylov
from jaxopt_lab.curvature.operators import Operator
from jaxopt_lab.curvature.projections import not_finite

_ROUNDED = 2.0**-9  # of an entry in bfloat16


class Basis(Protocol):
    """The directions so far."""

    def clean(self, vector: Any) -> tuple[Any, np.ndarray]:
        """The vector without its part in their span, and the inner products [directions]."""
        ...

    def keep(self, vector: Any) -> None:
        """Adds a direction."""
        ...

    def slack(self, epsilon: float) -> float:
        """Rounding error of a mass, and of a node over |A|, for products with a rounding error of `epsilon`."""
        ...


class NoBasis:
    """Keeps nothing."""

    def clean(self, vector: Any) -> tuple[Any, np.ndarray]:
        """The vector itself."""
        return vector, np.zeros(0)

    def keep(self, vector: Any) -> None:
        """Nothing."""

    def slack(self, epsilon: float) -> float:
        """The square root of the rounding error."""
        return math.sqrt(epsilon)


class RoundedBasis:
    """The first direction, and rows in bfloat16 where the vectors are; one row at a time is widened.

    To take them out once leaves 2^-9 |A| / beta times what was there, which grows from step to step where |A| is more
    than 512 beta; twice leaves 2^-9 of that.
    """

    def __init__(self, like: Any, num_rows: int) -> None:
        short = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16, sharding=x.sharding), like)
        self._rows, self._count, self._first = krylov.zero_basis(short, num_rows), 0, None

    def clean(self, vector: Any) -> tuple[Any, np.ndarray]:
        """The vector without its part in their span, taken out twice, and the inner products [directions]."""
        count = jnp.asarray(self._count, jnp.int32)
        rest, inner = meshes.settled(_taken_out(self._first, self._rows, count, vector))
        return rest, np.asarray(inner, np.float64)[: self._count]

    def keep(self, vector: Any) -> None:
        """Adds a direction, rounded."""
        self._first = vectors.copy(vector) if self._first is None else self._first
        self._rows = meshes.settled(_kept(self._rows, jnp.asarray(self._count, jnp.int32), vector))
        self._count += 1

    def slack(self, epsilon: float) -> float:
        """Of second order in what a row is off by."""
        return krylov.ROUNDING * max(epsilon, _ROUNDED**2)


class HostBasis:
    """Rows as NumPy arrays in the host's memory; each product takes one vector there and one back."""

    def __init__(self, like: Any, num_rows: int) -> None:
        leaves = jax.tree.leaves(like)
        self._rows = [np.empty((num_rows, math.prod(leaf.shape)), leaf.dtype) for leaf in leaves]
        self._count = 0

    def clean(self, vector: Any) -> tuple[Any, np.ndarray]:
        """The vector without its part in their span, taken out twice, and the inner products [directions]."""
        leaves, structure = jax.tree.flatten(vector)
        flat = [np.array(jax.device_get(leaf)).ravel() for leaf in leaves]
        used, total = [rows[: self._count] for rows in self._rows], np.zeros(self._count)
        for _ in range(2):
            inner = sum(rows @ part for rows, part in zip(used, flat, strict=True))
            total += inner
            for rows, part in zip(used, flat, strict=True):
                part -= inner @ rows
        back = [jax.device_put(part.reshape(x.shape), x.sharding) for part, x in zip(flat, leaves, strict=True)]
        return structure.unflatten(back), total

    def keep(self, vector: Any) -> None:
        """Adds a direction."""
        for rows, leaf in zip(self._rows, jax.tree.leaves(vector), strict=True):
            rows[self._count] = np.asarray(jax.device_get(leaf)).ravel()
        self._count += 1

    def slack(self, epsilon: float) -> float:
        """That of the products alone."""
        return krylov.ROUNDING * epsilon


def projection_on(operator: Operator, num_steps: int, start: Any, basis: Basis) -> tuple[np.ndarray, float, float]:
    """T of the Krylov space of a vector.

    Args:
      operator: symmetric, d rows.
      num_steps: k products; fewer where the space closes.
      start: the vector, not zero.
      basis: empty.

    Returns:
      (T [k, k], beta_k or 0 where the space has closed, the largest |A q| of a direction).

    Raises:
      InputError: a product that is not finite.
    """
    current = vectors.scale(1 / vectors.norm(start), start)
    previous, beta = vectors.zeros_like(current), jnp.zeros(())
    matrix, scale, last, count = np.zeros((num_steps + 1, num_steps)), 0.0, 0.0, 0
    while count < num_steps:
        basis.keep(current)
        rest, alpha = meshes.settled(_three_terms(previous, current, operator(current), beta))
        rest, inner = basis.clean(rest)
        previous, (current, beta) = current, meshes.settled(_unit(rest))
        if not (np.isfinite(alpha) and np.isfinite(beta)):
            raise not_finite(operator, count + 1)
        matrix[: len(inner), count] = inner
        matrix[max(count - 1, 0), count] += last
        matrix[count, count] += float(alpha)
        scale = max(scale, math.hypot(last, float(alpha), float(beta)))
        last = matrix[count + 1, count] = float(beta)
        count += 1
        if last <= krylov.BREAKDOWN * operator.epsilon * scale:
            last = 0.0
            break
    found = matrix[:count, :count]
    return (found + found.T) / 2, last, scale


def require_addressable(where: str, operator: Operator) -> None:
    """Raises where another process holds a part of the vectors, which the host's memory then cannot hold whole."""
    places = [leaf.sharding for leaf in jax.tree.leaves(operator.like) if leaf.sharding is not None]
    if not all(place.is_fully_addressable for place in places):
        raise fail(
            where, "basis='host' needs vectors that one process holds in full",
            "Take basis='bfloat16' or 'none' where parameters are spread over processes.",
        )  # fmt: skip


@jax.jit
def _three_terms(previous: Any, current: Any, product: Any, beta: jax.Array) -> tuple[Any, jax.Array]:
    rest = vectors.axpy(-beta, previous, product)
    alpha = vectors.dot(current, rest)
    return vectors.axpy(-alpha, current, rest), alpha


@functools.partial(jax.jit, donate_argnums=0)
def _unit(rest: Any) -> tuple[Any, jax.Array]:
    beta = vectors.norm(rest)
    return vectors.scale(1 / jnp.where(beta > 0, beta, 1), rest), beta


@functools.partial(jax.jit, donate_argnums=3)
def _taken_out(first: Any, rows: Any, count: jax.Array, vector: Any) -> tuple[Any, jax.Array]:
    def without(place: jax.Array, state: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
        rest, inner = state
        row = jax.tree.map(lambda leaf, like: leaf[place].astype(like.dtype), rows, rest)
        part = vectors.dot(row, rest)
        return vectors.axpy(-part, row, rest), inner.at[place].set(part)

    def once(rest: Any) -> tuple[Any, jax.Array]:
        part = vectors.dot(first, rest)
        inner = jnp.zeros(jax.tree.leaves(rows)[0].shape[0], part.dtype).at[0].set(part)
        return lax.fori_loop(1, count, without, (vectors.axpy(-part, first, rest), inner))

    rest, inner = once(vector)
    rest, again = once(rest)
    return rest, inner + again


@functools.partial(jax.jit, donate_argnums=0)
def _kept(rows: Any, count: jax.Array, vector: Any) -> Any:
    return jax.tree.map(lambda leaf, new: krylov.put(leaf, new, count), rows, vector)
