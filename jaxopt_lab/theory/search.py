"""What a search for hyperparameters finds: chances to hit, distances, rates of shrinking.

N trials in [0, 1]^D, of which a grid has n = N^(1/D) values along each axis, at the midpoints of n cells:
    random hits a region of volume v with chance 1 - (1 - v)^N, and its rank is N / (N + 1) on average;
    mean distance to an optimum along one axis: grid 1 / (4 n), random ~ 1 / (2 N), one point a cell ~ 7 / (24 N).
`trials` are N, `cells` n; the optimum is uniform along each axis, and distances are in units of the range.
"""

from typing import Annotated, Any

import numpy as np
from scipy import special
from typing_extensions import TypeAliasType

from jaxopt_lab.core.errors import fail
from jaxopt_lab.theory.arguments import (
    AtLeastOne,
    Floats,
    NonNegative,
    OpenFraction,
    PositiveFraction,
    Range,
    checked,
)

__all__ = [
    "accurate_share",
    "block_coordinate_factor",
    "coarse_to_fine_width",
    "expected_best_rank",
    "first_box_misses",
    "grid_hit_probability",
    "grid_search_distance",
    "random_hit_probability",
    "random_search_distance",
    "stratified_search_distance",
    "trials_to_hit",
]

Correlation = TypeAliasType("Correlation", Annotated[Any, Range("(-1, 1)")])


@checked
def random_hit_probability(trials: AtLeastOne, share: PositiveFraction) -> Floats:
    """Chance that at least one of N random trials is among the best `share` of all settings: 1 - (1 - share)^N.

    Example:
      >>> print(f"{random_hit_probability(60, 0.05):.5f} {random_hit_probability(100, 0.01):.3f}")
      0.95393 0.634

    Reference: Bergstra and Bengio, Random search for hyper-parameter optimization, JMLR 13, 2012.
    """
    with np.errstate(divide="ignore"):
        return -np.expm1(trials * np.log1p(-share))


@checked
def grid_hit_probability(cells: AtLeastOne, width: OpenFraction, effective_dim: AtLeastOne = 1) -> Floats:
    """Chance that a grid hits a cube that lies anywhere inside of the range, along the axes that matter.

    Along one axis the values miss an interval that falls between two of them or short of the first or last one:
    1 - [(n - 1) (1 / n - v)+ + 2 (1 / (2 n) - v)+] / (1 - v), about n v, and 1 once the side v = `width` of the cube is
    1 / n; the `effective_dim` axes along which the cube is bounded are independent.

    Example:
      >>> grid_hit_probability([10, 4, 10], [0.05, 0.05, 0.1], [1, 1, 2]).round(4).tolist()
      [0.5263, 0.2105, 1.0]

    Reference: derived here; the first two are the 0.5235 and 0.21 of a simulation.
    """
    missed = (cells - 1) * np.maximum(1 / cells - width, 0) + 2 * np.maximum(0.5 / cells - width, 0)
    return (1 - missed / (1 - width)) ** effective_dim


@checked
def accurate_share(dim: AtLeastOne, tolerance: OpenFraction) -> Floats:
    """Share of all settings of D hyperparameters whose root-mean-square error is at most t.

    It is a ball of radius t sqrt(D):
    pi^(D / 2) (t sqrt(D))^D / Gamma(D / 2 + 1), about (4.13 t)^D, for an optimum at least t sqrt(D) from
    every end.

    Example:
      >>> accurate_share([1, 2, 3, 6], 0.1).round(4).tolist()
      [0.2, 0.0628, 0.0218, 0.0011]

    Raises:
      InputError: t sqrt(D) is above 1/2, so that no ball fits.

    Reference: the volume of a ball.
    """
    radius = tolerance * np.sqrt(dim)
    if np.any(radius > 0.5):
        largest = f"tolerance sqrt(dim) must be at most 1/2, got {np.max(radius):g}"
        raise fail("accurate_share", largest, "The ball must lie in the unit cube.")
    return np.exp(dim / 2 * np.log(np.pi) + dim * np.log(radius) - special.gammaln(dim / 2 + 1))


@checked
def trials_to_hit(probability: OpenFraction, share: OpenFraction) -> Floats:
    """Random trials after which one is among the best `share` with the given probability: ln(1 - p) / ln(1 - share).

    Example:
      >>> print(f"{trials_to_hit(0.95, 0.05):.1f}")
      58.4
    """
    return np.log1p(-probability) / np.log1p(-share)


@checked
def expected_best_rank(trials: AtLeastOne) -> Floats:
    """Share of all settings that the best of N random trials beats on average, as the largest of N uniform numbers.

    N / (N + 1).

    Example:
      >>> print(f"{expected_best_rank(19):.2f}")
      0.95
    """
    return trials / (trials + 1)


@checked
def random_search_distance(trials: AtLeastOne) -> Floats:
    """Mean distance, along one axis, from an optimum to the nearest of N random trials.

    (N + 3) / (2 (N + 1) (N + 2)), which is 1 / (2 N) for many, from the chance (1 - length within s)^N that no trial is
    within s.

    Example:
      >>> print(f"{random_search_distance(1):.4f} {random_search_distance(100):.5f}")
      0.3333 0.00500
    """
    return (trials + 3) / (2 * (trials + 1) * (trials + 2))


@checked
def grid_search_distance(cells: AtLeastOne) -> Floats:
    """Mean distance, along one axis, from an optimum to the nearest of n midpoints: 1 / (4 n).

    Example:
      >>> print(f"{grid_search_distance(10) / random_search_distance(100):.2f}")
      5.00
    """
    return 0.25 / cells


@checked
def stratified_search_distance(trials: AtLeastOne) -> Floats:
    """The same distance when each of N equal cells of the axis holds one random trial: (7 + 1 / N) / (24 N).

    Every axis of a scrambled Sobol sequence is cut up like that when N is a power of two.

    Example:
      >>> print(f"{stratified_search_distance(1):.4f} {64 * stratified_search_distance(64):.4f}")
      0.3333 0.2923

    Reference: derived here; the cells: Owen, Scrambled net variance for integrals of smooth functions, 1997.
    """
    return (7 + 1 / trials) / (24 * trials)


@checked
def coarse_to_fine_width(trials: AtLeastOne, stages: NonNegative) -> Floats:
    """Share of the first range in which the optimum is known to lie after stages of N trials: (2 / (N + 1))^stages.

    Each stage keeps what lies between the neighbours of the best of N evenly spaced trials along one axis.

    Example:
      >>> print(f"{coarse_to_fine_width(8, 3):.4f} {coarse_to_fine_width(24, 1):.4f}")
      0.0110 0.0800
    """
    return (2 / (trials + 1)) ** stages


@checked
def first_box_misses(trials: AtLeastOne) -> Floats:
    """The chance that the first box of a search by random trials, one gap 1 / (N + 1) to each side, misses the optimum.

    No trial lies within 1 / (N + 1) of it: the stretch is twice as wide, but for optima nearer than that to an end.

    Example:
      >>> print(f"{first_box_misses(8):.4f}")
      0.1580

    Reference: derived here.
    """
    half = 1 / (trials + 1)
    inner, outer = (1 - 2 * half) ** (trials + 1), (1 - half) ** (trials + 1)
    return (inner + 2 * (outer - inner) * half)[()]


@checked
def block_coordinate_factor(correlation: Correlation) -> Floats:
    """Factor a sweep on the distance to the optimum of a quadratic response in two hyperparameters: correlation^2.

    correlation = H_12 / sqrt(H_11 H_22) of the response's Hessian. The excess loss falls by correlation^4.

    Example:
      >>> print(f"{block_coordinate_factor(0.99) ** 2:.4f}")
      0.9606

    Reference: Gauss-Seidel on a 2 x 2 matrix; Golub and Van Loan, Matrix Computations, section 11.2.
    """
    return np.square(correlation)
