"""Extreme eigenpairs by guarded thick-restart Lanczos: a true eigenvalue or a bound, never a ghost.

    A Q = Q T + beta q e',   T s = theta s,   |A Q s - theta Q s| = beta |s_last|

The basis is orthogonalized in full, twice, and T holds all measured inner products. A breakdown (the space is invariant)
is continued from a fresh random vector, so that rank-deficient, zero and identity operators come out exact. An
eigenvalue that occurs twice shows up only once in a space grown from one vector: with `verify` the converged pairs are
kept and the space is grown on from a fresh random vector until nothing new appears at the ends that were asked for.

Reference: Wu and Simon 2000, Thick-restart Lanczos method for large symmetric eigenvalue problems.
"""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxopt_lab.core import available_memory, fail, require_count, require_positive
from jaxopt_lab.curvature.journals import Clock, Journal, Progress
from jaxopt_lab.curvature.operators import Operator, random_vector
from jaxopt_lab.curvature.projections import Projection, grow, refresh, restart, ritz_vectors, start_from

_MOST_VECTORS = 104
_LEAST_ROOM = 2
_LEAST_SEARCH = 8


@dataclasses.dataclass(frozen=True)
class Eigenpairs:
    """Eigenpairs at one end of the spectrum, the outermost first.

    Attributes:
      values: [k].
      errors: [k], each max(residual, rounding error of the operator): an eigenvalue lies within it.
      converged: [k] bool, whether the residual reached the tolerance or the rounding error.
      vectors: a pytree like the vectors with a leading axis k, each of norm 1.
      products: products after which this end had converged, or all that were made.
    """

    values: np.ndarray
    errors: np.ndarray
    converged: np.ndarray
    vectors: Any
    products: int


@dataclasses.dataclass(frozen=True)
class Ends:
    """Both ends of a spectrum.

    Attributes:
      largest: the largest eigenvalues, in decreasing order.
      smallest: the smallest eigenvalues, in increasing order.
      norm: the largest |eigenvalue| seen.
      products: products made in all.
      verified: whether the search for further copies of eigenvalues found nothing new.
      exact: whether the space was the whole space, so that nothing can be missing.
      bottom_singular: |A v| of the unit vector in the space that minimizes it: an upper bound on the least |eigenvalue|.
    """

    largest: Eigenpairs
    smallest: Eigenpairs
    norm: float
    products: int
    verified: bool
    exact: bool
    bottom_singular: float


def eigenpairs(
    operator: Operator,
    num_largest: int = 1,
    num_smallest: int = 0,
    *,
    tolerance: float = 1e-5,
    max_products: int | None = None,
    max_vectors: int | None = None,
    verify: bool = True,
    key: jax.Array | None = None,
    start: Any = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Ends:
    """The largest and the smallest eigenvalues with their eigenvectors, each end stopped by its own residuals.

    Args:
      operator: symmetric, d rows.
      num_largest: pairs wanted at the upper end.
      num_smallest: pairs wanted at the lower end.
      tolerance: a pair has converged when its residual is at most tolerance |eigenvalue|, or rounding error.
      max_products: stop after so many products; by default 1000 more than pairs wanted. What has not converged by
        then comes back with its residual as its error.
      max_vectors: the most vectors to keep at once, all of them counted; by default at most 100, and what fits.
      verify: search for further copies of the eigenvalues that were found, for about as many products again.
      key: PRNG key of the random vectors; 0 by default.
      start: a vector to start from, such as the last point's eigenvector; random by default.
      checkpoint: keep the search in this file, and continue from it when it is there.
      progress: called after each product.

    Returns:
      The ends. Cost: `products` products, O(vectors d) memory, O(vectors d) a product for the orthogonalization.

    Raises:
      InputError: more pairs than rows, an argument out of its range, too little memory, or a product that is not finite.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxopt_lab.curvature import from_diagonal
      >>> ends = eigenpairs(from_diagonal(jnp.array([5.0, 1.0, -2.0, 0.0])), 1, 1)
      >>> [f"{float(value):.4f}" for value in (ends.largest.values[0], ends.smallest.values[0])]
      ['5.0000', '-2.0000']
    """
    search = _Search(operator, num_largest, num_smallest, tolerance)
    search.check(max_products)
    rows = _num_rows(operator, search.wanted, max_vectors)
    limit = max_products or 1000 + search.wanted
    key = jax.random.key(0) if key is None else key
    journal = Journal(checkpoint, operator, rows)
    state = journal.load()
    if state is None:
        first = random_vector(key, operator.like) if start is None else start
        state = start_from(operator, rows, first, key)
    clock, reached, reference, verified = Clock(state.products), [0, 0], None, False
    while not state.complete:
        if search.settled(state):
            if reference is not None and not search.changed(state, reference):
                verified = search.copies_ruled_out(state, reference)
            if verified or not verify:
                break
            if reference is None or search.changed(state, reference):
                reference = _Reference(search.values(state), state.products)
                state = refresh(operator, restart(state, search.kept(state.count, spare=0)))
        if state.products >= limit:
            break
        if state.count == rows:
            state = restart(state, search.kept(state.count, spare=(rows - search.wanted) // 4))
        state = grow(operator, state)
        reached = search.reached(state, reached)
        journal.save(state)
        if progress:
            progress(clock.forecast(state.products, search.distance(state), limit))
    journal.save(state, last=True)
    return search.ends(state, reached, verified or state.complete)


@dataclasses.dataclass(frozen=True)
class _Reference:
    """What the search for copies is to confirm: the wanted eigenvalues, and the products that they took."""

    values: np.ndarray
    products: int


@dataclasses.dataclass(frozen=True)
class _Search:
    operator: Operator
    num_largest: int
    num_smallest: int
    tolerance: float

    @property
    def wanted(self) -> int:
        return self.num_largest + self.num_smallest

    def check(self, max_products: int | None) -> None:
        require_count("eigenpairs", "num_largest", self.num_largest, 0)
        require_count("eigenpairs", "num_smallest", self.num_smallest, 0)
        require_positive("eigenpairs", "tolerance", self.tolerance)
        if max_products is not None:
            require_count("eigenpairs", "max_products", max_products)
        if not 0 < self.wanted <= self.operator.size:
            raise fail(
                "eigenpairs", f"num_largest + num_smallest must be in [1, {self.operator.size}], got {self.wanted}",
                f"{self.operator.name} has {self.operator.size} rows.",
            )  # fmt: skip

    def kept(self, count: int, spare: int) -> np.ndarray:
        """Places, in increasing order of the Ritz values, of the wanted pairs and of `spare` more at each wanted end."""
        low = self.num_smallest + spare if self.num_smallest else 0
        high = self.num_largest + spare if self.num_largest else 0
        return np.unique([*range(min(low, count)), *range(max(count - high, 0), count)])

    def residuals(self, state: Projection) -> tuple[np.ndarray, np.ndarray]:
        """Residuals [wanted] over what is allowed, and the wanted Ritz values, smallest end first."""
        values, _, residuals = state.ritz()
        places = self.kept(state.count, 0)
        allowed = np.maximum(self.tolerance * np.abs(values), self.floor(state))
        return (residuals / np.maximum(allowed, np.finfo(np.float64).tiny))[places], values[places]

    def floor(self, state: Projection) -> float:
        """The rounding error of the operator, in units of the eigenvalues."""
        return self.operator.epsilon * state.scale

    def values(self, state: Projection) -> np.ndarray:
        return self.residuals(state)[1]

    def distance(self, state: Projection) -> float:
        """The largest residual over what is allowed; at most 1 when all have converged."""
        return float(self.residuals(state)[0].max()) if state.count >= self.wanted else np.inf

    def settled(self, state: Projection) -> bool:
        return state.count >= self.wanted and self.distance(state) <= 1

    def reached(self, state: Projection, before: list[int]) -> list[int]:
        """For each end, the products after which it had converged; 0 while it has not."""
        if state.count < self.wanted:
            return before
        ratios = self.residuals(state)[0]
        sides = (ratios[self.num_smallest :], ratios[: self.num_smallest])
        return [(old or state.products) if (side <= 1).all() else 0 for old, side in zip(before, sides, strict=True)]

    def changed(self, state: Projection, reference: _Reference) -> bool:
        """Whether the wanted values moved by more than the tolerance since the search for copies began."""
        allowed = self.tolerance * np.abs(reference.values) + 4 * self.floor(state)
        return bool((np.abs(self.values(state) - reference.values) > allowed).any())

    def copies_ruled_out(self, state: Projection, reference: _Reference) -> bool:
        """Whether the rest of the space lies inside of the wanted ends, or was searched as long as they took to find."""
        spent = state.products - reference.products
        if spent >= max(reference.products, _LEAST_SEARCH):
            return True
        if spent < _LEAST_SEARCH or state.count <= self.wanted:
            return False
        values, _, residuals = state.ritz()
        slack = self.tolerance * np.abs(values) + self.floor(state)
        below = above = True
        if self.num_smallest:
            k = self.num_smallest
            below = values[k] - residuals[k] >= values[k - 1] - slack[k - 1]
        if self.num_largest:
            k = -self.num_largest
            above = values[k - 1] + residuals[k - 1] <= values[k] + slack[k]
        return bool(below and above)

    def ends(self, state: Projection, reached: list[int], verified: bool) -> Ends:
        values, _, residuals = state.ritz()
        errors = np.maximum(residuals, self.floor(state))
        allowed = np.maximum(self.tolerance * np.abs(values), self.floor(state))
        count = state.count

        def side(places: np.ndarray, products: int) -> Eigenpairs:
            converged = residuals[places] <= allowed[places]
            stacked = ritz_vectors(state, places)
            return Eigenpairs(values[places], errors[places], converged, stacked, products or state.products)

        return Ends(
            largest=side(np.arange(count - 1, count - 1 - min(self.num_largest, count), -1), reached[0]),
            smallest=side(np.arange(min(self.num_smallest, count)), reached[1]),
            norm=float(max(np.abs(values).max(), state.scale)),
            products=state.products,
            verified=verified,
            exact=state.count == self.operator.size,
            bottom_singular=state.least_norm(),
        )


def _num_rows(operator: Operator, wanted: int, max_vectors: int | None) -> int:
    """Rows of the basis: with those that a restart makes, and four more, they are all the vectors held at once."""
    fits = available_memory() // operator.vector_bytes
    if max_vectors is None:
        max_vectors = min(fits, _MOST_VECTORS + 3 * wanted)
    least = min(operator.size, wanted + _LEAST_ROOM)
    # rows + 1 in the basis, at most (rows + wanted) / 2 + 1 made by a restart, and two of the product.
    rows = min(operator.size, (2 * max_vectors - wanted - 8) // 3)
    if max_vectors > fits or rows < least:
        needed = -(-(3 * least + wanted + 8) // 2)
        raise fail(
            "eigenpairs",
            f"a basis of {max(needed, min(max_vectors, fits + 1))} vectors of {operator.vector_bytes / 2**30:.3g} GiB is"
            f" needed for {wanted} pairs, {fits} fit in memory and max_vectors is {max_vectors}",
            "Ask for fewer pairs, or restrict the operator to a block of the parameters.",
        )  # fmt: skip
    return rows
