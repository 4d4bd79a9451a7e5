"""What no first-order method can beat, and the worst that gradient descent can do.

After n gradients the error of any such method on a quadratic is a polynomial of degree n with value 1 at zero; the
smallest possible maximum over [mu, L] is that of a Chebyshev polynomial. Its schedule is in `trajectories`. The bounds
are on the loss above its minimum; L is the smoothness, R the distance ||x_0 - x*||, k the number of steps.
"""

import numpy as np

from jaxopt_lab.theory.arguments import ConditionNumber, Floats, NonNegative, Positive, checked

__all__ = [
    "accelerated_upper_bound",
    "convex_lower_bound",
    "gradient_descent_worst_case",
    "smallest_residual",
    "strongly_convex_lower_bound",
]


@checked
def smallest_residual(steps: NonNegative, kappa: ConditionNumber) -> Floats:
    """The best worst-case factor on ||x - x*|| after n gradients, over spectra in [mu, L].

    1 / T_n((kappa + 1) / (kappa - 1)) = 2 q^n / (1 + q^(2 n)), q = (sqrt(kappa) - 1) / (sqrt(kappa) + 1).

    Example:
      >>> print(f"{smallest_residual(10, 100.0):.8f} {smallest_residual(40, 100.0):.4e}")
      0.26408876 6.5317e-04

    Reference: Golub and Van Loan, Matrix Computations, section 11.2.8; Nemirovsky 1992.
    """
    log_power = _log_power(steps, kappa)
    return 2 * np.exp(log_power) / (1 + np.exp(2 * log_power))


@checked
def convex_lower_bound(smoothness: Positive, distance: NonNegative, steps: NonNegative) -> Floats:
    """Loss that some smooth convex function keeps after k gradients of any first-order method.

    3 L R^2 / (32 (k + 1)^2), for dimensions of at least 2 k + 1.

    Example:
      >>> print(f"{convex_lower_bound(32.0, 1.0, 0):.1f}")
      3.0

    Reference: Nesterov 2004, theorem 2.1.7.
    """
    return 3 * smoothness * distance**2 / (32 * (steps + 1) ** 2)


@checked
def accelerated_upper_bound(smoothness: Positive, distance: NonNegative, steps: NonNegative) -> Floats:
    """Loss that Nesterov's method is sure to reach on any smooth convex function: 2 L R^2 / (k + 1)^2, k >= 1.

    Example:
      >>> print(f"{accelerated_upper_bound(2.0, 1.0, 1):.1f}")
      1.0

    Reference: Beck and Teboulle 2009, theorem 4.4.
    """
    return 2 * smoothness * distance**2 / (steps + 1) ** 2


@checked
def gradient_descent_worst_case(smoothness: Positive, distance: NonNegative, steps: NonNegative) -> Floats:
    """Exact worst loss of gradient descent at learning rate 1 / L over smooth convex functions: L R^2 / (4 k + 2).

    A Huber function attains it.

    Example:
      >>> print(f"{gradient_descent_worst_case(1.0, 1.0, 20):.7f}")
      0.0121951

    Reference: Drori and Teboulle 2014, theorem 3.1.
    """
    return smoothness * distance**2 / (4 * steps + 2)


@checked
def strongly_convex_lower_bound(
    strong_convexity: Positive, kappa: ConditionNumber, distance: NonNegative, steps: NonNegative
) -> Floats:
    """Loss that some smooth strongly convex function keeps after k gradients of any first-order method.

    mu / 2 q^(2 k) R^2, q = (sqrt(kappa) - 1) / (sqrt(kappa) + 1), in unbounded dimension.

    Example:
      >>> print(f"{strongly_convex_lower_bound(2.0, 9.0, 1.0, 1):.2f}")
      0.25

    Reference: Nesterov 2004, theorem 2.1.13.
    """
    return strong_convexity / 2 * np.exp(2 * _log_power(steps, kappa)) * distance**2


def _log_power(steps: Floats, kappa: Floats) -> Floats:
    """The logarithm n ln q, accurate for kappa near 1 and for huge kappa; 0 for n = 0."""
    root = np.sqrt(kappa)
    with np.errstate(divide="ignore", invalid="ignore"):
        near = np.log((kappa - 1) / (root + 1) ** 2)
        log_q = np.where(kappa < 9, near, np.log1p(-np.minimum(2 / (root + 1), 0.5)))
        return np.where(steps == 0, 0.0, steps * log_q)
