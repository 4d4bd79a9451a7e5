"""When a search for eigenpairs is over: residuals, copies of eigenvalues, limits."""

import dataclasses

import numpy as np

from jaxopt_lab.curvature import krylov
from jaxopt_lab.curvature.operators import Operator
from jaxopt_lab.curvature.projections import Projection, Ritz

_LEAST_SEARCH = 8


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is asked for: so many pairs at each end, to a relative tolerance of the values or of the vectors."""

    largest: int
    smallest: int
    tolerance: float
    accuracy_of: str

    @property
    def total(self) -> int:
        """Pairs at both ends."""
        return self.largest + self.smallest

    def places(self, count: int, spare: int = 0) -> np.ndarray:
        """Places in increasing order of the wanted pairs, and of `spare` more at each wanted end."""
        low = self.smallest + spare if self.smallest else 0
        high = self.largest + spare if self.largest else 0
        return np.unique([*range(min(low, count)), *range(max(count - high, 0), count)]).astype(int)


class Search:
    """Follows a growing space until the wanted pairs are found.

    Attributes:
      distance: the largest error over what is allowed, after the last look; at most 1 when all pairs have converged.
      reached: for the lower and the upper end, the products after which it had converged, or None.
      verified: whether nothing can be missing, or a search for copies found nothing.
      worst_cut: the wanted pair that only waits for what was cut, as its place among the wanted; or None.
      limit: the most products.
    """

    def __init__(self, operator: Operator, wanted: Wanted, verify: bool, limit: int) -> None:
        self.wanted, self.limit = wanted, limit
        self.distance, self.verified = np.inf, False
        self.reached: list[int | None] = [None, None]
        self.worst_cut: int | None = None
        self._operator, self._verify = operator, verify
        self._noted: tuple[np.ndarray, int] | None = None
        self._values, self._next_look = np.zeros(0), 0
        self._moved = self._rest_is_inside = False

    def floor(self, state: Projection, ritz: Ritz) -> float:
        """The rounding error of an eigenvalue: of the products, and of the sums of the orthogonalization."""
        norm = max(state.scale, float(np.abs(ritz.values).max()))
        return krylov.ROUNDING * self._operator.epsilon * norm

    def ratios(self, state: Projection, ritz: Ritz, open_only: bool = False) -> np.ndarray:
        """The error of each Ritz pair over what is allowed, [count]."""
        if open_only:
            errors = ritz.open_part
        else:
            errors = ritz.value_errors() if self.wanted.accuracy_of == "values" else ritz.residuals
        allowed = np.maximum(self.wanted.tolerance * np.abs(ritz.values), self.floor(state, ritz))
        return errors / np.maximum(allowed, np.finfo(np.float64).tiny)

    def due(self, state: Projection) -> bool:
        """Whether to look now: after each product of a small space, more rarely in a large one, and at its limits."""
        if state.products < self._next_look and not (
            state.complete or state.products >= self.limit or state.count == state.num_rows
        ):
            return False
        self._next_look = state.products + 1 + (state.count // 64) ** 2
        return state.count >= self.wanted.total or state.complete or state.products >= self.limit

    def look(self, state: Projection) -> None:
        """Compares the wanted pairs with what is allowed."""
        ritz, places = state.ritz, self.wanted.places(state.count)
        ratios = self.ratios(state, ritz)[places]
        self._values, self.distance = ritz.values[places], float(ratios.max())
        split = self.wanted.smallest
        for end, side in enumerate((ratios[:split], ratios[split:])):
            self.reached[end] = (self.reached[end] or state.products) if (side <= 1).all() else None
        waiting = (ratios > 1) & (self.ratios(state, ritz, open_only=True)[places] <= 1)
        alone = self.distance > 1 and waiting[ratios > 1].all()
        self.worst_cut = int(np.argmax(ritz.cut_part[places])) if alone else None
        self._rest_is_inside = self._inside(state, ritz)

    def finished(self, state: Projection) -> bool:
        """Whether the search is over; settles `verified`."""
        if state.complete:
            self.verified = True
            return True
        if self.distance <= 1 and self._noted and not self._changed(state):
            spent, first = state.products - self._noted[1], self._noted[1]
            self.verified = spent >= _LEAST_SEARCH and (self._rest_is_inside or spent >= first)
        settled = self.distance <= 1 and not self._verify
        return self.verified or settled or state.products >= self.limit

    def wants_copies_searched(self) -> bool:
        """Whether the pairs have converged and no search for copies of them is under way."""
        return self.distance <= 1 and (self._noted is None or self._moved)

    def note(self, state: Projection) -> None:
        """Keeps what a search for copies is to confirm."""
        self._noted, self._moved = (self._values, state.products), False

    def _changed(self, state: Projection) -> bool:
        before = self._noted[0] if self._noted else self._values
        allowed = self.wanted.tolerance * np.abs(before) + 4 * self.floor(state, state.ritz)
        self._moved = bool((np.abs(self._values - before) > allowed).any())
        return self._moved

    def _inside(self, state: Projection, ritz: Ritz) -> bool:
        """Whether the Ritz pairs that are not wanted lie, with their residuals, inside of those that are."""
        low, high = self.wanted.smallest, state.count - self.wanted.largest
        if low >= high:
            return False
        slack = self.wanted.tolerance * np.abs(ritz.values) + self.floor(state, ritz)
        below = not low or ritz.values[low] - ritz.residuals[low] >= ritz.values[low - 1] - slack[low - 1]
        above = high == state.count or (
            ritz.values[high - 1] + ritz.residuals[high - 1] <= ritz.values[high] + slack[high]
        )
        return bool(below and above)
