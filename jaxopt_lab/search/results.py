"""What a sweep found: for each rule its trials, and the table of all of them, best first.

A trial's value is the median over its seeds, in which a diverged seed counts as infinitely bad; the interval is that of
order statistics, which assumes nothing of the distribution.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxopt_lab.core import Estimate, Status, fail, require_choice
from jaxopt_lab.search.spaces import Space

NOT_RUN = -1


@dataclasses.dataclass(frozen=True)
class Trials:
    """The trials of one rule.

    Attributes:
      rule: its name.
      space: what was searched.
      columns: name -> values [trials].
      objective: the last record of the objective, [trials, seeds]; NaN where the run diverged or is not finished.
      status: how each run ended, a `Status`, or NOT_RUN, int [trials, seeds].
      curves: probe name -> values [trials, seeds, records].
      maximize: whether a larger objective is better.
    """

    rule: str
    space: Space
    columns: dict[str, np.ndarray]
    objective: np.ndarray
    status: np.ndarray
    curves: dict[str, np.ndarray]
    maximize: bool = False

    @functools.cached_property
    def finished(self) -> np.ndarray:
        """The trials of which every seed ran, bool [trials]."""
        return (self.status != NOT_RUN).all(1)

    @functools.cached_property
    def feasible(self) -> np.ndarray:
        """The runs that neither diverged nor ended worse than a constant predictor, bool [trials, seeds]."""
        return (self.status == Status.COMPLETED) & np.isfinite(self.objective)

    @functools.cached_property
    def values(self) -> np.ndarray:
        """The objective with a miss as the worst of all: infinite, [trials, seeds]; NaN where a run is not finished."""
        worst = -np.inf if self.maximize else np.inf
        return np.where(self.status == NOT_RUN, np.nan, np.where(self.feasible, self.objective, worst))

    @functools.cached_property
    def medians(self) -> np.ndarray:
        """Median over the seeds, [trials]; infinite where half of the seeds missed."""
        return np.median(self.values, 1)

    @property
    def share_infeasible(self) -> float:
        """Share of the finished runs that diverged or ended worse than a constant predictor."""
        ran = self.status != NOT_RUN
        return float(1 - self.feasible[ran].mean()) if ran.any() else float("nan")

    @functools.cached_property
    def ranking(self) -> np.ndarray:
        """The finished trials' numbers, best first; equal ones in their order."""
        done = np.flatnonzero(self.finished)
        key = -self.medians[done] if self.maximize else self.medians[done]
        return done[np.argsort(key, kind="stable")]

    def value(self, trial: int) -> Estimate:
        """The median of one trial's seeds with its interval."""
        low, high, level = median_interval(self.values[trial])
        return Estimate(float(self.medians[trial]), interval=(low, high), level=level, cost=self.values.shape[1])

    def hyperparameters(self, trial: int) -> dict[str, float]:
        """The hyperparameters of one trial."""
        return {name: column[trial].item() for name, column in self.columns.items()}

    def row(self, trial: int) -> dict[str, Any]:
        """One trial as a dictionary of numbers and strings."""
        estimate = self.value(trial)
        words = [Status(code).name.lower() if code != NOT_RUN else "not run" for code in self.status[trial]]
        return {
            "rule": self.rule, "trial": int(trial), "hyperparameters": self.hyperparameters(trial),
            "median": estimate.value, "interval": list(estimate.interval or ()), "level": estimate.level,
            "objective": self.values[trial].tolist(), "status": words,
            "missed": int((~self.feasible[trial]).sum()),
        }  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Sweep:
    """The outcome of a sweep.

    Attributes:
      problem: the problem's name.
      objective: what was compared.
      trials: rule name -> its trials.
      steps: steps done at each record, [records].
      seeds: [seeds].
      config: all that can change a number.
      facts: how it ran: loop, width K, chunks, seconds.
      folder: where it is kept, or None.
    """

    problem: str
    objective: str
    trials: dict[str, Trials]
    steps: np.ndarray
    seeds: np.ndarray
    config: Mapping[str, Any]
    facts: Mapping[str, Any]
    folder: Path | None = None

    @property
    def complete(self) -> bool:
        """Whether every run of every rule is finished."""
        return all(each.finished.all() for each in self.trials.values())

    def of(self, rule: str | None = None) -> Trials:
        """The trials of one rule; without a name, of the only one, or of the rule whose best trial is best."""
        if rule is not None:
            require_choice("Sweep", "rule", rule, self.trials)
            return self.trials[rule]
        ranked = [each for each in self.trials.values() if len(each.ranking)]
        if not ranked:
            raise fail("Sweep", "no trial is finished", "Run the same sweep again to continue it.")
        sign = -1 if ranked[0].maximize else 1
        return min(ranked, key=lambda each: sign * each.medians[each.ranking[0]])

    def best(self, rule: str | None = None) -> dict[str, Any]:
        """The best finished trial as a row: rule, trial, hyperparameters, median, interval, objective by seed."""
        trials = self.of(rule)
        if not len(trials.ranking):
            raise fail("Sweep", f"no trial of {trials.rule} is finished", "Run the same sweep again to continue it.")
        return trials.row(int(trials.ranking[0]))

    def near_edge(self, rule: str | None = None) -> dict[str, str]:
        """The hyperparameters of the best trial near an end of their range: then widen before anything is concluded."""
        trials = self.of(rule)
        return trials.space.near_edge(self.best(trials.rule)["hyperparameters"])

    def table(self, most: int | None = None) -> list[dict[str, Any]]:
        """The finished trials of all rules as rows, best first; at most the best `most`."""
        rows = [each.row(int(trial)) for each in self.trials.values() for trial in each.ranking[:most]]
        sign = -1 if any(each.maximize for each in self.trials.values()) else 1
        return sorted(rows, key=lambda row: sign * row["median"])[:most]

    def lines(self, most: int = 10) -> list[str]:
        """The sweep for a terminal: the best trials, what diverged, and what to doubt."""
        num = len(self.seeds)
        level = f", {1 - 2.0 ** (1 - num):.0%} interval" if 1 < num < 6 else ""
        seeds = f"median of {num} seeds{level}" if num > 1 else "one seed"
        words = [f"{self.problem}: {self.objective} after {int(self.steps[-1])} steps, {seeds}"]
        rows = self.table(most)
        for place, row in enumerate(rows, 1):
            missed = f" ({row['missed']} of {num} seeds missed)" if row["missed"] else ""
            value = f"{row['median']:<11.5g} {_interval(row)}"
            words.append(f"{place:>3}. {value}  {row['rule']}: {settings_of(row)}{missed}")
        for trials in self.trials.values():
            if not len(trials.ranking):
                words.append(f"{trials.rule}: no trial is finished")
                continue
            done, all_of_them = int(trials.finished.sum()), len(trials.finished)
            words.append(
                f"{trials.rule}: {done} of {all_of_them} trials, {trials.share_infeasible:.0%} of runs infeasible"
            )
            if not np.isfinite(trials.medians[trials.ranking[0]]):
                words.append("  no trial is feasible: search other values, for learning rates smaller ones")
                continue
            words += [
                f"  {name} is best near the {end} end of its range: widen it before anything is concluded"
                for name, end in self.near_edge(trials.rule).items()
            ]
        return words

    def to_json(self) -> dict[str, Any]:
        """The sweep as JSON data, without its curves."""
        return {
            "problem": self.problem, "objective": self.objective, "config": dict(self.config),
            "facts": dict(self.facts), "trials": self.table(),
            "share_infeasible": {name: each.share_infeasible for name, each in self.trials.items()},
        }  # fmt: skip


def median_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """An interval for the median from order statistics.

    Args:
      values: independent values [n].
      level: the least confidence that is wanted.

    Returns:
      (low, high, confidence); the smallest such interval that has the level, or smallest and largest value with their
      lower confidence, 1 - 2^(1 - n).

    Example:
      >>> median_interval(np.array([3.0, 1.0, 2.0]))
      (1.0, 3.0, 0.75)

    Reference: Conover, Practical Nonparametric Statistics, 1999, section 3.2.
    """
    ranked = np.sort(np.asarray(values, float))
    n = len(ranked)
    left_out, confidence = _order_statistics(n, level)
    return float(ranked[left_out]), float(ranked[n - 1 - left_out]), confidence


@functools.cache
def _order_statistics(n: int, level: float) -> tuple[int, float]:
    """How many values to leave out at each end, and the confidence of what is left."""
    if not n:
        raise fail("median_interval", "there is no value")
    tails = list(itertools.accumulate(math.comb(n, k) for k in range(n)))  # of a fair coin tossed n times
    for left_out in range((n - 1) // 2, 0, -1):
        if 1 - 2 * tails[left_out] / 2**n >= level:
            return left_out, 1 - 2 * tails[left_out] / 2**n
    return 0, 1 - 2 * tails[0] / 2**n


def settings_of(row: Mapping[str, Any]) -> str:
    """The hyperparameters of a row in words."""
    return ", ".join(f"{name} = {value:.4g}" for name, value in row["hyperparameters"].items())


def _interval(row: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    return f"[{low:.4g}, {high:.4g}]"
