"""What uncentred inputs do to the condition number of least squares and logistic regression.

Inputs with mean m (a vector) and variance s^2 in every direction have the second moment H = s^2 I + m m'; a bias
unit adds a row and column and the block [[s^2 + |m|^2, |m|], [|m|, 1]]. `mean_norm` is the Euclidean norm |m|: sqrt(d)
when every mean equals the deviation.
"""

import numpy as np
from scipy import special

from jaxopt_lab.theory.arguments import AtLeastOne, Count, Finite, Floats, NonNegative, Positive, checked

__all__ = [
    "condition_number_with_bias",
    "condition_number_without_bias",
    "dead_unit_share",
    "rotated_line_error",
    "rotated_line_limit",
    "spiked_top_eigenvalue",
]


@checked
def condition_number_without_bias(mean_norm: NonNegative, standard_deviation: Positive = 1.0) -> Floats:
    """Condition number of uncentred inputs in a linear model without bias: 1 + |m|^2 / s^2.

    Example:
      >>> print(f"{condition_number_without_bias(10.0):.0f}")
      101

    Reference: LeCun, Kanter, Solla, Phys. Rev. Lett. 66, 1991.
    """
    return 1 + (mean_norm / standard_deviation) ** 2


@checked
def condition_number_with_bias(mean_norm: NonNegative, standard_deviation: Positive = 1.0) -> Floats:
    """Condition number of uncentred inputs in a linear model with a bias unit, about |m|^4 / s^2 for a large mean.

    kappa = top^2 / s^2, top = (T + sqrt(((s - 1)^2 + |m|^2)((s + 1)^2 + |m|^2))) / 2, T = s^2 + |m|^2 + 1. The smallest
    eigenvalue of the block is s^2 / top; T minus the root would lose all digits.

    Example:
      >>> print(f"{condition_number_with_bias(5.0):.4f} {condition_number_with_bias(1e4):.6e}")
      726.9986 1.000000e+16

    Reference: LeCun, Kanter, Solla 1991; the eigenvalues of the two-by-two block.
    """
    m2, s = mean_norm**2, standard_deviation
    top = (s**2 + m2 + 1 + np.sqrt((s - 1) ** 2 + m2) * np.sqrt((s + 1) ** 2 + m2)) / 2
    return (top / s) ** 2


@checked
def dead_unit_share(ratio: NonNegative, num_examples: Count) -> Floats:
    """Share of ReLU units without bias that are off on all n examples: E Phi(-r z)^n over a Gaussian z.

    Inputs are Gaussian in many dimensions, with the mean r in units of their deviation in every one: a unit sees r z,
    the same z on all examples, plus a part of its own for each. 1 / (n + 1) at r = 1, 2^-n where the inputs are
    centred. As many units are on for all examples, and so linear.

    Example:
      >>> print(f"{dead_unit_share(1.0, 9):.4f} {dead_unit_share(3.0, 1000):.4f} {dead_unit_share(0.0, 3):.4f}")
      0.1000 0.1416 0.1250

    Reference: derived here.
    """
    nodes = np.linspace(-12.0, 12.0, 24_001)  # equal steps converge exponentially for a Gaussian mean
    shares = np.exp(-0.5 * nodes**2) / np.exp(-0.5 * nodes**2).sum()
    return np.exp(num_examples * special.log_ndtr(-np.asarray(ratio)[..., None] * nodes)) @ shares


@checked
def rotated_line_error(
    angle: Finite, distance: NonNegative, separation: Positive, standard_deviation: Positive = 1.0
) -> Floats:
    """Share of points on the wrong side of a line that has turned about the origin by an angle, in radians.

    Two Gaussian clusters D = `separation` apart, R = `distance` from the origin along the best line, each of deviation
    s: (Phi(-(D/2 cos - R sin) / s) + Phi(-(D/2 cos + R sin) / s)) / 2. Centring is R = 0.

    Example:
      >>> rotated_line_error(0.05, [0.0, 5.0, 50.0], 4.0).round(4).tolist()
      [0.0229, 0.0263, 0.346]
    """
    apart, along = separation / 2 * np.cos(angle), distance * np.sin(angle)
    return 0.5 * (
        special.ndtr((along - apart) / standard_deviation) + special.ndtr(-(apart + along) / standard_deviation)
    )


@checked
def rotated_line_limit(distance: Positive, separation: Positive) -> Floats:
    """The angle, in radians, at which the turned line runs through the middle of one cluster: tan = D / (2 R).

    Example:
      >>> print(f"{rotated_line_limit(50.0, 4.0):.4f}")
      0.0400
    """
    return np.arctan(separation / (2 * distance))


@checked
def spiked_top_eigenvalue(spike: AtLeastOne, aspect_ratio: Positive) -> Floats:
    """Largest eigenvalue of a sample covariance whose population has one eigenvalue `spike` among ones.

    spike (1 + g / (spike - 1)) above the threshold spike > 1 + sqrt(g), else the bulk's edge (1 + sqrt(g))^2, for large
    d and n of the aspect ratio g = d / n. Uncentred inputs have the spike 1 + |m|^2 / s^2, in units of s^2.

    Example:
      >>> print(f"{spiked_top_eigenvalue(101.0, 0.005):.3f}")
      101.005

    Reference: Baik and Silverstein 2006, theorem 1.1.
    """
    above = spike - 1 > np.sqrt(aspect_ratio)
    outlier = spike * (1 + aspect_ratio / np.where(above, spike - 1, 1.0))
    return np.where(above, outlier, (1 + np.sqrt(aspect_ratio)) ** 2)[()]
