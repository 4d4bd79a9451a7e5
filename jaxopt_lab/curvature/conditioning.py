"""The condition number as an interval: max |lambda| / min |lambda|, or the same of the positive eigenvalues alone.

The least |eigenvalue| is at most |A v| for any unit vector v, so that a lower bound on the condition number is always
at hand. An upper bound exists only where an end of the spectrum is certified to lie away from zero: for a definite
operator, to the precision of its products. Above about 1e6 float32 certifies none, and the answer is a bound.
"""

import dataclasses
from typing import Any

import numpy as np

from jaxopt_lab.core import Estimate
from jaxopt_lab.core.errors import require_count
from jaxopt_lab.curvature.lanczos import Ends, eigenpairs
from jaxopt_lab.curvature.operators import Operator


@dataclasses.dataclass(frozen=True)
class ConditionNumber:
    """Condition numbers with their intervals; an infinite upper end says that only a lower bound is certified.

    Attributes:
      absolute: max |lambda| / min |lambda|.
      positive: largest over smallest positive eigenvalue.
      ends: the eigenpairs behind it.
    """

    absolute: Estimate
    positive: Estimate
    ends: Ends

    def __str__(self) -> str:
        return f"{describe(self.absolute)} (positive part {describe(self.positive)})"


def condition_number(
    operator: Operator, *, num_largest: int = 1, num_smallest: int = 1, **options: Any
) -> ConditionNumber:
    """The condition number of an operator.

    Args:
      operator: symmetric, d rows.
      num_largest: eigenpairs to find at the upper end, at least 1.
      num_smallest: eigenpairs to find at the lower end, at least 1 unless d is 1.
      **options: those of `eigenpairs`: tolerance, max_products, max_vectors, verify, key, start, checkpoint, progress.

    Returns:
      The intervals. Cost: the products of the eigenpairs.

    Raises:
      InputError: as in `eigenpairs`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxopt_lab.curvature import from_diagonal
      >>> print(condition_number(from_diagonal(jnp.array([8.0, 4.0, 1.0]))))
      8 (positive part 8)
    """
    require_count("condition_number", "num_largest", num_largest)
    require_count("condition_number", "num_smallest", num_smallest)
    ends = eigenpairs(operator, num_largest, min(num_smallest, operator.size - num_largest), **options)
    return ConditionNumber(
        _ratio(_largest_magnitude(ends), _least_magnitude(ends), ends.products),
        _ratio(_largest(ends), _least_positive(ends), ends.products),
        ends,
    )


def describe(estimate: Estimate) -> str:
    """An interval in words: the number, a range, or a lower bound."""
    low, high = estimate.interval or (np.nan, np.nan)
    if np.isnan(low):
        return "does not exist"
    if not np.isfinite(high):
        return f">= {low:.4g}"
    return f"{estimate.value:.4g}" if high - low <= 0.01 * low else f"in [{low:.4g}, {high:.4g}]"


def _settled(ends: Ends) -> bool:
    """Whether both ends are known, so that nothing lies outside of them."""
    found = all(side.converged.all() for side in (ends.largest, ends.smallest))
    return ends.exact or (found and ends.verified)


def _edges(ends: Ends) -> tuple[float, float, float, float]:
    """Lower and upper bounds on the smallest eigenvalue, and on the largest; infinite where nothing is certified."""
    values, errors = ends.inner_values, ends.inner_errors
    settled = _settled(ends)
    bottom = values[0] - errors[0] if settled else -np.inf
    top = values[-1] + errors[-1] if settled else np.inf
    return bottom, values[0] + errors[0], values[-1] - errors[-1], top


def _largest(ends: Ends) -> tuple[float, float]:
    return _edges(ends)[2:]


def _largest_magnitude(ends: Ends) -> tuple[float, float]:
    bottom, below, above, top = _edges(ends)
    return max(above, -below), max(top, -bottom)


def _least_magnitude(ends: Ends) -> tuple[float, float]:
    bottom, _, _, top = _edges(ends)
    magnitudes = np.abs(ends.inner_values) - ends.inner_errors
    certified = float(magnitudes.min()) if ends.exact else max(bottom, -top)
    return max(certified, 0.0), ends.least_norm


def _least_positive(ends: Ends) -> tuple[float, float]:
    values, errors = ends.inner_values, ends.inner_errors
    positive = values - errors > 0
    if not positive.any():
        return np.nan, np.nan
    doubtful = np.abs(values) <= errors
    certified = 0.0
    if ends.exact and not doubtful.any():
        certified = float((values - errors)[positive].min())
    elif _settled(ends):
        certified = max(float(values[0] - errors[0]), 0.0)
    return certified, float((values + errors)[positive].min())


def _ratio(top: tuple[float, float], bottom: tuple[float, float], cost: int) -> Estimate:
    """The enclosure of top / bottom for positive enclosures of both."""
    if np.isnan(bottom[1]):
        return Estimate(np.nan, interval=(np.nan, np.nan), level=1.0, cost=cost)
    low = max(top[0], 0.0) / bottom[1] if bottom[1] > 0 else np.inf
    high = top[1] / bottom[0] if bottom[0] > 0 else np.inf
    value = float(np.sqrt(low) * np.sqrt(high)) if np.isfinite(high) else low
    return Estimate(value, interval=(max(low, 1.0), high), level=1.0, cost=cost)
