"""What a search for hyperparameters finds: chances to hit, distances, rates of shrinking.

N trials in [0, 1]^D, of which a grid has n = N^(1/D) values along each axis, at the midpoints of n cells:
    random hits a region of volume v with chance 1 - (1 - v)^N, and its rank is N / (N + 1) on average;
    mean distance to an optimum along one axis: grid 1 / (4 n), random ~ 1 / (2 N), one point a cell ~ 7 / (24 N).
"""

import numpy as np
from numpy.typing import ArrayLike

from jaxopt_lab.theory import arguments
from jaxopt_lab.theory.arguments import Floats

__all__ = [
    "block_coordinate_factor",
    "coarse_to_fine_width",
    "expected_best_rank",
    "grid_hit_probability",
    "grid_search_distance",
    "random_hit_probability",
    "random_search_distance",
    "stratified_search_distance",
    "trials_to_hit",
]


def random_hit_probability(trials: ArrayLike, share: ArrayLike) -> Floats:
    """Chance that at least one of N random trials is among the best `share` of all settings: 1 - (1 - share)^N.

    Args:
      trials: N >= 1.
      share: volume of the good region, in (0, 1].

    Returns:
      The probability, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{random_hit_probability(60, 0.05):.5f} {random_hit_probability(100, 0.01):.3f}")
      0.95393 0.634

    Reference: Bergstra and Bengio, Random search for hyper-parameter optimization, JMLR 13, 2012.
    """
    trials = arguments.between("random_hit_probability", "trials", trials, 1, np.inf, ends="[)")
    share = arguments.between("random_hit_probability", "share", share, 0, 1, ends="(]")
    with np.errstate(divide="ignore"):
        return -np.expm1(trials * np.log1p(-share))


def grid_hit_probability(cells: ArrayLike, width: ArrayLike, effective_dim: ArrayLike = 1) -> Floats:
    """Chance that a grid hits a cube that lies anywhere inside of the range, along the axes that matter.

    Along one axis the values miss an interval that falls between two of them or short of the first or last one:
    1 - [(n - 1) (1 / n - v)+ + 2 (1 / (2 n) - v)+] / (1 - v), about n v; axes are independent.

    Args:
      cells: n >= 1 values along each axis.
      width: side v of the cube, in (0, 1).
      effective_dim: number of axes along which the cube is bounded, >= 1.

    Returns:
      The probability, broadcast; 1 once the side is 1 / n.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> grid_hit_probability([10, 4, 10], [0.05, 0.05, 0.1], [1, 1, 2]).round(4).tolist()
      [0.5263, 0.2105, 1.0]

    Reference: derived here; the first two are the 0.5235 and 0.21 of a simulation.
    """
    where = "grid_hit_probability"
    cells = arguments.between(where, "cells", cells, 1, np.inf, ends="[)")
    width = arguments.between(where, "width", width, 0, 1, ends="()")
    axes = arguments.between(where, "effective_dim", effective_dim, 1, np.inf, ends="[)")
    missed = (cells - 1) * np.maximum(1 / cells - width, 0) + 2 * np.maximum(0.5 / cells - width, 0)
    return (1 - missed / (1 - width)) ** axes


def trials_to_hit(probability: ArrayLike, share: ArrayLike) -> Floats:
    """Random trials after which one is among the best `share` with the given probability: ln(1 - p) / ln(1 - share).

    Args:
      probability: p in (0, 1).
      share: volume of the good region, in (0, 1).

    Returns:
      The number, real, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{trials_to_hit(0.95, 0.05):.1f}")
      58.4

    Reference: as `random_hit_probability`.
    """
    probability = arguments.between("trials_to_hit", "probability", probability, 0, 1, ends="()")
    share = arguments.between("trials_to_hit", "share", share, 0, 1, ends="()")
    return np.log1p(-probability) / np.log1p(-share)


def expected_best_rank(trials: ArrayLike) -> Floats:
    """Share of all settings that the best of N random trials beats on average: N / (N + 1).

    Args:
      trials: N >= 1.

    Returns:
      The share, broadcast.

    Raises:
      InputError: trials is out of range.

    Example:
      >>> print(f"{expected_best_rank(19):.2f}")
      0.95

    Reference: the largest of N uniform numbers.
    """
    trials = arguments.between("expected_best_rank", "trials", trials, 1, np.inf, ends="[)")
    return trials / (trials + 1)


def random_search_distance(trials: ArrayLike) -> Floats:
    """Mean distance, along one axis, from an optimum uniform in [0, 1] to the nearest of N random trials.

    (N + 3) / (2 (N + 1) (N + 2)), which is 1 / (2 N) for many.

    Args:
      trials: N >= 1.

    Returns:
      The distance in units of the range, broadcast.

    Raises:
      InputError: trials is out of range.

    Example:
      >>> print(f"{random_search_distance(1):.4f} {random_search_distance(100):.5f}")
      0.3333 0.00500

    Reference: derived here from the chance (1 - length within s)^N that no trial is within s.
    """
    trials = arguments.between("random_search_distance", "trials", trials, 1, np.inf, ends="[)")
    return (trials + 3) / (2 * (trials + 1) * (trials + 2))


def grid_search_distance(cells: ArrayLike) -> Floats:
    """Mean distance, along one axis, from an optimum uniform in [0, 1] to the nearest of n midpoints: 1 / (4 n).

    Args:
      cells: n >= 1 values along the axis; a grid of N trials in D dimensions has N^(1 / D).

    Returns:
      The distance in units of the range, broadcast.

    Raises:
      InputError: cells is out of range.

    Example:
      >>> print(f"{grid_search_distance(10) / random_search_distance(100):.2f}")
      5.00

    Reference: the mean of a distance uniform in [0, 1 / (2 n)].
    """
    return 0.25 / arguments.between("grid_search_distance", "cells", cells, 1, np.inf, ends="[)")


def stratified_search_distance(trials: ArrayLike) -> Floats:
    """The same distance when each of N equal cells of the axis holds one random trial: (7 + 1 / N) / (24 N).

    Every axis of a scrambled Sobol sequence is cut up like that when N is a power of two.

    Args:
      trials: N >= 1.

    Returns:
      The distance in units of the range, broadcast.

    Raises:
      InputError: trials is out of range.

    Example:
      >>> print(f"{stratified_search_distance(1):.4f} {64 * stratified_search_distance(64):.4f}")
      0.3333 0.2923

    Reference: derived here; the cells: Owen, Scrambled net variance for integrals of smooth functions, 1997.
    """
    trials = arguments.between("stratified_search_distance", "trials", trials, 1, np.inf, ends="[)")
    return (7 + 1 / trials) / (24 * trials)


def coarse_to_fine_width(trials: ArrayLike, stages: ArrayLike) -> Floats:
    """Share of the first range in which the optimum is known to lie after stages of N trials: (2 / (N + 1))^stages.

    Each stage keeps what lies between the neighbours of the best of N evenly spaced trials.

    Args:
      trials: N >= 1 of each stage, along one axis.
      stages: number of stages, >= 0.

    Returns:
      The share, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{coarse_to_fine_width(8, 3):.4f} {coarse_to_fine_width(24, 1):.4f}")
      0.0110 0.0800

    Reference: the gaps between N evenly spaced points and the two ends.
    """
    trials = arguments.between("coarse_to_fine_width", "trials", trials, 1, np.inf, ends="[)")
    return (2 / (trials + 1)) ** arguments.non_negative("coarse_to_fine_width", "stages", stages)


def block_coordinate_factor(correlation: ArrayLike) -> Floats:
    """Factor a sweep on the distance to the optimum of a quadratic response in two hyperparameters: correlation^2.

    The excess loss falls by its square, correlation^4.

    Args:
      correlation: H_12 / sqrt(H_11 H_22) of the response's Hessian, in (-1, 1).

    Returns:
      The factor, broadcast.

    Raises:
      InputError: correlation is out of range.

    Example:
      >>> print(f"{block_coordinate_factor(0.99) ** 2:.4f}")
      0.9606

    Reference: Gauss-Seidel on a 2 x 2 matrix; Golub and Van Loan, Matrix Computations, section 11.2.
    """
    return np.square(arguments.between("block_coordinate_factor", "correlation", correlation, -1, 1, ends="()"))
