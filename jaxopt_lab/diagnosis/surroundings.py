"""What lies around a point at which training stands still: a way down, and what other beginnings reach.

A saddle has a direction of certified negative curvature; a plateau has none, but the loss falls farther off along its
gradient; at a local minimum neither is so, and other beginnings end lower.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab import curvature, training
from jaxopt_lab.core import Problem, as_partial, vectors
from jaxopt_lab.diagnosis import budgets
from jaxopt_lab.diagnosis.runs import ScaledRule

_PRODUCTS = 14
_DISTANCES = np.geomspace(1e-4, 2.0, 12)
_BEGINNINGS = 4
_MOST_STEPS = 300


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What was found.

    Attributes:
      negative: the direction of the smallest curvature, and whether it is certainly negative.
      drop_along: the most that the loss falls along it, both ways, within twice the size of the parameters.
      drop_downhill: the same along minus the gradient.
      distance_along: how far off that is, in units of the parameters.
      distance_downhill: the same downhill.
      size: norm of typical parameters, which the distances are relative to.
      elsewhere: losses to which the rule in use comes from other beginnings, [b]; empty where there are none.
      elsewhere_steps: in so many steps.
      cost: gradient-equivalents.
    """

    negative: curvature.NegativeCurvature
    drop_along: float
    drop_downhill: float
    distance_along: float
    distance_downhill: float
    size: float
    elsewhere: np.ndarray
    elsewhere_steps: int
    cost: float


def look_around(
    problem: Problem, params: Any, rule: optax.GradientTransformation, batch_size: int | None, seed: int, most: float
) -> Surroundings:
    """Looks around a point.

    Args:
      problem: what is trained.
      params: the point.
      rule: the rule in use.
      batch_size: examples a step; None for all.
      seed: seeds the other beginnings.
      most: gradient-equivalents to spend, about.

    Returns:
      What was found.
    """
    frozen = problem.freeze()
    operator, point = curvature.hessian(frozen, params), curvature.locate(frozen, params)
    num_products = max(3, min(_PRODUCTS, int(most / 4)))
    negative = curvature.negative_curvature(
        operator, gradient=point.gradient, max_products=num_products, tolerance=0.01
    )
    beginnings = _beginnings(problem, params, seed)
    size = float(np.median([vectors.norm(each) for each in [params, *beginnings]])) or 1.0
    loss = as_partial(frozen.loss)
    along = _lowest(loss, params, negative.direction, size, frozen.data, both=True)
    length = float(vectors.norm(point.gradient))
    downhill = (0.0, 0.0)
    if length > 0:
        downhill = _lowest(loss, params, vectors.scale(-1 / length, point.gradient), size, frozen.data, both=False)
    cost = negative.value.cost * budgets.PRODUCT + 3 * len(_DISTANCES) * budgets.LOSS
    num = problem.num_examples
    a_step = 1.0 if num is None or batch_size is None else min(batch_size, num) / num
    steps = min(_MOST_STEPS, int((most - cost) / (len(beginnings) * a_step)))
    ends = np.zeros(0)
    if steps >= 1:
        ends = np.array([_end(problem, rule, each, steps, batch_size, seed) for each in beginnings])
        cost += len(beginnings) * (steps * a_step + budgets.LOSS)
    return Surroundings(
        negative=negative, drop_along=along[0], drop_downhill=downhill[0], distance_along=along[1],
        distance_downhill=downhill[1], size=size, elsewhere=ends[np.isfinite(ends)], elsewhere_steps=max(steps, 0),
        cost=cost,
    )  # fmt: skip


def _beginnings(problem: Problem, params: Any, seed: int) -> list[Any]:
    """Other initial parameters; where the problem has but one beginning, that one with noise of its own size."""
    keys = [jax.random.fold_in(jax.random.key(seed), 1000 + k) for k in range(_BEGINNINGS)]
    drawn = [problem.init(key) for key in keys]
    alike = all(bool(jnp.array_equal(a, b)) for a, b in zip(*map(jax.tree.leaves, drawn[:2]), strict=True))
    if not alike:
        return drawn
    spread = float(vectors.norm(drawn[0])) / np.sqrt(vectors.size(params)) or 1.0
    return [_jittered(each, key, spread) for each, key in zip(drawn, keys, strict=True)]


def _jittered(params: Any, key: jax.Array, spread: float) -> Any:
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    return structure.unflatten(
        [
            leaf + spread * jax.random.normal(each, leaf.shape, leaf.dtype)
            for leaf, each in zip(leaves, keys, strict=True)
        ]
    )


def _lowest(loss: Any, params: Any, direction: Any, size: float, data: Any, *, both: bool) -> tuple[float, float]:
    """The largest drop of the loss along a line, and the distance at which it is, in units of the parameters' size."""
    places = np.concatenate([[0.0], _DISTANCES, -_DISTANCES if both else []]) * size
    losses = np.asarray(_losses_along(loss, params, direction, data, jnp.asarray(places)), np.float64)
    best = int(np.nanargmin(np.where(np.isfinite(losses), losses, np.inf)))
    return float(losses[0] - losses[best]), abs(float(places[best])) / size


@jax.jit
def _losses_along(loss: Any, params: Any, direction: Any, data: Any, places: jax.Array) -> jax.Array:
    def at(place: jax.Array) -> jax.Array:
        moved = jax.tree.map(lambda leaf, step: leaf + (place * step).astype(leaf.dtype), params, direction)
        return loss(moved, data, None)

    return jax.lax.map(at, places)


def _end(problem: Problem, rule: Any, params: Any, steps: int, batch_size: int | None, seed: int) -> float:
    trace = training.run(
        problem, ScaledRule(rule), {}, steps=steps, every=steps, params=params, batch_size=batch_size, seeds=seed,
        progress=False,
    )  # fmt: skip
    return float(trace["loss"][0, -1])
