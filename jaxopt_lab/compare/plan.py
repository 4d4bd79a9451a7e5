"""What a comparison will do, checked before any compute is spent."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxopt_lab.compare.candidates import Candidate, candidates_of
from jaxopt_lab.compare.splits import MEASURES, DataSplit, split_data
from jaxopt_lab.compare.statistics import seeds_for_misses
from jaxopt_lab.compare.step_cost import StepCost, measure_step_cost
from jaxopt_lab.core import Problem, fail
from jaxopt_lab.core.batches import materialized, require_batch_size
from jaxopt_lab.core.errors import LARGEST_COUNT, require_between, require_choice, require_count, require_positive
from jaxopt_lab.core.leaves import count_examples
from jaxopt_lab.problems import load_problem
from jaxopt_lab.search.plans import LOOPS
from jaxopt_lab.storage.files import file_name
from jaxopt_lab.storage.fingerprints import problem_fingerprint
from jaxopt_lab.storage.folder import folder_name
from jaxopt_lab.training import Execution
from jaxopt_lab.training.evaluation_params import WithEvaluationParams
from jaxopt_lab.training.storage import rule_fingerprint

SAMPLERS = ("random", "sobol", "halton")
FRESH, BASELINE, TARGET = 10_000, 20_000, 30_000
_LEAST_STEPS, _LEAST_RECORDS = 2, 10


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How rules are compared, the same for all of them.

    Attributes:
      baseline: the rule whose own search sets the targets; a name, or name -> candidate. It may also be compared: that
        is another search.
      sampler: "random", "sobol" or "halton".
      num_records: of a final run, at most, about; fewer, but at least 10, where they would cost more than the steps.
      target_share: share of its budget after which the baseline's median is the target.
      measure: "auto": selection on validation, report on test, where there are data; "loss": the training loss.
      level: p below which a difference is claimed.

    Raises:
      InputError: an attribute is out of range.
    """

    baseline: Any = "heavy_ball"
    sampler: str = "random"
    num_records: int = 40
    target_share: float = 0.75
    measure: str = "auto"
    level: float = 0.01

    def __post_init__(self) -> None:
        require_count("compare", "num_records", self.num_records, 2)
        if self.sampler == "grid":
            raise fail(
                "compare", "a grid gives rules with fewer hyperparameters more values of each",
                "Take 'random' or 'sobol'.",
            )  # fmt: skip
        require_choice("compare", "sampler", self.sampler, SAMPLERS)
        require_between("compare", "target_share", self.target_share, 0, 1, ends="(]")
        require_choice("compare", "measure", self.measure, MEASURES)
        require_between("compare", "level", self.level, 0, 1, ends="()")


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
      num_trials: of each search.
      num_seeds: of each trial.
      num_final_seeds: of the final runs.
      seed: the first of all.
      protocol: how they are compared.
      execution: how the work is carried out.
      config: all that can change a number.
    """

    runs: dict[str, dict[str, RunPlan]]
    baseline: dict[str, RunPlan]
    num_trials: int
    num_seeds: int
    num_final_seeds: int
    seed: int
    protocol: Protocol
    execution: Execution
    config: dict[str, Any]

    @property
    def folder_name(self) -> str:
        """The name of its own folder among results."""
        return folder_name("compare", self.config)

    def __str__(self) -> str:
        found = []
        for problem, runs in self.runs.items():
            first = next(iter(runs.values()))
            found.append(first.split.text)
            bought = [
                f"{planned.steps} of {rule}, {planned.step_cost.total:.3g} each" for rule, planned in runs.items()
            ]
            found.append(f"{problem}: {first.budget:g} gradients a run buy steps: {'; '.join(bought)}")
        num_rules = len(self.config["rules"])
        own = self.num_trials * self.num_seeds + self.num_final_seeds
        found.append(
            f"{num_rules * own} runs a problem, {self.num_trials} trials x {self.num_seeds} seeds and"
            f" {self.num_final_seeds} fresh seeds of each rule, and {own} of the baseline, which sets the target first"
        )
        needed = seeds_for_misses(num_rules, self.protocol.level)
        if num_rules > 1 and needed > self.num_final_seeds:
            found.append(f"where runs miss, fewer than {needed} fresh seeds may be too few to show a difference")
        return "\n".join(found)


def plan_comparison(
    problems: Any, rules: Any, budget: Any, *, num_trials: int, num_seeds: int, num_final_seeds: int, seed: int,
    batch_size: Any, protocol: Protocol, execution: Execution,
) -> ComparisonPlan:  # fmt: skip
    """Checks the arguments of `compare`, splits the problems and measures what a step of each rule costs."""
    counts = {"num_trials": num_trials, "num_seeds": num_seeds, "num_final_seeds": num_final_seeds, "seed": seed}
    for (name, value), least in zip(counts.items(), (1, 1, 2, 0), strict=True):
        require_count("compare", name, value, least)
    require_choice("compare", "loop", execution.loop, LOOPS)
    named, candidates = _named(problems), candidates_of(rules)
    if not candidates:
        raise fail("compare", "there is no rule")
    (baseline_name, baseline_rule), *more = candidates_of(protocol.baseline).items()
    if more:
        raise fail("compare", "there must be one baseline")
    budgets, sizes = _each("budget", budget, named), _each("batch_size", batch_size, named)
    splits = _splits(named, budgets, sizes, seed, protocol.measure)
    runs, baselines = {}, {}
    for name, split in splits.items():
        given = (split, budgets[name], sizes[name])
        runs[name] = {rule: _run_plan(name, rule, each, *given) for rule, each in candidates.items()}
        baselines[name] = _run_plan(name, baseline_name, baseline_rule, *given)
    first = next(iter(splits))
    config = {
        "problems": {name: _problem_record(named[name], splits[name], budgets[name], sizes[name]) for name in named},
        "rules": {rule: _rule_record(runs[first][rule]) for rule in candidates},
        "baseline": {"name": baseline_name, **_rule_record(baselines[first])}, **counts, "sampler": protocol.sampler,
        "num_records": protocol.num_records, "target_share": protocol.target_share, "measure": protocol.measure,
        "level": protocol.level, "dtype": str(jnp.zeros((), float).dtype), "loop": execution.loop,
        "width": execution.width,
    }  # fmt: skip
    return ComparisonPlan(
        runs, baselines, num_trials, num_seeds, num_final_seeds, seed, protocol, execution, config
    )  # fmt: skip


def _splits(named: Mapping[str, Problem], budgets: Any, sizes: Any, seed: int, measure: str) -> dict[str, DataSplit]:
    """Each problem's split; what does not fit to it is refused."""
    for name in named:
        require_positive("compare", "budget", budgets[name])
    splits = {name: split_data(problem, seed, measure) for name, problem in named.items()}
    for name, split in splits.items():
        require_batch_size("compare", sizes[name], name, split.problem.num_examples or 0, "to train on")
    return splits


def _named(problems: Any) -> dict[str, Problem]:
    if isinstance(problems, Mapping):
        found = {name: load_problem(each) if isinstance(each, str) else each for name, each in problems.items()}
    else:
        given: Sequence[Any] = [problems] if isinstance(problems, Problem | str) else list(problems)
        listed = [load_problem(each) if isinstance(each, str) else each for each in given]
        for each in listed:
            if not isinstance(each, Problem):
                raise fail("compare", f"a problem must be a Problem, got {each!r}", "Make one with load_problem.")
        found = {each.name: each for each in listed}
        if len(found) < len(listed):
            raise fail("compare", f"two problems share a name: {', '.join(each.name for each in listed)}",
                       "Give a mapping from names to problems.")  # fmt: skip
    if not found:
        raise fail("compare", "there is no problem")
    found = {
        name: dataclasses.replace(each, data=materialized("compare", name, each.data)) for name, each in found.items()
    }
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
    problem: str, rule: str, candidate: Candidate, split: DataSplit, budget: float, batch_size: int | None
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
        "text": split.text, "selection": split.selection, "report": split.report, "further": list(split.further),
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
