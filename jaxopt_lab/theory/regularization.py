"""Regularizers of least squares in closed form: dropout, L2, and stopping early.

With s = eigenvalue * time, gradient flow from zero has reached 1 - exp(-s) of a mode, and ridge of the strength
1 / time s / (1 + s): almost the same curve.
"""

import numpy as np
from scipy import optimize

from jaxopt_lab.theory.arguments import Finite, Floats, NonNegative, OpenFraction, Positive, checked

__all__ = ["dropout_gradient_variance", "dropout_penalty", "largest_variance_ratio", "regularized_condition_number"]


@checked
def dropout_penalty(weights: Finite, second_moments: NonNegative, rate: OpenFraction) -> Floats:
    """What dropout of the inputs adds to the expected squared error: p / (1 - p) sum_j w_j^2 E x_j^2.

    Inputs that are kept are divided by 1 - p; weights and second moments have shape [d].

    Example:
      >>> print(f"{dropout_penalty([1.0, 2.0], [1.0, 0.5], 0.5):.1f}")
      3.0

    Reference: Srivastava et al. 2014, section 9.1.
    """
    return rate / (1 - rate) * np.sum(np.square(weights) * second_moments, axis=-1)


@checked
def dropout_gradient_variance(inputs: Finite, label: Finite, weights: Finite, rate: OpenFraction) -> Floats:
    """Trace of the covariance, over what is dropped, of the gradient of (x . w - y)^2 / 2 on one example.

    With z_j = 1 / (1 - p) where input j is kept and else 0, a = 1 / (1 - p), c = x w and s = sum c, its second moment
    is sum_j x_j^2 E z_j^2 (c . z - y)^2, from E z_j^2 = a, E z_j^3 = a^2, E z_j^4 = a^3; its mean is x (s - y) plus
    the gradient of half of `dropout_penalty`.

    Args:
      inputs: of the example, or of several, shape [..., d].
      label: y, shape [...].
      weights: w, shape [d].
      rate: probability p of dropping an input.

    Example:
      >>> print(f"{dropout_gradient_variance([1.0], 0.0, [1.0], 0.5):.1f}")  # 4 or 0
      4.0
    """
    inputs, label = np.asarray(inputs), np.asarray(label)
    scale = 1 / (1 - rate)
    parts = inputs * weights
    rest = parts.sum(-1, keepdims=True) - parts - label[..., None]
    spread = (scale - 1) * (np.square(parts).sum(-1, keepdims=True) - np.square(parts))
    moments = scale**3 * parts**2 + 2 * scale**2 * parts * rest + scale * (rest**2 + spread)
    means = inputs * (rest + scale * parts)
    return np.sum(np.square(inputs) * moments - np.square(means), axis=-1)


@checked
def regularized_condition_number(smoothness: Positive, strong_convexity: NonNegative, strength: Positive) -> Floats:
    """Condition number with the penalty strength |w|^2 / 2: (L + a) / (mu + a).

    Example:
      >>> print(f"{regularized_condition_number(100.0, 0.0, 1.0):.0f}")
      101
    """
    return (smoothness + strength) / (strong_convexity + strength)


def largest_variance_ratio() -> float:
    """Most that stopping early at time t can have of the variance of ridge at 1 / t: max ((1 - exp(-s)) (1 + s) / s)^2.

    Its squared bias is never larger: exp(-s) <= 1 / (1 + s).

    Example:
      >>> print(f"{largest_variance_ratio():.4f}")
      1.6859

    Reference: Ali, Kolter, Tibshirani 2019, arXiv 1810.10082, who print 1.6862; the maximum is taken here.
    """
    ratio = lambda s: (-np.expm1(-s) * (1 + s) / s) ** 2  # noqa: E731
    best = optimize.minimize_scalar(lambda s: -ratio(s), bounds=(0.1, 10.0), method="bounded", options={"xatol": 1e-12})
    return float(ratio(best.x))
