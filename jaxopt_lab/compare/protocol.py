"""`compare`: rules on problems by the protocol, kept so that it goes on after a kill.

1. A separate search of the baseline sets each problem's target, before any rule that is compared is run.
2. Every rule gets one space for all problems, as many trials, at points chosen before the first run, and in each run
   the same gradients; Hessian products and line searches are paid for.
3. Trials are selected on validation. The winner runs again on fresh seeds, the same initialization and data order
   for all rules, and only the test loss of those runs is reported.
4. A difference is claimed at p < 0.01 after Holm's correction, and not where a winner lies near an edge of its space.
"""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxopt_lab import storage, training
from jaxopt_lab.compare.comparison import Comparison, Target
from jaxopt_lab.compare.plan import BASELINE as BASELINE_SEED
from jaxopt_lab.compare.plan import FRESH, TARGET, ComparisonPlan, RunPlan, plan_comparison
from jaxopt_lab.compare.rule_results import FinalRuns, RuleResult, judged, winner_of
from jaxopt_lab.compare.step_cost import StepCost
from jaxopt_lab.core import InputError, fail
from jaxopt_lab.search.results import Sweep, load_sweep
from jaxopt_lab.search.store import BASELINE, ComparisonStore
from jaxopt_lab.search.sweeps import sweep
from jaxopt_lab.storage import files

Log = Callable[[str], None]
_TIMED_STEPS, _TIMED_SECONDS = 50, 0.05
_QUIET = training.Execution(progress=False, keep_final=False)


def compare(
    problems: Any,
    rules: Any,
    budget: Any,
    *,
    trials: int = 32,
    seeds: int = 1,
    fresh: int = 10,
    batch_size: Any = None,
    baseline: Any = "heavy_ball",
    sampler: str = "random",
    seed: int = 0,
    records: int = 40,
    target_share: float = 0.75,
    measure: str = "auto",
    level: float = 0.01,
    folder: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    log: Log | None = None,
    argv: tuple[str, ...] = (),
) -> Comparison:
    """Compares rules on problems and says only what is shown.

    Args:
      problems: a problem, several, or name -> problem.
      rules: names of `CANDIDATES`, or name -> `Candidate` or (factory, space).
      budget: gradients of each run; a number, or problem -> number.
      trials: of each rule's search on each problem.
      seeds: of each trial.
      fresh: seeds of the final runs, those of the winner.
      batch_size: examples a step, None for all; or problem -> either.
      baseline: the rule whose own search sets the targets; a name, or name -> candidate. It may also be compared: that
        is another search.
      sampler: "random", "sobol" or "halton".
      seed: of the samplers, the splits and the first of all seeds.
      records: of a final run, at most, about; fewer, but at least 10, where they would cost more than the steps.
      target_share: share of its budget after which the baseline's median is the target.
      measure: "auto": selection on validation, report on test, where there are data; "loss": the training loss.
      level: p below which a difference is claimed.
      folder: where everything is kept and found again; None: nowhere.
      out: instead of `folder`: the folder of all results.
      log: gets the plan and the progress, a line at a time.
      argv: the words of a command line that redo it, for the record.

    Returns:
      The comparison. Cost: rules x problems x (trials x seeds + fresh) runs, and the baseline's.

    Raises:
      InputError: a wrong argument, before anything is run; or a folder that holds something else.

    Example:
      >>> from jaxopt_lab import compare, objectives
      >>> bowl = objectives.quadratic([1.0, 0.01], start=1.0)
      >>> found = compare.compare(bowl, ["sgd", "heavy_ball"], 100, trials=32, fresh=2)
      >>> found.verdict()[0]
      'heavy_ball is shown better than every other rule on quadratic.'
    """
    plan = plan_comparison(
        problems, rules, budget, trials=trials, seeds=seeds, fresh=fresh, batch_size=batch_size,
        baseline=baseline, sampler=sampler, seed=seed, records=records, target_share=target_share, measure=measure,
        level=level,
    )  # fmt: skip
    if out is not None:
        if folder is not None:
            raise fail("compare", "folder and out were both given", "Give out, or the comparison's own folder.")
        folder = Path(out) / storage.folder_name("compare", plan.config)
    store = ComparisonStore(None if folder is None else Path(folder), plan.config)
    store.settle(_record(plan, argv))
    log = log or (lambda line: None)
    for line in plan.lines():
        log(line)
    if store.folder is not None:
        log(f"Kept in {store.folder}")
    with store.held():
        for problem, runs in plan.runs.items():
            for rule in (BASELINE, *runs):
                for kind in ("final_runs", "seconds"):
                    damage = store.set_aside_damaged(kind, problem, rule)
                    if damage is not None:
                        log(f"{damage} It is kept beside its place, and computed again.")
        return _run(plan, store, log)


def load_comparison(folder: str | os.PathLike[str], log: Log | None = None) -> Comparison:
    """The comparison that a folder holds, as far as it is finished; needs no problem.

    Args:
      folder: as given to `compare`.
      log: gets a sentence for each damaged file, which then counts as not there; None: that is an error.

    Returns:
      The comparison.

    Raises:
      InputError: the folder holds none, or a file in it is damaged.
    """
    record = storage.read_record(Path(folder), "comparison")
    store = ComparisonStore(Path(folder), record["config"], log)
    with files.reading(
        Path(folder) / storage.RECORD, "the record of a comparison", "What lies beside it is untouched."
    ):
        results, targets = _stored(store, record, log)
        return Comparison(record["config"], results, targets, record["facts"], Path(folder))


def _stored(
    store: ComparisonStore, record: dict[str, Any], log: Log | None
) -> tuple[dict[tuple[str, str], RuleResult], dict[str, Target]]:
    """What a folder holds of each rule on each problem, and of the targets."""
    config: dict[str, Any] = record["config"]
    results, targets = {}, {}
    for problem, entry in config["problems"].items():
        for rule in config["rules"]:
            found = _searched(store, problem, rule, log)
            step_cost = StepCost(**record["step_costs"][problem][rule])
            results[problem, rule] = _rule_result(
                problem, rule, step_cost, entry, found, store, config["rules"][rule]["natural"]
            )
        stored = _final_runs(
            store, problem, BASELINE, StepCost(**record["step_costs"][problem][BASELINE]), entry["budget"]
        )
        searched = _searched(store, problem, BASELINE, log)
        if stored is not None or (searched and searched.complete and _winner(searched, BASELINE, entry) is None):
            targets[problem] = _target(stored, entry, config["target_share"])
    return results, targets


def _searched(store: ComparisonStore, problem: str, rule: str, log: Log | None) -> Sweep | None:
    """One stored search, or None where there is none, or with `log` where it cannot be read."""
    place = store.search(problem, rule)
    if place is None or not (place / storage.RECORD).exists():
        return None
    try:
        return load_sweep(place, log)
    except InputError as error:
        if log is None:
            raise
        log(f"{error} It counts as not searched.")
        return None


def _run(plan: ComparisonPlan, store: ComparisonStore, log: Log) -> Comparison:
    """The loop over problems and rules; what is finished is found again."""
    began, cpu = time.perf_counter(), time.process_time()
    results = {(problem, rule): RuleResult(problem, rule, planned.step_cost, planned.steps)
                for problem, runs in plan.runs.items() for rule, planned in runs.items()}  # fmt: skip
    comparison = Comparison(plan.config, results, {}, {}, store.folder)
    ended = "stopped"
    try:
        for problem, runs in plan.runs.items():
            entry = plan.config["problems"][problem]
            _prepare(plan, store, plan.baseline[problem], problem, BASELINE, log)
            baseline_runs = _final_runs(store, problem, BASELINE, plan.baseline[problem].step_cost, entry["budget"])
            comparison.targets[problem] = _target(baseline_runs, entry, plan.target_share)
            log(f"{problem}: the target is {comparison.targets[problem].report:.4g}")
            for rule, planned in runs.items():
                found = _prepare(plan, store, planned, problem, rule, log)
                result = _rule_result(problem, rule, planned.step_cost, entry, found, store, planned.candidate.natural)
                results[problem, rule] = result
                log(f"{problem}, {rule}: {np.median(comparison.quality(problem, rule)):.4g}")
        ended = "done"
    finally:
        seconds = {"wall_seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
        facts = {name: round(value, 3) for name, value in seconds.items()} | {"device": training.device_kind()}
        comparison = dataclasses.replace(comparison, facts=facts)
        with contextlib.nullcontext() if ended == "done" else contextlib.suppress(InputError):
            store.finish(comparison.to_json(), {"status": ended, "facts": facts})
    return comparison


def _prepare(
    plan: ComparisonPlan, store: ComparisonStore, planned: RunPlan, problem: str, rule: str, log: Log
) -> Sweep:
    """Search, final runs on fresh seeds, and timing of one rule on one problem, as far as they are not there yet."""
    base = rule == BASELINE
    log(f"{problem}, {rule}: search")
    found = sweep(
        planned.split.problem, {rule: (planned.factory, planned.candidate.space)}, trials=plan.trials, seeds=plan.seeds,
        steps=planned.steps, batch_size=planned.batch_size, sampler=plan.sampler,
        seed=plan.seed + BASELINE_SEED * base, objective=planned.split.selection, maximize=False,
        baseline=planned.split.baseline, folder=store.search(problem, rule),
    )  # fmt: skip
    values = _winner(found, rule, plan.config["problems"][problem])
    if values is None:
        return found
    if store.get("final_runs", problem, rule) is None:
        log(f"{problem}, {rule}: final runs on {plan.fresh} fresh seeds")
        seeds = plan.seed + (TARGET if base else FRESH) + np.arange(plan.fresh)
        columns = {name: np.full(plan.fresh, value) for name, value in values.items()}
        trace = training.run(
            planned.split.problem, planned.factory, columns,
            steps=planned.steps, seeds=seeds, probes=planned.split.probes, batch_size=planned.batch_size,
            every=max(1, -(-planned.steps // planned.num_records(plan.records))),
            execution=dataclasses.replace(_QUIET, loop=found.facts["loop"]),
            feasibility=training.Feasibility(baseline=planned.split.baseline),
        )  # fmt: skip
        status = np.array([int(each) for each in trace.status], np.int8)
        store.put(
            "final_runs", problem, rule, trace.metrics | {"status": status, "steps": trace.steps}, {"values": values}
        )
    if not base and store.get("seconds", problem, rule) is None:
        seconds = _seconds(planned, values, plan.seed + FRESH, found.facts["loop"])
        store.put("seconds", problem, rule, {}, seconds)
    return found


def _winner(found: Sweep, rule: str, entry: Any) -> dict[str, float] | None:
    return winner_of(judged(found.of(rule), entry["selection"]))


def _seconds(planned: RunPlan, values: dict[str, float], seed: int, loop: str) -> dict[str, float]:
    """Seconds a step, and to compile, from runs of one configuration of their own."""

    def took(count: int) -> float:
        trace = training.run(
            planned.split.problem, planned.factory, values, steps=count, every=count, seeds=seed,
            batch_size=planned.batch_size, execution=dataclasses.replace(_QUIET, width=1, loop=loop),
        )  # fmt: skip
        return trace.facts["seconds"]

    first, again = took(_TIMED_STEPS), took(_TIMED_STEPS)
    most = 1000 * _TIMED_STEPS
    steps = int(np.clip(_TIMED_STEPS * _TIMED_SECONDS / again, _TIMED_STEPS, most))
    while True:  # until the steps themselves, without what a run costs besides them, take long enough to be timed
        once, twice = (min(took(count) for _ in range(3)) for count in (steps, 2 * steps))
        if twice - once > _TIMED_SECONDS / 20 or steps == most:
            break
        steps = int(min(steps * np.clip(_TIMED_SECONDS / max(twice - once, 1e-9), 2, 16), most))
    step = (twice - once) / steps if twice > once else twice / (2 * steps)
    return {"step": step, "compile": max(first - again, 0.0)}


def _rule_result(
    problem: str, rule: str, step_cost: StepCost, entry: Any, found: Any, store: ComparisonStore, natural: Any
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
        _final_runs(store, problem, rule, step_cost, entry["budget"]),
        seconds,
    )


def _final_runs(
    store: ComparisonStore, problem: str, rule: str, step_cost: StepCost, budget: float
) -> FinalRuns | None:
    stored = store.get("final_runs", problem, rule)
    if stored is None:
        return None
    curves = dict(stored[0])
    status, steps, taken = (curves.pop(name) for name in ("status", "steps", "cost"))
    return FinalRuns(steps, curves, status, np.nan_to_num(taken), step_cost, budget)


def _target(final_runs: FinalRuns | None, entry: Any, share: float) -> Target:
    """The baseline's medians after the first part of its budget; NaN, which nobody reaches, if it missed."""
    if final_runs is None:
        return Target(float("nan"), float("nan"))
    found = [
        float(np.median(final_runs.quality(entry["selection"], name, share)))
        for name in (entry["report"], entry["selection"])
    ]
    return Target(*(each if np.isfinite(each) else float("nan") for each in found))


def _record(plan: ComparisonPlan, argv: tuple[str, ...]) -> dict[str, Any]:
    step_costs = {problem: {rule: dataclasses.asdict(planned.step_cost) for rule, planned in runs.items()}
              | {BASELINE: dataclasses.asdict(plan.baseline[problem].step_cost)}
              for problem, runs in plan.runs.items()}  # fmt: skip
    return {
        "study": "compare", "status": "running", "config": plan.config, "step_costs": step_costs, "argv": list(argv),
        "facts": {}, **storage.environment(),
    }  # fmt: skip
