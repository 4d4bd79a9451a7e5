"""What lies around a point at which training stands still: a way down, and what other beginnings reach.

A saddle has a direction of certified negative curvature; a plateau has none, but the loss falls farther off along its
gradient; at a local minimum neither is so, and other beginnings end lower.
"""

import dataclasses
from typing import Any

import jax
import numpy as np
import optax

from jaxopt_lab import curvature, training
from jaxopt_lab.core import Problem, vectors
from jaxopt_lab.diagnosis import budgets
from jaxopt_lab.diagnosis.evaluations import share_of_data
from jaxopt_lab.diagnosis.lines import NUM_LOSSES, Fall, fall_along

_PRODUCTS = 14
_BEGINNINGS = 4
_MOST_STEPS = 300


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What was found.

    Attributes:
      negative: the direction of the smallest curvature, and whether it is certainly negative.
      along: the lowest place along it, both ways.
      slope_at_saddle: slope along that direction where the quadratic along it has its critical point, over the slope
        here; 0 where the slope is zero here.
      elsewhere: losses to which the rule in use comes from other beginnings, [b]; empty where there are none.
      elsewhere_steps: in so many steps.
      cost: gradient-equivalents.
    """

    negative: curvature.NegativeCurvature
    along: Fall
    slope_at_saddle: float
    elsewhere: np.ndarray
    elsewhere_steps: int
    cost: float


def look_around(
    problem: Problem, params: Any, rule: optax.GradientTransformation, *, size: float, batch_size: int | None,
    seed: int, most: float,
) -> Surroundings:  # fmt: skip
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
      What was found.
    """
    frozen = problem.freeze()
    operator, point = curvature.hessian(frozen, params), curvature.locate(frozen, params)
    num_products = max(3, min(_PRODUCTS, int(most / 4)))
    negative = curvature.negative_curvature(
        operator, gradient=point.gradient, max_products=num_products, tolerance=0.01
    )
    along = fall_along(frozen, params, negative.direction, size, both=True)
    cost = negative.value.cost * budgets.PRODUCT + 2 * NUM_LOSSES * budgets.LOSS
    elsewhere = ElsewhereInit(problem)
    beginnings = [elsewhere(jax.random.fold_in(jax.random.key(seed), k)) for k in range(_BEGINNINGS)]
    a_step = share_of_data(problem, batch_size)
    steps = min(_MOST_STEPS, int((most - cost) / (len(beginnings) * a_step)))
    ends = np.zeros(0)
    if steps >= 1:
        ends = np.array([_end(problem, rule, each, steps, batch_size, seed) for each in beginnings])
        cost += len(beginnings) * (steps * a_step + budgets.LOSS)
    bottom = -negative.slope / negative.value.value if negative.value.value else 0.0
    middle = vectors.axpy(bottom, negative.direction, params)
    there = 0.0
    if negative.slope:
        slope = float(vectors.dot(curvature.locate(frozen, middle).gradient, negative.direction))
        there = abs(slope / negative.slope)
    return Surroundings(negative, along, there, ends[np.isfinite(ends)], max(steps, 0), cost)


@dataclasses.dataclass(frozen=True)
class ElsewhereInit:
    """Other initial parameters than a problem's own: another draw, or its only ones with noise of their own size.

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
        spread = float(vectors.norm(one)) / np.sqrt(vectors.size(one)) or 1.0
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
