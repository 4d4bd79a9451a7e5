"""Numbers read off from curves (rates, crossings, lowest points) and from samples (ratios, shares, errors)."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from jaxopt_lab.core import Estimate, fail

__all__ = [
    "bootstrap_error",
    "contraction_per_step",
    "crossing",
    "equal_bins",
    "explained_share",
    "exponent",
    "log_slope",
    "lowest_point",
    "rank_correlation",
    "ratio_of_means",
    "share_interval",
    "weighted_line",
]

SMALLEST = 1e-290  # of a size that float64 still holds to full accuracy


def contraction_per_step(steps: ArrayLike, values: ArrayLike) -> float:
    """The factor r per step of a mode that runs like (a + b k) r^k, b = 0 included, from the last half of a curve.

    Three of its values at equal distances n satisfy y2 - 2 z y1 + z^2 y0 = 0 with z = r^n: the double root of
    optimally tuned momentum does not bias the answer, as it does a straight line through the logarithms.

    Args:
      steps: equally spaced steps, shape [t], at least 5 of them.
      values: the mode's values or their sizes, none zero, shape [t].

    Returns:
      r, per step.

    Raises:
      InputError: fewer than 5 values.

    Example:
      >>> k = np.arange(41)
      >>> round(contraction_per_step(k, (1 + 0.3 * k) * 0.9**k), 12)
      0.9

    Cost: O(1).
    """
    steps, sizes = np.asarray(steps, float), np.abs(np.asarray(values, float))
    if len(sizes) < 5:
        raise fail("contraction_per_step", f"values must hold at least 5 entries, got {len(sizes)}")
    last = len(sizes) - 1
    gap = (last - last // 2) // 2
    first, middle, final = sizes[[last - 2 * gap, last - gap, last]]
    spread = math.sqrt(max(middle**2 - first * final, 0.0))
    return float(((middle - spread) / first) ** (1 / (steps[last] - steps[last - gap])))


def crossing(steps: ArrayLike, values: ArrayLike, level: float, *, log: bool = False) -> float:
    """The real step at which a falling curve first reaches a level.

    Args:
      steps: of the records, shape [t].
      values: the curve's values there, shape [t].
      level: the level, in the unit of the values.
      log: the curve's logarithm is a straight line between two records, and not the curve; all is positive then.

    Returns:
      The step, between two records; that of the first record where it lies there already; inf where it never does.

    Example:
      >>> crossing([0, 10, 20], [4.0, 2.0, 1.0], 3.0), crossing([0, 10, 20], [4.0, 2.0, 0.5], 1.0, log=True)
      (5.0, 15.0)
    """
    steps, values = np.asarray(steps), np.asarray(values)
    reached = np.flatnonzero(values <= level)
    if not reached.size:
        return math.inf
    at = int(reached[0])
    if at == 0:
        return float(steps[0])
    before, after = values[at - 1], values[at]
    share = np.log(before / level) / np.log(before / after) if log else (before - level) / (before - after)
    return float(steps[at - 1] + share * (steps[at] - steps[at - 1]))


def lowest_point(places: ArrayLike, values: ArrayLike) -> float:
    """The lowest point of the parabola through the smallest of some values and its two neighbours.

    Args:
      places: evenly spaced places, shape [n], at least 3; for learning rates their logarithms.
      values: the curve's values there, shape [n]; the smallest may lie at an end.

    Returns:
      The place; where the three do not bend upwards the middle one, and never beyond the neighbours.

    Raises:
      InputError: fewer than 3 values, or places and values of different lengths.

    Example:
      >>> x = np.linspace(0.0, 1.0, 6)
      >>> round(lowest_point(x, (x - 0.33) ** 2), 12)
      0.33

    Cost: O(n).
    """
    places, values = np.asarray(places, float), np.asarray(values, float)
    if places.shape != values.shape or places.ndim != 1 or len(places) < 3:
        raise fail("lowest_point", f"there must be 3 or more places and values, got {places.shape} and {values.shape}")
    middle = int(np.clip(np.argmin(values), 1, len(places) - 2))
    before, at, after = values[middle - 1 : middle + 2]
    bend = before - 2 * at + after
    shift = np.clip(0.5 * (before - after) / bend, -1, 1) if bend > 0 else 0.0
    return float(places[middle] + shift * (places[1] - places[0]))


def exponent(x: ArrayLike, y: ArrayLike) -> float:
    """The power p of y = c x^p, by least squares through the logarithms.

    Args:
      x: positive, shape [n], at least 2 of them.
      y: positive, shape [n].

    Example:
      >>> round(exponent([1.0, 10.0, 100.0], [3.0, 30.0, 300.0]), 12)
      1.0
    """
    return float(np.polyfit(np.log(x), np.log(y), deg=1)[0])


def log_slope(steps: ArrayLike, values: ArrayLike) -> float:
    """The least-squares slope of ln(value) over the last half of what float64 can hold of a curve.

    Args:
      steps: of the records, shape [t].
      values: a size along a run that shrinks or grows without end, shape [t].

    Returns:
      The slope, per step; -inf or inf where the curve leaves float64's range within four records.

    Example:
      >>> steps = np.arange(2000)
      >>> with np.errstate(under="ignore"):
      ...     round(log_slope(steps, np.exp(-1.0 * steps)), 9)
      -1.0
    """
    steps, values = np.asarray(steps), np.asarray(values)
    with np.errstate(invalid="ignore"):
        outside = np.flatnonzero(~((values > SMALLEST) & (values < 1 / SMALLEST)))
    end = int(outside[outside > 0][0]) if (outside > 0).any() else len(steps)
    if end < 4:
        return -math.inf if values[min(end, len(steps) - 1)] < 1 else math.inf
    window = slice(max(end // 2, 1), end)
    return float(np.polyfit(steps[window], np.log(values[window]), 1)[0])


def rank_correlation(x: ArrayLike, y: ArrayLike) -> Estimate:
    """Spearman's rank correlation with its 95 % interval.

    Args:
      x: shape [n], at least 4.
      y: shape [n].

    Example:
      >>> print(rank_correlation([1, 2, 3, 4, 5, 6], [2, 1, 4, 3, 6, 5]))
      0.828571 in [0.0184995, 0.981924]

    Reference: Fieller, Hartley, Pearson 1957, for the interval.
    """
    from scipy import stats

    value = float(stats.spearmanr(np.asarray(x), np.asarray(y)).statistic)
    half = 1.96 * np.sqrt(1.06 / max(len(np.asarray(x)) - 3, 1))
    center = np.arctanh(np.clip(value, -1 + 1e-12, 1 - 1e-12))
    return Estimate(value, interval=(float(np.tanh(center - half)), float(np.tanh(center + half))))


def weighted_line(x: ArrayLike, y: ArrayLike, errors: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """y = a + b x by least squares, each y with a standard error of its own.

    Args:
      x: shape [n], at least 2 different ones.
      y: shape [n].
      errors: standard errors of y, shape [n].

    Returns:
      (a, b), and their covariance, shape [2, 2].

    Example:
      >>> weighted_line([0.0, 1.0, 2.0], [1.0, 3.0, 5.0], [0.1, 0.1, 0.1])[0].round(9).tolist()
      [1.0, 2.0]
    """
    x, y, weights = np.asarray(x), np.asarray(y), 1 / np.asarray(errors)
    columns = np.stack([np.ones(len(x)), x], axis=1) * weights[:, None]
    covariance = np.linalg.inv(columns.T @ columns)
    return covariance @ columns.T @ (weights * y), covariance


def ratio_of_means(above: ArrayLike, below: ArrayLike) -> Estimate:
    """The ratio of the means of two samples that were taken together, with its standard error to first order.

    Args:
      above: samples of the numerator, shape [s], independent of each other.
      below: of the denominator, shape [s], each from the same draw as the numerator's.

    Example:
      >>> print(ratio_of_means([2.0, 4.0, 6.1], [1.0, 2.0, 3.0]))
      2.01667 +- 0.013

    Reference: Cochran, Sampling Techniques, 1977, section 2.11.
    """
    above, below = np.asarray(above), np.asarray(below)
    ratio = above.mean() / below.mean()
    error = np.std(above - ratio * below, ddof=1) / np.sqrt(len(below)) / below.mean()
    return Estimate(float(ratio), float(error))


def share_interval(hits: int, num: int, *, level: float = 0.95, exact: bool = False) -> tuple[float, float]:
    """An interval for the chance behind a share, sensible also where nothing or everything is a hit.

    Args:
      hits: how often it came about.
      num: of how many times.
      level: the confidence.
      exact: Clopper and Pearson's, which covers at least so often; else Wilson's, which covers so often on average.

    Example:
      >>> [round(end, 4) for end in share_interval(95, 100)]
      [0.8882, 0.9785]

    Reference: Wilson 1927; Clopper and Pearson 1934.
    """
    from scipy import stats

    found = stats.binomtest(hits, num).proportion_ci(level, method="exact" if exact else "wilson")
    return float(found.low), float(found.high)


def bootstrap_error(
    statistic: Callable[[np.ndarray], float], num: int, *, seed: int = 0, num_resamples: int = 400
) -> float:
    """The standard error of a statistic of n samples, from samples drawn again with replacement.

    Args:
      statistic: from the places of the samples drawn, whole numbers of shape [n], to a number.
      num: number of samples n.
      seed: seeds the draws.
      num_resamples: how often n are drawn.

    Example:
      >>> samples = np.random.default_rng(0).normal(size=100)
      >>> round(bootstrap_error(lambda drawn: samples[drawn].mean(), 100), 2)  # 1 / sqrt(100)
      0.1

    Reference: Efron 1979.
    """
    drawn = np.random.default_rng(seed).integers(0, num, (num_resamples, num))
    return float(np.std([statistic(each) for each in drawn]))


def equal_bins(values: ArrayLike, num_bins: int) -> np.ndarray:
    """The bin of each value, whole numbers from 0, shape [n]; bins are equally full, by rank.

    Example:
      >>> equal_bins([0.3, 9.0, 0.1, 0.2], 2).tolist()
      [1, 1, 0, 0]
    """
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return ranks * num_bins // len(ranks)


def explained_share(groups: np.ndarray, response: np.ndarray) -> float:
    """The share of the variance of a response that lies between groups, without what chance puts there.

    (SS_between - (m - 1) MS_within) / SS_total.

    Args:
      groups: the group of each run, whole numbers, shape [n].
      response: shape [n].

    Returns:
      The share; a little below 0 is possible where there is no effect.

    Example:
      >>> explained_share(np.array([0, 0, 1, 1]), np.array([1.0, 1.0, 3.0, 3.0]))
      1.0

    Reference: Kelley, An unbiased correlation ratio measure, 1935.
    """
    counts = np.bincount(groups)
    kept = counts > 0
    means = np.bincount(groups, weights=response)[kept] / counts[kept]
    total = float(np.sum(np.square(response - response.mean())))
    between = float(np.sum(counts[kept] * np.square(means - response.mean())))
    within = (total - between) / max(len(response) - kept.sum(), 1)
    return float((between - (kept.sum() - 1) * within) / total)
