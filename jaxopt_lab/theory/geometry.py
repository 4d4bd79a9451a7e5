"""Angles on a quadratic: how far the gradient points away from the minimum, and when gradient descent zig-zags."""

import numpy as np

from jaxopt_lab.core.errors import fail
from jaxopt_lab.theory.arguments import ConditionNumber, Floats, NonNegative, Positive, StrongConvexity, checked

__all__ = [
    "line_search_loss_ratio",
    "log_uniform_gradient_cosine",
    "typical_gradient_cosine",
    "worst_gradient_cosine",
    "zig_zag_threshold",
]


@checked
def worst_gradient_cosine(kappa: ConditionNumber) -> Floats:
    """Smallest cosine between minus the gradient and the direction to the minimum: 2 sqrt(kappa) / (kappa + 1).

    Example:
      >>> print(f"{worst_gradient_cosine(100.0):.5f}")
      0.19802

    Reference: Kantorovich 1948; Horn and Johnson, Matrix Analysis, theorem 7.4.41.
    """
    return 2 * np.sqrt(kappa) / (kappa + 1)


@checked
def typical_gradient_cosine(eigenvalues: NonNegative) -> Floats:
    """Cosine between minus the gradient and the direction to the minimum at a random point of high dimension.

    tr H / sqrt(d tr H^2), from which single points deviate by O(1 / sqrt(d)), since <x, H x>, ||x|| and ||H x||
    concentrate for Gaussian x. From eigenvalues [..., d], not all zero, the cosines [...].

    Example:
      >>> print(f"{typical_gradient_cosine([1.0, 3.0]):.4f}")
      0.8944
    """
    eigenvalues = np.atleast_1d(eigenvalues)
    top = eigenvalues.max(-1, keepdims=True)
    if not np.all(top > 0):
        raise fail("typical_gradient_cosine", "eigenvalues must not all be zero", "A flat loss has no gradient.")
    scaled = eigenvalues / top
    return (scaled.mean(-1) / np.sqrt(np.mean(scaled**2, -1)))[()]


@checked
def log_uniform_gradient_cosine(kappa: ConditionNumber) -> Floats:
    """`typical_gradient_cosine` of a spectrum spread evenly in logarithm over [mu, L].

    sqrt(2 (1 - 1/kappa) / (ln kappa (1 + 1/kappa))) = sqrt(tanh(a) / a), a = ln(kappa) / 2; 1 at kappa = 1.

    Example:
      >>> print(f"{log_uniform_gradient_cosine(100.0):.4f} {log_uniform_gradient_cosine(1e4):.4f}")
      0.6525 0.4659
    """
    half = np.log1p(kappa - 1) / 2
    safe = np.where(half > 0, half, 1.0)
    return np.where(half > 0, np.sqrt(np.tanh(safe) / safe), 1.0)[()]


@checked
def line_search_loss_ratio(kappa: ConditionNumber) -> Floats:
    """Largest factor per step on the loss of gradient descent with exact line search: ((kappa - 1) / (kappa + 1))^2.

    Almost every start comes close to it, because the method ends in a zig-zag of right angles between two modes.

    Example:
      >>> print(f"{line_search_loss_ratio(100.0):.8f}")
      0.96078816

    Reference: Kantorovich 1948; Akaike 1959.
    """
    return ((kappa - 1) / (kappa + 1)) ** 2


@checked
def zig_zag_threshold(smoothness: Positive, strong_convexity: StrongConvexity) -> Floats:
    """Learning rate above which fixed-step gradient descent zig-zags forever: 2 / (L + mu).

    Below it the mode of mu is the last to vanish and successive steps turn parallel (cosine +1); above it the mode of
    L is, and they turn opposite (cosine -1). There |1 - learning_rate L| = 1 - learning_rate mu.

    Example:
      >>> print(f"{zig_zag_threshold(100.0, 1.0) * 100:.4f}")
      1.9802
    """
    return 2 / (smoothness + strong_convexity)
