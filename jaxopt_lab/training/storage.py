"""What a run keeps on disk: metrics by segment, and the last complete state; and what makes two runs the same run.

folder/run.json              the run's identity, for people and for the check
folder/curves/seg-00000.npz  the metrics of one segment
folder/checkpoint.npz        the state after the last stored segment
folder/locks/running         held by the process that runs it
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import InputError, Problem, fail, meshes
from jaxopt_lab.core.problem import as_partial
from jaxopt_lab.curvature.products import output_functions
from jaxopt_lab.storage import archives, files
from jaxopt_lab.storage.fingerprints import fingerprint, is_reusable, program_of
from jaxopt_lab.storage.locks import locked
from jaxopt_lab.training.evaluation import evaluation_of
from jaxopt_lab.training.feasibility import Feasibility
from jaxopt_lab.training.groups import Group, assemble, first_lanes, stacked_lanes
from jaxopt_lab.training.planning import Plan
from jaxopt_lab.training.probes import Probe
from jaxopt_lab.training.progress import warn
from jaxopt_lab.training.steps import Inputs, Lane, Program, measure, step

RECORD = "run.json"
_REMEDY = "Remove the run's folder to begin anew, or name another one."


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """Where the runs of a study keep their checkpoints, each in a folder that its caller names.

    What lies there may be of an earlier version of the study: a folder that holds another run, or is damaged, is set
    aside, and the run begins anew.

    Attributes:
      folder: the folder of all of them, or, given to `run`, of one; None keeps nothing.
      log: gets a line where something is set aside; by default Python's `logging` does.

    Example:
      >>> Checkpoints(pathlib.Path("checkpoints")).of("kappa = 10").folder.name
      'kappa-10'
      >>> Checkpoints().of("kappa = 10").folder is None
      True
    """

    folder: pathlib.Path | None = None
    log: Callable[[str], None] = warn

    def of(self, name: str) -> "Checkpoints":
        """The place of one run; no other run of the study may have its name."""
        return Checkpoints(None if self.folder is None else self.folder / files.file_name(name), self.log)


class RunStore:
    """The folder of one run.

    Args:
      folder: where.
      identity: which run it may hold.

    Raises:
      InputError: the folder holds something else, or cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], identity: dict[str, str]) -> None:
        self.folder, self.identity = pathlib.Path(folder), identity
        self.checkpoint = self.folder / "checkpoint.npz"
        self._whose = {"run": fingerprint(identity)}
        self._pending: list[tuple[int, dict[str, np.ndarray]]] = []
        self._check()
        files.require_writable(self.folder / "curves")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Holds the run's lock, and writes the record of a run that begins.

        Raises:
          InputError: another process runs it, or began another run there.
        """
        with locked(self.folder / "locks" / "running", f"the run in {self.folder}"):
            self._check()
            files.remove_torn(self.folder)
            if not (self.folder / RECORD).exists():
                files.write_json(self.folder / RECORD, self.identity)
            yield

    def is_due(self, is_late: bool) -> bool:
        """Whether to save now, where so much time has passed or not."""
        return is_late

    def restore(
        self, program: Program, groups: list[Group], log: Callable[[str], None] | None = None
    ) -> tuple[list[Group], int, list[dict[str, np.ndarray]]]:
        """The groups, the number of finished segments and their metrics; the given groups if nothing is stored.

        Args:
          program: what is fixed at compile time.
          groups: those at step 0.
          log: gets a sentence where a damaged file is set aside and the run begins anew; None: that is an error.

        Raises:
          InputError: a file is damaged or of another run, and there is no `log`.
        """
        if not self.checkpoint.exists():
            return groups, 0, []
        try:
            return self._stored(program, groups, self.checkpoint)
        except InputError as error:
            if log is None:
                raise
            log(f"{error} The run begins anew.")
            files.set_aside(self.checkpoint)
            return groups, 0, []

    def _stored(
        self, program: Program, groups: list[Group], path: pathlib.Path
    ) -> tuple[list[Group], int, list[dict[str, np.ndarray]]]:
        """What a checkpoint holds, with the metrics of the segments before it."""
        facts = archives.load_facts(path, "the checkpoint of a run", _REMEDY)
        like = (groups[0].members, stacked_lanes(groups[0]), groups[0].hyperparameters)
        with files.reading(path, "the checkpoint of a run", _REMEDY):
            packed, segments = [like] * facts["num_groups"], range(facts["segments"])
            names = dict.fromkeys(facts["metrics"], 0)
            parts = archives.load(
                path, meshes.local_parts(packed), self._whose, what="the checkpoint of a run", remedy=_REMEDY
            )
            stored = meshes.from_local_parts(parts, packed)
        owned = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True) if isinstance(leaf, np.ndarray) else leaf, stored)
        restored = [assemble(program, np.asarray(members), *rest) for members, *rest in owned]
        finished = [
            archives.load(
                self._segment(k), names, self._whose | {"segment": k}, what="the curves of a run", remedy=_REMEDY
            )
            for k in segments
        ]
        return restored, len(segments), finished

    def add(self, segment: int, metrics: dict[str, np.ndarray]) -> None:
        """Remembers the metrics of one segment until the next `save`."""
        self._pending.append((segment, metrics))

    def save(self, groups: list[Group], segments: int) -> None:
        """Writes the remembered metrics, then the state after `segments` segments."""
        names = sorted(self._pending[-1][1]) if self._pending else []
        for segment, metrics in self._pending:
            archives.save(self._segment(segment), dict(sorted(metrics.items())), self._whose | {"segment": segment})
        self._pending.clear()
        tree = [(group.members, stacked_lanes(group), group.hyperparameters) for group in groups]
        facts = {"segments": segments, "num_groups": len(groups), "metrics": names}
        archives.save(self._next(), meshes.local_parts(tree), facts | self._whose)

    def _next(self) -> pathlib.Path:
        """Where the next checkpoint goes."""
        return self.checkpoint

    def _segment(self, number: int) -> pathlib.Path:
        return self.folder / "curves" / f"seg-{number:05d}.npz"

    def _check(self) -> None:
        """Raises InputError unless the folder is free or holds this run."""
        files.require_folders(self.folder)
        record = self.folder / RECORD
        if record.exists():
            self._require_same(files.read_json(record, "the record of a run", _REMEDY))
        elif not files.is_free(self.folder):
            raise fail(
                str(self.folder), "the folder is not empty and holds no run of jaxopt_lab", "Name another folder."
            )

    def _require_same(self, found: Any) -> None:
        with files.reading(self.folder / RECORD, "the record of a run", _REMEDY):
            different = sorted(name for name in {*found, *self.identity} if found.get(name) != self.identity.get(name))
        if different:
            unseen = [text for text in self.identity.values() if not is_reusable(text)]
            reason = f" and what is {unseen[0]} is never known to be the same" if unseen else ""
            raise fail(
                str(self.folder), f"the folder holds another run: it differs in {', '.join(different)}{reason}",
                "Name another folder, or remove this one.",
            )  # fmt: skip


def inputs_of(problem: Problem, program: Program) -> Inputs:
    """What the compiled program takes besides the lanes: loss, data, and what the probes need."""
    truth = problem.truth if program.needs("truth") else None
    carried = problem.stateful
    stateful = None if carried is None else as_partial(carried.loss)
    expected = None if carried is None or carried.expected is None else as_partial(carried.expected)
    evaluation = evaluation_of(problem) if program.needs("evaluation") else None
    composite = None if problem.composite is None else output_functions(problem.composite)
    return Inputs(as_partial(problem.loss), problem.data, truth, stateful, evaluation, composite, expected)


def identity(plan: Plan, problem: Problem, inputs: Inputs, group: Group, limits: Feasibility) -> dict[str, str]:
    """What makes two runs the same: a digest for each thing that can change a bit of the result."""
    program, lanes = plan.program, stacked_lanes(group)
    lane, hyper = jax.tree.map(lambda leaf: leaf[0], (lanes, group.hyperparameters))
    return {
        "problem": problem.name,
        "program": _programs(program, problem, inputs, lane, hyper),
        "probes": ", ".join(probe.name for probe in program.probes),
        "loop": program.loop,
        "width": str(plan.width),
        "batch_size": str(program.batch_size) if plan.batches is None else f"{plan.batches.batch_size}, of the data",
        "records": fingerprint(plan.counts),
        "seeds": fingerprint(plan.seeds),
        "hyperparameters": fingerprint(plan.hyperparameters),
        "data": fingerprint(*jax.tree.leaves((inputs, problem.separable and problem.separable.constants))),
        "start": fingerprint(*jax.tree.leaves(lanes)),
        "limits": f"blow_up {limits.blow_up:g}, baseline {limits.baseline}",
        "versions": f"jax {jax.__version__}",
    }


def rule_fingerprint(
    problem: Problem, factory: Any, hyperparameters: dict[str, Any], probes: tuple[Probe, ...], batch_size: int | None
) -> str:
    """What tells a rule on a problem from others: the engine's own step and records, extra inputs and all.

    Args:
      problem: what is minimized.
      factory: hyperparameters -> rule.
      hyperparameters: name -> number; traced, so that their values do not matter.
      probes: what is recorded.
      batch_size: examples a step, or None.

    Returns:
      The fingerprint. Nothing is computed.

    Raises:
      InputError: the rule does not take these hyperparameters, or its step cannot be traced.
    """
    program, name = Program(factory, probes, batch_size, "vmap"), str(getattr(factory, "__name__", factory))
    inputs = inputs_of(problem, program)

    def start(key: jax.Array, values: dict[str, jax.Array]) -> Lane:
        params, hyper = jax.tree.map(lambda leaf: leaf[None], (problem.init(key), values))
        lanes = first_lanes(program, problem, params, np.zeros(1, int), hyper)
        return jax.tree.map(lambda leaf: leaf[0], lanes)

    real = jnp.zeros((), float).dtype
    values = {name: np.asarray(value) for name, value in hyperparameters.items()}
    hyper = {name: value.astype(real) if value.dtype.kind == "f" else value for name, value in values.items()}
    try:
        begun = program_of(start, jax.random.key(0), hyper)
        lane = jax.eval_shape(start, jax.random.key(0), hyper)
        digits = _programs(program, problem, inputs, lane, hyper, begun)
    except InputError:
        raise
    except Exception as error:
        given = f"the hyperparameters {', '.join(hyper)}" if hyper else "no hyperparameters"
        if isinstance(error, TypeError) and "argument" in str(error):
            raise fail(name, f"does not take {given} ({error})", "Name them as it does.") from error
        raise fail(
            name, f"cannot take a step on {problem.name} with {given} ({type(error).__name__}: {error})",
            "Fix what is no number, or must not be traced, with functools.partial.",
        ) from error  # fmt: skip
    return digits if not is_reusable(digits) else fingerprint(digits, *jax.tree.leaves(inputs))


def _programs(
    program: Program, problem: Problem, inputs: Inputs, lane: Lane, hyper: dict[str, Any], *further: Any
) -> str:
    """The fingerprint of one step, one record and further programs; for a separable loss also of its chunkable form."""
    time = jnp.zeros((), jnp.int32)
    after = jax.eval_shape(partial(step, program), inputs, hyper, lane, time)
    programs = [
        *further,
        program_of(partial(step, program), inputs, hyper, lane, time),
        program_of(partial(measure, program), inputs, after),
    ]
    if program.loop == "chunks" and problem.separable is not None:
        programs.append(program_of(problem.separable.loss, lane.params, problem.separable.constants))
    return fingerprint(programs)
