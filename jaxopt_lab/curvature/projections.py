"""The projection T = Q' A Q of an operator on a growing Krylov space, with its guard against breakdowns.

    A Q = Q T + beta q e'

T is kept dense, in float64, from measured inner products: after a restart it is an arrow, after a breakdown it falls
into blocks, and neither needs a case of its own.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import InputError, fail
from jaxopt_lab.curvature import krylov
from jaxopt_lab.curvature.operators import Operator, random_vector

_FIRST_ROWS = 32
# Small vectors get many rows at once: a basis of another shape is another program to compile.
_SMALL, _MIDDLE = 2**11, 2**19  # up to here all bases have one size, so that their programs are compiled once
_SMALL_ROWS = 128


@dataclasses.dataclass(frozen=True)
class Ritz:
    """Eigenpairs of T in increasing order.

    Attributes:
      values: [count].
      rotation: eigenvectors in columns, [count, count].
      open_part: the part of each residual along the next direction, [count].
      cut_part: a bound on the part along directions that were given up, [count].
    """

    values: np.ndarray
    rotation: np.ndarray
    open_part: np.ndarray
    cut_part: np.ndarray

    @property
    def residuals(self) -> np.ndarray:
        """Bounds on |A v - theta v|, [count]."""
        return self.open_part + self.cut_part

    def value_errors(self) -> np.ndarray:
        """min(r, r^2 / gap) with the gap to the other Ritz values, [count].

        Reference: Kato 1949, On the upper and lower bounds of eigenvalues.
        """
        residuals = self.residuals
        if len(residuals) < 2:
            return residuals
        gaps = np.abs(self.values[:, None] - self.values) - residuals
        np.fill_diagonal(gaps, np.inf)
        gap = gaps.min(1)
        return np.where(gap > residuals, residuals**2 / np.maximum(gap, residuals + np.finfo(float).tiny), residuals)


@dataclasses.dataclass(frozen=True)
class Projection:
    """A Krylov space and the operator's projection on it.

    Attributes:
      basis: stacked orthonormal rows; row `count` is the next direction.
      matrix: T in its upper left corner, float64 [rows, rows]; like the basis it grows with the space.
      count: dimension of the space.
      coupling: inner products of A times each row with the next direction, [rows].
      neglected: sizes of the couplings of each row that were cut, [rows].
      num_rows: the largest dimension that fits.
      key: PRNG key of the next random vector.
      products: products made.
      scale: the largest |A q| of a unit vector so far, a lower bound on the norm of A.
      complete: whether the space is invariant and nothing lies outside of it that was asked for.
    """

    basis: Any
    matrix: np.ndarray
    count: int
    coupling: np.ndarray
    neglected: np.ndarray
    num_rows: int
    key: jax.Array
    products: int = 0
    scale: float = 0.0
    complete: bool = False

    @property
    def basis_rows(self) -> int:
        """Rows that the basis has now; it grows with the space."""
        return jax.tree.leaves(self.basis)[0].shape[0]

    @functools.cached_property
    def ritz(self) -> "Ritz":
        """The eigenpairs of T, and how far they are from those of A."""
        values, rotation = np.linalg.eigh(self.matrix[: self.count, : self.count])
        open_part = np.abs(self.coupling[: self.count] @ rotation)
        return Ritz(values, rotation, open_part, self.neglected[: self.count] @ np.abs(rotation))

    def least_norm(self) -> float:
        """The least |A v| of a unit vector in the space, up to what was neglected."""
        rows = slice(self.count)
        stacked = np.vstack([self.matrix[rows, rows], self.coupling[rows], np.diag(self.neglected[rows])])
        return float(np.linalg.svd(stacked, compute_uv=False)[-1])


def start_from(operator: Operator, num_rows: int, first: Any, key: jax.Array) -> Projection:
    """The empty space whose first direction is `first`; a zero or non-finite one is replaced by a random vector."""
    rows = _FIRST_ROWS if operator.size <= _MIDDLE else min(num_rows + 1, _FIRST_ROWS)
    rows = _SMALL_ROWS if operator.size <= _SMALL else rows
    basis = krylov.zero_basis(operator.like, rows)
    first = jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), first, operator.like)
    basis, _, norm = krylov.append(basis, 0, first)
    state = Projection(basis, np.zeros((rows, rows)), 0, np.zeros(rows), np.zeros(rows), num_rows, key)
    return state if 0 < float(norm) < np.inf else refresh(operator, state)


def grow(operator: Operator, state: Projection, *, refill: bool = True) -> Projection:
    """One product: the space gains one dimension.

    Args:
      operator: symmetric, d rows.
      state: a space of less than `num_rows` dimensions; its basis is given up.
      refill: continue from a random vector when the space becomes invariant; otherwise mark it complete.

    Returns:
      The larger space.

    Raises:
      InputError: the product is not finite.
    """
    product = operator(krylov.row(state.basis, state.count))
    if state.count + 2 > state.basis_rows:
        state = _extended(state)
    count = state.count
    basis, inner, norm = krylov.append(state.basis, count + 1, product)
    inner, beta = np.asarray(inner, np.float64)[: count + 1], float(norm)
    if not (np.isfinite(inner).all() and np.isfinite(beta)):
        raise not_finite(operator, state.products + 1)
    matrix, coupling = state.matrix.copy(), np.zeros_like(state.coupling)
    matrix[: count + 1, count] = matrix[count, : count + 1] = inner
    scale = max(state.scale, float(np.hypot(np.linalg.norm(inner), beta)))
    whole = count + 1 == operator.size
    coupling[count] = 0.0 if whole else beta
    neglected = state.neglected.copy()  # what was cut along this direction is measured now
    neglected[:count] = np.sqrt(np.maximum(neglected[:count] ** 2 - inner[:count] ** 2, 0))
    broken = beta <= krylov.BREAKDOWN * operator.epsilon * scale
    state = dataclasses.replace(
        state, basis=basis, matrix=matrix, count=count + 1, coupling=coupling, neglected=neglected,
        products=state.products + 1, scale=scale, complete=whole or (broken and not refill),
    )  # fmt: skip
    return refresh(operator, state) if broken and not state.complete else state


def not_finite(operator: Operator, number: int) -> InputError:
    """What stops a recurrence at product `number`."""
    return fail(
        operator.name, f"product {number} is not finite",
        "The loss is not twice differentiable at this point, or it overflows there.",
    )  # fmt: skip


def restart(state: Projection, kept: np.ndarray) -> Projection:
    """Shrinks the space to the Ritz vectors at places `kept` of increasing order, and the next direction."""
    ritz = state.ritz
    values, rotation = ritz.values, ritz.rotation
    scale = max(state.scale, float(np.abs(values).max()))
    rotation, used, new = rotation[:, kept], slice(state.count), slice(len(kept))
    weights = np.zeros((len(kept), state.basis_rows))
    weights[:, used] = rotation.T
    matrix, coupling, neglected = (np.zeros_like(old) for old in (state.matrix, state.coupling, state.neglected))
    matrix[new, new] = np.diag(values[kept])
    coupling[new] = state.coupling[used] @ rotation
    neglected[new] = state.neglected[used] @ np.abs(rotation)
    basis = krylov.rotate(state.basis, weights, state.count)
    return dataclasses.replace(
        state, basis=basis, matrix=matrix, count=len(kept), coupling=coupling, neglected=neglected, scale=scale
    )


def refresh(operator: Operator, state: Projection) -> Projection:
    """Replaces the next direction by a random one; what it coupled to is cut, and counted as neglected."""
    key, draw = jax.random.split(state.key)
    noise = random_vector(draw, operator.like)
    basis, _, _ = krylov.append(state.basis, state.count, noise)
    # A random vector is nearly all inside of a space of nearly all dimensions: what is left is cleaned once more.
    basis, _, _ = krylov.append(basis, state.count, krylov.row(basis, state.count))
    return dataclasses.replace(_cut(state), basis=basis, key=key)


def reopen(operator: Operator, state: Projection, place: int) -> Projection:
    """Replaces the next direction by the residual of row `place`, to take up what was cut there. Cost: 1 product."""
    product = operator(krylov.row(state.basis, place))
    basis, _, norm = krylov.append(state.basis, state.count, product)
    cut = _cut(state)
    cut.coupling[place], cut.neglected[place] = float(norm), 0.0
    return dataclasses.replace(cut, basis=basis, products=state.products + 1)


def _extended(state: Projection) -> Projection:
    """The same space with room for more rows."""
    rows = min(2 * state.basis_rows, state.num_rows + 1)
    room = rows - len(state.matrix)
    return dataclasses.replace(
        state, basis=krylov.extend(state.basis, rows), matrix=np.pad(state.matrix, (0, room)),
        coupling=np.pad(state.coupling, (0, room)), neglected=np.pad(state.neglected, (0, room)),
    )  # fmt: skip


def _cut(state: Projection) -> Projection:
    neglected = np.hypot(state.neglected, state.coupling)
    return dataclasses.replace(state, neglected=neglected, coupling=np.zeros_like(state.coupling))


def ritz_vectors(state: Projection, places: np.ndarray) -> Any:
    """The Ritz vectors at `places` of increasing order, stacked, each of norm 1."""
    weights = np.zeros((len(places), state.basis_rows))
    weights[:, : state.count] = state.ritz.rotation[:, places].T
    return _unit_rows(state.basis, weights)


@jax.jit
def _unit_rows(basis: Any, weights: jax.Array) -> Any:
    turned = krylov.combine(basis, weights)
    parts = [jnp.sum(jnp.square(rows), axis=tuple(range(1, rows.ndim))) for rows in jax.tree.leaves(turned)]
    squares = sum(parts[1:], parts[0])
    factor = jax.lax.rsqrt(jnp.maximum(squares, jnp.finfo(squares.dtype).tiny))
    return jax.tree.map(lambda rows: rows * factor.reshape((-1,) + (1,) * (rows.ndim - 1)).astype(rows.dtype), turned)
