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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxopt_lab import training
from jaxopt_lab.compare.comparison import Comparison, target_of
from jaxopt_lab.compare.plan import BASELINE as BASELINE_SEED
from jaxopt_lab.compare.plan import FRESH, TARGET, ComparisonPlan, Protocol, RunPlan, plan_comparison
from jaxopt_lab.compare.rule_results import RuleResult, final_runs_of, judged, rule_result, winner_of
from jaxopt_lab.compare.step_cost import measure_seconds
from jaxopt_lab.core import InputError
from jaxopt_lab.search.plans import plan_sweep
from jaxopt_lab.search.results import Sweep
from jaxopt_lab.search.store import BASELINE, ComparisonStore
from jaxopt_lab.search.sweeps import run_sweep
from jaxopt_lab.search.trials import Objective
from jaxopt_lab.storage.claims import Claims
from jaxopt_lab.storage.folder import environment
from jaxopt_lab.training.devices import device_kind
from jaxopt_lab.training.feasibility import Feasibility
from jaxopt_lab.training.workers import Workers, team


def compare(
    problems: Any,
    rules: Any,
    budget: Any,
    *,
    num_trials: int = 32,
    num_seeds: int = 1,
    num_final_seeds: int = 10,
    seed: int = 0,
    batch_size: Any = None,
    protocol: Protocol | None = None,
    execution: training.Execution | None = None,
    out: str | os.PathLike[str] | None = None,
) -> Comparison:
    """Compares rules on problems and says only what is shown.

    Args:
      problems: a problem, several, or name -> problem; each may be a name, "module:function" included.
      rules: names of `CANDIDATES`, or name -> `Candidate` or (factory, space).
      budget: gradients of each run; a number, or problem -> number.
      num_trials: of each rule's search on each problem.
      num_seeds: of each trial.
      num_final_seeds: fresh seeds, on which the winner runs again.
      seed: of the samplers, the splits and the first of all seeds.
      batch_size: examples a step, None for all; or problem -> either.
      protocol: baseline, sampler, target, measure and level.
      execution: loop, K, devices, executor, workers and log; what it leaves open is chosen. Workers do the searches
        and the final runs; seconds are measured by this process.
      out: the folder of all results, in which the comparison's own is named by its config's hash. There everything is
        kept and found again; None keeps nothing.

    Returns:
      The comparison. Cost: rules x problems x (trials x seeds + final seeds) runs, and the baseline's.

    Raises:
      InputError: a wrong argument, before anything is run; or a folder that holds something else.

    Example:
      >>> from jaxopt_lab import compare, objectives
      >>> bowl = objectives.quadratic([1.0, 0.01], start=1.0)
      >>> found = compare.compare(bowl, ["sgd", "heavy_ball"], 100, num_trials=32, num_final_seeds=2)
      >>> found.verdict()[0]
      'heavy_ball is shown better than every other rule on quadratic.'
    """
    execution = execution or training.Execution()
    given = {
        "problems": problems, "rules": rules, "budget": budget, "num_trials": num_trials, "num_seeds": num_seeds,
        "num_final_seeds": num_final_seeds, "seed": seed, "batch_size": batch_size, "protocol": protocol or Protocol(),
    }  # fmt: skip
    plan = plan_comparison(**given, execution=execution)
    folder = None if out is None else Path(out) / plan.folder_name
    sent = {"given": given | {"execution": execution.of_worker()}}
    return run_comparison(plan, folder, workers=team("compare", execution, folder, take_part, sent))


def take_part(folder: Path, given: Mapping[str, Any]) -> None:
    """What a worker of a comparison does: chunks of all searches, then final runs that no other worker does.

    Args:
      folder: the comparison's own.
      given: the arguments of `plan_comparison`.

    Raises:
      InputError: as in `compare`.
    """
    plan = plan_comparison(**given)
    store, log = ComparisonStore(folder, plan.config), lambda line: None
    pairs = [(problem, rule, planned) for problem, runs in plan.runs.items()
             for rule, planned in ((BASELINE, plan.baseline[problem]), *runs.items())]  # fmt: skip
    for problem, rule, planned in pairs:
        _search(plan, planned, rule, store.search(problem, rule), wait=False)
    with Claims(folder) as claims:
        for problem, rule, planned in pairs:
            found = _search(plan, planned, rule, store.search(problem, rule))
            piece = f"{problem}/{rule}"
            with claims.choosing() as (held, taken):
                taken += [piece] if piece not in held else []
            if taken:
                _final_runs(plan, store, planned, problem, rule, found, log)


def run_comparison(
    plan: ComparisonPlan, folder: str | os.PathLike[str] | None = None, argv: tuple[str, ...] = (),
    workers: Workers | None = None,
) -> Comparison:  # fmt: skip
    """Carries a plan out.

    Args:
      plan: from `plan_comparison`.
      folder: the comparison's own folder, whatever its name; None keeps nothing.
      argv: the words of a command line that redo it, for the record.
      workers: who does the searches and the final runs; None: this process.

    Returns:
      The comparison.

    Raises:
      InputError: as in `compare`.
    """
    log = plan.execution.log or (lambda line: None)
    store = ComparisonStore(None if folder is None else Path(folder), plan.config)
    store.settle(_record(plan, argv))
    for line in str(plan).splitlines():
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
        if workers is not None:
            log(f"{workers.count} workers search and run")
            workers.work(log, lambda: None)
        return _run(plan, store, log)


def _run(plan: ComparisonPlan, store: ComparisonStore, log: Any) -> Comparison:
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
            baseline_runs = final_runs_of(store, problem, BASELINE, plan.baseline[problem].step_cost, entry["budget"])
            comparison.targets[problem] = target_of(baseline_runs, entry, plan.protocol.target_share)
            log(f"{problem}: the target is {comparison.targets[problem].report:.4g}")
            for rule, planned in runs.items():
                found = _prepare(plan, store, planned, problem, rule, log)
                result = rule_result(problem, rule, planned.step_cost, entry, found, store, planned.candidate.natural)
                results[problem, rule] = result
                log(f"{problem}, {rule}: {np.median(comparison.quality(problem, rule)):.4g}")
        ended = "done"
    finally:
        seconds = {"wall_seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
        facts = {name: round(value, 3) for name, value in seconds.items()} | {"device": device_kind()}
        comparison = dataclasses.replace(comparison, facts=facts)
        with contextlib.nullcontext() if ended == "done" else contextlib.suppress(InputError):
            store.finish(comparison.to_json(), {"status": ended, "facts": facts})
    return comparison


def _prepare(
    plan: ComparisonPlan, store: ComparisonStore, planned: RunPlan, problem: str, rule: str, log: Any
) -> Sweep:
    """Search, final runs on fresh seeds, and timing of one rule on one problem, as far as they are not there yet."""
    log(f"{problem}, {rule}: search")
    found = _search(plan, planned, rule, store.search(problem, rule))
    values, chosen = _final_runs(plan, store, planned, problem, rule, found, log)
    if values is not None and rule != BASELINE and store.get("seconds", problem, rule) is None:
        seconds = measure_seconds(
            planned.split.problem, planned.factory, values, planned.batch_size, plan.seed + FRESH, chosen.loop
        )
        store.put("seconds", problem, rule, {}, seconds)
    return found


def _final_runs(
    plan: ComparisonPlan, store: ComparisonStore, planned: RunPlan, problem: str, rule: str, found: Sweep, log: Any
) -> tuple[dict[str, float] | None, training.Execution]:
    """The winner of a search, None where there is none, and how it runs; its final runs, where they are not there."""
    values = winner_of(judged(found.of(rule), plan.config["problems"][problem]["selection"]))
    chosen = dataclasses.replace(
        plan.execution.without_workers(), loop=found.facts["loop"], progress=False, keep_final=False
    )
    if values is not None and store.get("final_runs", problem, rule) is None:
        log(f"{problem}, {rule}: final runs on {plan.num_final_seeds} fresh seeds")
        seeds = plan.seed + (TARGET if rule == BASELINE else FRESH) + np.arange(plan.num_final_seeds)
        columns = {name: np.full(plan.num_final_seeds, value) for name, value in values.items()}
        trace = training.run(
            planned.split.problem, planned.factory, columns,
            steps=planned.steps, seeds=seeds, probes=planned.split.probes, batch_size=planned.batch_size,
            every=max(1, -(-planned.steps // planned.num_records(plan.protocol.num_records))), execution=chosen,
            feasibility=Feasibility(baseline=planned.split.baseline),
        )  # fmt: skip
        status = np.array([int(each) for each in trace.status], np.int8)
        store.put(
            "final_runs", problem, rule, trace.metrics | {"status": status, "steps": trace.steps}, {"values": values}
        )
    return values, chosen


def _search(plan: ComparisonPlan, planned: RunPlan, rule: str, folder: Path | None, *, wait: bool = True) -> Sweep:
    """The search of one rule on one problem; `wait` as in `run_sweep`."""
    searched = plan_sweep(
        planned.split.problem, {rule: (planned.factory, planned.candidate.space)}, None, num_trials=plan.num_trials,
        num_seeds=plan.num_seeds, steps=planned.steps, batch_size=planned.batch_size, sampler=plan.protocol.sampler,
        seed=plan.seed + BASELINE_SEED * (rule == BASELINE),
        objective=Objective(planned.split.selection, maximize=False, baseline=planned.split.baseline),
        execution=dataclasses.replace(plan.execution.without_workers(), log=None),
    )  # fmt: skip
    return run_sweep(searched, folder, wait=wait)


def _record(plan: ComparisonPlan, argv: tuple[str, ...]) -> dict[str, Any]:
    step_costs = {problem: {rule: dataclasses.asdict(planned.step_cost) for rule, planned in runs.items()}
              | {BASELINE: dataclasses.asdict(plan.baseline[problem].step_cost)}
              for problem, runs in plan.runs.items()}  # fmt: skip
    return {
        "study": "compare", "status": "running", "config": plan.config, "step_costs": step_costs, "argv": list(argv),
        "facts": {}, **environment(),
    }  # fmt: skip
