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
from jaxopt_lab.core import Problem, vectors
from jaxopt_lab.core.problem import as_partial
from jaxopt_lab.curvature.directions import NegativeCurvature
from jaxopt_lab.curvature.points import locate
from jaxopt_lab.diagnosis.budget import LOSS, PRODUCT, step_cost
from jaxopt_lab.tracing.non_finite import NonFiniteOrigin

_DISTANCES = np.geomspace(1e-4, 2.0, 12)
_CLIMB = 1e-4
NUM_LOSSES = len(_DISTANCES) + 1
_PRODUCTS = 14
_BEGINNINGS = 4
_MOST_STEPS = 300
_FEWEST_STEPS = 20
_SPREAD = 0.1  # of what is drawn in the place of zeros


@dataclasses.dataclass(frozen=True)
class LineScan:
    """The lowest place along a line.

    Attributes:
      drop: how far the loss falls without climbing first, at least 0.
      distance: how far off that is.
      lowest: the lowest loss on the whole line, behind a climb or not.
    """

    drop: float
    distance: float
    lowest: float


@dataclasses.dataclass(frozen=True)
class PointState:
    """The point itself.

    Attributes:
      loss: expected loss over all data.
      gradient_norm: of its gradient.
      size: norm of the parameters, at least 1: the unit of distances.
      is_random: whether the loss has randomness of its own.
      steepest: the scan along minus the gradient; None at a gradient of zero.
      baseline: the loss of the best constant output; where the outputs are not known, with all parameters zero; None
        without data.
      num_classes: of a classifier, or None.
      non_finite: where a number that is not finite comes from, or None.
      stationary_point: what lies around it, where the run stands still, or None.
    """

    loss: float
    gradient_norm: float
    size: float = 1.0
    is_random: bool = False
    steepest: LineScan | None = None
    baseline: float | None = None
    num_classes: int | None = None
    non_finite: NonFiniteOrigin | None = None
    stationary_point: "StationaryPoint | None" = None


@dataclasses.dataclass(frozen=True)
class StationaryPoint:
    """What was found.

    Attributes:
      negative: the direction of the smallest curvature, and whether it is certainly negative.
      along: the lowest place along it, both ways.
      slope_at_saddle: slope along that direction where the quadratic along it has its critical point, over the slope
        here; 0 where the slope is zero here.
      elsewhere: losses to which the rule in use comes from other beginnings, [b]; empty where there are none.
    """

    negative: NegativeCurvature
    along: LineScan
    slope_at_saddle: float
    elsewhere: np.ndarray


def look_around(
    problem: Problem, params: Any, rule: optax.GradientTransformation, *, size: float, batch_size: int | None,
    seed: int, most: float,
) -> tuple[StationaryPoint, float]:  # fmt: skip
    """Looks around a point.

    Args:
      problem: what is trained.
      params: the point.
      rule: the rule in use.
      size: of typical parameters, the unit of distances.
      batch_size: examples a step; None for all.
      seed: seeds the other beginnings.
      most: gradient-equivalents to spend, about.

    Returns:
      What was found, and its cost in gradient-equivalents.
    """
    frozen = problem.freeze()
    operator, point = curvature.hessian(frozen, params), locate(frozen, params)
    num_products = max(3, min(_PRODUCTS, int(most / 4)))
    negative = curvature.negative_curvature(
        operator, gradient=point.gradient, max_products=num_products, tolerance=0.01
    )
    along = scan_line(frozen, params, negative.direction, size, both=True)
    cost = negative.value.cost * PRODUCT + 2 * NUM_LOSSES * LOSS
    elsewhere = ElsewhereInit(problem)
    beginnings = [elsewhere(jax.random.fold_in(jax.random.key(seed), k)) for k in range(_BEGINNINGS)]
    a_step = step_cost(problem, batch_size)
    steps = min(_MOST_STEPS, int((most - cost) / (len(beginnings) * a_step)))
    ends = np.zeros(0)
    if steps >= 1:
        ends = np.array([_end(problem, rule, each, steps, batch_size, seed) for each in beginnings])
        cost += len(beginnings) * (steps * a_step + LOSS)
    bottom = -negative.slope / negative.value.value if negative.value.value else 0.0
    middle = vectors.axpy(bottom, negative.direction, params)
    there = 0.0
    if negative.slope:
        slope = float(vectors.dot(locate(frozen, middle).gradient, negative.direction))
        there = abs(slope / negative.slope)
    return StationaryPoint(negative, along, there, ends[np.isfinite(ends)]), cost


@dataclasses.dataclass(frozen=True)
class StillLeaf:
    """A leaf that no step of a run has moved.

    Attributes:
      path: of the leaf.
      dtype: its precision.
      size: its norm.
      loss: at the end of the run.
      downhill: the scan along its own gradient from there.
    """

    path: str
    dtype: str
    size: float
    loss: float
    downhill: LineScan


def find_still_leaf(problem: Problem, start: Any, run: Any) -> StillLeaf | None:
    """Of the leaves that a run has not moved, while it moved others, the one along whose gradient the loss falls most.

    Args:
      problem: what is trained.
      start: where the run began.
      run: a run that ended finite.

    Returns:
      The leaf, or None. Cost: a gradient, and 13 losses for each such leaf that has one.
    """
    leaves, structure = jax.tree.flatten(run.params)
    still = [
        leaf.size > 0 and np.array_equal(leaf, old) for leaf, old in zip(leaves, jax.tree.leaves(start), strict=True)
    ]
    if run.num_steps < _FEWEST_STEPS or not any(still) or all(still):
        return None
    frozen, found = problem.freeze(run.model_state), list[StillLeaf]()
    point, paths = locate(frozen, run.params), vectors.parameter_paths(run.params)
    for k in np.flatnonzero(still):
        slope, size = jax.tree.leaves(point.gradient)[k], float(vectors.norm(leaves[k]))
        length = float(vectors.norm(slope))
        if 0 < length < np.inf and size > 0:
            others = [jnp.zeros_like(leaf) for leaf in leaves]
            direction = structure.unflatten([*others[:k], -slope / length, *others[k + 1 :]])
            scan = scan_line(frozen, run.params, direction, size)
            found.append(StillLeaf(paths[k], str(leaves[k].dtype), size, point.value, scan))
    return max(found, key=lambda leaf: leaf.downhill.drop, default=None)


@dataclasses.dataclass(frozen=True)
class ElsewhereInit:
    """Other initial parameters than a problem's own: another draw, or its only ones with noise of their own size.

    Zeros get some of a tenth.

    Attributes:
      problem: whose initialization it is.
    """

    problem: Problem

    def __call__(self, key: jax.Array) -> Any:
        """The parameters; when traced, for their shapes alone, those of the problem."""
        if isinstance(key, jax.core.Tracer):
            return self.problem.init(key)
        one, other = (self.problem.init(jax.random.fold_in(key, 1000 + k)) for k in range(2))
        if not vectors.equal(one, other):
            return other
        spread = float(vectors.norm(one)) / np.sqrt(vectors.size(one)) or _SPREAD
        leaves, structure = jax.tree.flatten(one)
        keys = jax.random.split(key, len(leaves))
        drawn = zip(leaves, keys, strict=True)
        return structure.unflatten(
            [leaf + spread * jax.random.normal(each, leaf.shape, leaf.dtype) for leaf, each in drawn]
        )


def _end(problem: Problem, rule: Any, params: Any, steps: int, batch_size: int | None, seed: int) -> float:
    trace = training.run(
        problem, rule, steps=steps, every=steps, params=params, batch_size=batch_size, seeds=seed,
        execution=training.Execution(progress=False),
    )  # fmt: skip
    return float(trace["loss"][0, -1])


def scan_line(problem: Problem, params: Any, direction: Any, size: float, *, both: bool = False) -> LineScan:
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
    return LineScan(drop, distance * size, float(values.min()))


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
