"""`Comparison`: the outcome of the protocol, as a verdict in words, a table, pairs, profiles and ladders."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxopt_lab.compare.pairwise_tests import (
    BETTER,
    INCONCLUSIVE,
    NO_DIFFERENCE,
    UNDER_TUNED,
    PairwiseResult,
    edge_words,
    pairwise_results,
)
from jaxopt_lab.compare.rule_results import RuleResult, as_row
from jaxopt_lab.compare.statistics import budget_ladder, performance_profile
from jaxopt_lab.search.trials import median_interval, settings_of

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
class Comparison:
    """The outcome of `compare`, as far as it is finished.

    Attributes:
      config: all that can change a number.
      results: (problem, rule) -> its result, in the order of the config.
      targets: problem -> its target, where the baseline is done.
      facts: how it ran.
      folder: where it is kept, or None.
    """

    config: Mapping[str, Any]
    results: dict[tuple[str, str], RuleResult]
    targets: dict[str, Target]
    facts: Mapping[str, Any]
    folder: Path | None = None

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
            return np.full(self.config["fresh"], np.inf)
        return final_runs.quality(entry["selection"], entry["report"])

    def arrivals(self, problem: str, rule: str) -> tuple[np.ndarray, np.ndarray]:
        """(gradients, steps) of each fresh seed to the target; infinite for a miss."""
        final_runs = self.results[problem, rule].final_runs
        if final_runs is None or problem not in self.targets:
            return (np.full(self.config["fresh"], np.inf),) * 2
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
        return [self._overall(), *(line for problem in self.problems for line in self._on(problem))]

    def lines(self) -> list[str]:
        """The comparison for a terminal: verdict, then a table."""
        words = [*self.verdict(), ""]
        for row in self.table():
            low, high = row["interval"]
            words.append(
                f"{row['problem']}  {row['rule']:<18} {row['median']:<9.4g} [{low:.4g}, {high:.4g}]  {_arrival(row)};"
                f"  infeasible {row['infeasible']:.0%};  good rates {row['good_decades']:.1f} decades; "
                f" {settings_of(row)}"
            )
        return words

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

    def _overall(self) -> str:
        if not self.complete:
            return "Not finished: what follows may change."
        if len(self.rules) == 1:
            return f"{self.rules[0]} alone was run: there is nothing to compare it with."
        where = f"all {len(self.problems)} problems" if len(self.problems) > 1 else self.problems[0]
        for rule in self.rules:
            outcomes = [self._outcomes(rule, problem) for problem in self.problems]
            if all(BETTER in each and each <= {BETTER, UNDER_TUNED} for each in outcomes):
                aside = ", under-tuned ones aside" if any(UNDER_TUNED in each for each in outcomes) else ""
                return f"{rule} is shown better than every other rule on {where}{aside}."
        return f"No rule is shown better than every other on {where}."

    def _outcomes(self, rule: str, problem: str) -> set[str]:
        """The verdicts between a rule and each other one on a problem; "" where it is the other that is ahead."""
        mine = [pair for pair in self.pairs_on(problem) if rule in (pair.first, pair.second)]
        return {pair.outcome if pair.first == rule else "" for pair in mine}

    def _on(self, problem: str) -> list[str]:
        """The lowest rule of a problem, and how it stands to the others; then what is to be doubted."""
        rules = self.of(problem)
        if not rules:
            return [f"{problem}: no rule is finished."]
        medians = {rule: float(np.median(self.quality(problem, rule))) for rule in rules}
        leader = min(medians, key=lambda rule: medians[rule])
        if not np.isfinite(medians[leader]):
            return [f"{problem}: no rule has a feasible setting; search other values, for learning rates smaller ones."]
        pairs = self.pairs_on(problem)
        words = [f"{problem}: {leader} has the lowest {self.measure(problem)}, {medians[leader]:.4g}"]
        by = {outcome: [pair.second for pair in pairs if pair.first == leader and pair.outcome == outcome]
              for outcome in (BETTER, UNDER_TUNED, NO_DIFFERENCE, INCONCLUSIVE)}  # fmt: skip
        said = {BETTER: "better than", UNDER_TUNED: "ahead of the under-tuned", NO_DIFFERENCE: "no difference shown to",
                INCONCLUSIVE: "inconclusive against"}  # fmt: skip
        words += [f"{said[outcome]} {', '.join(others)}" for outcome, others in by.items() if others]
        lines = ["; ".join(words) + "."]
        lines += [f"  under-tuned: {pair.second}, {pair.why}." for pair in pairs if pair.outcome == UNDER_TUNED]
        lines += [f"  inconclusive, widen: {rule} is best with {edge_words(each.edges)}."
                  for rule, each in rules.items() if each.edges]  # fmt: skip
        if problem in self.targets and not np.isfinite(self.targets[problem].report):
            lines.append(f"  no target: {self.config['baseline']['name']}, the baseline, has no feasible setting.")
        return lines


def _arrival(row: Mapping[str, Any]) -> str:
    """How many seeds of a row reach the target, and what the median one needs."""
    reached = f"target {row['reached']}/{len(row['seeds'])}"
    if not np.isfinite(row["gradients_to_target"]):
        return f"{reached}, the median seed never"
    return f"{reached} in {row['gradients_to_target']:.4g} gradients, {row['seconds_to_target']:.3g} s"
