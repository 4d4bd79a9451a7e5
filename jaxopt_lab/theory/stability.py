"""Stability edges: the largest learning_rate * eigenvalue at which a method does not diverge on a quadratic.

An edge divided by the learning rate is the sharpest curvature at which a run is stable; divided by the
curvature it is the largest learning rate. Stochastic edges for whole spectra are in `minibatch`. SAM, sharpness-aware
minimization, takes its gradient after an ascent step of length `radius`; 0 is gradient descent.
"""

from typing import Annotated, Any

import numpy as np
from typing_extensions import TypeAliasType

from jaxopt_lab.theory.arguments import Floats, Lookahead, Momentum, NonNegative, Positive, Range, checked

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

Radius = TypeAliasType("Radius", Annotated[Any, Range("[0, inf)", "It is the length of the ascent step.")])


def gradient_descent_edge() -> float:
    """Edge of gradient descent: 2.

    Example:
      >>> gradient_descent_edge()
      2.0

    Reference: Polyak 1987, section 1.4.
    """
    return 2.0


@checked
def heavy_ball_edge(rho: Momentum) -> Floats:
    """Edge of heavy ball (v <- rho v + g, x <- x - learning_rate v): 2 (1 + rho).

    Example:
      >>> print(f"{heavy_ball_edge(0.9):.3f}")
      3.800

    Reference: Polyak 1964; Goh 2017.
    """
    return 2 * (1 + rho)


@checked
def nesterov_edge(rho: Momentum) -> Floats:
    """Edge of Nesterov's method: 2 (1 + rho) / (1 + 2 rho).

    Example:
      >>> print(f"{nesterov_edge(0.9):.7f}")
      1.3571429

    Reference: Cohen, Kaur, Li, Kolter, Talwalkar, ICLR 2021, appendix B.
    """
    return 2 * (1 + rho) / (1 + 2 * rho)


@checked
def two_step_edge(rho: Momentum, lookahead: Lookahead) -> Floats:
    """Edge of any two-step method of `rates`: 2 (1 + rho) / (1 + 2 lookahead); there a root is exactly -1.

    Example:
      >>> print(f"{two_step_edge(0.9, 0.45):.3f}")
      2.000

    Reference: the Jury conditions on z^2 - T z + D.
    """
    return 2 * (1 + rho) / (1 + 2 * lookahead)


@checked
def averaged_heavy_ball_edge(rho: Momentum) -> Floats:
    """Edge of heavy ball whose velocity is a true average, m <- rho m + (1 - rho) g: 2 (1 + rho) / (1 - rho).

    The same number bounds Adam's preconditioned sharpness with rho = b1 once its second moments are stationary:
    38 / learning_rate at b1 = 0.9.

    Example:
      >>> print(f"{averaged_heavy_ball_edge(0.9):.1f}")
      38.0

    Reference: Cohen et al., Adaptive gradient methods at the edge of stability, 2022.
    """
    return 2 * (1 + rho) / (1 - rho)


@checked
def sharpness_aware_edge(learning_rate: Positive, radius: Radius) -> Floats:
    """Sharpest stable curvature of SAM without normalization, x <- x - learning_rate g(x + radius g(x)).

    The positive root of learning_rate a (1 + radius a) = 2, as 4 / (learning_rate (1 + sqrt(1 + 8 radius /
    learning_rate))), which has no cancellation at a small radius.

    Example:
      >>> print(f"{sharpness_aware_edge(0.1, 0.0):.1f} {sharpness_aware_edge(0.1, 0.1):.1f}")
      20.0 10.0

    Reference: derived from the linear recursion; Andriushchenko and Flammarion 2022 for the method.
    """
    return 4 / (learning_rate * (1 + np.sqrt(1 + 8 * radius / learning_rate)))


@checked
def normalized_sharpness_aware_edge(learning_rate: Positive, radius: Radius, gradient_norm: Positive) -> Floats:
    """Curvature at which SAM with a normalized ascent step is at its edge.

    ||g|| / (2 radius) (sqrt(1 + 8 radius / (learning_rate ||g||)) - 1), computed without that difference. It falls
    to zero with the gradient: on a quadratic SAM ends in the cycle of `sharpness_aware_cycle`.

    Example:
      >>> print(f"{normalized_sharpness_aware_edge(0.1, 0.1, 8.0):.6f}")
      16.568542

    Reference: Long and Bartlett, Sharpness-aware minimization and the edge of stability, 2024.
    """
    return 4 / (learning_rate * (1 + np.sqrt(1 + 8 * (radius / learning_rate) / gradient_norm)))


@checked
def sharpness_aware_cycle(learning_rate: Positive, eigenvalue: Positive, radius: NonNegative) -> Floats:
    """Amplitude of the 2-cycle in which SAM with a normalized ascent step ends on one eigenvalue.

    |x| = h radius / (2 - h), h = learning_rate eigenvalue below 2.

    Example:
      >>> print(f"{sharpness_aware_cycle(0.1, 1.0, 0.19):.2f}")
      0.01

    Reference: derived from x <- x - h (x + radius sign x); Bartlett, Long, Bousquet 2023.
    """
    stable = Range("(0, 2)", "Beyond 2 there is no cycle.")
    h = stable("sharpness_aware_cycle", "learning_rate * eigenvalue", learning_rate * eigenvalue)
    return h * radius / (2 - h)


@checked
def large_batch_edge(rho: Momentum) -> Floats:
    """Edge of minibatch heavy ball when the batch is large: 2 (1 + rho), in learning_rate * eigenvalue.

    Example:
      >>> print(f"{large_batch_edge(0.9):.1f}")
      3.8

    Reference: the limit of `minibatch.isotropic_edge`; Andreyev et al. 2026, arXiv 2604.14108.
    """
    return 2 * (1 + rho)


@checked
def small_batch_edge(rho: Momentum) -> Floats:
    """Edge of minibatch heavy ball when the batch is small: 2 (1 - rho), in units where SGD's edge is 2.

    For isotropic regression that unit is learning_rate * eigenvalue * (dim + 1) / batch_size.

    Example:
      >>> print(f"{small_batch_edge(0.9):.1f}")
      0.2

    Reference: as `large_batch_edge`.
    """
    return 2 * (1 - rho)
