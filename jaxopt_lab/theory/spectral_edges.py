"""The ends of random spectra at a finite size: how far the limit is, and the smallest eigenvalue of a symmetric matrix.

The largest and the smallest eigenvalue of n examples in d dimensions scatter about the Marchenko-Pastur edges by
d^(-2/3): each is edge + scale * W, W of the Tracy-Widom distribution, of which mean and deviation are known.
"""

from typing import NamedTuple

import numpy as np
from scipy import special

from jaxopt_lab.theory.arguments import AtLeastOne, Floats, OpenFraction, checked

__all__ = ["SampleEdges", "sample_condition_number", "sample_edges", "symmetric_condition_number"]

# Mean and deviation of the Tracy-Widom distribution of real symmetric matrices; Bornemann 2010, table 9.
_MEAN, _DEVIATION = -1.2065335745820, 1.2680340580055


class SampleEdges(NamedTuple):
    """Mean and deviation of the two ends of a sample's spectrum.

    Attributes:
      smallest: mean of the smallest eigenvalue.
      smallest_deviation: its standard deviation.
      largest: mean of the largest one.
      largest_deviation: its standard deviation.
    """

    smallest: Floats
    smallest_deviation: Floats
    largest: Floats
    largest_deviation: Floats


@checked
def sample_edges(dim: AtLeastOne, aspect_ratio: OpenFraction) -> SampleEdges:
    """Ends of the spectrum of X'X / n, X of n = d / g examples in d dimensions, to the order d^(-2/3).

    Example:
      >>> print("{:.4f} +- {:.4f}, {:.4f} +- {:.4f}".format(*sample_edges(1000, 0.25)))
      0.2524 +- 0.0025, 2.2396 +- 0.0109

    Reference: Johnstone 2001; Feldheim and Sodin 2010 for the smallest eigenvalue.
    """
    more, less = np.sqrt(dim / aspect_ratio), np.sqrt(dim)
    high = (more + less) * (1 / more + 1 / less) ** (1 / 3) / more**2
    low = (more - less) * (1 / less - 1 / more) ** (1 / 3) / more**2
    bottom, top = (1 - np.sqrt(aspect_ratio)) ** 2, (1 + np.sqrt(aspect_ratio)) ** 2
    return SampleEdges(bottom - _MEAN * low, _DEVIATION * low, top + _MEAN * high, _DEVIATION * high)


@checked
def sample_condition_number(dim: AtLeastOne, aspect_ratio: OpenFraction) -> tuple[Floats, Floats]:
    """Condition number of X'X / n at a finite size, and its standard deviation, to first order.

    Example:
      >>> print("{:.3f} +- {:.3f}".format(*sample_condition_number(1000, 0.25)))
      8.874 +- 0.098

    Reference: as `sample_edges`; the two ends are independent.
    """
    ends = sample_edges(dim, aspect_ratio)
    kappa = ends.largest / ends.smallest
    relative = np.hypot(ends.largest_deviation / ends.largest, ends.smallest_deviation / ends.smallest)
    return kappa, kappa * relative


@checked
def symmetric_condition_number(dim: AtLeastOne) -> Floats:
    """Median of max|eigenvalue| / min|eigenvalue| of a random symmetric N x N matrix, for large N: about 2.366 N.

    The density at 0 is N / pi, with 2 for the largest eigenvalue; a gap as wide as twice the smallest |eigenvalue| has
    the chance erfc(sqrt(pi) gap / 2) by Wigner's surmise, gap in units of the mean spacing.

    Example:
      >>> print(f"{symmetric_condition_number(100):.1f}")
      236.6

    Reference: Mehta, Random Matrices, 2004, chapter 1, for the surmise.
    """
    gap = 2 * special.erfinv(0.5) / np.sqrt(np.pi)
    return 2 * dim / (np.pi * gap / 2)
