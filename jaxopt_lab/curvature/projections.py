"""The projection T = Q' A Q of an operator on a growing Krylov space, with its guard against breakdowns.

    A Q = Q T + beta q e'

T is kept dense, in float64, from measured inner products: after a restart it is an arrow, after a breakdown it falls
into blocks, and neither needs a case of its own.
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from jaxopt_lab.core import fail, vectors
from jaxopt_lab.curvature import krylov
from jaxopt_lab.curvature.operators import Operator, random_vector


@dataclasses.dataclass(frozen=True)
class Projection:
    """A Krylov space and the operator's projection on it.

    Attributes:
      basis: stacked orthonormal rows; row `count` is the next direction.
      matrix: T in its upper left corner, float64 [rows, rows].
      count: dimension of the space.
      coupling: inner products of A times each row with the next direction, [rows].
      key: PRNG key of the next random vector.
      products: products made.
      scale: the largest |A q| so far, a lower bound on the norm of A.
      neglected: sizes of the couplings of each row that were cut, [rows].
      fresh: `products` at which the space was last continued from a random vector.
      complete: whether the space is invariant and nothing lies outside of it that was asked for.
    """

    basis: Any
    matrix: np.ndarray
    count: int
    coupling: np.ndarray
    neglected: np.ndarray
    key: jax.Array
    products: int = 0
    scale: float = 0.0
    fresh: int = 0
    complete: bool = False

    @property
    def num_rows(self) -> int:
        """The largest dimension that fits."""
        return len(self.matrix)

    def ritz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Eigenvalues of T in increasing order [count], its eigenvectors [count, count], and residuals [count]."""
        values, rotation = np.linalg.eigh(self.matrix[: self.count, : self.count])
        known = np.abs(self.coupling[: self.count] @ rotation)
        return values, rotation, known + self.neglected[: self.count] @ np.abs(rotation)

    def least_norm(self) -> float:
        """The least |A v| of a unit vector in the space, up to what was neglected."""
        rows = slice(self.count)
        stacked = np.vstack([self.matrix[rows, rows], self.coupling[rows], np.diag(self.neglected[rows])])
        return float(np.linalg.svd(stacked, compute_uv=False)[-1])


def start_from(operator: Operator, num_rows: int, first: Any, key: jax.Array) -> Projection:
    """The empty space whose first direction is `first`; a zero or non-finite one is replaced by a random vector."""
    basis = krylov.zero_basis(operator.like, num_rows + 1)
    first = jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), first, operator.like)
    basis, _, norm = krylov.append(basis, 0, first)
    state = Projection(basis, np.zeros((num_rows, num_rows)), 0, np.zeros(num_rows), np.zeros(num_rows), key)
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
    count = state.count
    product = operator(krylov.row(state.basis, count))
    basis, inner, norm = krylov.append(state.basis, count + 1, product)
    inner, beta = np.asarray(inner, np.float64)[: count + 1], float(norm)
    if not (np.isfinite(inner).all() and np.isfinite(beta)):
        raise fail(
            operator.name, f"product {state.products + 1} is not finite",
            "The loss is not twice differentiable at this point, or it overflows there.",
        )  # fmt: skip
    matrix, coupling = state.matrix.copy(), np.zeros_like(state.coupling)
    matrix[: count + 1, count] = matrix[count, : count + 1] = inner
    scale = max(state.scale, float(np.hypot(np.linalg.norm(inner), beta)))
    whole = count + 1 == operator.size
    coupling[count] = 0.0 if whole else beta
    broken = beta <= krylov.BREAKDOWN * operator.epsilon * scale
    state = dataclasses.replace(
        state, basis=basis, matrix=matrix, count=count + 1, coupling=coupling, products=state.products + 1, scale=scale,
        complete=whole or (broken and not refill),
    )  # fmt: skip
    return refresh(operator, state) if broken and not state.complete else state


def restart(state: Projection, kept: np.ndarray) -> Projection:
    """Shrinks the space to the Ritz vectors at places `kept` of increasing order, and the next direction."""
    values, rotation, _ = state.ritz()
    rotation, used, new = rotation[:, kept], slice(state.count), slice(len(kept))
    weights = np.zeros((len(kept), state.num_rows + 1))
    weights[:, used] = rotation.T
    matrix, coupling, neglected = (np.zeros_like(old) for old in (state.matrix, state.coupling, state.neglected))
    matrix[new, new] = np.diag(values[kept])
    coupling[new] = state.coupling[used] @ rotation
    neglected[new] = state.neglected[used] @ np.abs(rotation)
    basis = krylov.rotate(state.basis, weights, state.count)
    return dataclasses.replace(
        state, basis=basis, matrix=matrix, count=len(kept), coupling=coupling, neglected=neglected
    )


def refresh(operator: Operator, state: Projection) -> Projection:
    """Replaces the next direction by a random one; what it coupled to is cut, and counted as neglected."""
    key, draw = jax.random.split(state.key)
    noise = random_vector(draw, operator.like)
    basis, _, _ = krylov.append(state.basis, state.count, noise)
    # A random vector is nearly all inside of a space of nearly all dimensions: what is left is cleaned once more.
    basis, _, _ = krylov.append(basis, state.count, krylov.row(basis, state.count))
    neglected, coupling = state.neglected + np.abs(state.coupling), np.zeros_like(state.coupling)
    return dataclasses.replace(
        state, basis=basis, key=key, coupling=coupling, neglected=neglected, fresh=state.products
    )


def ritz_vectors(state: Projection, places: np.ndarray) -> Any:
    """The Ritz vectors at `places` of increasing order, stacked, each of norm 1."""
    _, rotation, _ = state.ritz()
    weights = np.zeros((len(places), state.num_rows + 1))
    weights[:, : state.count] = rotation[:, places].T
    turned = krylov.combine(state.basis, weights)
    return jax.vmap(lambda row: vectors.scale(1 / vectors.norm(row), row))(turned) if len(places) else turned
