"""`sweep`: many trials of one or many rules, each with several seeds, as one compiled program a rule, on all devices.

The points are chosen before the first run, by a grid, at random, or quasi-randomly, so that the comparison is not led
by its own noise. What is finished is kept chunk by chunk: after a kill the same call continues, and the result is bit
for bit that of an unbroken sweep.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxopt_lab import training
from jaxopt_lab.core import InputError, Problem, Status
from jaxopt_lab.reporting.numbers import format_duration
from jaxopt_lab.search.plans import Chunk, Rule, SweepPlan, plan_sweep
from jaxopt_lab.search.results import Sweep, Table
from jaxopt_lab.search.runner import Round, Runner, Timing, claimed_rounds, rounds_of, timed, with_timed_width
from jaxopt_lab.search.spaces import Space
from jaxopt_lab.search.store import SweepStore, as_settled, record_of, settled_by
from jaxopt_lab.search.trials import NOT_RUN, Objective, settings_of
from jaxopt_lab.storage import files
from jaxopt_lab.storage.encoding import from_json, to_json
from jaxopt_lab.storage.fingerprints import is_reusable
from jaxopt_lab.storage.folder import remove_folder
from jaxopt_lab.storage.locks import HeldError
from jaxopt_lab.training.workers import Workers, team

Log = Callable[[str], None]
_LONG_ROUND_SECONDS = 60.0


def sweep(
    problem: Problem | str,
    rule: Rule | str | Mapping[str, tuple[Rule | str, Space]],
    space: Space | None = None,
    *,
    num_trials: int = 64,
    num_seeds: int = 3,
    steps: int = 2000,
    batch_size: int | None = None,
    sampler: str = "random",
    seed: int = 0,
    objective: str | Objective = "loss",
    execution: training.Execution | None = None,
    out: str | os.PathLike[str] | None = None,
) -> Sweep:
    """Runs trials x seeds of a rule over a problem and ranks the trials by the median over the seeds.

    Args:
      problem: what to minimize; or its name, as `problems.load_problem` takes it, "module:function" included.
      rule: a factory, hyperparameters -> rule, or its name; or name -> (factory, space) for many rules in one study.
      space: what is searched, for a single rule.
      num_trials: trials of each rule; a grid may take fewer.
      num_seeds: seeds of each trial, the same for all: seed, seed + 1, ... give initialization and data order.
      steps: steps of each run.
      batch_size: examples a step, or None for all.
      sampler: "random", "sobol", "halton" or "grid".
      seed: of the sampler, and the first of the seeds.
      objective: what is compared, by its name: "loss", "validation_loss", "validation_accuracy", ...; or an `Objective`
        that also says when a loss is infeasible, and how often it is recorded.
      execution: loop, K, devices, executor, workers and log; what it leaves open is chosen. Neither the number of
        devices nor workers change a bit; workers need `out`.
      out: the folder of all results, in which the sweep's own is named by its config's hash. There finished chunks are
        kept and found again; None keeps nothing.

    Returns:
      The sweep. Processes that make the same call with one `out` share the work: each takes a chunk that no other one
      has, also those of one that died, and all wait for the last chunk.

    Raises:
      InputError: a wrong argument, a folder that holds something else or cannot be written, a full disk, or workers to
        which the problem or a rule cannot be sent. What is finished stays.

    Example:
      >>> from jaxopt_lab import objectives, rules, search
      >>> bowl = objectives.quadratic([1.0, 0.1], start=1.0)
      >>> found = search.sweep(bowl, rules.sgd, search.Space(learning_rate=search.log_uniform(0.1, 10.0)),
      ...                      num_trials=400, num_seeds=1, steps=40, sampler="grid")
      >>> f"{found.best()['hyperparameters']['learning_rate']:.1f}"  # the best rate is near 2 / (1 + 0.1)
      '1.8'
    """
    execution = execution or training.Execution()
    given = {
        "problem": problem, "rule": rule, "space": space, "num_trials": num_trials, "num_seeds": num_seeds,
        "steps": steps, "batch_size": batch_size, "sampler": sampler, "seed": seed, "objective": objective,
    }  # fmt: skip
    plan = plan_sweep(**given, execution=execution)
    folder = None if out is None else Path(out) / plan.folder_name
    sent = given | {"execution": execution.of_worker()}
    return run_sweep(plan, folder, workers=team("sweep", execution, folder, take_part, {"given": sent}))


def take_part(folder: Path, given: Mapping[str, Any]) -> None:
    """What a worker of a sweep does.

    Args:
      folder: the sweep's own.
      given: the arguments of `plan_sweep`.

    Raises:
      InputError: as in `sweep`; the folder is of another one when this process makes another problem of its name.
    """
    run_sweep(plan_sweep(**given), folder)


def run_sweep(
    plan: SweepPlan, folder: str | os.PathLike[str] | None = None, argv: tuple[str, ...] = (),
    workers: Workers | None = None, *, wait: bool = True,
) -> Sweep:  # fmt: skip
    """Carries a plan out.

    Args:
      plan: from `plan_sweep`.
      folder: the sweep's own folder, whatever its name; None keeps nothing.
      argv: the words of a command line that redo it, for the record.
      workers: who carries it out, each by `run_sweep` with the same plan and folder; None: this process.
      wait: whether to wait for chunks that other processes compute, and to compute those of the ones that die.

    Returns:
      The sweep.

    Raises:
      InputError: as in `sweep`.
    """
    log = plan.execution.log or _silent
    store = None if folder is None else SweepStore(Path(folder), plan.config)
    log(str(plan).splitlines()[0])
    for name, entry in plan.config["rules"].items():
        if not is_reusable(entry["fingerprint"]):
            log(f"{name} is {entry['fingerprint']}: nothing that is kept will be used again")
    if store is None:
        return _run(*_chosen(Runner(plan), None), None, wait)
    with store.settling():
        runner, first = _chosen(Runner(plan), store)
        mine = (runner.plan.loop, runner.plan.width)
        plan = as_settled(runner.plan, store.settle(record_of(runner.plan, argv)), log)
    log(f"Kept in {store.folder}")
    if workers is not None:
        _watch(plan, store, workers, log)
    return _run(runner.following(plan), first if (plan.loop, plan.width) == mine else None, store, wait)


def _chosen(runner: Runner, store: SweepStore | None) -> tuple[Runner, Timing | None]:
    """The runner with the cheapest K of a few, where that is open and worth it, and how long a round takes."""
    kept_or_told = store is not None or runner.plan.execution.log is not None
    if not runner.plan.alternatives() or not kept_or_told or (store is not None and store.begun):
        return runner, None
    return with_timed_width(runner, timed(runner, rounds_of(runner.plan, runner.plan.chunks())[0]))


def _watch(plan: SweepPlan, store: SweepStore, workers: Workers, log: Log) -> None:
    """Lets others carry the plan out, and tells how far they are."""
    number, told = len(plan.chunks()), -1
    if number < workers.count:
        log(f"{number} chunks leave {workers.count - number} of {workers.count} workers idle: a smaller K makes more")

    def look() -> None:
        nonlocal told
        if store.num_stored != told:
            told = store.num_stored
            log(f"chunk {told}/{number} by {workers.count} workers")

    workers.work(log, look)


def _run(runner: Runner, first: Timing | None, store: SweepStore | None, wait: bool) -> Sweep:
    """Finds what is stored, computes what no other worker computes, keeps it, and tells how the work ended."""
    plan, log = runner.plan, runner.plan.execution.log or _silent
    for line in str(plan).splitlines()[1:]:
        log(line)
    began, cpu = time.perf_counter(), time.process_time()
    table = Table(from_json(to_json(plan.config)), settled_by(plan))
    waiting = [chunk for chunk in table.chunks if not _found(store, chunk, table, log)]
    if len(waiting) < len(table.chunks):
        log(f"{len(table.chunks) - len(waiting)} of {len(table.chunks)} chunks are already there")
    rounds = rounds_of(plan, waiting)
    if rounds and (store is not None or log is not _silent):
        first = first or timed(runner, rounds[0])
        _log_estimate(first, len(rounds), log)
    if store is None:
        _compute(runner, rounds, None, first, table, waiting)
        return table.sweep(_facts(plan, began, cpu), None)
    ended, mine = "stopped", []
    with store.claims() as claims:
        take_in = partial(_found, store, table=table, log=log)
        try:
            free = claimed_rounds(plan, waiting, store, claims, take_in, plan.execution.log, wait=wait)
            _compute(runner, free, store, first, table, waiting, mine)
            ended = "done"
        finally:
            for chunk in waiting if ended == "stopped" else ():
                _ = chunk in mine or take_in(chunk)
            found = table.sweep(_facts(plan, began, cpu), store.folder)
            with contextlib.nullcontext() if ended == "done" else contextlib.suppress(InputError):
                _finish(store, found, ended, _session(found.facts, claims.worker, mine))
    return found


def _compute(
    runner: Runner, rounds: Iterable[Round], store: SweepStore | None, first: Timing | None, table: Table,
    waiting: list[Chunk], mine: list[Chunk] | None = None,
) -> None:  # fmt: skip
    """The loop over rounds; `mine` gets the chunks."""
    log, started = runner.plan.execution.log or _silent, time.perf_counter()
    for each in rounds:
        place = _kept_midway(store, each, first)
        for chunk, arrays in zip(each.chunks, _arrays(runner, each, place, log), strict=True):
            if store is not None:
                store.write(chunk.number, arrays)
            table.put(chunk, arrays)
            if mine is not None:
                mine.append(chunk)
        if place is not None:
            remove_folder(place)
        _log_progress(table, waiting, time.perf_counter() - started, log)


def _finish(store: SweepStore, found: Sweep, ended: str, session: dict[str, Any]) -> None:
    """Keeps the table and how the work ended; the checkpoints of a finished sweep are not needed any more."""
    if found.complete:
        remove_folder(store.folder / "checkpoints")
    status = "done" if found.complete else ("running" if ended == "done" else "stopped")
    store.finish(found.table(), {"status": status, "facts": found.facts}, session)


def _silent(line: str) -> None:
    """Takes a line and does nothing."""


def _found(store: SweepStore | None, chunk: Chunk, table: Table, log: Log) -> bool:
    """Takes in a stored chunk; one that is damaged or of something else is set aside, and computed again."""
    arrays = None if store is None else store.read_or_set_aside(chunk.number, table.like(chunk), log)
    if arrays is not None:
        table.put(chunk, arrays)
    return arrays is not None


def _arrays(runner: Runner, each: Round, place: Path | None, log: Log) -> list[dict[str, np.ndarray]]:
    """What is kept of a round; checkpoints of its own that cannot be used are set aside."""
    try:
        return runner.arrays(each, folder=place)
    except HeldError:  # who began it slept so long that it was taken for dead, and is awake again
        return runner.arrays(each)
    except InputError as error:
        if place is None or files.is_free(place):
            raise
        log(f"{error} They are kept as {files.set_aside(place).name}, and computed again.")
        return runner.arrays(each, folder=place)


def _kept_midway(store: SweepStore | None, each: Round, first: Timing | None) -> Path | None:
    """Where a long round keeps checkpoints of its own."""
    long = first is not None and first.round_seconds > _LONG_ROUND_SECONDS
    return store.folder / "checkpoints" / f"seg-{each.name}" if store is not None and long else None


def _log_estimate(first: Timing, rounds: int, log: Log) -> None:
    time_left = format_duration(first.round_seconds * rounds)
    log(f"about {time_left} without compilation, from a short segment")


def _log_progress(table: Table, waiting: list[Chunk], seconds: float, log: Log) -> None:
    """The best so far with its interval, how many are alive and diverged, and the time left."""
    if log is _silent:
        return
    status = np.concatenate(table.status)
    ran = status != NOT_RUN
    good = int((status == Status.COMPLETED).sum())
    done, total = sum(map(table.has, waiting)), len(waiting)
    left = format_duration(seconds / done * (total - done))
    line = f"chunk {done}/{total}: {int(ran.sum())} runs, {good} alive, {int(ran.sum()) - good} infeasible, {left} left"
    found = table.sweep({})
    if any(each.finished.any() for each in found.trials.values()):
        best = found.best()
        low, high = best["interval"]
        line += f"; best {best['median']:.5g} [{low:.4g}, {high:.4g}] {best['rule']}: {settings_of(best)}"
    log(line)


def _facts(plan: SweepPlan, began: float, cpu: float) -> dict[str, Any]:
    return {
        "loop": plan.loop, "width": plan.width, "chunks": len(plan.chunks()), "runs": plan.num_runs,
        "device": jax.devices()[0].device_kind, "devices": plan.devices,
        "wall_seconds": round(time.perf_counter() - began, 3), "cpu_seconds": round(time.process_time() - cpu, 3),
    }  # fmt: skip


def _session(facts: Mapping[str, Any], worker: str, mine: list[Chunk]) -> dict[str, Any]:
    kept = {name: facts[name] for name in ("devices", "wall_seconds", "cpu_seconds")}
    return {"worker": worker, "chunks": len(mine), **kept}
