"""What least squares overfits: n Gaussian examples of d inputs, labels with noise of variance s^2, n > d + 1.

The fitted parameters err by H^-1 X'e / n, so that each eigenvector of the sample's Hessian H = X'X / n, of eigenvalue
v, carries s^2 / (n v) of the excess risk: the flat directions overfit, not the sharp ones.
"""

import numpy as np

from jaxopt_lab.core.errors import fail
from jaxopt_lab.theory.arguments import AtLeastOne, Count, Floats, NonNegative, OpenFraction, checked
from jaxopt_lab.theory.random_matrices import marchenko_pastur_spectrum

__all__ = ["excess_risk", "flattest_share", "interpolation_risk"]


@checked
def excess_risk(dim: AtLeastOne, num_examples: AtLeastOne, noise_variance: NonNegative = 1.0) -> Floats:
    """Mean squared error on new examples beyond the noise, s^2 d / (n - d - 1), exact.

    Raises:
      InputError: n is at most d + 1, where the mean is infinite.

    Example:
      >>> excess_risk(180, [200, 400, 800]).round(4).tolist()
      [9.4737, 0.8219, 0.2908]

    Reference: the mean of an inverse Wishart matrix.
    """
    free = num_examples - dim - 1
    if np.any(free <= 0):
        raise fail("excess_risk", f"num_examples must be above dim + 1, got {num_examples} and {dim}", "Take more.")
    return noise_variance * dim / free


@checked
def interpolation_risk(
    dim: AtLeastOne, num_examples: AtLeastOne, squared_distance: NonNegative, noise_variance: NonNegative = 0.0
) -> Floats:
    """Mean excess risk where gradient descent has fitted n < d - 1 examples, |w* - w0|^2 (1 - n / d) + s^2 n / (d-n-1).

    It moves in the span of the inputs only, and keeps what the start w0 has right outside of it; exact for Gaussian
    inputs of variance 1.

    Raises:
      InputError: n is d - 1 or more, where the mean is infinite or the fit is none.

    Example:
      >>> interpolation_risk(600, 200, [1.0, 0.1], 0.25).round(4).tolist()
      [0.792, 0.192]

    Reference: the mean of an inverse Wishart matrix; Hastie et al. 2022, arXiv 1903.08560, for the limit, from 0.
    """
    free = dim - num_examples - 1
    if np.any(free <= 0):
        told = f"num_examples must be below dim - 1, got {num_examples} and {dim}"
        raise fail("interpolation_risk", told, "Take fewer.")
    return squared_distance * (1 - num_examples / dim) + noise_variance * num_examples / free


@checked
def flattest_share(dim: Count, aspect_ratio: OpenFraction, share: OpenFraction) -> float:
    """The part of the excess risk in the flattest `share` of the directions, by the Marchenko-Pastur spectrum.

    Example:
      >>> print(f"{flattest_share(1000, 0.9, 0.1):.3f} {flattest_share(1000, 0.01, 0.1):.3f}")
      0.743 0.117

    Reference: derived here.
    """
    parts = 1 / marchenko_pastur_spectrum(dim, aspect_ratio)
    return float(parts[: round(share * dim)].sum() / parts.sum())
