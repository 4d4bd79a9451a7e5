"""Two methods at the same seeds: what a seed gives to both falls out of their ratio."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxopt_lab.core import fail


class Ratio(NamedTuple):
    """A ratio and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def paired_ratio(values: ArrayLike, others: ArrayLike) -> Ratio:
    """The geometric mean of ratios of pairs, such as two methods' losses at the same seeds, with its 95 % interval.

    Args:
      values: positive, shape [n], at least 2.
      others: positive, shape [n].

    Returns:
      The ratio; its interval is that of Student's t for the mean of the logarithms.

    Raises:
      InputError: fewer than 2 pairs, different lengths, or numbers that are not positive.

    Example:
      >>> print(paired_ratio([1.0, 2.1, 4.2], [1.0, 2.0, 4.0]))
      1.03 (0.96 to 1.11)
    """
    from scipy import stats

    values, others = np.asarray(values, float), np.asarray(others, float)
    if values.shape != others.shape or values.ndim != 1 or len(values) < 2:
        raise fail("paired_ratio", f"there must be 2 or more pairs, got {values.shape} and {others.shape}")
    if not (np.minimum(values, others) > 0).all():
        raise fail("paired_ratio", "values and others must be positive", "Compare differences instead.")
    logs = np.log(values / others)
    half = float(stats.t.ppf(0.975, len(logs) - 1)) * logs.std(ddof=1) / math.sqrt(len(logs))
    return Ratio(*(float(np.exp(logs.mean() + shift)) for shift in (0.0, -half, half)))
