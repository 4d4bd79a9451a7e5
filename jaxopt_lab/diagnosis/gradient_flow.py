"""Where the gradient arrives, and whether it is the loss's: which weights it reaches, and which are no parameters.

A derivative rule that a program brings along (custom_vjp) is held against differences of the loss.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Problem, vectors
from jaxopt_lab.core.problem import as_partial
from jaxopt_lab.diagnosis.budget import GRADIENT, LOSS, Budget, Skipped
from jaxopt_lab.diagnosis.data_changes import standardized
from jaxopt_lab.diagnosis.gradient_noise import value_and_gradient
from jaxopt_lab.tracing.jaxprs import Program, ancestors, lay_out
from jaxopt_lab.tracing.randomness import redrawn_weights

if TYPE_CHECKING:
    from jaxopt_lab.diagnosis.evidence import Evidence

LEAST_SHARE = 0.01
_EQUAL = 1e-5
_MOST_CHECKED = 8
_REACH = 1e-2  # of a leaf's size
_OPPOSED = 0.1
_ROUNDINGS = 100.0


@dataclasses.dataclass(frozen=True)
class GradientFlow:
    """Where the gradient arrives.

    Attributes:
      without: paths of the leaves of two or more axes, or of a hundredth of all numbers, whose gradient is exactly zero
        for all data, before and after the short run, and on standardized inputs too where theirs are far off: what they
        saturate is no fault of the loss.
      unread: those of them that the loss does not read.
      share: numbers in them, and in all leaves without a gradient, over all.
      redrawn: `file:line` of products with a weight that is drawn anew in each call.
      symmetric: paths of the leaves of two or more axes, with a gradient, whose numbers along the first or last axis
        are all the same before and after the short run.
      opposed: paths of the leaves along whose gradient the loss falls, where the program brings a rule for derivatives.
      rise: of the loss along its gradient, over what the gradient tells; below 1 where a part of the loss is held back
        from the gradient (stop_gradient), as in the surrogate of a policy's: its value need not fall.
    """

    without: tuple[str, ...]
    unread: tuple[str, ...]
    share: float
    redrawn: tuple[str, ...]
    symmetric: tuple[str, ...] = ()
    opposed: tuple[str, ...] = ()
    rise: float = 1.0


def measure_gradient_flow(evidence: "Evidence", budget: Budget) -> GradientFlow | Skipped:
    """The leaves that no gradient reaches at the point, nor at the end of the run."""
    setting, run = evidence.setting, evidence.run
    if setting.problem.data is None:
        return Skipped("the problem has no data", applies=False)
    frozen = setting.problem.freeze()
    points = [(frozen, setting.params)]
    if run is not None and not run.diverged:
        points.append((setting.problem.freeze(run.model_state), run.params))
    if not budget.allows_aside("gradient_flow", len(points) * GRADIENT):
        return budget.skipped["gradient_flow"]
    zero = np.all([_zero_leaves(problem, params) for problem, params in points], axis=0)
    inputs = evidence.part("data.inputs")
    if zero.any() and inputs is not None and inputs.unnormalized:
        zero &= _zero_leaves(standardized(frozen), setting.params)
        budget.aside += GRADIENT
    leaves, paths = jax.tree.leaves(setting.params), vectors.parameter_paths(setting.params)
    batch = jax.tree.map(lambda leaf: leaf[: min(len(leaf), 4)], setting.problem.data)
    loss = as_partial(frozen.loss)
    program = lay_out(lambda params, batch: loss(params, batch, None), setting.params, batch, open_derivatives=False)
    read = ancestors(program, program.outputs[0])
    sizes = np.array([leaf.size for leaf in leaves], float)
    is_large = sizes >= LEAST_SHARE * sizes.sum()
    without = [k for k, leaf in enumerate(leaves) if zero[k] and (np.ndim(leaf) > 1 or is_large[k] or zero.all())]
    moved = np.array([bool(np.any(leaf)) for leaf in jax.tree.leaves(points[-1][1])])
    same = ~zero & moved & np.all([_symmetric_leaves(params) for _, params in points], axis=0) & (len(points) > 1)
    return GradientFlow(
        tuple(paths[k] for k in without),
        tuple(paths[k] for k in without if program.inputs[k] not in read),
        float(sizes[zero].sum() / max(sizes.sum(), 1)),
        redrawn_weights(program, len(leaves)),
        tuple(paths[k] for k in np.flatnonzero(same)),
        tuple(paths[k] for k in _opposed(frozen, setting.params, budget)) if _brings_rules(program) else (),
        _rise(frozen, setting.params, budget) if _holds_back(program, len(leaves), read) else 1.0,
    )


def _zero_leaves(problem: Any, params: Any) -> np.ndarray:
    _, gradient = value_and_gradient(as_partial(problem.loss), params, problem.data)
    leaves = jax.tree.leaves(gradient)
    return np.array([leaf.size > 0 for leaf in leaves]) & ~np.array(_any_nonzero(leaves), bool)


def _symmetric_leaves(params: Any) -> np.ndarray:
    """Whether each leaf has rows or columns, all of them the same."""

    def is_same(leaf: np.ndarray, axis: int) -> bool:
        return leaf.shape[axis] > 1 and float(np.ptp(leaf, axis).max()) <= _EQUAL * float(np.abs(leaf).max())

    leaves = map(np.asarray, jax.tree.leaves(params))
    return np.array([leaf.ndim > 1 and leaf.size > 0 and (is_same(leaf, 0) or is_same(leaf, -1)) for leaf in leaves])


def _brings_rules(program: Program) -> bool:
    """Whether a derivative rule for the way back stands in a program."""
    return any(operation.equation.primitive.name.startswith("custom_vjp") for operation in program.operations)


def _holds_back(program: Program, num_params: int, read: set[int]) -> bool:
    """Whether what the loss reads of the parameters is held back from the gradient somewhere."""
    params = set(program.inputs[:num_params])
    held = [each for each in program.operations if each.name == "stop_gradient" and read & set(each.outputs)]
    return any(params & ancestors(program, number) for each in held for number in each.inputs)


def _opposed(problem: Problem, params: Any, budget: Budget) -> list[int]:
    """The leaves along whose gradient the loss falls, by a tenth of what it should rise, of the largest ones."""
    loss = as_partial(problem.loss)
    _, gradient = value_and_gradient(loss, params, problem.data)
    norms = np.array([float(vectors.norm(leaf)) for leaf in jax.tree.leaves(gradient)])
    places = np.argsort(-norms)[:_MOST_CHECKED]
    budget.aside += 2 * len(places) * LOSS
    alone = np.eye(len(norms), dtype=bool)
    return [
        place for place in places.tolist() if _risen(loss, params, gradient, problem.data, alone[place]) < -_OPPOSED
    ]


def _rise(problem: Problem, params: Any, budget: Budget) -> float:
    """What the loss rises along its gradient, over what the gradient tells."""
    loss = as_partial(problem.loss)
    _, gradient = value_and_gradient(loss, params, problem.data)
    budget.aside += GRADIENT + 2 * LOSS
    return _risen(loss, params, gradient, problem.data, np.ones(len(jax.tree.leaves(params)), bool))


def _risen(loss: Any, params: Any, gradient: Any, data: Any, chosen: np.ndarray) -> float:
    """Of the chosen leaves; 1 where the difference is the loss's rounding or the gradient zero."""
    ahead, behind, said = map(float, _around(loss, params, gradient, data, chosen))
    is_seen = abs(ahead - behind) > _ROUNDINGS * float(jnp.finfo(jnp.float32).eps) * max(abs(ahead), abs(behind))
    return (ahead - behind) / said if said > 0 and is_seen else 1.0


@jax.jit
def _around(loss: Any, params: Any, gradient: Any, data: Any, chosen: jax.Array) -> tuple[jax.Array, ...]:
    """The losses a hundredth of the leaves' size ahead and behind along the gradient, and what it tells of them."""
    leaves, structure = jax.tree.flatten(params)
    slopes = [jnp.where(take, slope, 0) for take, slope in zip(chosen, jax.tree.leaves(gradient), strict=True)]
    size = vectors.norm([jnp.where(take, leaf, 0) for take, leaf in zip(chosen, leaves, strict=True)])
    norm = vectors.norm(slopes)
    step = _REACH * jnp.maximum(size, 1.0) / jnp.where(norm > 0, norm, 1.0)

    def at(side: int) -> jax.Array:
        moved = [leaf + (side * step * slope).astype(leaf.dtype) for leaf, slope in zip(leaves, slopes, strict=True)]
        return jnp.asarray(loss(structure.unflatten(moved), data, None), jnp.float32)

    return at(1), at(-1), 2 * step * jnp.square(norm)


@jax.jit
def _any_nonzero(leaves: list[jax.Array]) -> list[jax.Array]:
    return [jnp.any(leaf != 0) for leaf in leaves]
