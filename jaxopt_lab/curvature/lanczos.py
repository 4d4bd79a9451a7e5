"""Extreme eigenpairs by guarded thick-restart Lanczos: a true eigenvalue or a bound, never a ghost.

    A Q = Q T + beta q e',   T s = theta s,   |A Q s - theta Q s| = beta |s_last|

The basis is orthogonalized in full, twice, and T holds all measured inner products. A breakdown (the space is
invariant) is continued from a fresh random vector, so that rank-deficient, zero and identity operators come out exact.
An eigenvalue that occurs twice shows up only once in a space grown from one vector: with `verify` the converged pairs
are kept and the space is grown on from a fresh random vector until nothing new appears at the wanted ends.

Reference: Wu and Simon 2000, Thick-restart Lanczos method for large symmetric eigenvalue problems.
"""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxopt_lab.core import fail, vectors
from jaxopt_lab.core.errors import require_choice, require_count, require_positive
from jaxopt_lab.core.memory import available_memory
from jaxopt_lab.curvature.convergence import Search, Wanted
from jaxopt_lab.curvature.journals import Clock, Journal, Progress
from jaxopt_lab.curvature.operators import Operator, random_vector
from jaxopt_lab.curvature.projections import (
    Projection,
    grow,
    refresh,
    reopen,
    restart,
    ritz_vectors,
    start_from,
)
from jaxopt_lab.curvature.soundness import require_sound

_LEAST_ROOM = 2
_MOST_ROWS = 1024
_MOST_BYTES = 2**26


@dataclasses.dataclass(frozen=True)
class Eigenpairs:
    """Eigenpairs at one end of the spectrum, the outermost first.

    Attributes:
      values: [k].
      errors: [k], each max(residual, rounding error of the operator): an eigenvalue lies within it.
      converged: [k] bool, whether the tolerance, or the rounding error, was reached.
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
      least_norm: the least |A v| of a unit vector in the space, an upper bound on the least |eigenvalue|.
      inner_values: all Ritz values of the last space, in increasing order.
      inner_errors: an eigenvalue lies within this of each.
    """

    largest: Eigenpairs
    smallest: Eigenpairs
    norm: float
    products: int
    verified: bool
    exact: bool
    least_norm: float
    inner_values: np.ndarray
    inner_errors: np.ndarray


def eigenpairs(
    operator: Operator,
    num_largest: int = 1,
    num_smallest: int = 0,
    *,
    tolerance: float = 1e-5,
    accuracy_of: str = "values",
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
      tolerance: relative to each |eigenvalue|; where rounding is larger, that is the tolerance.
      accuracy_of: "values" stops at residual^2 / gap, the error of an eigenvalue whose neighbours are away by the gap;
        "vectors" at the residual itself.
      max_products: stop after so many products, by default 1000 more than pairs wanted. What has not converged by
        then comes back with its residual as its error. The three that check an operator once come on top.
      max_vectors: the most vectors to keep at once, all of them counted; None for what fits and is of use.
      verify: search for further copies of the eigenvalues that were found. Cost: 8 to as many products again.
      key: PRNG key of the random vectors; 0 by default.
      start: a vector to start from, such as the last point's eigenvector; random by default, and near to the
        operator's hint where it has one.
      checkpoint: keep the search in this file, and continue from it when it is there.
      progress: called now and then with how far the search is.

    Returns:
      The ends. Cost: `products` products, O(vectors d) memory, O(vectors d) a product for the orthogonalization.

    Raises:
      InputError: more pairs than rows, an argument out of its range, too little memory, a checkpoint of another
        operator, or a product that is not finite, not symmetric or not the same when it is repeated.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxopt_lab.curvature import from_diagonal
      >>> ends = eigenpairs(from_diagonal(jnp.array([5.0, 1.0, -2.0, 0.0])), 1, 1)
      >>> [f"{float(value):.4f}" for value in (ends.largest.values[0], ends.smallest.values[0])]
      ['5.0000', '-2.0000']
    """
    wanted = _checked(operator, num_largest, num_smallest, tolerance, accuracy_of, max_products)
    rows = _num_rows(operator, wanted.total, max_vectors)
    operator, spent = require_sound(operator)
    search = Search(operator, wanted, verify, max_products or 1000 + wanted.total)
    journal = Journal(checkpoint, operator)
    state = journal.load(rows)
    if state is None:
        key = jax.random.key(0) if key is None else key
        first = _first(operator, key) if start is None else start
        state = start_from(operator, rows, first, key)
    clock = Clock(state.products)
    while True:
        if search.due(state):
            state, done = _judge(search, operator, state)
            journal.save(state, last=done)
            if progress:
                progress(clock.forecast(state.products, search.distance, search.limit))
            if done:
                return _ends(operator, search, state, spent)
        if state.count == state.num_rows:
            spare = (state.num_rows - wanted.total) // 4
            state = restart(state, wanted.places(state.count, spare=spare))
        state = grow(operator, state)


def _first(operator: Operator, key: jax.Array) -> Any:
    """A random direction, with ten times as much of the operator's hint."""
    noise = random_vector(key, operator.like)
    if operator.hint is None:
        return noise
    return vectors.axpy(0.1 * vectors.norm(operator.hint) / vectors.norm(noise), noise, operator.hint)


def _judge(search: Search, operator: Operator, state: Projection) -> tuple[Projection, bool]:
    """Looks at the wanted pairs: stop, go on, look for copies, or take up what was cut."""
    search.look(state)
    if search.finished(state):
        return state, True
    if search.wants_copies_searched():
        search.note(state)
        return refresh(operator, restart(state, search.wanted.places(state.count))), False
    if search.worst_cut is not None:
        shrunk = restart(state, search.wanted.places(state.count))
        return reopen(operator, shrunk, search.worst_cut), False
    return state, False


def _ends(operator: Operator, search: Search, state: Projection, spent: int) -> Ends:
    """What was found; `spent` products went before the search."""
    ritz, wanted, count = state.ritz, search.wanted, state.count
    errors = np.maximum(ritz.residuals, search.floor(state, ritz))
    converged = search.ratios(state, ritz) <= 1

    def side(places: np.ndarray, products: int | None) -> Eigenpairs:
        stacked = ritz_vectors(state, places) if len(places) else None
        made = spent + (products or state.products)
        return Eigenpairs(ritz.values[places], errors[places], converged[places], stacked, made)

    return Ends(
        largest=side(np.arange(count - 1, count - 1 - min(wanted.largest, count), -1), search.reached[1]),
        smallest=side(np.arange(min(wanted.smallest, count)), search.reached[0]),
        norm=float(max(np.abs(ritz.values).max(), state.scale)),
        products=spent + state.products,
        verified=search.verified,
        exact=count == operator.size,
        least_norm=state.least_norm() + search.floor(state, ritz),
        inner_values=ritz.values,
        inner_errors=errors,
    )


def _checked(
    operator: Operator, largest: int, smallest: int, tolerance: float, accuracy_of: str, max_products: int | None
) -> Wanted:
    require_count("eigenpairs", "num_largest", largest, 0)
    require_count("eigenpairs", "num_smallest", smallest, 0)
    require_positive("eigenpairs", "tolerance", tolerance)
    require_choice("eigenpairs", "accuracy_of", accuracy_of, ("values", "vectors"))
    if max_products is not None:
        require_count("eigenpairs", "max_products", max_products)
    if not 0 < largest + smallest <= operator.size:
        raise fail(
            "eigenpairs", f"num_largest + num_smallest must be in [1, {operator.size}], got {largest + smallest}",
            f"The {operator.name} has {operator.size} rows.",
        )  # fmt: skip
    return Wanted(largest, smallest, tolerance, accuracy_of)


def _num_rows(operator: Operator, wanted: int, max_vectors: int | None) -> int:
    """Rows of the space, so that with what a restart and a product need besides no more vectors are held at once."""
    least = min(operator.size, wanted + _LEAST_ROOM)
    useful = max(64 + 2 * wanted, min(_MOST_ROWS, _MOST_BYTES // operator.vector_bytes))
    fits = int(available_memory() // operator.vector_bytes)
    allowed = fits if max_vectors is None else min(max_vectors, fits)
    # rows + 1 in the basis, (rows + wanted) / 2 + 1 that a restart makes, 2 of the product.
    rows = min(operator.size, useful, (2 * allowed - wanted - 8) // 3)
    if rows < least:
        needed = -(-(3 * least + wanted + 8) // 2)
        raise fail(
            "eigenpairs",
            f"{wanted} pairs need {needed} vectors of {operator.vector_bytes / 2**20:.3g} MiB at once, {allowed} are"
            f" allowed ({fits} fit in memory)",
            "Ask for fewer pairs, or for a block of the parameters.",
        )  # fmt: skip
    return rows
