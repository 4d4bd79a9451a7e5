"""`Comparison`: what the honest protocol showed, as a verdict in words, a table, claims, profiles and ladders."""

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
    Claim,
    claims_of,
    edge_words,
)
from jaxopt_lab.compare.rule_results import Showing, as_row
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
      showings: (problem, rule) -> what it showed, in the order of the config.
      targets: problem -> its target, where the baseline is done.
      facts: how it ran.
      folder: where it is kept, or None.
    """

    config: Mapping[str, Any]
    showings: dict[tuple[str, str], Showing]
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
        done = all(each.winner is None or (each.rerun is not None and each.seconds is not None)
                   for each in self.showings.values() if each.trials is not None)  # fmt: skip
        searched = all(each.trials is not None for each in self.showings.values())
        return done and searched and set(self.targets) == set(self.problems)

    def of(self, problem: str) -> dict[str, Showing]:
        """rule -> what it showed on one problem; only rules whose search, and re-run if any, are finished."""
        found = {rule: self.showings[problem, rule] for rule in self.rules}
        return {rule: each for rule, each in found.items() if each.trials is not None
                and (each.rerun is not None or each.winner is None)}  # fmt: skip

    def measure(self, problem: str) -> str:
        """What is reported on a problem, in words."""
        return self.config["problems"][problem]["report"].replace("_", " ")

    def quality(self, problem: str, rule: str) -> np.ndarray:
        """What is reported of each fresh seed; infinite for a miss, or where no trial was feasible."""
        entry, rerun = self.config["problems"][problem], self.showings[problem, rule].rerun
        if rerun is None:
            return np.full(self.config["fresh"], np.inf)
        return rerun.quality(entry["selection"], entry["report"])

    def arrivals(self, problem: str, rule: str) -> tuple[np.ndarray, np.ndarray]:
        """(gradients, steps) of each fresh seed to the target; infinite for a miss."""
        rerun = self.showings[problem, rule].rerun
        if rerun is None or problem not in self.targets:
            return (np.full(self.config["fresh"], np.inf),) * 2
        return rerun.arrivals(self.config["problems"][problem]["report"], self.targets[problem].report)

    @functools.cached_property
    def claims(self) -> list[Claim]:
        """The verdict on every pair of rules on every problem, by what is reported and by gradients to the target."""
        found = []
        contains = {name: rule["contains"] for name, rule in self.config["rules"].items()}
        for problem in self.problems:
            rules = list(self.of(problem))
            edges = {rule: self.showings[problem, rule].edges for rule in rules}
            qualities = {rule: self.quality(problem, rule) for rule in rules}
            found += claims_of(problem, self.measure(problem), qualities, edges, contains, self.config["level"])
            if problem in self.targets:
                gradients = {rule: self.arrivals(problem, rule)[0] for rule in rules}
                found += claims_of(problem, GRADIENTS, gradients, edges, contains, self.config["level"])
        return found

    def claims_on(self, problem: str, measure: str | None = None) -> list[Claim]:
        """The claims on one problem by one measure, by default by what is reported."""
        wanted = measure or self.measure(problem)
        return [claim for claim in self.claims if claim.problem == problem and claim.measure == wanted]

    def row(self, problem: str, rule: str) -> dict[str, Any]:
        """One rule on one problem, as numbers and strings."""
        showing = self.showings[problem, rule]
        quality, (gradients, steps) = self.quality(problem, rule), self.arrivals(problem, rule)
        low, high, confidence = median_interval(quality)
        each, median = (showing.seconds or {}).get("step", float("nan")), float(np.median(steps))
        target = self.targets.get(problem)
        trials, rerun = showing.trials, showing.rerun
        return as_row(showing, {
            "median": float(np.median(quality)), "interval": [low, high], "level": confidence,
            "infeasible": float("nan") if trials is None else trials.share_infeasible,
            "fresh_infeasible": 1.0 if rerun is None else rerun.share_infeasible,
            "reached": int(np.isfinite(gradients).sum()), "gradients_to_target": float(np.median(gradients)),
            "steps_to_target": median, "seconds_to_target": median * (each if np.isfinite(median) else 1.0),
            "compile_seconds": (showing.seconds or {}).get("compile", float("nan")),
            "good_decades": showing.decades(target.selection) if target else float("nan"),
            "seeds": quality.tolist(), "further": self._further(problem, showing),
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
        trials = self.showings[problem, rule].trials
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
            "claims": [claim.to_json() for claim in self.claims],
        }  # fmt: skip

    def _further(self, problem: str, showing: Showing) -> dict[str, float]:
        """The medians of the further metrics of the test part, at the moment that is selected."""
        entry, rerun = self.config["problems"][problem], showing.rerun
        if rerun is None:
            return {}
        return {name: float(np.median(rerun.quality(entry["selection"], name))) for name in entry["further"]}

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
        mine = [claim for claim in self.claims_on(problem) if rule in (claim.first, claim.second)]
        return {claim.outcome if claim.first == rule else "" for claim in mine}

    def _on(self, problem: str) -> list[str]:
        """The lowest rule of a problem, and how it stands to the others; then what is to be doubted."""
        rules = self.of(problem)
        if not rules:
            return [f"{problem}: no rule is finished."]
        medians = {rule: float(np.median(self.quality(problem, rule))) for rule in rules}
        leader = min(medians, key=lambda rule: medians[rule])
        if not np.isfinite(medians[leader]):
            return [f"{problem}: no rule has a feasible setting; search other values, for learning rates smaller ones."]
        claims = self.claims_on(problem)
        words = [f"{problem}: {leader} has the lowest {self.measure(problem)}, {medians[leader]:.4g}"]
        by = {outcome: [claim.second for claim in claims if claim.first == leader and claim.outcome == outcome]
              for outcome in (BETTER, UNDER_TUNED, NO_DIFFERENCE, INCONCLUSIVE)}  # fmt: skip
        said = {BETTER: "better than", UNDER_TUNED: "ahead of the under-tuned", NO_DIFFERENCE: "no difference shown to",
                INCONCLUSIVE: "inconclusive against"}  # fmt: skip
        words += [f"{said[outcome]} {', '.join(others)}" for outcome, others in by.items() if others]
        lines = ["; ".join(words) + "."]
        lines += [f"  under-tuned: {claim.second}, {claim.why}." for claim in claims if claim.outcome == UNDER_TUNED]
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
