"""The gradient's noise scale: how large a batch is worth its cost.

With G the full gradient, S the covariance of one example's gradient and H the Hessian, one step of the best size lowers
the loss by best / (1 + B_noise / B), B_noise = tr(H S) / (G' H G); B_simple = tr S / |G|^2 replaces H by the identity.
Noise scales are batch sizes, in examples.

Reference: McCandlish et al. 2018, arXiv 1812.06162.
"""

from typing import NamedTuple

import numpy as np

from jaxopt_lab.core.errors import fail
from jaxopt_lab.theory.arguments import AtLeastOne, BatchSize, Floats, NonNegative, Positive, checked

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


@checked
def simple_noise_scale(noise_trace: NonNegative, squared_gradient: Positive) -> Floats:
    """B_simple = tr S / |G|^2.

    Example:
      >>> print(f"{simple_noise_scale(401.0, 1.0):.0f}")
      401

    Reference: McCandlish et al. 2018, equation 2.9.
    """
    return noise_trace / squared_gradient


@checked
def isotropic_noise_scale(dim: AtLeastOne, squared_error: Positive = 1.0, label_noise: NonNegative = 0.0) -> Floats:
    """B_noise = B_simple of isotropic linear regression at distance |e| from the solution.

    d + 1 + label_noise d / |e|^2, because S = (|e|^2 + label_noise) I + e e' (the Gaussian fourth moment) and G = e;
    `squared_error` is |e|^2, `label_noise` the variance of the label noise.

    Example:
      >>> print(f"{isotropic_noise_scale(400):.0f} {isotropic_noise_scale(400, 1.0, 9.0):.0f}")
      401 4001
    """
    return dim + 1 + label_noise * dim / squared_error


@checked
def optimal_learning_rate(batch_size: BatchSize, noise_scale: NonNegative, largest: Positive = 1.0) -> Floats:
    """Best learning rate of one SGD step: largest / (1 + B_noise / B). The step's gain in loss scales the same way.

    `largest` is the full gradient's best learning rate |G|^2 / (G' H G), or its best gain.

    Example:
      >>> print(f"{optimal_learning_rate(100, 100):.2f}")
      0.50

    Reference: McCandlish et al. 2018, equations 2.6 and 2.7.
    """
    return largest / (1 + noise_scale / batch_size)


@checked
def relative_steps(batch_size: BatchSize, noise_scale: NonNegative) -> Floats:
    """Steps to a target over the fewest possible ones, S / S_min = 1 + B_noise / B.

    Together with `relative_examples`, (S / S_min - 1)(E / E_min - 1) = 1.

    Example:
      >>> print(f"{relative_steps(1, 1001):.0f}")
      1002

    Reference: McCandlish et al. 2018, equation 2.11.
    """
    return 1 + noise_scale / batch_size


@checked
def relative_examples(batch_size: Positive, noise_scale: Positive) -> Floats:
    """Examples to a target over the fewest possible ones, E / E_min = 1 + B / B_noise.

    Example:
      >>> print(f"{(relative_steps(7, 30) - 1) * (relative_examples(7, 30) - 1):.6f}")
      1.000000

    Reference: McCandlish et al. 2018, equation 2.11.
    """
    return 1 + batch_size / noise_scale


@checked
def two_batch_estimate(
    small_squared_norm: NonNegative, large_squared_norm: NonNegative, small_batch: Positive, large_batch: Positive
) -> TwoBatchEstimate:
    """Unbiased |G|^2 and tr S from gradients of two batch sizes b < B, since E|G_B|^2 = |G|^2 + tr S / B.

    |G|^2 = (B |G_B|^2 - b |G_b|^2) / (B - b), tr S = (|G_b|^2 - |G_B|^2) / (1 / b - 1 / B).
    Average both over many steps before dividing one by the other: the ratio itself is biased.

    Example:
      >>> estimate = two_batch_estimate(11.0, 2.0, 1, 10)
      >>> print(f"{estimate.squared_gradient:.1f} {estimate.noise_trace:.1f}")
      1.0 10.0

    Reference: McCandlish et al. 2018, appendix A.1.
    """
    if not np.all(small_batch < large_batch):
        problem = f"small_batch must be below large_batch, got {small_batch} and {large_batch}"
        raise fail("two_batch_estimate", problem)
    small, large, apart = small_squared_norm, large_squared_norm, large_batch - small_batch
    squared = (large_batch * large - small_batch * small) / apart
    return TwoBatchEstimate(squared, (small - large) * (small_batch * large_batch / apart))
