"""Where the gradient arrives: which parameters it reaches, and which weights of the program are no parameters at all."""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import vectors
from jaxopt_lab.core.problem import as_partial
from jaxopt_lab.diagnosis.budget import GRADIENT, Budget, Skipped
from jaxopt_lab.diagnosis.data_changes import standardized
from jaxopt_lab.diagnosis.gradient_noise import value_and_gradient
from jaxopt_lab.tracing.jaxprs import ancestors, lay_out
from jaxopt_lab.tracing.randomness import redrawn_weights

if TYPE_CHECKING:
    from jaxopt_lab.diagnosis.evidence import Evidence

LEAST_SHARE = 0.01
_EQUAL = 1e-5


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
      symmetric: paths of the leaves of two or more axes, with a gradient, whose numbers along the last axis are all the
        same before and after the short run.
    """

    without: tuple[str, ...]
    unread: tuple[str, ...]
    share: float
    redrawn: tuple[str, ...]
    symmetric: tuple[str, ...] = ()


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
    same = ~zero & np.all([_symmetric_leaves(params) for _, params in points], axis=0) & (len(points) > 1)
    return GradientFlow(
        tuple(paths[k] for k in without),
        tuple(paths[k] for k in without if program.inputs[k] not in read),
        float(sizes[zero].sum() / max(sizes.sum(), 1)),
        redrawn_weights(program, len(leaves)),
        tuple(paths[k] for k in np.flatnonzero(same)),
    )


def _zero_leaves(problem: Any, params: Any) -> np.ndarray:
    _, gradient = value_and_gradient(as_partial(problem.loss), params, problem.data)
    leaves = jax.tree.leaves(gradient)
    return np.array([leaf.size > 0 for leaf in leaves]) & ~np.array(_any_nonzero(leaves), bool)


def _symmetric_leaves(params: Any) -> np.ndarray:
    """Whether each leaf has columns, all of them the same and not zero."""
    found = []
    for leaf in map(np.asarray, jax.tree.leaves(params)):
        has_columns = leaf.ndim > 1 and leaf.shape[-1] > 1 and bool(np.any(leaf))
        found.append(has_columns and float(np.ptp(leaf, -1).max()) <= _EQUAL * float(np.abs(leaf).max()))
    return np.array(found, bool)


@jax.jit
def _any_nonzero(leaves: list[jax.Array]) -> list[jax.Array]:
    return [jnp.any(leaf != 0) for leaf in leaves]
