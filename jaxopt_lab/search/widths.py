"""How a chunk of K runs goes through the engine: side by side, one after the other, or step by step.

Side by side many small steps fill the processor; too many fall out of its caches, and large ones gain nothing. A rule
of thumb says where the limits are; `candidates` says what else is worth timing.
"""

import jax

from jaxopt_lab.core import Problem, vectors
from jaxopt_lab.training.planning import convolves

LOOPS = ("auto", "vmap", "map", "step")

_MAP_FROM = 8e6  # operations a step from which side by side loses to one after the other on a CPU
_WIDTH_TIMES_DIM = {"data": 2**17, "no data": 2**19, "accelerator": 2**26}
_MOST_SIDE_BY_SIDE = 4096
_MOST_IN_TURN = 8
_FACTOR = 4


def usual_loop(loop: str, problem: Problem, batch_size: int | None) -> str:
    """Side by side where the steps are small; one after the other for large ones, and by steps for convolutions."""
    if loop != "auto" or jax.default_backend() != "cpu":
        return "vmap" if loop == "auto" else loop
    if convolves(problem):
        return "step"
    operations = 6 * num_parameters(problem) * (batch_size or problem.num_examples or 0)
    return "map" if operations > _MAP_FROM else "vmap"


def usual_width(problem: Problem, trials: int, most: int, loop: str) -> int:
    """K: what the caches hold, as measured on digits networks and quadratics, such that the last chunk is full too.

    Args:
      problem: what is minimized.
      trials: of the rule that has most of them.
      most: the limit that leaves no device idle.
      loop: "vmap", "map" or "step".

    Returns:
      K.
    """
    if loop in ("map", "step"):
        return even_width(trials, min(most, _MOST_IN_TURN))
    kind = "accelerator" if jax.default_backend() != "cpu" else "data" if problem.num_examples else "no data"
    fitting = max(1, min(_WIDTH_TIMES_DIM[kind] // max(num_parameters(problem), 1), _MOST_SIDE_BY_SIDE))
    return even_width(trials, min(most, 1 << (fitting.bit_length() - 1)))


def candidates(problem: Problem, trials: int, most: int, loop: str) -> list[tuple[str, int]]:
    """The pairs (loop, K) that are worth timing: a quarter and four times the usual K, and one after the other.

    Args:
      problem: what is minimized.
      trials: of the rule that has most of them.
      most: the limit that leaves no device idle.
      loop: the loop that was asked for; only "auto" and "vmap" leave a choice.

    Returns:
      Different pairs. On an accelerator none is wider than usual: there the usual K is as wide as memory allows.
    """
    if loop not in ("auto", "vmap"):
        return []
    usual = usual_width(problem, trials, most, "vmap")
    wide = usual * (_FACTOR if jax.default_backend() == "cpu" else 1)
    widths = [max(1, usual // _FACTOR), usual, min(wide, most, _MOST_SIDE_BY_SIDE)]
    found = [("vmap", even_width(trials, width)) for width in widths]
    if loop == "auto":
        found.append(("map", usual_width(problem, trials, most, "map")))
    return list(dict.fromkeys(found))


def even_width(trials: int, most: int) -> int:
    """The width of the fewest chunks of at most `most` trials, all about as wide."""
    return -(-trials // -(-trials // most))


def num_parameters(problem: Problem) -> int:
    """d, the number of parameters."""
    return vectors.size(jax.eval_shape(problem.init, jax.random.key(0)))
