"""Spectra of random data, and how gradient descent runs on them on average.

n Gaussian (or any independent, unit-variance) inputs of dimension d, g = d / n, give X'X / n the Marchenko-Pastur
spectrum on [(1 - sqrt(g))^2, (1 + sqrt(g))^2], whatever d is. With eigenvalue = (1 - t)^2 + 4 t sin^2(a / 2),
t = sqrt(g), its mass is (2 / pi) sin^2(a) / eigenvalue da on [0, pi], smooth for every g; for g > 1 a fraction
1 - 1 / g of the eigenvalues is zero.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jaxopt_lab.core.errors import require_count
from jaxopt_lab.theory import arguments
from jaxopt_lab.theory.arguments import Floats

__all__ = [
    "Quadrature",
    "average_gradient_descent_loss",
    "marchenko_pastur_condition_number",
    "marchenko_pastur_density",
    "marchenko_pastur_edges",
    "marchenko_pastur_quadrature",
    "marchenko_pastur_spectrum",
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


def marchenko_pastur_edges(aspect_ratio: ArrayLike) -> tuple[Floats, Floats]:
    """Smallest and largest nonzero eigenvalue: (1 -+ sqrt(g))^2.

    Args:
      aspect_ratio: g = d / n > 0.

    Returns:
      Both edges, broadcast.

    Raises:
      InputError: aspect_ratio is out of range.

    Example:
      >>> print("{:.4f} {:.4f}".format(*marchenko_pastur_edges(0.25)))
      0.2500 2.2500

    Reference: Marchenko and Pastur 1967.
    """
    g = arguments.positive("marchenko_pastur_edges", "aspect_ratio", aspect_ratio)
    return ((1 - g) / (1 + np.sqrt(g))) ** 2, (1 + np.sqrt(g)) ** 2


def marchenko_pastur_condition_number(aspect_ratio: ArrayLike) -> Floats:
    """Condition number of the nonzero eigenvalues, independent of d: ((1 + sqrt(g)) / (1 - sqrt(g)))^2; inf at g = 1.

    Args:
      aspect_ratio: g = d / n > 0. Above 1 there are zero eigenvalues too, and kappa is that of the others.

    Returns:
      kappa, broadcast.

    Raises:
      InputError: aspect_ratio is out of range.

    Example:
      >>> print(f"{marchenko_pastur_condition_number(0.25):.2f} {marchenko_pastur_condition_number(0.5):.2f}")
      9.00 33.97

    Reference: Marchenko and Pastur 1967.
    """
    low, high = marchenko_pastur_edges(aspect_ratio)
    return np.where(low > 0, high / np.where(low > 0, low, 1.0), np.inf)[()]


def marchenko_pastur_density(eigenvalue: ArrayLike, aspect_ratio: ArrayLike) -> Floats:
    """Density of nonzero eigenvalues: sqrt((high - x)(x - low)) / (2 pi g x) between the edges, 0 outside.

    Args:
      eigenvalue: x, any number.
      aspect_ratio: g = d / n > 0.

    Returns:
      The density, broadcast; its integral is min(1, 1 / g).

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{marchenko_pastur_density(1.0, 1.0):.6f}")
      0.275664

    Reference: Marchenko and Pastur 1967.
    """
    x = arguments.between("marchenko_pastur_density", "eigenvalue", eigenvalue, -np.inf, np.inf, ends="()")
    low, high = marchenko_pastur_edges(aspect_ratio)
    inside = (x > low) & (x < high)
    height = np.sqrt(np.where(inside, (high - x) * (x - low), 0.0))
    return height / (2 * np.pi * np.asarray(aspect_ratio) * np.where(inside, x, 1.0))


def marchenko_pastur_quadrature(aspect_ratio: float, num_nodes: int = 2000) -> Quadrature:
    """Nodes and weights that integrate eigenvalue * polynomial over the spectrum exactly up to degree 2 m - 1.

    Equal angles a_j = j pi / (m + 1), weights 2 sin^2(a_j) / ((m + 1) eigenvalue_j): a Gauss rule in disguise.

    Args:
      aspect_ratio: g = d / n > 0.
      num_nodes: m >= 1.

    Returns:
      The quadrature.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> nodes, weights = marchenko_pastur_quadrature(0.25, 50)
      >>> print(f"{weights @ nodes:.6f} {weights @ nodes**2:.6f}")
      1.000000 1.250000

    Reference: Gauss-Chebyshev rule of the second kind, Abramowitz and Stegun 25.4.40.
    """
    g = arguments.positive("marchenko_pastur_quadrature", "aspect_ratio", aspect_ratio)
    require_count("marchenko_pastur_quadrature", "num_nodes", num_nodes)
    angles = np.arange(1.0, num_nodes + 1.0) * (np.pi / (num_nodes + 1))
    eigenvalues = _eigenvalue(angles, g)
    return Quadrature(eigenvalues, 2 * np.sin(angles) ** 2 / ((num_nodes + 1) * eigenvalues))


def marchenko_pastur_spectrum(dim: int, aspect_ratio: float) -> Floats:
    """A deterministic spectrum of d eigenvalues: the Marchenko-Pastur quantiles at (i - 1/2) / d.

    Args:
      dim: d >= 1.
      aspect_ratio: g = d / n > 0; above 1, about d (1 - 1 / g) of the eigenvalues are 0.

    Returns:
      Eigenvalues, ascending, shape [d]. Cost: about 50 vectorised evaluations of the distribution.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{marchenko_pastur_spectrum(1001, 0.5).mean():.4f}")
      1.0000

    Reference: Marchenko and Pastur 1967; the distribution function integrated in closed form here.
    """
    require_count("marchenko_pastur_spectrum", "dim", dim)
    g = float(arguments.positive("marchenko_pastur_spectrum", "aspect_ratio", aspect_ratio))
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


def square_gaussian_log_condition_number(dim: ArrayLike) -> Floats:
    """Mean of ln kappa(A) of a square Gaussian matrix: ln d + 1.537, for large d; the Hessian A'A has twice that.

    Args:
      dim: d >= 1; the constant is the limit, within 0.1 from d = 10 on.

    Returns:
      The mean logarithm, broadcast.

    Raises:
      InputError: dim is out of range.

    Example:
      >>> print(f"{square_gaussian_log_condition_number(50):.3f}")
      5.449

    Reference: Edelman 1988, theorem 6.1; the constant is the mean of ln x under `square_gaussian_condition_cdf`.
    """
    dim = arguments.between("square_gaussian_log_condition_number", "dim", dim, 1, np.inf, ends="[)")
    return np.log(dim) + 1.5370894353835363


def square_gaussian_condition_cdf(ratio: ArrayLike) -> Floats:
    """Probability that kappa(A) / d of a square Gaussian matrix is below `ratio`: exp(-2 / x - 2 / x^2).

    Args:
      ratio: x >= 0.

    Returns:
      The probability for large d, broadcast.

    Raises:
      InputError: ratio is out of range.

    Example:
      >>> print(f"{square_gaussian_condition_cdf(4.0):.3f}")
      0.535

    Reference: Edelman 1988, theorem 6.1.
    """
    x = arguments.non_negative("square_gaussian_condition_cdf", "ratio", ratio)
    with np.errstate(divide="ignore", over="ignore"):
        return np.exp(-2 / x - 2 / x / x)


def square_data_loss(steps: ArrayLike) -> Floats:
    """Expected loss of gradient descent on least squares with as many examples as dimensions, g = 1.

    (4 / pi) Beta(3/2, 2 k + 3/2), about k^(-3/2) / sqrt(2 pi); learning rate 1 / 4 = 1 / L, isotropic |x_0| = 1.

    Args:
      steps: number of steps k >= 0.

    Returns:
      The loss 1/2 x' H x, broadcast.

    Raises:
      InputError: steps is out of range.

    Example:
      >>> print(f"{square_data_loss(0):.4f} {square_data_loss(100):.5e} {square_data_loss(10000):.6e}")
      0.5000 3.93764e-04 3.988899e-07

    Reference: Paquette, van Merrienboer, Paquette, Pedregosa 2023, for the setting; closed form derived here.
    """
    steps = arguments.non_negative("square_data_loss", "steps", steps)
    return 4 / np.pi * np.exp(special.betaln(1.5, 2 * steps + 1.5))


def average_gradient_descent_loss(steps: int, aspect_ratio: float, learning_rate: float | None = None) -> float:
    """Expected loss of gradient descent on random data of any shape, by integration over the spectrum.

    1/2 mean of eigenvalue (1 - learning_rate eigenvalue)^(2 k), isotropic start with |x_0| = 1.

    Args:
      steps: number of steps k >= 0; the cost grows like sqrt(k).
      aspect_ratio: g = d / n > 0.
      learning_rate: step size >= 0; None for 1 / L, L = (1 + sqrt(g))^2.

    Returns:
      The loss 1/2 x' H x.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{average_gradient_descent_loss(100, 1.0):.5e}")
      3.93764e-04

    Reference: Pedregosa and Scieur 2020; Paquette et al. 2023.
    """
    where = "average_gradient_descent_loss"
    require_count(where, "steps", steps, 0)
    g = arguments.positive(where, "aspect_ratio", aspect_ratio)
    top = (1 + np.sqrt(g)) ** 2
    rate = arguments.non_negative(where, "learning_rate", 1 / top if learning_rate is None else learning_rate)
    # The integrand is a trigonometric polynomial of degree 2 k + 2, at most 1 / sqrt(k) wide at its ends.
    nodes, weights = marchenko_pastur_quadrature(float(g), min(steps + 2, 200 + int(40 * np.sqrt(steps))))
    with np.errstate(divide="ignore", over="ignore"):
        h = rate * nodes
        log_factor = np.where(h < 1, np.log1p(-np.minimum(h, 1)), np.log(np.abs(1 - h)))
        powers = np.exp(2 * steps * log_factor) if steps else np.ones_like(nodes)
    return float(0.5 * np.sum(weights * nodes * powers))


def _eigenvalue(angles: Floats, aspect_ratio: ArrayLike) -> Floats:
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
