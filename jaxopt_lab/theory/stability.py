"""Stability edges: the largest learning_rate * eigenvalue at which a method does not diverge on a quadratic.

An edge divided by the learning rate is the sharpest curvature at which a run is stable; divided by the
curvature it is the largest learning rate. Stochastic edges for whole spectra are in `minibatch`.
"""

import numpy as np
from numpy.typing import ArrayLike

from jaxopt_lab.theory import arguments
from jaxopt_lab.theory.arguments import Floats

__all__ = [
    "averaged_heavy_ball_edge",
    "gradient_descent_edge",
    "heavy_ball_edge",
    "large_batch_edge",
    "nesterov_edge",
    "normalized_sharpness_aware_edge",
    "sharpness_aware_cycle",
    "sharpness_aware_edge",
    "small_batch_edge",
    "two_step_edge",
]


def gradient_descent_edge() -> float:
    """Edge of gradient descent: 2.

    Returns:
      The largest stable learning_rate * eigenvalue.

    Example:
      >>> gradient_descent_edge()
      2.0

    Reference: Polyak 1987, section 1.4.
    """
    return 2.0


def heavy_ball_edge(rho: ArrayLike) -> Floats:
    """Edge of heavy ball (v <- rho v + g, x <- x - learning_rate v): 2 (1 + rho).

    Args:
      rho: momentum in [0, 1).

    Returns:
      The largest stable learning_rate * eigenvalue, broadcast.

    Raises:
      InputError: rho is out of range.

    Example:
      >>> print(f"{heavy_ball_edge(0.9):.3f}")
      3.800

    Reference: Polyak 1964; Goh 2017.
    """
    return two_step_edge(arguments.momentum("heavy_ball_edge", rho)[0], 0.0)


def nesterov_edge(rho: ArrayLike) -> Floats:
    """Edge of Nesterov's method: 2 (1 + rho) / (1 + 2 rho).

    Args:
      rho: momentum in [0, 1).

    Returns:
      The largest stable learning_rate * eigenvalue, broadcast.

    Raises:
      InputError: rho is out of range.

    Example:
      >>> print(f"{nesterov_edge(0.9):.7f}")
      1.3571429

    Reference: Cohen, Kaur, Li, Kolter, Talwalkar, ICLR 2021, appendix B.
    """
    rho, _ = arguments.momentum("nesterov_edge", rho)
    return two_step_edge(rho, rho)


def two_step_edge(rho: ArrayLike, lookahead: ArrayLike) -> Floats:
    """Edge of any two-step method of `rates`: 2 (1 + rho) / (1 + 2 lookahead).

    Args:
      rho: momentum in [0, 1).
      lookahead: 0 for heavy ball, rho for Nesterov, in [0, 1].

    Returns:
      The largest stable learning_rate * eigenvalue, broadcast; there a root is exactly -1.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{two_step_edge(0.9, 0.45):.3f}")
      2.000

    Reference: the Jury conditions on z^2 - T z + D.
    """
    rho, lookahead = arguments.momentum("two_step_edge", rho, lookahead)
    return 2 * (1 + rho) / (1 + 2 * lookahead)


def averaged_heavy_ball_edge(rho: ArrayLike) -> Floats:
    """Edge of heavy ball whose velocity is a true average, m <- rho m + (1 - rho) g: 2 (1 + rho) / (1 - rho).

    The same number bounds Adam's preconditioned sharpness with rho = b1 once its second moments are stationary:
    38 / learning_rate at b1 = 0.9.

    Args:
      rho: momentum in [0, 1).

    Returns:
      The largest stable learning_rate * eigenvalue, broadcast.

    Raises:
      InputError: rho is out of range.

    Example:
      >>> print(f"{averaged_heavy_ball_edge(0.9):.1f}")
      38.0

    Reference: Cohen et al., Adaptive gradient methods at the edge of stability, 2022.
    """
    rho, _ = arguments.momentum("averaged_heavy_ball_edge", rho)
    return 2 * (1 + rho) / (1 - rho)


def sharpness_aware_edge(learning_rate: ArrayLike, radius: ArrayLike) -> Floats:
    """Sharpest stable curvature of SAM without normalization, x <- x - learning_rate g(x + radius g(x)).

    The positive root of learning_rate a (1 + radius a) = 2, as 4 / (learning_rate (1 + sqrt(1 + 8 radius /
    learning_rate))), which has no cancellation at a small radius.

    Args:
      learning_rate: step size, > 0.
      radius: ascent step, >= 0; 0 is gradient descent.

    Returns:
      The largest stable eigenvalue, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{sharpness_aware_edge(0.1, 0.0):.1f} {sharpness_aware_edge(0.1, 0.1):.1f}")
      20.0 10.0

    Reference: derived from the linear recursion; Andriushchenko and Flammarion 2022 for the method.
    """
    learning_rate = arguments.positive("sharpness_aware_edge", "learning_rate", learning_rate)
    radius = arguments.non_negative("sharpness_aware_edge", "radius", radius, "It is the length of the ascent step.")
    return 4 / (learning_rate * (1 + np.sqrt(1 + 8 * radius / learning_rate)))


def normalized_sharpness_aware_edge(learning_rate: ArrayLike, radius: ArrayLike, gradient_norm: ArrayLike) -> Floats:
    """Curvature at which SAM with a normalized ascent step is at its edge.

    ||g|| / (2 radius) (sqrt(1 + 8 radius / (learning_rate ||g||)) - 1), computed without that difference. It falls
    to zero with the gradient: on a quadratic SAM ends in the cycle of `sharpness_aware_cycle`.

    Args:
      learning_rate: step size, > 0.
      radius: length of the ascent step, >= 0; 0 is gradient descent.
      gradient_norm: ||g|| > 0.

    Returns:
      The largest stable eigenvalue, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{normalized_sharpness_aware_edge(0.1, 0.1, 8.0):.6f}")
      16.568542

    Reference: Long and Bartlett, Sharpness-aware minimization and the edge of stability, 2024.
    """
    where = "normalized_sharpness_aware_edge"
    gradient_norm = arguments.positive(where, "gradient_norm", gradient_norm)
    radius = arguments.non_negative(where, "radius", radius, "It is the length of the ascent step.")
    learning_rate = arguments.positive(where, "learning_rate", learning_rate)
    return 4 / (learning_rate * (1 + np.sqrt(1 + 8 * (radius / learning_rate) / gradient_norm)))


def sharpness_aware_cycle(learning_rate: ArrayLike, eigenvalue: ArrayLike, radius: ArrayLike) -> Floats:
    """Amplitude of the 2-cycle in which SAM with a normalized ascent step ends on one eigenvalue.

    |x| = h radius / (2 - h), h = learning_rate eigenvalue.

    Args:
      learning_rate: step size, > 0.
      eigenvalue: Hessian eigenvalue, > 0; the product is below 2.
      radius: length of the ascent step, >= 0.

    Returns:
      The amplitude, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{sharpness_aware_cycle(0.1, 1.0, 0.19):.2f}")
      0.01

    Reference: derived from x <- x - h (x + radius sign x); Bartlett, Long, Bousquet 2023.
    """
    where = "sharpness_aware_cycle"
    h = arguments.positive(where, "learning_rate", learning_rate) * arguments.positive(where, "eigenvalue", eigenvalue)
    h = arguments.between(where, "learning_rate * eigenvalue", h, 0, 2, ends="()", why="Beyond 2 there is no cycle.")
    return h * arguments.non_negative(where, "radius", radius) / (2 - h)


def large_batch_edge(rho: ArrayLike) -> Floats:
    """Edge of minibatch heavy ball when the batch is large: 2 (1 + rho), in learning_rate * eigenvalue.

    Args:
      rho: momentum in [0, 1).

    Returns:
      The edge, broadcast.

    Raises:
      InputError: rho is out of range.

    Example:
      >>> print(f"{large_batch_edge(0.9):.1f}")
      3.8

    Reference: the limit of `minibatch.isotropic_edge`; Andreyev et al. 2026, arXiv 2604.14108.
    """
    return heavy_ball_edge(arguments.momentum("large_batch_edge", rho)[0])


def small_batch_edge(rho: ArrayLike) -> Floats:
    """Edge of minibatch heavy ball when the batch is small: 2 (1 - rho), in units where SGD's edge is 2.

    For isotropic regression that unit is learning_rate * eigenvalue * (dim + 1) / batch_size.

    Args:
      rho: momentum in [0, 1).

    Returns:
      The edge, broadcast.

    Raises:
      InputError: rho is out of range.

    Example:
      >>> print(f"{small_batch_edge(0.9):.1f}")
      0.2

    Reference: the limit of `minibatch.isotropic_edge`; Andreyev et al. 2026, arXiv 2604.14108.
    """
    rho, _ = arguments.momentum("small_batch_edge", rho)
    return 2 * (1 - rho)
