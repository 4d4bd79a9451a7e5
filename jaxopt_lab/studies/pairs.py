"""Two methods at the same seeds: what a seed gives to both falls out of their ratio."""

import math

import numpy as np
from numpy.typing import ArrayLike

from jaxopt_lab.core import Estimate, fail

__all__ = ["paired_ratio"]


def paired_ratio(values: ArrayLike, others: ArrayLike) -> Estimate:
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
      1.03306 in [0.963342, 1.10782]
    """
    from scipy import stats

    values, others = np.asarray(values, float), np.asarray(others, float)
    if values.shape != others.shape or values.ndim != 1 or len(values) < 2:
        raise fail("paired_ratio", f"there must be 2 or more pairs, got {values.shape} and {others.shape}")
    if not (np.minimum(values, others) > 0).all():
        raise fail("paired_ratio", "values and others must be positive", "Compare differences instead.")
    logs = np.log(values / others)
    half = float(stats.t.ppf(0.975, len(logs) - 1)) * logs.std(ddof=1) / math.sqrt(len(logs))
    return Estimate(
        float(np.exp(logs.mean())), interval=(float(np.exp(logs.mean() - half)), float(np.exp(logs.mean() + half)))
    )
