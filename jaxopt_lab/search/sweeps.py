"""`sweep`: many trials of one or many rules, each with several seeds, as one compiled program a rule, on all devices.

The points are chosen before the first run, by a grid, at random, or quasi-randomly, so that the comparison is not led
by its own noise. What is finished is kept chunk by chunk: after a kill the same call continues, and the result is bit
for bit that of an unbroken sweep.
"""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxopt_lab import training
from jaxopt_lab.core import InputError, Problem, Status, fail
from jaxopt_lab.reporting.numbers import format_duration
from jaxopt_lab.search.plans import Chunk, Rule, SweepPlan, plan_sweep
from jaxopt_lab.search.results import Sweep, Table
from jaxopt_lab.search.runner import Round, Runner, Timing, rounds_of, timed, with_timed_width
from jaxopt_lab.search.spaces import Space
from jaxopt_lab.search.store import SweepStore
from jaxopt_lab.search.trials import NOT_RUN, Objective, settings_of
from jaxopt_lab.storage import files
from jaxopt_lab.storage.encoding import from_json, to_json
from jaxopt_lab.storage.fingerprints import is_reusable
from jaxopt_lab.storage.folder import environment, remove_folder

Log = Callable[[str], None]
_LONG_ROUND_SECONDS = 60.0


def sweep(
    problem: Problem,
    rule: Rule | Mapping[str, tuple[Rule, Space]],
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
      problem: what to minimize.
      rule: a factory, hyperparameters -> rule; or name -> (factory, space) for many rules in one study.
      space: what is searched, for a single rule.
      num_trials: trials of each rule; a grid may take fewer.
      num_seeds: seeds of each trial, the same for all: seed, seed + 1, ... give initialization and data order.
      steps: steps of each run.
      batch_size: examples a step, or None for all.
      sampler: "random", "sobol", "halton" or "grid".
      seed: of the sampler, and the first of the seeds.
      objective: what is compared, by its name: "loss", "validation_loss", "validation_accuracy", ...; or an `Objective`
        that also says when a loss is infeasible, and how often it is recorded.
      execution: loop, K, devices, shard and log; what it leaves open is chosen. The number of devices changes no bit.
      out: the folder of all results, in which the sweep's own is named by its config's hash. There finished chunks are
        kept and found again; None keeps nothing.

    Returns:
      The sweep; the runs of other shards that are not finished are missing in it.

    Raises:
      InputError: a wrong argument, a folder that holds something else or cannot be written, a full disk, or a shard
        that another process works on. What is finished stays.

    Example:
      >>> from jaxopt_lab import objectives, rules, search
      >>> bowl = objectives.quadratic([1.0, 0.1], start=1.0)
      >>> found = search.sweep(bowl, rules.sgd, search.Space(learning_rate=search.log_uniform(0.1, 10.0)),
      ...                      num_trials=400, num_seeds=1, steps=40, sampler="grid")
      >>> f"{found.best()['hyperparameters']['learning_rate']:.1f}"  # the best rate is near 2 / (1 + 0.1)
      '1.8'
    """
    plan = plan_sweep(
        problem, rule, space, num_trials=num_trials, num_seeds=num_seeds, steps=steps, batch_size=batch_size,
        sampler=sampler, seed=seed, objective=objective, execution=execution or training.Execution(),
    )  # fmt: skip
    return run_sweep(plan, None if out is None else Path(out) / plan.folder_name)


def run_sweep(
    plan: SweepPlan, folder: str | os.PathLike[str] | None = None, argv: tuple[str, ...] = ()
) -> Sweep:  # fmt: skip
    """Carries a plan out.

    Args:
      plan: from `plan_sweep`.
      folder: the sweep's own folder, whatever its name; None keeps nothing.
      argv: the words of a command line that redo it, for the record.

    Returns:
      The sweep.

    Raises:
      InputError: as in `sweep`.
    """
    execution, log = plan.execution, plan.execution.log or _silent
    if folder is None and execution.shard[1] > 1:
        raise fail("sweep", "shards need a folder that they share", "Give out=...")
    store = None if folder is None else SweepStore(Path(folder), plan.config)
    log(str(plan).splitlines()[0])
    for name, entry in plan.config["rules"].items():
        if not is_reusable(entry["fingerprint"]):
            log(f"{name} is {entry['fingerprint']}: nothing that is kept will be used again")
    runner, first = Runner(plan), None
    if plan.alternatives() and (store is not None or log is not _silent) and not (store and store.begun):
        first = timed(runner, rounds_of(plan, plan.chunks())[0])
        runner, first = with_timed_width(runner, first)
    if store is None:
        return _run(runner, None, first)
    mine = (runner.plan.loop, runner.plan.width)
    plan = _as_settled(runner.plan, store.settle(_record(runner.plan, argv)), log)
    log(f"Kept in {store.folder}")
    with store.shard(*execution.shard):
        return _run(runner.following(plan), store, first if (plan.loop, plan.width) == mine else None)


def _run(runner: Runner, store: SweepStore | None, first: Timing | None) -> Sweep:
    """The loop over rounds: find what is stored, compute the rest of this shard, keep it, log."""
    plan = runner.plan
    shard, log = plan.execution.shard, plan.execution.log or _silent
    for line in str(plan).splitlines()[1:]:
        log(line)
    began, cpu = time.perf_counter(), time.process_time()
    settled = _settled(plan)
    table = Table(from_json(to_json(plan.config)), settled)
    waiting = [chunk for chunk in table.chunks if not _found(store, chunk, table, log)]
    mine = [chunk for chunk in waiting if chunk.number // len(plan.seeds) % shard[1] == shard[0]]
    if len(waiting) < len(table.chunks):
        log(f"{len(table.chunks) - len(waiting)} of {len(table.chunks)} chunks are already there")
    rounds = rounds_of(plan, mine)
    if rounds and (store is not None or log is not _silent):
        first = first or timed(runner, rounds[0])
        _log_estimate(first, len(rounds), log)
    ended, done = "stopped", 0
    try:
        started = time.perf_counter()
        for each in rounds:
            place = _kept_midway(store, each, first)
            for chunk, arrays in zip(each.chunks, _arrays(runner, each, place, log), strict=True):
                if store is not None:
                    store.write(chunk.number, arrays)
                table.put(chunk, arrays)
                done += 1
            if place is not None:
                remove_folder(place)
            _log_progress(table, done, len(mine), time.perf_counter() - started, log)
        ended = "done"
    finally:
        for chunk in waiting:
            if chunk not in mine:
                _found(store, chunk, table, log)
        found = table.sweep(_facts(plan, began, cpu), None if store is None else store.folder)
        if store is not None:
            with contextlib.nullcontext() if ended == "done" else contextlib.suppress(InputError):
                _finish(store, found, ended, _session(found.facts, shard, mine))
    return found


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
    if store is None:
        return False
    try:
        arrays = store.read(chunk.number, table.like(chunk))
    except InputError as error:
        log(f"{error} It is kept as {store.set_aside(chunk.number).name}, and computed again.")
        return False
    if arrays is not None:
        table.put(chunk, arrays)
    return arrays is not None


def _arrays(runner: Runner, each: Round, place: Path | None, log: Log) -> list[dict[str, np.ndarray]]:
    """What is kept of a round; checkpoints of its own that cannot be used are set aside."""
    try:
        return runner.arrays(each, folder=place)
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


def _log_progress(table: Table, done: int, total: int, seconds: float, log: Log) -> None:
    """The best so far with its interval, how many are alive and diverged, and the time left."""
    if log is _silent:
        return
    status = np.concatenate(table.status)
    ran = status != NOT_RUN
    good = int((status == Status.COMPLETED).sum())
    left = format_duration(seconds / done * (total - done))
    line = f"chunk {done}/{total}: {int(ran.sum())} runs, {good} alive, {int(ran.sum()) - good} infeasible, {left} left"
    found = table.sweep({})
    if any(each.finished.any() for each in found.trials.values()):
        best = found.best()
        low, high = best["interval"]
        line += f"; best {best['median']:.5g} [{low:.4g}, {high:.4g}] {best['rule']}: {settings_of(best)}"
    log(line)


def _settled(plan: SweepPlan) -> dict[str, Any]:
    """What the first process decides for all of them."""
    return {
        "width": plan.width, "loop": plan.loop, "timed": [list(entry) for entry in plan.timed],
        "probes": [probe.name for probe in plan.probes],
        "chunks": [list(dataclasses.astuple(chunk)) for chunk in plan.chunks()],
        "columns": {arm.name: {name: column.tolist() for name, column in arm.columns.items()} for arm in plan.arms},
    }  # fmt: skip


def _record(plan: SweepPlan, argv: tuple[str, ...]) -> dict[str, Any]:
    return {
        "study": f"sweep {plan.problem.name}", "status": "running", "config": plan.config, "settled": _settled(plan),
        "argv": list(argv), "facts": {}, "sessions": [], **environment(),
    }  # fmt: skip


def _as_settled(plan: SweepPlan, standing: Mapping[str, Any], log: Log) -> SweepPlan:
    """The plan with the K and the loop that the folder's first process settled."""
    here = to_json(environment())
    if standing["versions"] != here["versions"]:
        log(f"The folder was begun with other versions: {standing['versions']}; last bits may differ.")
    if standing["device"]["kind"] != here["device"]["kind"]:
        log(f"The folder was begun on another device: {standing['device']['kind']}; last bits may differ.")
    settled = standing["settled"]
    tried = tuple(tuple(entry) for entry in settled.get("timed", ()))
    return plan.with_pair(settled["loop"], settled["width"], tried)


def _facts(plan: SweepPlan, began: float, cpu: float) -> dict[str, Any]:
    return {
        "loop": plan.loop, "width": plan.width, "chunks": len(plan.chunks()), "runs": plan.num_runs,
        "device": jax.devices()[0].device_kind, "devices": plan.devices,
        "wall_seconds": round(time.perf_counter() - began, 3), "cpu_seconds": round(time.process_time() - cpu, 3),
    }  # fmt: skip


def _session(facts: Mapping[str, Any], shard: tuple[int, int], mine: list[Chunk]) -> dict[str, Any]:
    kept = {name: facts[name] for name in ("devices", "wall_seconds", "cpu_seconds")}
    return {"shard": f"{shard[0]}/{shard[1]}", "chunks": len(mine), **kept}
