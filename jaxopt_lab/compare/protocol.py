"""`compare`: rules on problems by the rules of an honest comparison, kept so that it goes on after a kill.

1. A separate search of the baseline sets each problem's target, before any rule that is compared is run.
2. Every rule gets one space for all problems, as many trials, at points chosen before the first run, and in each run
   the same gradients; Hessian products and line searches are paid for.
3. Trials are selected on validation. The winner runs again on fresh seeds, the same initialization and data order
   for all rules, and only the test loss of those runs is reported.
4. A difference is claimed at p < 0.01 after Holm's correction, and not where a winner lies near an edge of its space.
"""

import contextlib
import contextvars
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
from jaxopt_lab.compare.plan import FRESH, TARGET, Bout, Contest, make_contest
from jaxopt_lab.compare.rule_results import Rerun, Showing, judged, winner_of
from jaxopt_lab.compare.step_cost import Price
from jaxopt_lab.core import InputError, fail
from jaxopt_lab.search.results import Sweep
from jaxopt_lab.search.store import BASELINE, ComparisonStore
from jaxopt_lab.search.sweeps import sweep
from jaxopt_lab.search.tables import load_sweep
from jaxopt_lab.storage import files
from jaxopt_lab.training.checkpoints import next_folder

Say = Callable[[str], None]
_TIMED_STEPS, _TIMED_SECONDS = 50, 0.05


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
    say: Say | None = None,
    argv: tuple[str, ...] = (),
) -> Comparison:
    """Compares rules on problems and says only what is shown.

    Args:
      problems: a problem, several, or name -> problem.
      rules: names of `ENTRANTS`, or name -> `Entrant` or (factory, space).
      budget: gradients of each run; a number, or problem -> number.
      trials: of each rule's search on each problem.
      seeds: of each trial.
      fresh: seeds of the winner's re-run.
      batch_size: examples a step, None for all; or problem -> either.
      baseline: the rule whose own search sets the targets; a name, or name -> entrant. It may also be compared: that is
        another search.
      sampler: "random", "sobol" or "halton".
      seed: of the samplers, the splits and the first of all seeds.
      records: of a re-run, at most, about; fewer, but at least 10, where they would cost more than the steps.
      target_share: share of its budget after which the baseline's median is the target.
      measure: "auto": selection on validation, report on test, where there are data; "loss": the training loss.
      level: p below which a difference is claimed.
      folder: where everything is kept and found again; None: as `training.checkpoints_in` says, or nowhere.
      out: instead of `folder`: the folder of all results.
      say: gets the plan and the progress, a line at a time.
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
    apart = contextvars.Context()  # in it runs keep no checkpoints of their own
    contest = apart.run(
        make_contest, problems, rules, budget, trials=trials, seeds=seeds, fresh=fresh, batch_size=batch_size,
        baseline=baseline, sampler=sampler, seed=seed, records=records, target_share=target_share, measure=measure,
        level=level,
    )  # fmt: skip
    if out is not None:
        if folder is not None:
            raise fail("compare", "folder and out were both given", "Give out, or the comparison's own folder.")
        folder = Path(out) / storage.folder_name("compare", contest.config)
    folder = folder or next_folder()
    store = ComparisonStore(None if folder is None else Path(folder), contest.config)
    store.settle(_record(contest, argv))
    tell = say or (lambda line: None)
    for line in contest.lines():
        tell(line)
    if store.folder is not None:
        tell(f"Kept in {store.folder}")
    with store.held():
        for problem, bouts in contest.bouts.items():
            for rule in (BASELINE, *bouts):
                for kind in ("reruns", "seconds"):
                    damage = store.set_aside_damaged(kind, problem, rule)
                    if damage is not None:
                        tell(f"{damage} It is kept beside its place, and computed again.")
        return apart.run(_run, contest, store, tell)


def load_comparison(folder: str | os.PathLike[str], log: Say | None = None) -> Comparison:
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
        showings, targets = _stored(store, record, log)
        return Comparison(record["config"], showings, targets, record["facts"], Path(folder))


def _stored(
    store: ComparisonStore, record: dict[str, Any], log: Say | None
) -> tuple[dict[tuple[str, str], Showing], dict[str, Target]]:
    """What a folder holds of each rule on each problem, and of the targets."""
    config: dict[str, Any] = record["config"]
    showings, targets = {}, {}
    for problem, entry in config["problems"].items():
        for rule in config["rules"]:
            found = _searched(store, problem, rule, log)
            price = Price(**record["prices"][problem][rule])
            showings[problem, rule] = _showing(
                problem, rule, price, entry, found, store, config["rules"][rule]["natural"]
            )
        stored = _rerun(store, problem, BASELINE, Price(**record["prices"][problem][BASELINE]), entry["budget"])
        searched = _searched(store, problem, BASELINE, log)
        if stored is not None or (searched and searched.complete and _winner(searched, BASELINE, entry) is None):
            targets[problem] = _target(stored, entry, config["target_share"])
    return showings, targets


def _searched(store: ComparisonStore, problem: str, rule: str, log: Say | None) -> Sweep | None:
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


def _run(contest: Contest, store: ComparisonStore, tell: Say) -> Comparison:
    """The loop over problems and rules; what is finished is found again."""
    began, cpu = time.perf_counter(), time.process_time()
    showings = {(problem, rule): Showing(problem, rule, bout.price, bout.steps)
                for problem, bouts in contest.bouts.items() for rule, bout in bouts.items()}  # fmt: skip
    comparison = Comparison(contest.config, showings, {}, {}, store.folder)
    ended = "stopped"
    try:
        for problem, bouts in contest.bouts.items():
            entry = contest.config["problems"][problem]
            _prepare(contest, store, contest.baseline[problem], problem, BASELINE, tell)
            setter = _rerun(store, problem, BASELINE, contest.baseline[problem].price, entry["budget"])
            comparison.targets[problem] = _target(setter, entry, contest.target_share)
            tell(f"{problem}: the target is {comparison.targets[problem].report:.4g}")
            for rule, bout in bouts.items():
                found = _prepare(contest, store, bout, problem, rule, tell)
                showing = _showing(problem, rule, bout.price, entry, found, store, bout.entrant.natural)
                showings[problem, rule] = showing
                tell(f"{problem}, {rule}: {np.median(comparison.quality(problem, rule)):.4g}")
        ended = "done"
    finally:
        seconds = {"wall_seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
        facts = {name: round(value, 3) for name, value in seconds.items()} | {"device": training.device_kind()}
        comparison = dataclasses.replace(comparison, facts=facts)
        with contextlib.nullcontext() if ended == "done" else contextlib.suppress(InputError):
            store.finish(comparison.to_json(), {"status": ended, "facts": facts})
    return comparison


def _prepare(contest: Contest, store: ComparisonStore, bout: Bout, problem: str, rule: str, tell: Say) -> Sweep:
    """Search, re-run on fresh seeds, and timing of one rule on one problem, as far as they are not there yet."""
    base = rule == BASELINE
    tell(f"{problem}, {rule}: search")
    found = sweep(
        bout.arena.problem, {rule: (bout.factory, bout.entrant.space)}, trials=contest.trials, seeds=contest.seeds,
        steps=bout.steps, batch_size=bout.batch_size, sampler=contest.sampler,
        seed=contest.seed + BASELINE_SEED * base, objective=bout.arena.selection, maximize=False,
        baseline=bout.arena.baseline, folder=store.search(problem, rule),
    )  # fmt: skip
    values = _winner(found, rule, contest.config["problems"][problem])
    if values is None:
        return found
    if store.get("reruns", problem, rule) is None:
        tell(f"{problem}, {rule}: the winner on {contest.fresh} fresh seeds")
        seeds = contest.seed + (TARGET if base else FRESH) + np.arange(contest.fresh)
        trace = training.run(
            bout.arena.problem, bout.factory, {name: np.full(contest.fresh, value) for name, value in values.items()},
            steps=bout.steps, seeds=seeds, probes=bout.arena.probes, batch_size=bout.batch_size,
            every=max(1, -(-bout.steps // bout.num_records(contest.records))), loop=found.facts["loop"],
            progress=False, keep_final=False,
            feasibility=training.Feasibility(baseline=bout.arena.baseline),
        )  # fmt: skip
        status = np.array([int(each) for each in trace.status], np.int8)
        store.put("reruns", problem, rule, trace.metrics | {"status": status, "steps": trace.steps}, {"values": values})
    if not base and store.get("seconds", problem, rule) is None:
        seconds = _seconds(bout, values, contest.seed + FRESH, found.facts["loop"])
        store.put("seconds", problem, rule, {}, seconds)
    return found


def _winner(found: Sweep, rule: str, entry: Any) -> dict[str, float] | None:
    return winner_of(judged(found.of(rule), entry["selection"]))


def _seconds(bout: Bout, values: dict[str, float], seed: int, loop: str) -> dict[str, float]:
    """Seconds a step, and to compile, from runs of one configuration of their own."""

    def took(count: int) -> float:
        trace = training.run(
            bout.arena.problem, bout.factory, values, steps=count, every=count, seeds=seed, width=1, loop=loop,
            batch_size=bout.batch_size, progress=False, keep_final=False,
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


def _showing(
    problem: str, rule: str, price: Price, entry: Any, found: Any, store: ComparisonStore, natural: Any
) -> Showing:
    """What is there of one rule on one problem."""
    steps = price.steps(entry["budget"])
    if found is None or not found.complete:
        return Showing(problem, rule, price, steps)
    trials = judged(found.of(rule), entry["selection"])
    values = winner_of(trials)
    left = {tuple(pair) for pair in natural}
    near = {} if values is None else trials.space.near_edge(values)
    edges = {name: end for name, end in near.items() if (name, end) not in left}
    timed = store.get("seconds", problem, rule)
    seconds = None if timed is None else {name: timed[1][name] for name in ("step", "compile")}
    return Showing(
        problem, rule, price, steps, trials, edges, _rerun(store, problem, rule, price, entry["budget"]), seconds
    )


def _rerun(store: ComparisonStore, problem: str, rule: str, price: Price, budget: float) -> Rerun | None:
    stored = store.get("reruns", problem, rule)
    if stored is None:
        return None
    curves = dict(stored[0])
    status, steps, taken = (curves.pop(name) for name in ("status", "steps", "cost"))
    return Rerun(steps, curves, status, np.nan_to_num(taken), price, budget)


def _target(rerun: Rerun | None, entry: Any, share: float) -> Target:
    """The baseline's medians after the first part of its budget; NaN, which nobody reaches, if it missed."""
    if rerun is None:
        return Target(float("nan"), float("nan"))
    found = [
        float(np.median(rerun.quality(entry["selection"], name, share)))
        for name in (entry["report"], entry["selection"])
    ]
    return Target(*(each if np.isfinite(each) else float("nan") for each in found))


def _record(contest: Contest, argv: tuple[str, ...]) -> dict[str, Any]:
    prices = {problem: {rule: dataclasses.asdict(bout.price) for rule, bout in bouts.items()}
              | {BASELINE: dataclasses.asdict(contest.baseline[problem].price)}
              for problem, bouts in contest.bouts.items()}  # fmt: skip
    return {
        "study": "compare", "status": "running", "config": contest.config, "prices": prices, "argv": list(argv),
        "facts": {}, **storage.environment(),
    }  # fmt: skip
