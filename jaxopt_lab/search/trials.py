"""`Objective`: by what trials are compared; `Trials`: those of one rule, ranked by the median over their seeds.

A run that diverged, or ended worse than a constant predictor, is a miss: it counts as infinitely bad, stays in the
median, and is never dropped. The interval of a median comes from order statistics, which assume nothing of the
distribution; with few seeds it is the whole range of them, and its confidence is said.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxopt_lab import training
from jaxopt_lab.core import Estimate, Problem, Status, fail
from jaxopt_lab.core.errors import require_choice, require_count, require_finite
from jaxopt_lab.search.spaces import Space
from jaxopt_lab.training.baselines import constant_loss

NOT_RUN = -1


@dataclasses.dataclass(frozen=True)
class Objective:
    """What of each run is recorded and compared.

    Attributes:
      name: "loss", "validation_loss", or a metric: "accuracy" on the training data, "validation_accuracy", ...
      maximize: whether a larger one is better; None: when its name ends with accuracy.
      baseline: a loss above which a finished run is infeasible; "auto" takes that of the best constant output where
        the problem tells its outputs from its criterion; None: no finite loss is.
      every: steps between records; None takes so many that they cost about a tenth of the training.
    """

    name: str = "loss"
    maximize: bool | None = None
    baseline: float | str | None = "auto"
    every: int | None = None

    def settled(self, problem: Problem, steps: int, batch_size: int | None) -> "Objective":
        """The same with nothing left open: `baseline` is a number or None."""
        level = constant_loss(problem)[0] if self.baseline == "auto" else self.baseline
        if isinstance(level, str):
            raise fail("sweep", f"baseline must be a number, None or 'auto', got {self.baseline!r}")
        require_finite("sweep", "baseline", level or 0.0)
        if self.every is not None:
            require_count("sweep", "every", self.every)
        larger = self.name.endswith("accuracy") if self.maximize is None else self.maximize
        return Objective(self.name, larger, level, self.every or _usual_interval(problem, steps, batch_size))

    def probes(self, problem: Problem) -> tuple[training.Probe, ...]:
        """What each run records: the loss, and the objective where that is another."""
        metrics = {name if on == "training" else f"validation_{name}": training.metric(name, on)
                   for name in problem.metrics for on in ("training", "validation")}  # fmt: skip
        known = {"loss": training.loss(), "validation_loss": training.validation_loss()} | metrics
        require_choice("sweep", "objective", self.name, known)
        if self.name.startswith("validation_") and problem.validation is None:
            raise fail(
                "sweep", f"objective {self.name} needs validation data, {problem.name} has none", "Compare 'loss'."
            )
        return (training.loss(),) if self.name == "loss" else (training.loss(), known[self.name])


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

    def __repr__(self) -> str:
        return f"<Trials of {self.rule}: {self.objective.shape[0]} x {self.objective.shape[1]} seeds>"

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


def _usual_interval(problem: Problem, steps: int, batch_size: int | None) -> int:
    """Steps between records such that these cost about a tenth of the steps; between 4 and 50 records."""
    examples = problem.num_examples or 1
    records = 0.1 * steps * 3 * (batch_size or examples) / examples
    return max(1, -(-steps // int(np.clip(records, 4, 50))))
