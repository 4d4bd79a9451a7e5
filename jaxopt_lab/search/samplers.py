"""Samplers: the points of the unit cube that a non-adaptive search tries; (space, num_trials, seed) -> [trials, dim].

Where only one of D hyperparameters matters, a grid of N trials tests N^(1/D) values of it, random points test N. Where
all matter and the good region is a cube of side N^(-1/D), a grid always hits it and random points miss it in 37 % of
all searches. Quasi-random points do well at both.

Reference: Bergstra and Bengio, Random search for hyper-parameter optimization, JMLR 13, 2012.
"""

import warnings
from collections.abc import Callable

import numpy as np

from jaxopt_lab.core import fail
from jaxopt_lab.core.errors import require_choice, require_count
from jaxopt_lab.search.dimensions import Choices, Integers
from jaxopt_lab.search.spaces import Space


def grid_points(space: Space, num_trials: int, seed: int = 0) -> np.ndarray:
    """The midpoints of the finest grid of at most `num_trials` cells, the same number of cells along each range.

    Args:
      space: what is searched; choices take all of their values, ranges of whole numbers no more than they have.
      num_trials: most points, >= 1.
      seed: not used; a grid is always the same.

    Returns:
      Points [n, dim] with n <= num_trials.

    Raises:
      InputError: there are fewer trials than combinations of choices.

    Example:
      >>> from jaxopt_lab.search import Space, uniform
      >>> grid_points(Space(x=uniform(0.0, 1.0), y=uniform(0.0, 1.0)), 5).tolist()
      [[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]]
    """
    _check("grid_points", space, num_trials, seed)
    limits = [_most(space.dimensions[name]) for name in space.searched]
    cells = [limit if isinstance(space.dimensions[name], Choices) else 1
             for name, limit in zip(space.searched, limits, strict=True)]  # fmt: skip
    if np.prod(cells) > num_trials:
        raise fail("grid_points", f"{num_trials} trials cannot cover {np.prod(cells)} combinations of choices")
    free = [k for k, limit in enumerate(limits) if cells[k] < limit]
    while free:
        finer = [count + (k in free) for k, count in enumerate(cells)]
        if np.prod(finer, dtype=float) > num_trials:
            break
        cells = finer
        free = [k for k in free if cells[k] < limits[k]]
    axes = np.meshgrid(*((np.arange(count) + 0.5) / count for count in cells), indexing="ij")
    return np.stack([axis.ravel() for axis in axes], 1)


def random_points(space: Space, num_trials: int, seed: int = 0) -> np.ndarray:
    """Independent uniform points [trials, dim]; the first n of more trials are the n of fewer."""
    _check("random_points", space, num_trials, seed)
    return np.random.default_rng(seed).random((num_trials, space.dim))


def sobol_points(space: Space, num_trials: int, seed: int = 0) -> np.ndarray:
    """Scrambled Sobol points [trials, dim]; best balanced when `num_trials` is a power of two.

    Reference: Owen, Scrambled net variance for integrals of smooth functions, 1997.
    """
    _check("sobol_points", space, num_trials, seed)
    from scipy.stats import qmc

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The balance properties", UserWarning)
        return qmc.Sobol(space.dim, scramble=True, rng=np.random.default_rng(seed)).random(num_trials)


def halton_points(space: Space, num_trials: int, seed: int = 0) -> np.ndarray:
    """Scrambled Halton points [trials, dim]; as good for any number of trials, better for few dimensions."""
    _check("halton_points", space, num_trials, seed)
    from scipy.stats import qmc

    return qmc.Halton(space.dim, scramble=True, rng=np.random.default_rng(seed)).random(num_trials)


SAMPLERS: dict[str, Callable[[Space, int, int], np.ndarray]] = {
    "grid": grid_points,
    "random": random_points,
    "sobol": sobol_points,
    "halton": halton_points,
}


def sample(sampler: str, space: Space, num_trials: int, seed: int = 0) -> np.ndarray:
    """Points [trials, dim] of a sampler by name; a grid may give fewer."""
    require_choice("sample", "sampler", sampler, SAMPLERS)
    return SAMPLERS[sampler](space, num_trials, seed)


def _most(dimension: object) -> float:
    if isinstance(dimension, Choices):
        return len(dimension.options)
    return dimension.high - dimension.low + 1 if isinstance(dimension, Integers) else np.inf


def _check(where: str, space: Space, num_trials: int, seed: int) -> None:
    require_count(where, "num_trials", num_trials)
    require_count(where, "seed", seed, 0)
    if not space.dim:
        raise fail(where, "the space has nothing to search, all of it is fixed", "Give at least one dimension.")
