"""What uncentred inputs do to the condition number of least squares and logistic regression.

Inputs with mean m (a vector) and variance s^2 in every direction have the second moment H = s^2 I + m m'; a bias
unit adds a row and column and the block [[s^2 + |m|^2, |m|], [|m|, 1]].
"""

import numpy as np
from numpy.typing import ArrayLike

from jaxopt_lab.theory import arguments
from jaxopt_lab.theory.arguments import Floats

__all__ = ["condition_number_with_bias", "condition_number_without_bias", "spiked_top_eigenvalue"]


def condition_number_without_bias(mean_norm: ArrayLike, standard_deviation: ArrayLike = 1.0) -> Floats:
    """Condition number of uncentred inputs in a linear model without bias: 1 + |m|^2 / s^2.

    Args:
      mean_norm: Euclidean norm |m| of the input's mean, >= 0; sqrt(d) when every mean equals the deviation.
      standard_deviation: s > 0.

    Returns:
      kappa, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{condition_number_without_bias(10.0):.0f}")
      101

    Reference: LeCun, Kanter, Solla, Phys. Rev. Lett. 66, 1991.
    """
    where = "condition_number_without_bias"
    mean_norm = arguments.non_negative(where, "mean_norm", mean_norm)
    return 1 + (mean_norm / arguments.positive(where, "standard_deviation", standard_deviation)) ** 2


def condition_number_with_bias(mean_norm: ArrayLike, standard_deviation: ArrayLike = 1.0) -> Floats:
    """Condition number of uncentred inputs in a linear model with a bias unit, about |m|^4 / s^2 for a large mean.

    kappa = top^2 / s^2, top = (T + sqrt(((s - 1)^2 + |m|^2)((s + 1)^2 + |m|^2))) / 2, T = s^2 + |m|^2 + 1. The smallest
    eigenvalue is s^2 / top; T minus the root would lose all digits.

    Args:
      mean_norm: Euclidean norm |m| of the input's mean, >= 0.
      standard_deviation: s > 0.

    Returns:
      kappa, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{condition_number_with_bias(5.0):.4f} {condition_number_with_bias(1e4):.6e}")
      726.9986 1.000000e+16

    Reference: LeCun, Kanter, Solla 1991; the two-by-two block's eigenvalues.
    """
    where = "condition_number_with_bias"
    m2 = arguments.non_negative(where, "mean_norm", mean_norm) ** 2
    s = arguments.positive(where, "standard_deviation", standard_deviation)
    top = (s**2 + m2 + 1 + np.sqrt((s - 1) ** 2 + m2) * np.sqrt((s + 1) ** 2 + m2)) / 2
    return (top / s) ** 2


def spiked_top_eigenvalue(spike: ArrayLike, aspect_ratio: ArrayLike) -> Floats:
    """Largest eigenvalue of a sample covariance whose population has one eigenvalue `spike` among ones.

    spike (1 + g / (spike - 1)) above the threshold spike > 1 + sqrt(g), else the bulk's edge (1 + sqrt(g))^2,
    g = d / n.

    Args:
      spike: population eigenvalue in units of the others, >= 1; 1 + |m|^2 / s^2 for uncentred inputs.
      aspect_ratio: g = d / n > 0.

    Returns:
      The eigenvalue for large d and n, in units of the others, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{spiked_top_eigenvalue(101.0, 0.005):.3f}")
      101.005

    Reference: Baik and Silverstein 2006, theorem 1.1.
    """
    where = "spiked_top_eigenvalue"
    spike = arguments.between(where, "spike", spike, 1, np.inf, ends="[)")
    aspect_ratio = arguments.positive(where, "aspect_ratio", aspect_ratio)
    above = spike - 1 > np.sqrt(aspect_ratio)
    outlier = spike * (1 + aspect_ratio / np.where(above, spike - 1, 1.0))
    return np.where(above, outlier, (1 + np.sqrt(aspect_ratio)) ** 2)[()]
