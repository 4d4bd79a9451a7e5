"""What a search for hyperparameters finds: chances to hit, distances, rates of shrinking, and the short horizon's bias.

N trials in [0, 1]^D, of which a grid has n = N^(1/D) values along each axis, at the midpoints of n cells:
    random hits a region of volume v with chance 1 - (1 - v)^N, and its rank is N / (N + 1) on average;
    mean distance to an optimum along one axis: grid 1 / (4 n), random ~ 1 / (2 N), one point a cell ~ 7 / (24 N).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from jaxopt_lab.core.errors import fail, require_count
from jaxopt_lab.theory import arguments
from jaxopt_lab.theory.arguments import Floats


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


def noisy_quadratic_loss(
    eigenvalues: ArrayLike,
    learning_rate: ArrayLike,
    steps: int,
    noise_variances: ArrayLike,
    rho: ArrayLike = 0.0,
    start: ArrayLike = 1.0,
) -> Floats:
    """Expected loss of heavy ball at one horizon, for many rates and momenta: `noisy_quadratic_losses` in log time.

    E x^2, E x d, E d^2 of each mode move by an affine map, which is raised to the power of the horizon.

    Args:
      eigenvalues: Hessian eigenvalues, >= 0, shape [d].
      learning_rate: > 0, any shape.
      steps: the horizon, >= 0.
      noise_variances: variance of the gradient noise per mode, >= 0, shape [d] or a number.
      rho: momentum in [0, 1), broadcast with learning_rate.
      start: root mean square of x_0 per mode, shape [d] or a number.

    Returns:
      1/2 sum_i eigenvalue_i E x_i^2 after the steps, the shape of learning_rate and rho; inf once it overflows.
      Cost: O(d ln steps) for each.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> noisy_quadratic_loss([1.0], [0.5, 1.0], 2, 1.0, start=0.0).tolist()
      [0.15625, 0.5]

    Reference: Wu, Ren, Liao, Grosse, Understanding short-horizon bias in stochastic meta-optimization, ICLR 2018.
    """
    where = "noisy_quadratic_loss"
    require_count(where, "steps", steps, 0)
    spectrum = np.atleast_1d(arguments.non_negative(where, "eigenvalues", eigenvalues))
    noise = arguments.non_negative(where, "noise_variances", noise_variances)
    begin = arguments.between(where, "start", start, -np.inf, np.inf, ends="()")
    rate, rho, _ = np.broadcast_arrays(arguments.positive(where, "learning_rate", learning_rate)[..., None],
                                       arguments.momentum(where, rho)[0][..., None], spectrum)  # fmt: skip
    h, zero, one = rate * spectrum, np.zeros(rate.shape), np.ones(rate.shape)
    drive = rate**2 * noise
    velocity = [h**2, -2 * rho * h, rho**2, drive]  # E d+^2 by (E x^2, E x d, E d^2, 1)
    crossed = [h**2 - h, rho - 2 * rho * h, rho**2, drive]
    placed = [(1 - h) ** 2, 2 * rho * (1 - h), rho**2, drive]
    step = np.stack([np.stack(row, -1) for row in (placed, crossed, velocity, [zero, zero, zero, one])], -2)
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.linalg.matrix_power(step, steps)
        loss = 0.5 * np.sum(spectrum * (moved[..., 0, 0] * np.square(begin) + moved[..., 0, 3]), -1)
    return np.where(np.isfinite(loss), loss, np.inf)[()]


def best_constant_rate(
    eigenvalues: ArrayLike,
    steps: int,
    noise_variances: ArrayLike,
    rho: float = 0.0,
    start: ArrayLike = 1.0,
    between: Sequence[float] = (1e-6, 4.0),
) -> float:
    """The constant learning rate with the smallest expected loss at a horizon, on a noisy quadratic.

    Args:
      eigenvalues: as in `noisy_quadratic_loss`.
      steps: the horizon, >= 1.
      noise_variances: as there.
      rho: momentum in [0, 1).
      start: as there.
      between: the smallest and the largest rate looked at, > 0.

    Returns:
      The rate, to 7 digits.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> at = [best_constant_rate([1.0, 1e-3], steps, 1.0, start=[1.0, 1000**0.5]) for steps in (1, 100, 1000)]
      >>> [f"{rate:.2g}" for rate in at]  # a hundred steps prefer a rate ten times smaller than a thousand do
      ['0.5', '0.032', '0.3']

    Reference: as `noisy_quadratic_loss`.
    """
    require_count("best_constant_rate", "steps", steps)
    low, high = (float(end) for end in arguments.positive("best_constant_rate", "between", between))
    if not low < high:
        raise fail("best_constant_rate", f"between must be two rates that increase, got {low:g} and {high:g}")
    logs = np.linspace(np.log(low), np.log(high), 400)
    losses = noisy_quadratic_loss(eigenvalues, np.exp(logs), steps, noise_variances, rho, start)
    place = int(np.clip(np.argmin(losses), 1, len(logs) - 2))

    def loss(log: float) -> float:
        value = noisy_quadratic_loss(eigenvalues, np.exp(log), steps, noise_variances, rho, start)
        return min(float(value), 1e100)  # the search multiplies losses

    found = minimize_scalar(
        loss, bounds=(logs[place - 1], logs[place + 1]), method="bounded", options={"xatol": 1e-9}
    )  # fmt: skip
    return float(np.exp(found.x))
