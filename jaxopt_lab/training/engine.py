"""`run`: one compiled program under a thin Python loop takes N configurations of a rule over a problem.

    configurations -> groups of K side by side -> segments of records -> metrics, checkpoints, divergence -> Trace

The length of a segment never changes a bit of the result. The width K can, in the last bits, and so it is a recorded
part of an experiment; short groups are padded to it. Diverged configurations are packed away between segments, not
masked.
"""

import contextlib
import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxopt_lab.core import Problem, Status, meshes
from jaxopt_lab.training import groups, storage
from jaxopt_lab.training.baselines import loss_reach
from jaxopt_lab.training.execution import Execution
from jaxopt_lab.training.failures import explain
from jaxopt_lab.training.feasibility import Feasibility
from jaxopt_lab.training.feeding import Feed, feeding_of
from jaxopt_lab.training.planning import Plan, Rule, plan_run
from jaxopt_lab.training.probes import Probe
from jaxopt_lab.training.progress import progress_bar
from jaxopt_lab.training.shared_storage import open_store
from jaxopt_lab.training.steps import Inputs
from jaxopt_lab.training.trace import Trace


def run(
    problem: Problem,
    rule: Rule,
    hyperparameters: Mapping[str, Any] | None = None,
    *,
    steps: int,
    seeds: int | Sequence[int] | np.ndarray = 0,
    probes: Sequence[Probe] = (),
    every: int = 1,
    batch_size: int | None = None,
    params: Any = None,
    feasibility: Feasibility | None = None,
    execution: Execution | None = None,
    folder: str | os.PathLike[str] | storage.Checkpoints | None = None,
) -> Trace:
    """Runs N configurations of a rule over a problem, N the common length of hyperparameters and seeds.

    Args:
      problem: what to minimize. Of data in batches each step takes the next one, pass after pass, read while the device
        is busy; what is recorded is of a fixed sample of the data, as `facts["data"]` tells.
      rule: a factory, hyperparameters -> rule, or a finished `optax.GradientTransformation`. One that draws random
        numbers keeps a key of its own, which `seeds` do not reach: give it as a hyperparameter where it is to differ.
      hyperparameters: name -> number or array [N], given to the factory as traced values.
      steps: number of steps of each configuration, >= 0.
      seeds: seed, or seeds [N]; equal seeds give equal initialization and data order.
      probes: what to record; the loss if nothing is given.
      every: steps between records; the start and the end are always recorded.
      batch_size: examples a step, drawn without replacement within an epoch; None for all. Of data in batches theirs.
      params: start here instead of at `problem.init`; a pytree without the axis N.
      feasibility: when a configuration counts as diverged.
      execution: loop, width K, segments, devices, checkpoints' times, progress bar; what it leaves open is chosen.
      folder: the run's own folder, in which checkpoints are kept and from which it resumes; None keeps nothing. A
        folder of `Checkpoints` that holds another run is set aside; any other is refused.

    Returns:
      The trace.

    Raises:
      InputError: an argument is wrong, the run does not fit in memory, or the folder holds another run.

    Example:
      >>> from jaxopt_lab import objectives, rules, training
      >>> problem = objectives.quadratic([1.0, 0.1], start=1.0)
      >>> trace = training.run(problem, rules.sgd, {"learning_rate": [1.0, 0.5]}, steps=10)
      >>> [f"{loss:.6f}" for loss in trace["loss"][:, -1]]
      ['0.006079', '0.017925']
    """
    execution = execution or Execution()
    problem, batches, drawn = feeding_of("run", problem, batch_size)
    plan = plan_run(
        problem, rule, hyperparameters or {}, steps=steps, seeds=seeds, probes=probes, every=every, params=params,
        batch_size=None if batches else batch_size, execution=execution, batches=batches,
    )  # fmt: skip
    limits = feasibility or Feasibility()
    inputs = groups.on_every_device(plan.program, storage.inputs_of(problem, plan.program))
    try:
        given = (groups.make_starts(problem, plan.seeds, params), inputs)
        starts, inputs = _compilers_choice(*given)
        packed = groups.make_groups(plan.program, problem, plan.hyperparameters, plan.seeds, plan.group_size, starts)
        place, log = (folder.folder, folder.log) if isinstance(folder, storage.Checkpoints) else (folder, None)
        store = None
        if place:
            which = storage.identity(plan, problem, inputs, packed[0], limits)
            store = open_store(place, which, log, is_shared=meshes.is_shared((packed[0].lanes, inputs)))
        with store.held() if store else contextlib.nullcontext():
            stored = store.restore(plan.program, packed, log) if store else (packed, 0, [])
            packed, metrics, status, facts = _travel(plan, problem, inputs, stored, limits, store, execution)
    except Exception as error:
        explain(error, plan, problem, inputs, params)
        raise
    alive = status == Status.RUNNING
    if alive.any() and "loss" in metrics:
        status[alive] = [limits.at_end(loss) for loss in metrics["loss"][alive, -1]]
    status[status == Status.RUNNING] = Status.COMPLETED
    ended = tuple(Status(code) for code in status)
    facts |= {"data": drawn} if drawn else {}
    kept = _final(packed, alive, given) if execution.keep_final else (None, None, None)
    return Trace(plan.steps, metrics, *kept[:2], ended, plan.hyperparameters, plan.seeds, facts, kept[2])


def _final(packed: list[groups.Group], alive: np.ndarray, given: Any) -> tuple[Any, Any, Any]:
    """Parameters, states of the rule and states of the model at the end, on the axes of what was given."""
    final = groups.gather(packed, alive)
    params, state = meshes.as_before((final.params, final.state), given)
    return params, state, final.model_state


def _compilers_choice(starts: tuple[Any, np.ndarray], inputs: Inputs) -> tuple[tuple[Any, np.ndarray], Inputs]:
    """Start and inputs on axes where the compiler chooses how results are sharded, unless the loss says so itself."""
    if meshes.replicated(starts, inputs) is None:
        return starts, inputs
    moved = meshes.on_auto_axes((starts, inputs))
    first = jax.tree.map(lambda leaf: leaf[0], moved[0][0])
    try:
        jax.eval_shape(moved[1].loss, first, moved[1].data, jax.random.key(0))
    except Exception:
        return starts, inputs
    return moved


def _travel(
    plan: Plan, problem: Problem, inputs: Inputs, begun: tuple[list[groups.Group], int, list[dict[str, np.ndarray]]],
    limits: Feasibility, store: storage.RunStore | None, execution: Execution,
) -> tuple[list[groups.Group], dict[str, np.ndarray], np.ndarray, dict[str, Any]]:  # fmt: skip
    """The loop over segments: move, collect, retire what diverged, repack, save."""
    packed, first, stored = begun
    status = np.full(plan.num_configurations, Status.RUNNING)
    metrics: dict[str, np.ndarray] = {}
    for segment, values in enumerate(stored):
        _collect(plan, metrics, values, segment)
    reach = functools.cache(functools.partial(loss_reach, problem, int(plan.seeds[0])))
    _retire(metrics, status, limits, plan.records_before(first), reach)
    seconds, saved, done_before = [], time.monotonic(), plan.steps_before(first)
    with (
        progress_bar(problem.name, int(plan.steps[-1]), done_before, execution.progress) as show,
        contextlib.nullcontext() if plan.batches is None else Feed(plan.batches, done_before) as feed,
    ):
        fed = {} if feed is None else {"feed": feed}
        for segment in range(first, plan.num_segments):
            began = time.monotonic()
            values = {}
            for place, group in enumerate(packed):
                when = (plan.steps_before(segment), plan.counts[segment])
                packed[place], measured = groups.move(plan.program, problem.separable, inputs, group, *when, **fed)
                _scatter(plan, values, measured, group)
            for array in values.values():
                array[status != Status.RUNNING] = np.nan  # a diverged one goes on until its group is packed away
            _collect(plan, metrics, values, segment)
            _retire(metrics, status, limits, plan.records_before(segment + 1), reach)
            seconds.append(time.monotonic() - began)
            show(plan.steps_before(segment + 1))
            done = segment + 1 == plan.num_segments
            alive = status == Status.RUNNING
            if alive.any() and not done:
                packed = groups.repack(plan.program, packed, alive)
            if store:
                store.add(segment, values)
                late = done or not alive.any() or time.monotonic() - saved >= execution.checkpoint_seconds
                if store.is_due(late):
                    store.save(packed, segment + 1)
                    saved = time.monotonic()
            if not alive.any():
                break
    return packed, metrics, status, _facts(plan, first, seconds)


def _scatter(plan: Plan, values: dict[str, np.ndarray], measured: dict[str, np.ndarray], group: groups.Group) -> None:
    """Puts a group's metrics [K, R, ...] in the places of its members in `values` [N, R, ...]."""
    for name, array in measured.items():
        if name not in values:
            values[name] = np.full(
                (plan.num_configurations, *array.shape[1:]), np.nan, np.result_type(array, np.float32)
            )
        values[name][group.members[group.real]] = array[group.real]


def _collect(plan: Plan, metrics: dict[str, np.ndarray], values: dict[str, np.ndarray], segment: int) -> None:
    """Puts the metrics of one segment in their places in the whole run's [N, records, ...]."""
    low, high = plan.records_before(segment), plan.records_before(segment + 1)
    for name, array in values.items():
        if name not in metrics:
            shape = (plan.num_configurations, len(plan.steps), *array.shape[2:])
            metrics[name] = np.full(shape, np.nan, array.dtype)
        metrics[name][:, low:high] = array[:, : high - low]


def _retire(
    metrics: dict[str, np.ndarray], status: np.ndarray, limits: Feasibility, records: int, reach: Callable[[], float]
) -> None:
    """Marks configurations that diverged within the first `records` records; blanks what lies behind that record."""
    if "loss" not in metrics:
        return
    running = np.flatnonzero(status == Status.RUNNING)
    losses = metrics["loss"][running, :records]
    record, how = limits.first_failures(losses)
    if (how == Status.BLOWN_UP).any() and limits.baseline is None:
        record, how = limits.first_failures(losses, reach())
    status[running] = how
    for place in np.flatnonzero(record < records):
        for values in metrics.values():
            values[running[place], record[place] + 1 :] = np.nan


def _facts(plan: Plan, first: int, seconds: list[float]) -> dict[str, Any]:
    """How it ran; the speed is taken from the segments after the first, which may hold a compilation."""
    later = [plan.steps_before(k + 1) - plan.steps_before(k) for k in range(first + 1, first + len(seconds))]
    speed = sum(later) / sum(seconds[1:]) if len(seconds) > 1 and sum(seconds[1:]) else float("nan")
    return {
        "loop": plan.program.loop,
        "width": plan.width,
        "devices": plan.program.num_devices,
        "num_segments": plan.num_segments,
        "seconds": sum(seconds),
        "steps_per_second": speed,
    }
