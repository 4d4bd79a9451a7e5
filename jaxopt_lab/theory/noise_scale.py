"""The gradient's noise scale: how large a batch is worth its cost.

With G the full gradient, S the covariance of one example's gradient and H the Hessian, one step of the best size lowers
the loss by best / (1 + B_noise / B), B_noise = tr(H S) / (G' H G); B_simple = tr S / |G|^2 replaces H by the identity.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxopt_lab.core.errors import fail
from jaxopt_lab.theory import arguments
from jaxopt_lab.theory.arguments import Floats

__all__ = [
    "TwoBatchEstimate",
    "isotropic_noise_scale",
    "optimal_learning_rate",
    "relative_examples",
    "relative_steps",
    "simple_noise_scale",
    "two_batch_estimate",
]


class TwoBatchEstimate(NamedTuple):
    """Unbiased estimates from the squared gradient norms of two batch sizes; single ones may be negative.

    Attributes:
      squared_gradient: estimate of |G|^2.
      noise_trace: estimate of tr S.
    """

    squared_gradient: Floats
    noise_trace: Floats


def simple_noise_scale(noise_trace: ArrayLike, squared_gradient: ArrayLike) -> Floats:
    """B_simple = tr S / |G|^2, in examples.

    Args:
      noise_trace: trace of one example's gradient covariance, >= 0.
      squared_gradient: squared norm of the full gradient, > 0.

    Returns:
      The batch size, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{simple_noise_scale(401.0, 1.0):.0f}")
      401

    Reference: McCandlish et al. 2018, arXiv 1812.06162, equation 2.9.
    """
    noise_trace = arguments.non_negative("simple_noise_scale", "noise_trace", noise_trace)
    return noise_trace / arguments.positive("simple_noise_scale", "squared_gradient", squared_gradient)


def isotropic_noise_scale(dim: ArrayLike, squared_error: ArrayLike = 1.0, label_noise: ArrayLike = 0.0) -> Floats:
    """B_noise = B_simple of isotropic linear regression at distance |e| from the solution.

    d + 1 + label_noise d / |e|^2, because S = (|e|^2 + label_noise) I + e e' and G = e.

    Args:
      dim: number of parameters d >= 1.
      squared_error: |e|^2 > 0.
      label_noise: variance of the label noise, >= 0.

    Returns:
      The batch size, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{isotropic_noise_scale(400):.0f} {isotropic_noise_scale(400, 1.0, 9.0):.0f}")
      401 4001

    Reference: the Gaussian fourth moment.
    """
    where = "isotropic_noise_scale"
    dim = arguments.between(where, "dim", dim, 1, np.inf, ends="[)")
    squared_error = arguments.positive(where, "squared_error", squared_error)
    return dim + 1 + arguments.non_negative(where, "label_noise", label_noise) * dim / squared_error


def optimal_learning_rate(batch_size: ArrayLike, noise_scale: ArrayLike, largest: ArrayLike = 1.0) -> Floats:
    """Best learning rate of one SGD step: largest / (1 + B_noise / B). The step's gain in loss scales the same way.

    Args:
      batch_size: B > 0, inf for the full gradient.
      noise_scale: B_noise >= 0.
      largest: the full gradient's best learning rate |G|^2 / (G' H G), or its best gain, > 0.

    Returns:
      The learning rate (or gain), broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{optimal_learning_rate(100, 100):.2f}")
      0.50

    Reference: McCandlish et al. 2018, equations 2.6 and 2.7.
    """
    return arguments.positive("optimal_learning_rate", "largest", largest) / _excess(
        "optimal_learning_rate", batch_size, noise_scale
    )


def relative_steps(batch_size: ArrayLike, noise_scale: ArrayLike) -> Floats:
    """Steps to a target over the fewest possible ones, S / S_min = 1 + B_noise / B.

    Args:
      batch_size: B > 0, inf for the full gradient.
      noise_scale: B_noise >= 0.

    Returns:
      The ratio, broadcast; (S / S_min - 1)(E / E_min - 1) = 1 together with `relative_examples`.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{relative_steps(1, 1001):.0f}")
      1002

    Reference: McCandlish et al. 2018, equation 2.11.
    """
    return _excess("relative_steps", batch_size, noise_scale)


def relative_examples(batch_size: ArrayLike, noise_scale: ArrayLike) -> Floats:
    """Examples to a target over the fewest possible ones, E / E_min = 1 + B / B_noise.

    Args:
      batch_size: B > 0, finite.
      noise_scale: B_noise > 0.

    Returns:
      The ratio, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{(relative_steps(7, 30) - 1) * (relative_examples(7, 30) - 1):.6f}")
      1.000000

    Reference: McCandlish et al. 2018, equation 2.11.
    """
    batch_size = arguments.positive("relative_examples", "batch_size", batch_size)
    return 1 + batch_size / arguments.positive("relative_examples", "noise_scale", noise_scale)


def two_batch_estimate(
    small_squared_norm: ArrayLike, large_squared_norm: ArrayLike, small_batch: ArrayLike, large_batch: ArrayLike
) -> TwoBatchEstimate:
    """Unbiased |G|^2 and tr S from gradients of two batch sizes b < B, since E|G_B|^2 = |G|^2 + tr S / B.

    |G|^2 = (B |G_B|^2 - b |G_b|^2) / (B - b), tr S = (|G_b|^2 - |G_B|^2) / (1 / b - 1 / B).
    Average both over many steps before dividing one by the other: the ratio itself is biased.

    Args:
      small_squared_norm: squared norm of the small batch's gradient, >= 0.
      large_squared_norm: squared norm of the large batch's gradient, >= 0.
      small_batch: b > 0.
      large_batch: B > b.

    Returns:
      Both estimates, broadcast.

    Raises:
      InputError: an argument is out of range, or the batches are not in order.

    Example:
      >>> estimate = two_batch_estimate(11.0, 2.0, 1, 10)
      >>> print(f"{estimate.squared_gradient:.1f} {estimate.noise_trace:.1f}")
      1.0 10.0

    Reference: McCandlish et al. 2018, appendix A.1.
    """
    where = "two_batch_estimate"
    small_batch = arguments.positive(where, "small_batch", small_batch)
    large_batch = arguments.positive(where, "large_batch", large_batch)
    if not np.all(small_batch < large_batch):
        raise fail(where, f"small_batch must be below large_batch, got {small_batch} and {large_batch}")
    small = arguments.non_negative(where, "small_squared_norm", small_squared_norm)
    large = arguments.non_negative(where, "large_squared_norm", large_squared_norm)
    apart = large_batch - small_batch
    return TwoBatchEstimate(
        (large_batch * large - small_batch * small) / apart, (small - large) * (small_batch * large_batch / apart)
    )


def _excess(where: str, batch_size: ArrayLike, noise_scale: ArrayLike) -> Floats:
    batch_size = arguments.between(where, "batch_size", batch_size, 0, np.inf, ends="(]")
    return 1 + arguments.non_negative(where, "noise_scale", noise_scale) / batch_size
