"""Angles on a quadratic: how far the gradient points away from the minimum, and when gradient descent zig-zags."""

import numpy as np
from numpy.typing import ArrayLike

from jaxopt_lab.core.errors import fail
from jaxopt_lab.theory import arguments
from jaxopt_lab.theory.arguments import Floats

__all__ = [
    "line_search_loss_ratio",
    "log_uniform_gradient_cosine",
    "typical_gradient_cosine",
    "worst_gradient_cosine",
    "zig_zag_threshold",
]


def worst_gradient_cosine(kappa: ArrayLike) -> Floats:
    """Smallest cosine between minus the gradient and the direction to the minimum: 2 sqrt(kappa) / (kappa + 1).

    Args:
      kappa: condition number, >= 1.

    Returns:
      The cosine, broadcast.

    Raises:
      InputError: kappa is out of range.

    Example:
      >>> print(f"{worst_gradient_cosine(100.0):.5f}")
      0.19802

    Reference: Kantorovich 1948; Horn and Johnson, Matrix Analysis, theorem 7.4.41.
    """
    kappa = arguments.condition_number("worst_gradient_cosine", kappa)
    return 2 * np.sqrt(kappa) / (kappa + 1)


def typical_gradient_cosine(eigenvalues: ArrayLike) -> Floats:
    """Cosine between minus the gradient and the direction to the minimum at a random point of high dimension.

    tr H / sqrt(d tr H^2), from which single points deviate by O(1 / sqrt(d)).

    Args:
      eigenvalues: Hessian eigenvalues, >= 0, not all zero, shape [..., d].

    Returns:
      The cosine, shape [...].

    Raises:
      InputError: an eigenvalue is negative, or all are zero.

    Example:
      >>> print(f"{typical_gradient_cosine([1.0, 3.0]):.4f}")
      0.8944

    Reference: concentration of <x, H x>, ||x|| and ||H x|| for Gaussian x.
    """
    where = "typical_gradient_cosine"
    eigenvalues = np.atleast_1d(arguments.non_negative(where, "eigenvalues", eigenvalues))
    top = eigenvalues.max(-1, keepdims=True)
    if not np.all(top > 0):
        raise fail(where, "eigenvalues must not all be zero", "A flat loss has no gradient.")
    scaled = eigenvalues / top
    return (scaled.mean(-1) / np.sqrt(np.mean(scaled**2, -1)))[()]


def log_uniform_gradient_cosine(kappa: ArrayLike) -> Floats:
    """`typical_gradient_cosine` of a spectrum spread evenly in logarithm over [mu, L].

    sqrt(2 (1 - 1/kappa) / (ln kappa (1 + 1/kappa))) = sqrt(tanh(a) / a), a = ln(kappa) / 2.

    Args:
      kappa: condition number, >= 1.

    Returns:
      The cosine, broadcast; 1 at kappa = 1.

    Raises:
      InputError: kappa is out of range.

    Example:
      >>> print(f"{log_uniform_gradient_cosine(100.0):.4f} {log_uniform_gradient_cosine(1e4):.4f}")
      0.6525 0.4659

    Reference: the moments of a log-uniform law.
    """
    half = np.log1p(arguments.condition_number("log_uniform_gradient_cosine", kappa) - 1) / 2
    safe = np.where(half > 0, half, 1.0)
    return np.where(half > 0, np.sqrt(np.tanh(safe) / safe), 1.0)[()]


def line_search_loss_ratio(kappa: ArrayLike) -> Floats:
    """Largest factor per step on the loss of gradient descent with exact line search: ((kappa - 1) / (kappa + 1))^2.

    Almost every start comes close to it, because the method ends in a zig-zag of right angles between two modes.

    Args:
      kappa: condition number, >= 1.

    Returns:
      The factor, broadcast.

    Raises:
      InputError: kappa is out of range.

    Example:
      >>> print(f"{line_search_loss_ratio(100.0):.8f}")
      0.96078816

    Reference: Kantorovich 1948; Akaike 1959.
    """
    kappa = arguments.condition_number("line_search_loss_ratio", kappa)
    return ((kappa - 1) / (kappa + 1)) ** 2


def zig_zag_threshold(smoothness: ArrayLike, strong_convexity: ArrayLike) -> Floats:
    """Learning rate above which fixed-step gradient descent zig-zags forever: 2 / (L + mu).

    Below it the mode of mu is the last to vanish and successive steps turn parallel (cosine +1); above it the mode of
    L is, and they turn opposite (cosine -1).

    Args:
      smoothness: largest eigenvalue L > 0.
      strong_convexity: smallest eigenvalue mu in (0, L].

    Returns:
      The learning rate, broadcast.

    Raises:
      InputError: an eigenvalue is not positive, or mu > L.

    Example:
      >>> print(f"{zig_zag_threshold(100.0, 1.0) * 100:.4f}")
      1.9802

    Reference: |1 - learning_rate L| = 1 - learning_rate mu.
    """
    smoothness, strong_convexity = arguments.curvature_range("zig_zag_threshold", smoothness, strong_convexity)
    return 2 / (smoothness + strong_convexity)
