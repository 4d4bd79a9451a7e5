"""What may be claimed of rules that ran on the same seeds: paired tests, profiles, ladders.

    profile   rho_s(tau) = share of the instances on which rule s needs at most tau times what the best rule needs
    ladder    P(best of k > v_i) = (1 - i / n)^k, for the i-th best of n trials drawn again with replacement

A miss is infinite everywhere: it stays in medians, profiles and ladders.
"""

import numpy as np
from numpy.typing import ArrayLike

from jaxopt_lab.core import fail

_ROUNDING = 1e-6  # relative differences below it are float32's


def paired_test(first: ArrayLike, second: ArrayLike) -> tuple[float, str]:
    """Two-sided p of the same seeds run with two rules.

    Args:
      first: what the first rule ended with, a positive number a seed, infinite for a miss, shape [n].
      second: the same of the second rule, seed by seed.

    Returns:
      (p, test): "t" of the logarithms' differences where all are positive and finite; "signed ranks" where some are
      not, in which a miss against a hit is a larger difference than any, and the smallest p is 2^(1 - n); "exact"
      where every seed gives the same, so that nothing is left to chance: then p is 0, or 1 if there is no difference.

    Raises:
      InputError: the shapes differ, or there are fewer than two seeds.

    Example:
      >>> p, test = paired_test([1.0, 1.1, 0.9, 1.0], [2.0, 2.3, 1.7, 2.1])
      >>> p < 0.001, test
      (True, 't')

    Reference: Wilcoxon, Individual comparisons by ranking methods, 1945; Student, 1908.
    """
    from scipy import stats

    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.shape != second.shape or first.ndim != 1 or len(first) < 2:
        raise fail(
            "paired_test", f"two rows of the same two or more seeds are needed, got {first.shape}, {second.shape}"
        )
    positive = bool(np.all((first > 0) & (second > 0)))
    if positive and np.isfinite(first).all() and np.isfinite(second).all():
        apart = np.log(second) - np.log(first)
        apart[np.abs(apart) < _ROUNDING] = 0.0
        if np.ptp(apart) < _ROUNDING:
            return (0.0 if apart[0] else 1.0), "exact"
        return float(stats.ttest_1samp(apart, 0.0).pvalue), "t"
    if first[0] != second[0] and np.all(first == first[0]) and np.all(second == second[0]):
        return 0.0, "exact"
    with np.errstate(invalid="ignore"):
        apart = np.where(np.isinf(first) & np.isinf(second), 0.0, second - first)
    finite = np.abs(apart[np.isfinite(apart)])
    apart = np.clip(apart, *(np.array([-1, 1]) * (2 * finite.max(initial=0.0) + 1)))
    moved = apart[apart != 0]
    if not len(moved):
        return 1.0, "signed ranks"
    return float(stats.wilcoxon(moved, method="exact").pvalue), "signed ranks"


def seeds_for_misses(num_rules: int, level: float) -> int:
    """Seeds with which signed ranks, the test where runs miss, can show a difference whatever the other pairs show.

    Args:
      num_rules: rules that are compared, each with each.
      level: p below which a difference is claimed.

    Returns:
      The least n with 2^(1 - n) times the number of pairs below the level, as Holm's correction asks of the smallest p.

    Example:
      >>> seeds_for_misses(2, 0.01), seeds_for_misses(9, 0.01)
      (8, 13)
    """
    pairs = max(num_rules * (num_rules - 1) // 2, 1)
    return int(np.floor(np.log2(pairs / level))) + 2


def performance_profile(costs: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The profile of each rule over instances.

    Args:
      costs: what each rule needs on each instance, > 0, infinite for a miss, shape [rules, instances].

    Returns:
      (tau, shares): the ratios at which something changes, from 1, shape [m]; and for each rule the share of all
      instances on which it needs at most tau times the best, shape [rules, m]. An instance that all miss counts.

    Raises:
      InputError: a cost is not positive.

    Example:
      >>> tau, shares = performance_profile([[1.0, 4.0], [2.0, np.inf]])
      >>> tau.tolist(), shares.tolist()
      ([1.0, 2.0], [[1.0, 1.0], [0.0, 0.5]])

    Reference: Dolan and More, Benchmarking optimization software with performance profiles, 2002.
    """
    costs = np.atleast_2d(np.asarray(costs, float))
    if not np.all(costs > 0):
        raise fail("performance_profile", "costs must be positive, infinite for a miss")
    best = costs.min(0)
    ratios = np.where(np.isfinite(costs), costs / np.where(np.isfinite(best), best, 1.0), np.inf)
    tau = np.unique(np.append(ratios[np.isfinite(ratios)], 1.0))
    return tau, (ratios[:, None, :] <= tau[None, :, None]).mean(2)


def budget_ladder(values: ArrayLike) -> list[dict[str, float]]:
    """What the best of k trials gives, k = 1, 2, 4, ..., by the bootstrap, which has a closed form.

    Args:
      values: one a trial, smaller is better, infinite for an infeasible one, shape [n].

    Returns:
      A row for each k up to n: trials, mean (infinite as long as all k may be infeasible), median, and the ends of the
      middle 80 %.

    Raises:
      InputError: there is no trial.

    Example:
      >>> [(row["trials"], row["mean"], row["median"]) for row in budget_ladder([3.0, 1.0])]
      [(1, 2.0, 1.0), (2, 1.5, 1.0)]

    Reference: Dodge et al., Show your work, EMNLP 2019, equation 7, which is the mean.
    """
    ranked = np.sort(np.asarray(values, float))
    n = len(ranked)
    if not n:
        raise fail("budget_ladder", "there is no trial")
    rows = []
    for k in [2**power for power in range(n.bit_length())]:
        left = (1 - np.arange(n + 1) / n) ** k  # the chance that the best is worse than the i-th
        weights = left[:-1] - left[1:]
        median, low, high = (float(ranked[np.argmax(1 - left[1:] >= share - 1e-12)]) for share in (0.5, 0.1, 0.9))
        seen = weights > 0
        rows.append(
            {"trials": k, "mean": float(ranked[seen] @ weights[seen]), "median": median, "low": low, "high": high}
        )
    return rows


def good_decades(rates: ArrayLike, good: ArrayLike) -> float:
    """Decades from the smallest to the largest rate of the good trials; 0 with fewer than two.

    Args:
      rates: > 0, shape [n].
      good: which trials are good, bool [n].

    Returns:
      The width of the good interval, in factors of ten.

    Example:
      >>> good_decades([1e-3, 1e-2, 1e-1, 1.0], [False, True, True, False])
      1.0
    """
    kept = np.log10(np.asarray(rates, float)[np.asarray(good, bool)])
    return float(np.ptp(kept)) if len(kept) else 0.0
