"""Random landscapes in high dimension: which share of directions has negative curvature at a given energy.

At a critical point the Hessian is a semicircle whose centre moves with the energy, so that the index is its share
below zero:

    F(u) = 1/2 + u sqrt(4 - u^2) / (4 pi) + arcsin(u / 2) / pi        share of a semicircle of radius 2 below u
    Gaussian field, V = N e      index F(e)
    spherical p-spin, H = N E    index F(p E / sqrt(p (p - 1)))
"""

from typing import Annotated, Any

import numpy as np
from typing_extensions import TypeAliasType

from jaxopt_lab.theory.arguments import Finite, Floats, OpenFraction, Positive, Range, Whole, checked

__all__ = [
    "gaussian_field_index",
    "index_variance",
    "log10_minimum_probability",
    "network_index_threshold",
    "semicircle_cdf",
    "spherical_index",
    "spherical_threshold",
]

Degree = TypeAliasType("Degree", Annotated[int, Whole(3, "At 2 it is a quadratic form.")])
Size = TypeAliasType("Size", Annotated[Any, Range("[2, inf)")])


@checked
def semicircle_cdf(point: Finite, radius: Positive = 2.0) -> Floats:
    """Share of a semicircle law of the given radius around 0 that lies below a point.

    Example:
      >>> semicircle_cdf([-2.0, 0.0, 3.0]).tolist()
      [0.0, 0.5, 1.0]

    Reference: Wigner 1958, On the distribution of the roots of certain symmetric matrices.
    """
    u = np.clip(2 * point / radius, -2.0, 2.0)
    return 0.5 + u * np.sqrt(4 - np.square(u)) / (4 * np.pi) + np.arcsin(u / 2) / np.pi


@checked
def gaussian_field_index(energy: Finite) -> Floats:
    """Index fraction of critical points of an isotropic Gaussian field of covariance N exp(-|x - y|^2 / 2 N).

    The energy is e = V / N at the critical point; minima are found only below e = -2.

    Example:
      >>> gaussian_field_index([-2.0, 0.0]).tolist()
      [0.0, 0.5]

    Reference: Bray and Dean 2007, Statistics of critical points of Gaussian fields on large-dimensional spaces, PRL 98.
    """
    return semicircle_cdf(energy)


@checked
def spherical_index(energy: Finite, degree: Degree = 3) -> Floats:
    """Index fraction of critical points of the spherical p-spin model H = N^-((p - 1) / 2) sum J x ... x, |x|^2 = N.

    The energy is E = H / N at the critical point, the degree p; 0 below `spherical_threshold`.

    Example:
      >>> spherical_index([-1.4696, -0.9973, -0.0659]).round(3).tolist()
      [0.019, 0.137, 0.474]

    Reference: Auffinger, Ben Arous, Cerny 2013, Random matrices and complexity of spin glasses, section 2.
    """
    return semicircle_cdf(degree * energy, 2 * np.sqrt(degree * (degree - 1)))


@checked
def spherical_threshold(degree: Degree = 3) -> float:
    """Energy per site below which critical points of the spherical p-spin model are minima: -2 sqrt((p - 1) / p).

    Example:
      >>> round(spherical_threshold(3), 5)
      -1.63299

    Reference: as in `spherical_index`.
    """
    return -2 * float(np.sqrt((degree - 1) / degree))


@checked
def network_index_threshold(parameters_per_example: OpenFraction) -> Floats:
    """Loss below which a Wishart plus Wigner model of a network's Hessian has no negative eigenvalue.

    H = Wishart(phi) + Wigner(2 e) for squared loss e and phi parameters per example; the index is 0 below
    e_c = (1 - 20 phi - 8 phi^2 + (1 + 8 phi)^(3/2)) / 16 and grows as |e / e_c - 1|^(3/2) above.

    Example:
      >>> network_index_threshold([1 / 16, 1 / 4, 1 / 2]).round(7).tolist()
      [0.0972417, 0.0435095, 0.0112712]

    Reference: Pennington and Bahri 2017, Geometry of neural network loss surfaces via random matrix theory.
    """
    phi = parameters_per_example
    return (1 - 20 * phi - 8 * np.square(phi) + (1 + 8 * phi) ** 1.5) / 16


@checked
def log10_minimum_probability(dim: Size) -> Floats:
    """log10 of the probability that a random symmetric (GOE) matrix of N rows is positive definite, for large N.

    -(ln 3 / 4 N^2 + ln(1 + 2 / sqrt 3) / 2 N + ln N / 24 + 0.017223) / ln 10, to an absolute 0.02 / N. The first
    term is theirs; the others are read off the exact `minimum_probability` up to N = 160, from which a fit gives
    0.3838259 and 0.041667 for the two coefficients.

    Example:
      >>> print(f"{float(log10_minimum_probability(1e8)):.4g}")
      -1.193e+15

    Reference: Dean and Majumdar 2006, Large deviations of extreme eigenvalues of random matrices, PRL 97, 160201.
    """
    linear = np.log1p(2 / np.sqrt(3)) / 2
    return -(np.log(3) / 4 * np.square(dim) + linear * dim + np.log(dim) / 24 + 0.017223) / np.log(10)


@checked
def index_variance(dim: Size) -> Floats:
    """Variance of the number of negative eigenvalues of a GOE matrix of N rows, for large N.

    ln N / pi^2 + (1 + Euler's gamma + 3 ln 2) / pi^2 - 1 / 8, and the constant is 0.2455: twice that of the unitary
    ensemble, less the 1 / 8 by which two edges of one interval in the bulk differ (a 1 / 4 there). Not proven;
    400,000 matrices of 40 rows give 0.2445 +- 0.0014.

    Example:
      >>> print(f"{float(np.sqrt(index_variance(1e8))):.2f}")
      1.45

    Reference: Majumdar, Nadal, Scardicchio, Vivo 2011, How many eigenvalues of a Gaussian random matrix are positive?,
    Phys. Rev. E 83, 041105, for the logarithm and the unitary constant; Mehta, Random Matrices, chapter 16, for 1 / 4.
    """
    constant = (1 + np.euler_gamma + 3 * np.log(2)) / np.pi**2 - 1 / 8
    return np.log(dim) / np.pi**2 + constant
