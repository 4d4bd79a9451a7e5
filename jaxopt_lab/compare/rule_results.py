"""The result of one rule on one problem: its search, the final runs of its winner on fresh seeds, and its seconds.

A run is judged where its selection (validation) loss is lowest, among the records that its budget pays for; what is
reported is the test loss there. A run that diverged has an infinite one, and never reaches a target.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from jaxopt_lab.compare.statistics import good_decades
from jaxopt_lab.compare.step_cost import PRODUCT, StepCost
from jaxopt_lab.core import Status
from jaxopt_lab.search.dimensions import EffectiveRate, Range
from jaxopt_lab.search.results import Sweep
from jaxopt_lab.search.store import ComparisonStore
from jaxopt_lab.search.trials import Trials


@dataclasses.dataclass(frozen=True)
class FinalRuns:
    """One set of hyperparameters on fresh seeds.

    Attributes:
      steps: steps done at each record, [R].
      curves: probe name -> values [seeds, R].
      status: how each run ended, a `Status`, [seeds].
      taken: extra gradients and products taken so far by the rule's own counts, [seeds, R, 2].
      step_cost: what a step costs.
      budget: gradients that a run may spend.
    """

    steps: np.ndarray
    curves: dict[str, np.ndarray]
    status: np.ndarray
    taken: np.ndarray
    step_cost: StepCost
    budget: float

    @functools.cached_property
    def spent(self) -> np.ndarray:
        """Gradients that each run has spent at each record, [seeds, R]; exact where the rule counts them itself."""
        if self.step_cost.source == "state":
            return self.steps + self.taken[:, :, 0] + PRODUCT * self.taken[:, :, 1]
        return np.broadcast_to(self.steps * self.step_cost.total, self.taken.shape[:2])

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """The records that count, bool [seeds, R]: within the budget, of runs that did not diverge."""
        return (self.spent <= self.budget * (1 + 1e-9)) & (self.status == Status.COMPLETED)[:, None]

    @property
    def share_infeasible(self) -> float:
        """Share of the fresh seeds that diverged."""
        return float(np.mean(self.status != Status.COMPLETED))

    def so_far(self, selection: str, report: str) -> np.ndarray:
        """What is reported of a run that ends at each record, [seeds, R]: `report` where `selection` was lowest.

        Args:
          selection: the probe that selects the moment.
          report: the probe that is reported; infinite for a run that diverged.
        """
        allowed = self.counts & np.isfinite(self.curves[selection])
        chosen = np.where(allowed, self.curves[selection], np.inf)
        lower = chosen < np.minimum.accumulate(np.pad(chosen, ((0, 0), (1, 0)), constant_values=np.inf), 1)[:, :-1]
        place = np.maximum.accumulate(np.where(lower, np.arange(chosen.shape[1]), -1), 1)
        found = np.take_along_axis(self.curves[report], np.maximum(place, 0), 1)
        return np.where((place >= 0) & np.isfinite(found), found, np.inf)

    def quality(self, selection: str, report: str, share: float = 1.0) -> np.ndarray:
        """What is reported of each seed, [seeds]; infinite for a miss.

        Args:
          selection: as in `so_far`.
          report: as there.
          share: of the budget that may be spent.
        """
        affordable = (self.spent <= share * self.budget * (1 + 1e-9)).sum(1) - 1  # the start costs nothing
        return np.take_along_axis(self.so_far(selection, report), affordable[:, None], 1)[:, 0]

    def arrivals(self, report: str, target: float) -> tuple[np.ndarray, np.ndarray]:
        """(gradients, steps) at which each seed reaches the target, [seeds] each; infinite for a miss.

        Between the record at which it is reached and the one before, the curve is taken for straight.
        """
        curve = self.curves[report]
        with np.errstate(invalid="ignore"):
            reached = self.counts & (curve <= target)
        hit, seeds = reached.any(1), np.arange(len(reached))
        place = np.maximum(reached.argmax(1), 1)
        above, below = curve[seeds, place - 1], curve[seeds, place]
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.clip(np.where(np.isfinite(above), (above - target) / (above - below), 1.0), 0.0, 1.0)

        def at(counted: np.ndarray) -> np.ndarray:
            before, after = counted[seeds, place - 1], counted[seeds, place]
            return np.where(hit, before + share * (after - before), np.inf)

        return at(self.spent), at(np.broadcast_to(self.steps, self.spent.shape))


@dataclasses.dataclass(frozen=True)
class RuleResult:
    """The result of one rule on one problem, as far as it is finished.

    Attributes:
      problem: the problem's name.
      rule: the rule's name.
      step_cost: what a step costs.
      steps: of each run: what the budget buys.
      trials: of the search, judged as the module says; None while it is not finished.
      edges: hyperparameters of the winner near an end of their range, name -> "low" or "high".
      final_runs: the winner on fresh seeds, or None.
      seconds: {"step": seconds a step, "compile": seconds}, from runs of their own, or None.
    """

    problem: str
    rule: str
    step_cost: StepCost
    steps: int
    trials: Trials | None = None
    edges: dict[str, str] = dataclasses.field(default_factory=dict)
    final_runs: FinalRuns | None = None
    seconds: dict[str, float] | None = None

    @property
    def winner(self) -> dict[str, float] | None:
        """The hyperparameters of the best trial; None where there is no feasible one."""
        return None if self.trials is None else winner_of(self.trials)

    @property
    def rate(self) -> str:
        """The hyperparameter whose sensitivity is shown: the learning rate, or the first that is searched."""
        assert self.trials is not None
        searched = self.trials.space.searched
        return "learning_rate" if "learning_rate" in searched else searched[0]

    @functools.cached_property
    def rates(self) -> np.ndarray:
        """The searched coordinate of the learning rate, [trials]: for an effective rate lr / (1 - rho)."""
        assert self.trials is not None
        dimension, columns = self.trials.space.dimensions[self.rate], self.trials.columns
        if isinstance(dimension, EffectiveRate):
            return columns[self.rate] / (1 - columns[dimension.momentum])
        if isinstance(dimension, Range) and dimension.scale == "one_minus_log_uniform":
            return 1 - columns[self.rate]
        return columns[self.rate].astype(float)

    def decades(self, level: float) -> float:
        """Width of the good interval: decades between the smallest and the largest rate of trials at the level."""
        return 0.0 if self.trials is None else good_decades(self.rates, self.trials.medians <= level)


def judged(trials: Trials, selection: str) -> Trials:
    """The trials with the lowest selection loss of each run in place of the last one."""
    curves = np.where(np.isfinite(trials.curves[selection]), trials.curves[selection], np.inf)
    return dataclasses.replace(trials, objective=curves.min(-1))


def winner_of(trials: Trials) -> dict[str, float] | None:
    """The hyperparameters of the best trial; None where there is no feasible one."""
    if not len(trials.ranking) or not np.isfinite(trials.medians[trials.ranking[0]]):
        return None
    return trials.hyperparameters(int(trials.ranking[0]))


def as_row(result: RuleResult, facts: dict[str, Any]) -> dict[str, Any]:
    """One rule on one problem as numbers and strings; `facts` adds what the comparison knows."""
    return {"problem": result.problem, "rule": result.rule, "steps": result.steps,
            "gradients_a_step": result.step_cost.total, "hyperparameters": result.winner or {},
            "edges": result.edges, "seconds": result.seconds or {}} | facts  # fmt: skip


def rule_result(
    problem: str, rule: str, step_cost: StepCost, entry: Any, found: Sweep | None, store: ComparisonStore, natural: Any
) -> RuleResult:
    """What is there of one rule on one problem."""
    steps = step_cost.steps(entry["budget"])
    if found is None or not found.complete:
        return RuleResult(problem, rule, step_cost, steps)
    trials = judged(found.of(rule), entry["selection"])
    values = winner_of(trials)
    left = {tuple(pair) for pair in natural}
    near = {} if values is None else trials.space.near_edge(values)
    edges = {name: end for name, end in near.items() if (name, end) not in left}
    timed = store.get("seconds", problem, rule)
    seconds = None if timed is None else {name: timed[1][name] for name in ("step", "compile")}
    return RuleResult(
        problem,
        rule,
        step_cost,
        steps,
        trials,
        edges,
        final_runs_of(store, problem, rule, step_cost, entry["budget"]),
        seconds,
    )


def final_runs_of(
    store: ComparisonStore, problem: str, rule: str, step_cost: StepCost, budget: float
) -> FinalRuns | None:
    """The winner's final runs, or None where there are none."""
    stored = store.get("final_runs", problem, rule)
    if stored is None:
        return None
    curves = dict(stored[0])
    status, steps, taken = (curves.pop(name) for name in ("status", "steps", "cost"))
    return FinalRuns(steps, curves, status, np.nan_to_num(taken), step_cost, budget)
