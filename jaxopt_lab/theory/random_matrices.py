"""Spectra of random data, and how gradient descent runs on them on average.

n Gaussian (or any independent, unit-variance) inputs of dimension d, g = d / n the `aspect_ratio`, give X'X / n the
Marchenko-Pastur spectrum on [(1 - sqrt(g))^2, (1 + sqrt(g))^2], whatever d is. With t = sqrt(g) and
eigenvalue = (1 - t)^2 + 4 t sin^2(a / 2) its mass is (2 / pi) sin^2(a) / eigenvalue da on [0, pi], smooth for every g;
for g > 1 a fraction 1 - 1 / g of the eigenvalues is zero. Losses are 1/2 x' H x from an isotropic start with |x_0| = 1.

Reference: Marchenko and Pastur 1967.
"""

from typing import NamedTuple

import numpy as np
from scipy import special

from jaxopt_lab.theory.arguments import AtLeastOne, Count, Finite, Floats, NonNegative, Positive, Steps, checked

__all__ = [
    "Quadrature",
    "average_gradient_descent_loss",
    "log_condition_number",
    "marchenko_pastur_condition_number",
    "marchenko_pastur_density",
    "marchenko_pastur_edges",
    "marchenko_pastur_quadrature",
    "marchenko_pastur_spectrum",
    "sample_negative_counts",
    "square_data_fluctuation",
    "square_data_loss",
    "square_gaussian_condition_cdf",
    "square_gaussian_log_condition_number",
]


class Quadrature(NamedTuple):
    """Nodes and weights: sum(weights * f(eigenvalues)) is the spectrum's mean of f, zero eigenvalues left out.

    Attributes:
      eigenvalues: nodes, ascending, shape [m].
      weights: masses; they sum to min(1, 1 / aspect_ratio), shape [m].
    """

    eigenvalues: Floats
    weights: Floats


@checked
def marchenko_pastur_edges(aspect_ratio: Positive) -> tuple[Floats, Floats]:
    """Smallest and largest nonzero eigenvalue: (1 -+ sqrt(g))^2.

    Example:
      >>> print("{:.4f} {:.4f}".format(*marchenko_pastur_edges(0.25)))
      0.2500 2.2500
    """
    g = aspect_ratio
    return ((1 - g) / (1 + np.sqrt(g))) ** 2, (1 + np.sqrt(g)) ** 2


@checked
def marchenko_pastur_condition_number(aspect_ratio: Positive) -> Floats:
    """Condition number of the nonzero eigenvalues, independent of d: ((1 + sqrt(g)) / (1 - sqrt(g)))^2; inf at g = 1.

    Example:
      >>> print(f"{marchenko_pastur_condition_number(0.25):.2f} {marchenko_pastur_condition_number(0.5):.2f}")
      9.00 33.97
    """
    low, high = marchenko_pastur_edges(aspect_ratio)
    return np.where(low > 0, high / np.where(low > 0, low, 1.0), np.inf)[()]


@checked
def marchenko_pastur_density(eigenvalue: Finite, aspect_ratio: Positive) -> Floats:
    """Density of nonzero eigenvalues: sqrt((high - x)(x - low)) / (2 pi g x) between the edges, 0 outside.

    Its integral is min(1, 1 / g).

    Example:
      >>> print(f"{marchenko_pastur_density(1.0, 1.0):.6f}")
      0.275664
    """
    x, (low, high) = eigenvalue, marchenko_pastur_edges(aspect_ratio)
    inside = (x > low) & (x < high)
    height = np.sqrt(np.where(inside, (high - x) * (x - low), 0.0))
    return height / (2 * np.pi * aspect_ratio * np.where(inside, x, 1.0))


@checked
def marchenko_pastur_quadrature(aspect_ratio: Positive, num_nodes: Count = 2000) -> Quadrature:
    """m nodes and weights that integrate eigenvalue * polynomial over the spectrum exactly up to degree 2 m - 1.

    Equal angles a_j = j pi / (m + 1), weights 2 sin^2(a_j) / ((m + 1) eigenvalue_j): a Gauss rule in disguise.

    Example:
      >>> nodes, weights = marchenko_pastur_quadrature(0.25, 50)
      >>> print(f"{weights @ nodes:.6f} {weights @ nodes**2:.6f}")
      1.000000 1.250000

    Reference: Gauss-Chebyshev rule of the second kind, Abramowitz and Stegun 25.4.40.
    """
    angles = np.arange(1.0, num_nodes + 1.0) * (np.pi / (num_nodes + 1))
    eigenvalues = _eigenvalue(angles, aspect_ratio)
    return Quadrature(eigenvalues, 2 * np.sin(angles) ** 2 / ((num_nodes + 1) * eigenvalues))


@checked
def marchenko_pastur_spectrum(dim: Count, aspect_ratio: Positive) -> Floats:
    """A deterministic spectrum: the Marchenko-Pastur quantiles at (i - 1/2) / d, ascending, shape [d].

    For g > 1 about d (1 - 1 / g) of the eigenvalues are 0; the distribution function is integrated in closed form here.
    Cost: about 50 vectorised evaluations of it.

    Example:
      >>> print(f"{marchenko_pastur_spectrum(1001, 0.5).mean():.4f}")
      1.0000
    """
    g = float(aspect_ratio)
    mass = min(1.0, 1 / g)
    quantiles = (np.arange(dim) + 0.5) / dim - (1 - mass)
    levels = quantiles[quantiles > 0] / mass
    grid = np.linspace(0, np.pi, 2049)
    cell = np.clip(np.searchsorted(_distribution(grid, g), levels) - 1, 0, grid.size - 2)
    low, high = grid[cell], grid[cell + 1]
    for _ in range(45):
        middle = (low + high) / 2
        below = _distribution(middle, g) < levels
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.concatenate([np.zeros(dim - levels.size), _eigenvalue((low + high) / 2, g)])


@checked
def square_gaussian_log_condition_number(dim: AtLeastOne) -> Floats:
    """Mean of ln kappa(A) of a square Gaussian matrix: ln d + 1.537, for large d; the Hessian A'A has twice that.

    The constant is the mean of ln x under `square_gaussian_condition_cdf`, the limit, within 0.1 from d = 10 on.

    Example:
      >>> print(f"{square_gaussian_log_condition_number(50):.3f}")
      5.449

    Reference: Edelman 1988, theorem 6.1.
    """
    return np.log(dim) + 1.5370894353835363


@checked
def square_gaussian_condition_cdf(ratio: NonNegative) -> Floats:
    """Probability that kappa(A) / d of a square Gaussian matrix is below x, for large d: exp(-2 / x - 2 / x^2).

    Example:
      >>> print(f"{square_gaussian_condition_cdf(4.0):.3f}")
      0.535

    Reference: Edelman 1988, theorem 6.1.
    """
    with np.errstate(divide="ignore", over="ignore"):
        return np.exp(-2 / ratio - 2 / ratio / ratio)


@checked
def square_data_loss(steps: NonNegative) -> Floats:
    """Expected loss after k steps of gradient descent on least squares with as many examples as dimensions, g = 1.

    (4 / pi) Beta(3/2, 2 k + 3/2), about k^(-3/2) / sqrt(2 pi), at learning rate 1 / 4 = 1 / L.

    Example:
      >>> print(f"{square_data_loss(0):.4f} {square_data_loss(100):.5e} {square_data_loss(10000):.6e}")
      0.5000 3.93764e-04 3.988899e-07

    Reference: Paquette, van Merrienboer, Paquette, Pedregosa 2023, for the setting; closed form derived here.
    """
    return 4 / np.pi * np.exp(special.betaln(1.5, 2 * steps + 1.5))


@checked
def average_gradient_descent_loss(
    steps: Steps, aspect_ratio: Positive, learning_rate: NonNegative | None = None
) -> float:
    """Expected loss after k steps of gradient descent on random data of any shape, by integration over the spectrum.

    1/2 mean of eigenvalue (1 - learning_rate eigenvalue)^(2 k); the learning rate is 1 / L, L = (1 + sqrt(g))^2, where
    None is given. Cost: grows like sqrt(k).

    Example:
      >>> print(f"{average_gradient_descent_loss(100, 1.0):.5e}")
      3.93764e-04

    Reference: Pedregosa and Scieur 2020; Paquette et al. 2023.
    """
    top = (1 + np.sqrt(aspect_ratio)) ** 2
    rate = 1 / top if learning_rate is None else learning_rate
    # The integrand is a trigonometric polynomial of degree 2 k + 2, at most 1 / sqrt(k) wide at its ends.
    nodes, weights = marchenko_pastur_quadrature(float(aspect_ratio), min(steps + 2, 200 + int(40 * np.sqrt(steps))))
    with np.errstate(divide="ignore", over="ignore"):
        h = rate * nodes
        log_factor = np.where(h < 1, np.log1p(-np.minimum(h, 1)), np.log(np.abs(1 - h)))
        powers = np.exp(2 * steps * log_factor) if steps else np.ones_like(nodes)
    return float(0.5 * np.sum(weights * nodes * powers))


def _eigenvalue(angles: Floats, aspect_ratio: Floats | float) -> Floats:
    t = np.sqrt(aspect_ratio)
    return (1 - t) ** 2 + 4 * t * np.sin(angles / 2) ** 2


def _distribution(angles: Floats, aspect_ratio: float) -> Floats:
    """Fraction of the nonzero eigenvalues below the angle; g and 1 / g share it."""
    t = np.sqrt(min(aspect_ratio, 1 / aspect_ratio))
    if t < 0.05:  # sum_k t^(k-1) int sin(a) sin(k a); the closed form cancels like 1 / t^2
        total = angles / 2 - np.sin(2 * angles) / 4
        for k in range(2, 14):
            total = total + t ** (k - 1) / 2 * (np.sin((k - 1) * angles) / (k - 1) - np.sin((k + 1) * angles) / (k + 1))
        return 2 / np.pi * total
    turn = 2 * np.arctan2((1 + t) * np.sin(angles / 2), (1 - t) * np.cos(angles / 2))
    return (2 * t * np.sin(angles) + (1 + t**2) * angles - (1 - t**2) * turn) / (2 * np.pi * t**2)


@checked
def log_condition_number(dim: Positive, aspect_ratio: Positive) -> Floats:
    """ln kappa of finite data with more examples than dimensions: both extremes lie inside of the law's edges.

    They follow the Tracy-Widom law, whose mean lies 1.2065 of its scale inside.

    Args:
      dim: dimensions d.
      aspect_ratio: d / n, below 1.

    Example:
      >>> print(f"{np.exp(log_condition_number(100, 0.5)):.1f} {marchenko_pastur_condition_number(0.5):.1f}")
      30.3 34.0

    Reference: Johnstone 2001, On the distribution of the largest eigenvalue in principal components analysis.
    """
    examples, sign = np.sqrt(dim / aspect_ratio), np.array([1.0, -1.0])
    root = examples + sign * np.sqrt(dim)
    scale = root * (1 / np.sqrt(dim) + sign / examples) ** (1 / 3)
    high, low = root**2 - sign * 1.2065 * scale
    return np.log(high / low)


@checked
def square_data_fluctuation(steps: NonNegative, dim: Count) -> Floats:
    """Relative standard deviation over random starts of the loss of `square_data_loss`, one run on one spectrum.

    With w = lambda (1 - lambda / 4)^(2 k) the loss is sum w x^2 / 2, and components of a unit vector give the relative
    variance 2 / d (E w^2 / (E w)^2 - 1); both means in closed form by the law of lambda.

    Args:
      steps: k, any shape.
      dim: dimensions d.

    Example:
      >>> square_data_fluctuation([0, 10], 50).round(3).tolist()
      [0.2, 0.233]

    Reference: derived here.
    """
    k = np.atleast_1d(steps)
    nodes, weights = marchenko_pastur_quadrature(1.0, 200 + int(60 * np.sqrt(k.max() + 1)))
    log_w = np.log(nodes) + 2 * k[..., None] * np.log1p(-nodes / 4)
    mean, square = np.exp(log_w) @ weights, np.exp(2 * log_w) @ weights
    return np.sqrt(2 / dim * np.maximum(square / mean**2 - 1, 0)).reshape(np.shape(steps))[()]


@checked
def sample_negative_counts(dim: Count, num: Count, random: np.random.Generator) -> np.ndarray:
    """Numbers of negative eigenvalues of random symmetric Gaussian matrices (GOE), without the matrices.

    The tridiagonal matrix with N(0, 2) on its diagonal and chi_1 .. chi_(N - 1) beside it has the same eigenvalues in
    law, and by Sylvester's law as many negative ones as elimination has negative pivots.

    Args:
      dim: rows of a matrix, N.
      num: number of matrices.
      random: draws the matrices.

    Returns:
      The counts, shape [num].

    Example:
      >>> print(f"{sample_negative_counts(100, 1000, np.random.default_rng(0)).mean():.0f}")
      50

    Cost: O(N) a matrix.
    Reference: Dumitriu and Edelman 2002, J. Math. Phys. 43.
    """
    pivot = np.sqrt(2) * random.standard_normal(num)
    counts = (pivot < 0).astype(np.int64)
    for freedom in range(1, dim):
        pivot = np.sqrt(2) * random.standard_normal(num) - random.chisquare(freedom, num) / pivot
        counts += pivot < 0
    return counts
