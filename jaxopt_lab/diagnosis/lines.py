"""The loss along a line, as far as twice the size of the parameters: how much lies in a direction, and how far off."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Problem, as_partial

_DISTANCES = np.geomspace(1e-4, 2.0, 12)
NUM_LOSSES = len(_DISTANCES) + 1


@dataclasses.dataclass(frozen=True)
class Fall:
    """The lowest place along a line.

    Attributes:
      drop: how far the loss falls, at least 0.
      distance: how far off that is.
      lowest: the loss there.
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
    values = np.asarray(losses, np.float64)
    best = int(np.argmin(np.where(np.isfinite(values), values, np.inf)))
    return Fall(float(values[0] - values[best]), abs(float(places[best])), float(values[best]))


@jax.jit
def _losses_along(loss: Any, params: Any, direction: Any, data: Any, places: jax.Array) -> jax.Array:
    def at(place: jax.Array) -> jax.Array:
        moved = jax.tree.map(lambda leaf, step: leaf + (place * step).astype(leaf.dtype), params, direction)
        return loss(moved, data, None)

    return jax.lax.map(at, places)
