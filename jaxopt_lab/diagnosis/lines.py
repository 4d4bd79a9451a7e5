"""The loss along a line, as far as twice the size of the parameters: how much lies in a direction, and how far off."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Problem, as_partial

_DISTANCES = np.geomspace(1e-4, 2.0, 12)
_CLIMB = 1e-4
NUM_LOSSES = len(_DISTANCES) + 1


@dataclasses.dataclass(frozen=True)
class Fall:
    """The lowest place along a line.

    Attributes:
      drop: how far the loss falls without climbing first, at least 0.
      distance: how far off that is.
      lowest: the lowest loss on the whole line, behind a climb or not.
    """

    drop: float
    distance: float
    lowest: float


def fall_along(problem: Problem, params: Any, direction: Any, size: float, *, both: bool = False) -> Fall:
    """Looks along a line for the lowest loss.

    Args:
      problem: whose expected loss is taken.
      params: where the line begins.
      direction: of length 1, like the parameters.
      size: the unit of the distances, which go from 1e-4 to 2.
      both: look the other way too.

    Returns:
      The lowest place. Cost: 13 losses, 25 with `both`.
    """
    places = np.concatenate([[0.0], _DISTANCES, -_DISTANCES if both else []]) * size
    losses = _losses_along(as_partial(problem.loss), params, direction, problem.data, jnp.asarray(places))
    values = np.nan_to_num(np.asarray(losses, np.float64), nan=np.inf)
    limit = values[0] + _CLIMB * max(abs(values[0]), values[0] - values.min())
    ways = [values[1:NUM_LOSSES], values[NUM_LOSSES:]] if both else [values[1:]]
    falls = [_before_a_climb(values[0], way, limit) for way in ways]
    drop, distance = max(falls)
    return Fall(drop, distance * size, float(values.min()))


def _before_a_climb(start: float, way: np.ndarray, limit: float) -> tuple[float, float]:
    """The fall on one side, and its distance in units of the size, up to where the loss first exceeds the limit."""
    climbs = np.flatnonzero(way > limit)
    open_way = way[: climbs[0]] if climbs.size else way
    if not open_way.size or open_way.min() >= start:
        return 0.0, 0.0
    best = int(open_way.argmin())
    return float(start - open_way[best]), float(_DISTANCES[best])


@jax.jit
def _losses_along(loss: Any, params: Any, direction: Any, data: Any, places: jax.Array) -> jax.Array:
    def at(place: jax.Array) -> jax.Array:
        moved = jax.tree.map(lambda leaf, step: leaf + (place * step).astype(leaf.dtype), params, direction)
        return loss(moved, data, None)

    return jax.lax.map(at, places)
