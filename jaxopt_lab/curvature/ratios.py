"""Traces and squares from the means of groups of examples, and the interval of their ratio.

With group means g_j of m_j examples, their weighted mean g, n examples in all, and any symmetric M, both are unbiased:

    tr(M S) = sum_j m_j (g_j - g)' M (g_j - g) / (groups - 1),        G'MG = g'Mg - tr(M S) / n

The interval of a ratio T / U holds every B for which T - B U is not significantly different from 0: where U itself is
not, its upper end is infinite, and the lower end is still a bound.

Reference: Miller 1974, The jackknife: a review; Fieller 1954, Some problems in interval estimation.
"""

import dataclasses

import numpy as np
from scipy.special import stdtrit

from jaxopt_lab.core import Estimate
from jaxopt_lab.curvature.traces import half_width


@dataclasses.dataclass(frozen=True)
class Forms:
    """Quadratic forms of a map M: deviation with deviation [groups, groups], with the mean [groups], mean with mean."""

    between: np.ndarray
    cross: np.ndarray
    mean: float
    sizes: np.ndarray

    def moments(self, left_out: int | None = None) -> np.ndarray:
        """Unbiased tr(M S) and G'MG, as an array [2], with one group left out."""
        sizes = self.sizes.astype(np.float64)
        if left_out is not None:
            sizes[left_out] = 0
        total, num = sizes.sum(), np.count_nonzero(sizes)
        weights = sizes / total
        shift = weights @ self.between @ weights
        trace = (sizes @ np.diag(self.between) - total * shift) / (num - 1)
        return np.array([trace, self.mean + 2 * weights @ self.cross + shift - trace / total])

    def pseudo_values(self) -> np.ndarray:
        """The jackknife's pseudo-values of both moments [groups, 2]."""
        num = len(self.sizes)
        return num * self.moments() - (num - 1) * np.array([self.moments(group) for group in range(num)])

    def estimate(self, place: int, level: float) -> Estimate:
        """One of the moments."""
        values, value = self.pseudo_values()[:, place], float(self.moments()[place])
        half, error = half_width(values, level), float(values.std(ddof=1) / np.sqrt(len(values)))
        return Estimate(value, error, (value - half, value + half), level)

    def ratio(self, level: float, cost: int) -> Estimate:
        """The first moment over the second and Fieller's interval, among ratios >= 0; inf where the second is <= 0."""
        values, num = self.pseudo_values(), len(self.sizes)
        top, bottom = self.moments()
        spread = np.cov(values.T) / num
        quantile = stdtrit(num - 1, (1 + level) / 2) ** 2
        interval = fieller(top, bottom, quantile * spread)
        if bottom <= 0:
            return Estimate(np.inf, np.inf, interval, level, cost, "examples")
        slope = np.array([1, -top / bottom]) / bottom
        error = float(np.sqrt(max(slope @ spread @ slope, 0.0)))
        return Estimate(max(float(top / bottom), 0.0), error, interval, level, cost, "examples")


def fieller(top: float, bottom: float, spread: np.ndarray) -> tuple[float, float]:
    """All ratios B >= 0 with (top - B bottom)^2 <= (1, -B) spread (1, -B)': the smallest and the largest.

    Args:
      top: the numerator.
      bottom: the denominator.
      spread: covariance of both, [2, 2], times the squared quantile.

    Returns:
      (low, high); high is inf when the denominator is not significantly different from 0.

    Example:
      >>> low, high = fieller(2.0, 1.0, np.diag([0.0, 0.25]))
      >>> print(f"{low:.4f} {high:.4f}")
      1.3333 4.0000
      >>> low, high = fieller(2.0, 1.0, np.diag([0.0, 4.0]))
      >>> print(f"{low:.4f} {high:.4f}")
      0.6667 inf

    Reference: Fieller 1954.
    """
    square = bottom**2 - spread[1, 1]
    linear = top * bottom - spread[0, 1]
    constant = top**2 - spread[0, 0]
    root = np.sqrt(max(linear**2 - square * constant, 0.0))
    if square <= 0 or bottom <= 0:
        # Of the roots of square B^2 - 2 linear B + constant one is negative: what lies above the other is allowed.
        low = constant / (linear + root) if linear + root > 0 and constant > 0 else 0.0
        return max(low, 0.0), np.inf
    return max(float((linear - root) / square), 0.0), max(float((linear + root) / square), 0.0)
