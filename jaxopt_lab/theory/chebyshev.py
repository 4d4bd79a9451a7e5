"""What no first-order method can beat, and the worst that gradient descent can do.

After n gradients the error of any such method on a quadratic is a polynomial of degree n with value 1 at zero; the
smallest possible maximum over [mu, L] is that of a Chebyshev polynomial. Its schedule is in `trajectories`.
"""

import numpy as np
from numpy.typing import ArrayLike

from jaxopt_lab.theory import arguments
from jaxopt_lab.theory.arguments import Floats

__all__ = [
    "accelerated_upper_bound",
    "convex_lower_bound",
    "gradient_descent_worst_case",
    "smallest_residual",
    "strongly_convex_lower_bound",
]


def smallest_residual(steps: ArrayLike, kappa: ArrayLike) -> Floats:
    """The best worst-case factor on ||x - x*|| after n gradients, over spectra in [mu, L].

    1 / T_n((kappa + 1) / (kappa - 1)) = 2 q^n / (1 + q^(2 n)), q = (sqrt(kappa) - 1) / (sqrt(kappa) + 1).

    Args:
      steps: number of gradients n >= 0.
      kappa: condition number, >= 1.

    Returns:
      The factor, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{smallest_residual(10, 100.0):.8f} {smallest_residual(40, 100.0):.4e}")
      0.26408876 6.5317e-04

    Reference: Golub and Van Loan, Matrix Computations, section 11.2.8; Nemirovsky 1992.
    """
    steps = arguments.non_negative("smallest_residual", "steps", steps)
    log_power = _log_power(steps, arguments.condition_number("smallest_residual", kappa))
    return 2 * np.exp(log_power) / (1 + np.exp(2 * log_power))


def convex_lower_bound(smoothness: ArrayLike, distance: ArrayLike, steps: ArrayLike) -> Floats:
    """Loss that some smooth convex function keeps after k gradients of any first-order method.

    3 L R^2 / (32 (k + 1)^2), for dimensions of at least 2 k + 1.

    Args:
      smoothness: largest eigenvalue L > 0.
      distance: R = ||x_0 - x*|| >= 0.
      steps: number of gradients k >= 0.

    Returns:
      The loss above its minimum, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{convex_lower_bound(32.0, 1.0, 0):.1f}")
      3.0

    Reference: Nesterov 2004, theorem 2.1.7.
    """
    smoothness, distance, steps = _instance("convex_lower_bound", smoothness, distance, steps)
    return 3 * smoothness * distance**2 / (32 * (steps + 1) ** 2)


def accelerated_upper_bound(smoothness: ArrayLike, distance: ArrayLike, steps: ArrayLike) -> Floats:
    """Loss that Nesterov's method is sure to reach on any smooth convex function: 2 L R^2 / (k + 1)^2.

    Args:
      smoothness: largest eigenvalue L > 0.
      distance: R = ||x_0 - x*|| >= 0.
      steps: number of gradients k >= 1.

    Returns:
      The loss above its minimum, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{accelerated_upper_bound(2.0, 1.0, 1):.1f}")
      1.0

    Reference: Beck and Teboulle 2009, theorem 4.4.
    """
    smoothness, distance, steps = _instance("accelerated_upper_bound", smoothness, distance, steps)
    return 2 * smoothness * distance**2 / (steps + 1) ** 2


def gradient_descent_worst_case(smoothness: ArrayLike, distance: ArrayLike, steps: ArrayLike) -> Floats:
    """Exact worst loss of gradient descent at learning rate 1 / L over smooth convex functions.

    L R^2 / (4 N + 2), attained by a Huber function.

    Args:
      smoothness: largest eigenvalue L > 0.
      distance: R = ||x_0 - x*|| >= 0.
      steps: number of steps N >= 0.

    Returns:
      The loss above its minimum, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{gradient_descent_worst_case(1.0, 1.0, 20):.7f}")
      0.0121951

    Reference: Drori and Teboulle 2014, theorem 3.1.
    """
    smoothness, distance, steps = _instance("gradient_descent_worst_case", smoothness, distance, steps)
    return smoothness * distance**2 / (4 * steps + 2)


def strongly_convex_lower_bound(
    strong_convexity: ArrayLike, kappa: ArrayLike, distance: ArrayLike, steps: ArrayLike
) -> Floats:
    """Loss that some smooth strongly convex function keeps after k gradients of any first-order method.

    mu / 2 q^(2 k) R^2, q = (sqrt(kappa) - 1) / (sqrt(kappa) + 1), in unbounded dimension.

    Args:
      strong_convexity: smallest eigenvalue mu > 0.
      kappa: condition number, >= 1.
      distance: R = ||x_0 - x*|| >= 0.
      steps: number of gradients k >= 0.

    Returns:
      The loss above its minimum, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{strongly_convex_lower_bound(2.0, 9.0, 1.0, 1):.2f}")
      0.25

    Reference: Nesterov 2004, theorem 2.1.13.
    """
    where = "strongly_convex_lower_bound"
    strong_convexity = arguments.positive(where, "strong_convexity", strong_convexity)
    steps = arguments.non_negative(where, "steps", steps)
    log_power = _log_power(steps, arguments.condition_number(where, kappa))
    distance = arguments.non_negative(where, "distance", distance)
    return strong_convexity / 2 * np.exp(2 * log_power) * distance**2


def _log_power(steps: Floats, kappa: Floats) -> Floats:
    """The logarithm n ln q, accurate for kappa near 1 and for huge kappa; 0 for n = 0."""
    root = np.sqrt(kappa)
    with np.errstate(divide="ignore", invalid="ignore"):
        near = np.log((kappa - 1) / (root + 1) ** 2)
        log_q = np.where(kappa < 9, near, np.log1p(-np.minimum(2 / (root + 1), 0.5)))
        return np.where(steps == 0, 0.0, steps * log_q)


def _instance(where: str, smoothness: ArrayLike, distance: ArrayLike, steps: ArrayLike) -> tuple[Floats, ...]:
    return (
        arguments.positive(where, "smoothness", smoothness),
        arguments.non_negative(where, "distance", distance),
        arguments.non_negative(where, "steps", steps),
    )
