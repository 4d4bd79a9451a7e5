"""`Comparison`: the outcome of the protocol, as a table, pairs, profiles and ladders; and the same from a folder."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from jaxopt_lab import reporting, storage
from jaxopt_lab.compare.pairwise_tests import (
    PairwiseResult,
    pairwise_results,
)
from jaxopt_lab.compare.rule_results import (
    FinalRuns,
    RuleResult,
    as_row,
    final_runs_of,
    judged,
    rule_result,
    winner_of,
)
from jaxopt_lab.compare.statistics import budget_ladder, performance_profile
from jaxopt_lab.compare.step_cost import StepCost
from jaxopt_lab.core import InputError
from jaxopt_lab.reporting.outcomes import Reported
from jaxopt_lab.search.results import Sweep, load_sweep
from jaxopt_lab.search.store import BASELINE, ComparisonStore
from jaxopt_lab.search.trials import median_interval
from jaxopt_lab.storage import files
from jaxopt_lab.storage.folder import RECORD

GRADIENTS = "gradients to the target"


@dataclasses.dataclass(frozen=True)
class Target:
    """What the tuned baseline reached on a problem before any rule that is compared was run.

    Attributes:
      report: the median over its seeds of what is reported, after the first part of its budget.
      selection: the same of what selects.
    """

    report: float
    selection: float


@dataclasses.dataclass(frozen=True)
class Comparison(Reported):
    """The outcome of `compare`, as far as it is finished.

    Attributes:
      config: all that can change a number.
      results: (problem, rule) -> its result, in the order of the config.
      targets: problem -> its target, where the baseline is done.
      facts: how it ran.
      folder: where it is kept, or None.
    """

    _report: ClassVar[str] = "jaxopt_lab.compare.report"

    config: Mapping[str, Any]
    results: dict[tuple[str, str], RuleResult]
    targets: dict[str, Target]
    facts: Mapping[str, Any]
    folder: Path | None = None

    def __repr__(self) -> str:
        rest = "" if self.complete else ", not finished"
        return f"<Comparison of {', '.join(self.rules)} on {', '.join(self.problems)}{rest}>"

    def to_dataframe(self) -> Any:
        """The finished rules of every problem as a pandas DataFrame, best first: a column for each hyperparameter.

        Raises:
          InputError: pandas is not installed.
        """
        left = ("hyperparameters", "edges", "seconds", "interval", "seeds", "further")
        rows = [
            {name: value for name, value in row.items() if name not in left}
            | dict(zip(("low", "high"), row["interval"], strict=True)) | row["further"] | row["hyperparameters"]
            for row in self.table()
        ]  # fmt: skip
        return reporting.outcomes.to_dataframe("Comparison.to_dataframe", rows)

    @property
    def problems(self) -> list[str]:
        """The problems' names."""
        return list(self.config["problems"])

    @property
    def rules(self) -> list[str]:
        """The rules' names."""
        return list(self.config["rules"])

    @property
    def complete(self) -> bool:
        """Whether everything is finished."""
        done = all(each.winner is None or (each.final_runs is not None and each.seconds is not None)
                   for each in self.results.values() if each.trials is not None)  # fmt: skip
        searched = all(each.trials is not None for each in self.results.values())
        return done and searched and set(self.targets) == set(self.problems)

    def of(self, problem: str) -> dict[str, RuleResult]:
        """rule -> its result on one problem; only rules whose search, and final runs if any, are finished."""
        found = {rule: self.results[problem, rule] for rule in self.rules}
        return {rule: each for rule, each in found.items() if each.trials is not None
                and (each.final_runs is not None or each.winner is None)}  # fmt: skip

    def measure(self, problem: str) -> str:
        """What is reported on a problem, in words."""
        return self.config["problems"][problem]["report"].replace("_", " ")

    def quality(self, problem: str, rule: str) -> np.ndarray:
        """What is reported of each fresh seed; infinite for a miss, or where no trial was feasible."""
        entry, final_runs = self.config["problems"][problem], self.results[problem, rule].final_runs
        if final_runs is None:
            return np.full(self.config["num_final_seeds"], np.inf)
        return final_runs.quality(entry["selection"], entry["report"])

    def arrivals(self, problem: str, rule: str) -> tuple[np.ndarray, np.ndarray]:
        """(gradients, steps) of each fresh seed to the target; infinite for a miss."""
        final_runs = self.results[problem, rule].final_runs
        if final_runs is None or problem not in self.targets:
            return (np.full(self.config["num_final_seeds"], np.inf),) * 2
        return final_runs.arrivals(self.config["problems"][problem]["report"], self.targets[problem].report)

    @functools.cached_property
    def pairs(self) -> list[PairwiseResult]:
        """The verdict on every pair of rules on every problem, by what is reported and by gradients to the target."""
        found = []
        contains = {name: rule["contains"] for name, rule in self.config["rules"].items()}
        for problem in self.problems:
            rules = list(self.of(problem))
            edges = {rule: self.results[problem, rule].edges for rule in rules}
            qualities = {rule: self.quality(problem, rule) for rule in rules}
            found += pairwise_results(problem, self.measure(problem), qualities, edges, contains, self.config["level"])
            if problem in self.targets:
                gradients = {rule: self.arrivals(problem, rule)[0] for rule in rules}
                found += pairwise_results(problem, GRADIENTS, gradients, edges, contains, self.config["level"])
        return found

    def pairs_on(self, problem: str, measure: str | None = None) -> list[PairwiseResult]:
        """The pairs on one problem by one measure, by default by what is reported."""
        wanted = measure or self.measure(problem)
        return [pair for pair in self.pairs if pair.problem == problem and pair.measure == wanted]

    def row(self, problem: str, rule: str) -> dict[str, Any]:
        """One rule on one problem, as numbers and strings."""
        result = self.results[problem, rule]
        quality, (gradients, steps) = self.quality(problem, rule), self.arrivals(problem, rule)
        low, high, confidence = median_interval(quality)
        each, median = (result.seconds or {}).get("step", float("nan")), float(np.median(steps))
        target = self.targets.get(problem)
        trials, final_runs = result.trials, result.final_runs
        return as_row(result, {
            "median": float(np.median(quality)), "interval": [low, high], "level": confidence,
            "infeasible": float("nan") if trials is None else trials.share_infeasible,
            "fresh_infeasible": 1.0 if final_runs is None else final_runs.share_infeasible,
            "reached": int(np.isfinite(gradients).sum()), "gradients_to_target": float(np.median(gradients)),
            "steps_to_target": median, "seconds_to_target": median * (each if np.isfinite(median) else 1.0),
            "compile_seconds": (result.seconds or {}).get("compile", float("nan")),
            "good_decades": result.decades(target.selection) if target else float("nan"),
            "seeds": quality.tolist(), "further": self._further(problem, result),
        })  # fmt: skip

    def table(self) -> list[dict[str, Any]]:
        """The finished rules of every problem as rows, problem by problem, best first."""
        rows = [[self.row(problem, rule) for rule in self.of(problem)] for problem in self.problems]
        return [row for each in rows for row in sorted(each, key=lambda row: row["median"])]

    def profile(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """(tau, rule -> share): the performance profiles over all problems and fresh seeds, in gradients to the target.

        Only problems on which all rules are finished count.
        """
        finished = [name for name in self.problems if name in self.targets and len(self.of(name)) == len(self.rules)]
        if not finished:
            return np.ones(1), {}
        costs = [np.concatenate([self.arrivals(name, rule)[0] for name in finished]) for rule in self.rules]
        tau, shares = performance_profile(np.maximum(costs, 1.0))
        return tau, dict(zip(self.rules, shares, strict=True))

    def ladder(self, problem: str, rule: str) -> list[dict[str, float]]:
        """What the best of k trials gives by the loss that selects; see `budget_ladder`."""
        trials = self.results[problem, rule].trials
        return [] if trials is None else budget_ladder(trials.medians)

    def verdict(self) -> list[str]:
        """The verdict in words: first over all problems, then problem by problem."""
        from jaxopt_lab.compare.report import verdict_of

        return verdict_of(self)

    def to_json(self) -> dict[str, Any]:
        """The comparison as JSON data, without its curves."""
        return {
            "config": dict(self.config), "facts": dict(self.facts), "verdict": self.verdict(), "table": self.table(),
            "targets": {name: dataclasses.asdict(each) for name, each in self.targets.items()},
            "pairs": [pair.to_json() for pair in self.pairs],
        }  # fmt: skip

    def _further(self, problem: str, result: RuleResult) -> dict[str, float]:
        """The medians of the further metrics of the test part, at the moment that is selected."""
        entry, final_runs = self.config["problems"][problem], result.final_runs
        if final_runs is None:
            return {}
        return {name: float(np.median(final_runs.quality(entry["selection"], name))) for name in entry["further"]}


def load_comparison(folder: str | os.PathLike[str], log: Callable[[str], None] | None = None) -> Comparison:
    """The comparison that a folder holds, as far as it is finished; needs no problem.

    Args:
      folder: the comparison's own folder.
      log: gets a sentence for each damaged file, which then counts as not there; None: that is an error.

    Returns:
      The comparison.

    Raises:
      InputError: the folder holds none, or a file in it is damaged.
    """
    record = storage.read_record(Path(folder), "comparison")
    store = ComparisonStore(Path(folder), record["config"], log)
    with files.reading(Path(folder) / RECORD, "the record of a comparison", "What lies beside it is untouched."):
        results, targets = _stored(store, record, log)
        return Comparison(record["config"], results, targets, record["facts"], Path(folder))


def _stored(
    store: ComparisonStore, record: dict[str, Any], log: Callable[[str], None] | None
) -> tuple[dict[tuple[str, str], RuleResult], dict[str, Target]]:
    """What a folder holds of each rule on each problem, and of the targets."""
    config: dict[str, Any] = record["config"]
    results, targets = {}, {}
    for problem, entry in config["problems"].items():
        for rule in config["rules"]:
            found = _searched(store, problem, rule, log)
            step_cost = StepCost(**record["step_costs"][problem][rule])
            results[problem, rule] = rule_result(
                problem, rule, step_cost, entry, found, store, config["rules"][rule]["natural"]
            )
        stored = final_runs_of(
            store, problem, BASELINE, StepCost(**record["step_costs"][problem][BASELINE]), entry["budget"]
        )
        searched = _searched(store, problem, BASELINE, log)
        if stored is not None or (
            searched and searched.complete and winner_of(judged(searched.of(BASELINE), entry["selection"])) is None
        ):
            targets[problem] = target_of(stored, entry, config["target_share"])
    return results, targets


def _searched(store: ComparisonStore, problem: str, rule: str, log: Callable[[str], None] | None) -> Sweep | None:
    """One stored search, or None where there is none, or with `log` where it cannot be read."""
    place = store.search(problem, rule)
    if place is None or not (place / RECORD).exists():
        return None
    try:
        return load_sweep(place, log)
    except InputError as error:
        if log is None:
            raise
        log(f"{error} It counts as not searched.")
        return None


def target_of(final_runs: FinalRuns | None, entry: Any, share: float) -> Target:
    """The baseline's medians after the first part of its budget; NaN, which no rule reaches, if it missed."""
    if final_runs is None:
        return Target(float("nan"), float("nan"))
    found = [
        float(np.median(final_runs.quality(entry["selection"], name, share)))
        for name in (entry["report"], entry["selection"])
    ]
    return Target(*(each if np.isfinite(each) else float("nan") for each in found))
