"""What a comparison will do, checked before any compute is spent."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxopt_lab.compare.candidates import Candidate, candidates_of
from jaxopt_lab.compare.evaluation_params import WithEvaluationParams
from jaxopt_lab.compare.splits import DataSplit, split_data
from jaxopt_lab.compare.statistics import seeds_for_misses
from jaxopt_lab.compare.step_cost import StepCost, measure_step_cost
from jaxopt_lab.core import (
    LARGEST_COUNT,
    Problem,
    count_examples,
    fail,
    require_between,
    require_choice,
    require_count,
    require_positive,
)
from jaxopt_lab.storage import file_name, problem_fingerprint
from jaxopt_lab.training.storage import rule_fingerprint

SAMPLERS = ("random", "sobol", "halton")
FRESH, BASELINE, TARGET = 10_000, 20_000, 30_000
_LEAST_STEPS, _LEAST_RECORDS = 2, 10


@dataclasses.dataclass(frozen=True)
class RunPlan:
    """What is run of one rule on one problem.

    Attributes:
      split: the problem as this rule sees it.
      factory: hyperparameters -> rule, as the engine takes it.
      candidate: the rule.
      step_cost: what a step costs.
      budget: gradients of each run.
      batch_size: examples a step, or None.
    """

    split: DataSplit
    factory: Any
    candidate: Candidate
    step_cost: StepCost
    budget: float
    batch_size: int | None

    @property
    def steps(self) -> int:
        """Steps that the budget buys."""
        return self.step_cost.steps(self.budget)

    def num_records(self, most: int) -> int:
        """Records of a final run that cost about as much as its steps, at least 10; a loss is a third of a gradient."""
        problem = self.split.problem
        held_out = count_examples(problem.validation, problem.name, "validation") or 0
        tests = (1 + len(self.split.further)) * held_out if self.split.selection != "loss" else 0
        examples = problem.num_examples or 1
        record = (examples + held_out + tests) / (3 * (self.batch_size or examples))
        return int(np.clip(self.budget / record, min(most, _LEAST_RECORDS), most))


@dataclasses.dataclass(frozen=True)
class ComparisonPlan:
    """A comparison, settled.

    Attributes:
      runs: problem -> rule -> what is run.
      baseline: problem -> the baseline's own.
      rules: the rules that are compared.
      trials: of each search.
      seeds: of each trial.
      fresh: seeds of the final runs.
      sampler: non-adaptive, by name.
      seed: the first of all.
      records: of a final run, about.
      target_share: share of its budget after which the baseline sets the target.
      config: all that can change a number.
    """

    runs: dict[str, dict[str, RunPlan]]
    baseline: dict[str, RunPlan]
    rules: tuple[str, ...]
    trials: int
    seeds: int
    fresh: int
    sampler: str
    seed: int
    records: int
    target_share: float
    config: dict[str, Any]

    def lines(self) -> list[str]:
        """The plan as printed lines."""
        words = []
        for problem, runs in self.runs.items():
            first = next(iter(runs.values()))
            words.append(first.split.words)
            bought = [
                f"{planned.steps} of {rule}, {planned.step_cost.total:.3g} each" for rule, planned in runs.items()
            ]
            words.append(f"{problem}: {first.budget:g} gradients a run buy steps: {'; '.join(bought)}")
        runs = len(self.rules) * (self.trials * self.seeds + self.fresh)
        own = self.trials * self.seeds + self.fresh
        words.append(
            f"{runs} runs a problem, {self.trials} trials x {self.seeds} seeds and {self.fresh} fresh seeds of each"
            f" rule, and {own} of the baseline, which sets the target first"
        )
        needed = seeds_for_misses(len(self.rules), self.config["level"])
        if len(self.rules) > 1 and needed > self.fresh:
            words.append(f"where runs miss, fewer than {needed} fresh seeds may be too few to show a difference")
        return words


def plan_comparison(
    problems: Any, rules: Any, budget: Any, *, trials: int, seeds: int, fresh: int, batch_size: Any, baseline: Any,
    sampler: str, seed: int, records: int, target_share: float, measure: str, level: float,
) -> ComparisonPlan:  # fmt: skip
    """Checks the arguments of `compare`, splits the problems and measures what a step of each rule costs."""
    for name, value, least in (
        ("trials", trials, 1),
        ("seeds", seeds, 1),
        ("fresh", fresh, 2),
        ("records", records, 2),
    ):
        require_count("compare", name, value, least)
    require_count("compare", "seed", seed, 0)
    if sampler == "grid":
        raise fail(
            "compare", "a grid gives rules with fewer hyperparameters more values of each", "Take 'random' or 'sobol'."
        )
    require_choice("compare", "sampler", sampler, SAMPLERS)
    require_between("compare", "target_share", target_share, 0, 1, ends="(]")
    require_between("compare", "level", level, 0, 1, ends="()")
    named, candidates = _named(problems), candidates_of(rules)
    if not candidates:
        raise fail("compare", "there is no rule")
    (baseline_name, baseline_rule), *more = candidates_of(baseline).items()
    if more:
        raise fail("compare", "there must be one baseline")
    budgets, sizes = _each("budget", budget, named), _each("batch_size", batch_size, named)
    for name in named:
        require_positive("compare", "budget", budgets[name])
        if sizes[name] is not None:
            require_count("compare", "batch_size", sizes[name])
    splits = {name: split_data(problem, seed, measure) for name, problem in named.items()}
    for name, split in splits.items():
        size, num = sizes[name] or 0, split.problem.num_examples or 0
        if size > num:
            raise fail("compare", f"batch_size {size} needs as many examples, {name} has {num} to train on")
    runs = {
        name: {
            rule: _run_plan(name, rule, split, each, budgets[name], sizes[name]) for rule, each in candidates.items()
        }
        for name, split in splits.items()
    }
    baselines = {
        name: _run_plan(name, baseline_name, split, baseline_rule, budgets[name], sizes[name])
        for name, split in splits.items()
    }
    first = next(iter(splits))
    config = {
        "problems": {name: _problem_record(named[name], splits[name], budgets[name], sizes[name]) for name in named},
        "rules": {rule: _rule_record(runs[first][rule]) for rule in candidates},
        "baseline": {"name": baseline_name, **_rule_record(baselines[first])}, "trials": trials, "seeds": seeds,
        "fresh": fresh, "sampler": sampler, "seed": seed, "records": records, "target_share": target_share,
        "measure": measure, "level": level, "dtype": str(jnp.zeros((), float).dtype),
    }  # fmt: skip
    return ComparisonPlan(
        runs, baselines, tuple(candidates), trials, seeds, fresh, sampler, seed, records, target_share, config
    )


def _named(problems: Any) -> dict[str, Problem]:
    if isinstance(problems, Mapping):
        found = dict(problems)
    else:
        listed: Sequence[Any] = [problems] if isinstance(problems, Problem) else list(problems)
        for each in listed:
            if not isinstance(each, Problem):
                raise fail("compare", f"a problem must be a Problem, got {each!r}", "Make one with load_problem.")
        found = {each.name: each for each in listed}
        if len(found) < len(listed):
            raise fail("compare", f"two problems share a name: {', '.join(each.name for each in listed)}",
                       "Give a mapping from names to problems.")  # fmt: skip
    if not found:
        raise fail("compare", "there is no problem")
    if len({file_name(name) for name in found}) < len(found):
        raise fail("compare", f"problems' names must differ in letters and digits: {', '.join(found)}")
    return found


def _each(what: str, value: Any, problems: Mapping[str, Any]) -> dict[str, Any]:
    """One value for all problems, or a mapping from their names."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(problems, value)
    for name in problems:
        require_choice("compare", f"a problem in {what}", name, value)
    return {name: value[name] for name in problems}


def _run_plan(
    problem: str, rule: str, split: DataSplit, candidate: Candidate, budget: float, batch_size: int | None
) -> RunPlan:
    pairs = candidate.evaluated is not None
    mine = split.with_evaluation_params() if pairs else split
    factory = (
        WithEvaluationParams(candidate.factory, candidate.evaluated)
        if candidate.evaluated is not None
        else candidate.factory
    )
    middle = candidate.space.columns(np.full((1, candidate.space.dim), 0.5))
    values = {name: column[0] for name, column in middle.items()}
    rule_fingerprint(mine.problem, factory, values, (), batch_size)  # says it plainly where a step cannot be taken
    step_cost = measure_step_cost(mine.problem, factory, values, batch_size)
    planned = RunPlan(mine, factory, candidate, step_cost, float(budget), batch_size)
    if planned.steps > LARGEST_COUNT:
        raise fail(
            "compare", f"a budget of {budget:g} gradients buys {rule} {planned.steps:.3g} steps on {problem}",
            f"A run takes at most {LARGEST_COUNT}: lower the budget.",
        )  # fmt: skip
    if planned.steps < _LEAST_STEPS:
        raise fail(
            "compare", f"a budget of {budget:g} gradients buys {rule} fewer than {_LEAST_STEPS} steps on {problem}",
            f"A step costs {step_cost.total:.3g}: raise the budget.",
        )  # fmt: skip
    return planned


def _problem_record(problem: Problem, split: DataSplit, budget: float, batch_size: int | None) -> dict[str, Any]:
    return {
        "fingerprint": problem_fingerprint(problem), "budget": float(budget), "batch_size": batch_size,
        "words": split.words, "selection": split.selection, "report": split.report, "further": list(split.further),
        "baseline_loss": split.baseline,
    }  # fmt: skip


def _rule_record(planned: RunPlan) -> dict[str, Any]:
    candidate, problem = planned.candidate, planned.split.problem
    first = {
        name: column[0] for name, column in candidate.space.columns(np.full((1, candidate.space.dim), 0.5)).items()
    }
    return {
        "fingerprint": rule_fingerprint(problem, planned.factory, first, planned.split.probes, planned.batch_size),
        "space": candidate.space.to_json(),
        "contains": dict(candidate.contains), "natural": [list(pair) for pair in candidate.natural],
        "source": candidate.source,
    }  # fmt: skip
