"""`Execution`: how a run, a sweep or a comparison is carried out; and what is chosen where nothing is asked for.

Side by side, many small steps fill the processor; too many fall out of its caches, and large ones gain nothing. A run
takes all of its configurations at once where they fit; a sweep, which has many trials, cuts them into chunks of one
size, and takes large steps one after the other. The limits are measured on digits networks and quadratics.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from jaxopt_lab.core import Problem, fail, vectors
from jaxopt_lab.core.errors import require_between, require_choice, require_count

LOOPS = ("auto", "vmap", "map", "step", "chunks")

_CHUNKS_PAY_FROM = 2**21  # coordinates from which a separable loss is taken in cache-sized chunks
_MAP_FROM = 8e6  # operations a step from which side by side loses to one after the other on a CPU
_WIDTH_TIMES_DIM = {"run": 2**19, "data": 2**17, "no data": 2**19, "accelerator": 2**26}
_MOST_SIDE_BY_SIDE = 4096
_MOST_IN_TURN = 8
_FACTOR = 4


@dataclasses.dataclass(frozen=True)
class Execution:
    """How the work is carried out. Only `loop`, `width` and `share_batches` can change a bit, the last ones.

    Attributes:
      loop: "vmap" (side by side) or "map" (one after the other) over configurations, "step" (a Python loop over one
        jitted step: the choice for convolutions on a CPU), "chunks" (separable losses, coordinatewise rules, one
        configuration; not for sweeps), or "auto".
      width: K, configurations side by side on a device; None chooses by the size of a step and, in a sweep that is long
        enough and is logged or kept, takes the cheapest of a few that are timed.
      segments: number of segments of a run, about; None chooses.
      devices: local devices that take K configurations each; None takes one for a run, all for a sweep. The loops
        "step" and "chunks" use one.
      checkpoint_seconds: least time between two checkpoints; 0 writes one after every segment.
      progress: show a bar; None: when standard error is a terminal.
      keep_final: whether a run's trace holds the final parameters and states; sweeps and comparisons keep none.
      share_batches: whether configurations of one seed that go side by side take each batch from memory once, which is
        up to 1.5 times as fast for small networks; sweeps always do.
      executor: of `concurrent.futures`, Dask or submitit, whose processes carry a sweep or a comparison out; None: this
        process, or those that it starts. It is somebody's: it is sent to no worker, and compared with no other.
      workers: of a sweep or a comparison with an executor, how many of its processes take part; without an executor,
        how many are started on this machine. They change no bit. None: as many as an executor tells; else this process.
      log: gets the plan and the progress of a sweep or a comparison, a line at a time; a run has its bar.

    Raises:
      InputError: an attribute is out of range.
    """

    loop: str = "auto"
    width: int | None = None
    segments: int | None = None
    devices: int | None = None
    checkpoint_seconds: float = 30.0
    progress: bool | None = None
    keep_final: bool = True
    share_batches: bool = False
    executor: Any = dataclasses.field(default=None, compare=False)
    workers: int | None = None
    log: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        where = "Execution"
        require_choice(where, "loop", self.loop, LOOPS)
        for name in ("width", "segments", "devices", "workers"):
            if getattr(self, name) is not None:
                require_count(where, name, getattr(self, name))
        require_between(where, "checkpoint_seconds", self.checkpoint_seconds, 0, float("inf"))

    def without_workers(self) -> "Execution":
        """The same in this process."""
        return dataclasses.replace(self, executor=None, workers=None)

    def of_worker(self) -> "Execution":
        """The same for one of several workers, which tells nothing."""
        return dataclasses.replace(self.without_workers(), log=None, progress=False)

    def require_alone(self, where: str) -> None:
        """Raises InputError where workers were asked for, which only sweeps and comparisons have."""
        if self.workers is not None or self.executor is not None:
            raise fail(where, "workers are for sweeps and comparisons", "Leave them out.")


@dataclasses.dataclass(frozen=True)
class Workload:
    """What the choice depends on: the size of a step, and whether there are many trials.

    Attributes:
      num_parameters: d.
      num_examples: of the problem; None without data.
      batch_size: examples a step; None for all.
      convolves: whether the loss holds a convolution: XLA trains those ten times slower inside of a loop on a CPU.
      many_trials: whether a sweep asks.
    """

    num_parameters: int
    num_examples: int | None
    batch_size: int | None
    convolves: bool
    many_trials: bool

    @property
    def operations(self) -> int:
        """Floating-point operations a step, about: six for each parameter and example."""
        return 6 * self.num_parameters * (self.batch_size or self.num_examples or 0)


def measure_workload(
    problem: Problem, batch_size: int | None, loop: str, shapes: Any = None, *, many_trials: bool = False
) -> Workload:
    """The workload of a problem; nothing is computed.

    Args:
      problem: what is minimized.
      batch_size: examples a step, or None.
      loop: the one that was asked for; only "auto" looks for convolutions, and only on a CPU.
      shapes: of the parameters; None: as the problem initializes them.
      many_trials: whether a sweep asks. A run looks for convolutions only where a parameter has more than two axes:
        to trace the loss can take longer than a short run.
    """
    shapes = jax.eval_shape(problem.init, jax.random.key(0)) if shapes is None else shapes
    worth_a_look = many_trials or any(len(leaf.shape) > 2 for leaf in jax.tree.leaves(shapes))
    convolves = loop == "auto" and jax.default_backend() == "cpu" and worth_a_look and _convolves(problem, shapes)
    return Workload(vectors.size(shapes), problem.num_examples, batch_size, convolves, many_trials)


def choose_loop(loop: str, work: Workload, *, in_chunks: bool = False) -> str:
    """The loop that was asked for, or for "auto" the usual one.

    Args:
      loop: one of `LOOPS`.
      work: the workload.
      in_chunks: whether loss, rule and probes allow the loop "chunks".

    Returns:
      "vmap" (side by side) where the steps are small and on accelerators, "step" for convolutions, "chunks" for long
      vectors where that is allowed, and "map" (one after the other) for many trials of large steps.
    """
    if loop != "auto":
        return loop
    if jax.default_backend() != "cpu":
        return "vmap"
    if work.convolves:
        return "step"
    if in_chunks and work.num_parameters >= _CHUNKS_PAY_FROM:
        return "chunks"
    return "map" if work.many_trials and work.operations > _MAP_FROM else "vmap"


def choose_width(work: Workload, loop: str, num: int, most: int | None = None) -> int:
    """K: what the caches hold, for many trials such that the last chunk is full too.

    Args:
      work: the workload.
      loop: "vmap", "map" or "step".
      num: configurations of a run on each device, or trials of the rule that has most of them.
      most: for many trials, the limit that leaves no device idle.

    Returns:
      K.
    """
    fitting = max(1, min(_WIDTH_TIMES_DIM[_kind(work)] // max(work.num_parameters, 1), _MOST_SIDE_BY_SIDE))
    if not work.many_trials:
        return min(num, fitting)
    limit = _MOST_IN_TURN if loop in ("map", "step") else 1 << (fitting.bit_length() - 1)
    return _even_width(num, min(most or num, limit))


def alternatives(work: Workload, loop: str, num: int, most: int) -> list[tuple[str, int]]:
    """The pairs (loop, K) that are worth timing: a quarter and four times the usual K, and one after the other.

    Args:
      work: the workload.
      loop: the loop that was asked for; only "auto" and "vmap" leave a choice.
      num: trials of the rule that has most of them.
      most: the limit that leaves no device idle.

    Returns:
      Different pairs. On an accelerator none is wider than usual: there the usual K is as wide as memory allows.
    """
    if loop not in ("auto", "vmap"):
        return []
    usual = choose_width(work, "vmap", num, most)
    wide = usual * (_FACTOR if jax.default_backend() == "cpu" else 1)
    widths = [max(1, usual // _FACTOR), usual, min(wide, most, _MOST_SIDE_BY_SIDE)]
    found = [("vmap", _even_width(num, width)) for width in widths]
    if loop == "auto":
        found.append(("map", choose_width(work, "map", num, most)))
    return list(dict.fromkeys(found))


def _kind(work: Workload) -> str:
    if not work.many_trials:
        return "run"
    return "accelerator" if jax.default_backend() != "cpu" else "data" if work.num_examples else "no data"


def _even_width(num: int, most: int) -> int:
    """The width of the fewest chunks of at most `most` trials, all about as wide."""
    return -(-num // -(-num // most))


def _convolves(problem: Problem, shapes: Any) -> bool:
    program = jax.make_jaxpr(lambda params, data: problem.loss(params, data, None))(shapes, problem.data)
    return "conv_general_dilated" in str(program)
