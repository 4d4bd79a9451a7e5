"""Everything about a run that is settled before any compute is spent: checked arguments, records, width, loop."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab.core import Problem, fail, meshes, vectors
from jaxopt_lab.core.batches import Batches, require_batch_size
from jaxopt_lab.core.errors import LARGEST_COUNT, require_choice, require_count, require_memory
from jaxopt_lab.core.leaves import is_key, is_raw_key, require_trainable
from jaxopt_lab.core.losses import traced
from jaxopt_lab.core.memory import available_memory
from jaxopt_lab.rules import REGISTRY
from jaxopt_lab.training.devices import choose_devices, device_mesh
from jaxopt_lab.training.execution import Execution, choose_loop, choose_width, measure_workload
from jaxopt_lab.training.probes import Measured, Probe, loss
from jaxopt_lab.training.steps import Program

Rule = optax.GradientTransformation | Callable[..., optax.GradientTransformation]


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run, settled.

    Attributes:
      program: what is fixed at compile time.
      hyperparameters: name -> [N].
      seeds: [N].
      width: K, configurations side by side on each device.
      counts: steps before each record, by segment, int [segments, R]; the last segment is padded with zeros.
      steps: steps done at each record, int [records].
      batches: what steps take, where the data come in batches; then K is N, and the loop is "step".
    """

    program: Program
    hyperparameters: dict[str, np.ndarray]
    seeds: np.ndarray
    width: int
    counts: np.ndarray
    steps: np.ndarray
    batches: Batches | None = None

    @property
    def num_configurations(self) -> int:
        """N."""
        return len(self.seeds)

    @property
    def group_size(self) -> int:
        """Configurations that move at once, on all devices together."""
        return self.width * self.program.num_devices

    @property
    def num_segments(self) -> int:
        """Number of segments."""
        return len(self.counts)

    def steps_before(self, segment: int) -> int:
        """Steps done before the given segment."""
        return int(self.counts[:segment].sum())

    def records_before(self, segment: int) -> int:
        """Records made before the given segment, padding left out."""
        return min(segment * self.counts.shape[1], len(self.steps))


def plan_run(
    problem: Problem,
    rule: Rule,
    hyperparameters: Mapping[str, Any],
    *,
    steps: int,
    seeds: Any,
    probes: Sequence[Probe],
    every: int,
    params: Any,
    batch_size: int | None,
    execution: Execution,
    batches: Batches | None = None,
) -> Plan:
    """Checks the arguments of `run` and settles what they leave open."""
    probes = tuple(probes) or (loss(),)
    require_count("run", "steps", steps, minimum=0)
    require_count("run", "every", every)
    execution.require_alone("run")
    require_batch_size("run", batch_size, problem.name, problem.num_examples)
    _require_probes(problem, probes)
    hyper, seed_list = _configurations(hyperparameters, seeds)
    shapes = params
    if params is None:
        shapes = traced("run", f"the initialization of {problem.name}", problem.init, jax.random.key(0), names=("key",))
    require_trainable("run", shapes)
    shapes = jax.eval_shape(lambda tree: tree, shapes)
    fits = _fits_in_chunks(problem, probes, len(seed_list), shapes)
    _require_chunks(fits or execution.loop != "chunks")
    work = measure_workload(problem, batch_size, execution.loop, shapes)
    chosen = choose_loop(_loop(execution.loop, batches), work, in_chunks=fits and _is_coordinatewise(rule))
    devices = choose_devices("run", execution.devices, usual=1)
    mesh = device_mesh(devices) if chosen in ("vmap", "map") else None
    share = -(-len(seed_list) // (mesh.size if mesh else 1))
    asked = execution.width if batches is None else len(seed_list)
    wide = 1 if chosen == "chunks" else asked or choose_width(work, chosen, share)
    one_seed = execution.share_batches and chosen == "vmap" and _seeds_agree(seed_list, wide, mesh)
    program = Program(_factory(rule), probes, batch_size, chosen, one_seed, mesh)
    _require_room(program, shapes if params is None else _where(shapes, params), hyper, len(seed_list))
    counts = np.diff([0, *range(0, steps, every), steps]) if steps else np.zeros(1, int)
    return Plan(program, hyper, seed_list, wide, _by_segment(counts, execution.segments), np.cumsum(counts), batches)


def _loop(asked: str, batches: Batches | None) -> str:
    """The loop that was asked for; batches come from outside of compiled programs, one for each step."""
    if batches is None:
        return asked
    if asked not in ("auto", "step"):
        raise fail("run", f"data that come in batches need the loop 'step', got {asked!r}", "Leave it out.")
    return "step"


def _configurations(hyperparameters: Mapping[str, Any], seeds: Any) -> tuple[dict[str, np.ndarray], np.ndarray]:
    real = jnp.zeros((), float).dtype
    columns = {}
    for name, values in hyperparameters.items():
        column = np.asarray(values)
        if column.ndim > 1 or column.dtype.kind not in "fiub":
            raise fail(
                "run", f"hyperparameter {name} must be a number or an array [N], got {values!r}",
                "Fix anything else with functools.partial in the rule.",
            )  # fmt: skip
        columns[name] = column.astype(real) if column.dtype.kind == "f" else column
    _require_seeds(seeds)
    try:
        everything = np.broadcast_arrays(np.asarray(seeds, np.int64), *columns.values())
    except ValueError:
        lengths = {"seeds": np.shape(seeds)} | {name: column.shape for name, column in columns.items()}
        raise fail("run", f"hyperparameters and seeds must share one length N, got {lengths}") from None
    seed_list, *rest = (np.atleast_1d(array) for array in everything)
    return dict(zip(columns, rest, strict=True)), seed_list


def _require_seeds(seeds: Any) -> None:
    """Raises unless all seeds are whole numbers that random keys tell apart."""
    array = np.asarray(seeds)
    if array.dtype.kind not in "iu" or array.size == 0 or (array < 0).any() or (array > LARGEST_COUNT).any():
        shown = repr(seeds) if array.size < 8 else f"{array.size} of them"
        raise fail("run", f"seeds must be whole numbers from 0 to {LARGEST_COUNT}, got {shown}")


def _seeds_agree(seeds: np.ndarray, width: int, mesh: Any) -> bool:
    """Whether the K configurations on each device have one seed at all times: a single group is never repacked."""
    if len(set(seeds.tolist())) == 1:
        return True
    single = mesh is not None and len(seeds) <= width * mesh.size
    return single and all(len(set(seeds[low : low + width].tolist())) == 1 for low in range(0, len(seeds), width))


def _by_segment(counts: np.ndarray, segments: int | None) -> np.ndarray:
    """Counts [segments, R] with R a power of two, so that runs of many lengths share a few programs."""
    share = -(-len(counts) // max(1, segments or 20))
    per_segment = 1 << (share - 1).bit_length()
    padded = np.zeros(per_segment * -(-len(counts) // per_segment), np.int64)
    padded[: len(counts)] = counts
    return padded.reshape(-1, per_segment)


def _require_chunks(possible: bool) -> None:
    if not possible:
        raise fail(
            "run", "loop='chunks' needs a separable loss of one vector, one configuration and additive probes",
            "Use loop='auto'.",
        )  # fmt: skip


def _fits_in_chunks(problem: Problem, probes: tuple[Probe, ...], num: int, shapes: Any) -> bool:
    """Whether loss, probes and the number of configurations allow the loop "chunks"."""
    leaves = jax.tree.leaves(shapes)
    vector = len(leaves) == 1 and len(leaves[0].shape) == 1
    return problem.separable is not None and vector and num == 1 and all(probe.additive for probe in probes)


def _is_coordinatewise(rule: Rule) -> bool:
    """Whether it is known of the rule that it couples no coordinates."""
    factory = rule.func if isinstance(rule, functools.partial) else rule
    return any(spec.factory is factory and spec.coordinatewise and not spec.needs for spec in REGISTRY.values())


def _factory(rule: Rule) -> Callable[..., optax.GradientTransformation]:
    if isinstance(rule, optax.GradientTransformation):
        return _Finished(rule)
    if not callable(rule):
        raise fail("run", f"rule must be a factory or an optax.GradientTransformation, got {rule!r}")
    return rule


@dataclasses.dataclass(frozen=True)
class _Finished:
    """A rule without hyperparameters, as a factory that is equal for equal rules."""

    rule: optax.GradientTransformation

    def __call__(self, **hyperparameters: Any) -> optax.GradientTransformation:
        if hyperparameters:
            raise fail(
                "run", f"hyperparameters {', '.join(hyperparameters)} were given with a finished rule",
                "Give the factory instead: run(problem, rules.heavy_ball, {...}).",
            )  # fmt: skip
        return self.rule


def _require_probes(problem: Problem, probes: tuple[Probe, ...]) -> None:
    names = [probe.name for probe in probes]
    if len(set(names)) < len(names):
        raise fail("run", f"probes must have different names, got {', '.join(names)}")
    for probe in probes:
        if probe.name == "distance" and problem.truth.minimizer is None:
            raise fail("run", f"the probe distance needs a known minimizer, {problem.name} has none")
        if probe.name == "band_energy" and problem.truth.eigenvalues is None:
            raise fail("run", f"the probe band_energy needs known eigenvalues, {problem.name} has none")
        if isinstance(probe.sums, Measured):
            require_choice("run", "the probe metric", probe.sums.metric, problem.metrics)
        on_validation = not isinstance(probe.sums, Measured) or probe.sums.on == "validation"
        if "evaluation" in probe.needs and on_validation and problem.validation is None:
            raise fail(
                "run", f"the probe {probe.name} needs validation data, {problem.name} has none",
                "Give the problem some, or take metric(name, on='training').",
            )  # fmt: skip


def _where(shapes: Any, params: Any) -> Any:
    """The shapes, with the devices that the parameters are spread over."""
    return jax.tree.map(
        lambda leaf, given: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=getattr(given, "sharding", None)),
        shapes, params,
    )  # fmt: skip


def _require_room(program: Program, shapes: Any, hyper: dict[str, np.ndarray], num: int) -> None:
    """On each device: states of its configurations, one more copy of the parameters while they are made, one gradient.

    A part of the state that has the shape of a parameter is spread over devices as that is.
    """

    def first(point: Any) -> Any:
        return program.rule({name: values[0] for name, values in hyper.items()}).init(point)

    places = {tuple(leaf.shape): getattr(leaf, "sharding", None) for leaf in jax.tree.leaves(shapes)}
    state = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=places.get(tuple(leaf.shape))),
        traced("run", "the start of the rule", first, shapes, names=("params",)),
    )
    if program.loop == "chunks" and any(is_key(leaf) or is_raw_key(leaf) for leaf in jax.tree.leaves(state)):
        raise fail("run", "loop='chunks' would give every chunk the same random numbers", "Use loop='auto'.")
    vectors_kept = 2 + program.needs("updates") + program.needs("previous_updates")
    each = vectors_kept * meshes.bytes_on_one_device(shapes) + meshes.bytes_on_one_device(state)
    needed = -(-num // program.num_devices) * each
    require_memory("run", needed, available_memory(), f"{num} configurations of {vectors.size(shapes)} parameters")
