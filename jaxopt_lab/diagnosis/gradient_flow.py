"""Which parameters the loss's gradient reaches, and which weights of the program are no parameters at all."""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxopt_lab.core import vectors
from jaxopt_lab.core.problem import as_partial
from jaxopt_lab.diagnosis.budget import GRADIENT, Budget, Skipped
from jaxopt_lab.diagnosis.gradient_noise import value_and_gradient
from jaxopt_lab.tracing.jaxprs import LAYERS, Program, ancestors, is_number, lay_out, line_of

if TYPE_CHECKING:
    from jaxopt_lab.diagnosis.evidence import Evidence


@dataclasses.dataclass(frozen=True)
class GradientFlow:
    """Where the gradient arrives.

    Attributes:
      without: paths of the leaves of two or more axes whose gradient is exactly zero for all data, before and after the
        short run.
      unread: those of them that the loss does not read.
      share: numbers in them, and in all leaves without a gradient, over all.
      redrawn: `file:line` of products with a weight that is drawn anew in each call.
    """

    without: tuple[str, ...]
    unread: tuple[str, ...]
    share: float
    redrawn: tuple[str, ...]


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
    leaves, paths = jax.tree.leaves(setting.params), vectors.parameter_paths(setting.params)
    batch = jax.tree.map(lambda leaf: leaf[: min(len(leaf), 4)], setting.problem.data)
    loss = as_partial(frozen.loss)
    program = lay_out(lambda params, batch: loss(params, batch, None), setting.params, batch, open_derivatives=False)
    read = ancestors(program, program.outputs[0])
    sizes = np.array([leaf.size for leaf in leaves], float)
    matrices = [k for k, leaf in enumerate(leaves) if zero[k] and (np.ndim(leaf) > 1 or zero.all())]
    return GradientFlow(
        tuple(paths[k] for k in matrices),
        tuple(paths[k] for k in matrices if program.inputs[k] not in read),
        float(sizes[zero].sum() / max(sizes.sum(), 1)),
        _redrawn(program, len(leaves)),
    )


def _zero_leaves(problem: Any, params: Any) -> np.ndarray:
    _, gradient = value_and_gradient(as_partial(problem.loss), params, problem.data)
    return np.array([leaf.size > 0 and not bool((leaf != 0).any()) for leaf in jax.tree.leaves(gradient)])


def _redrawn(program: Program, num_leaves: int) -> tuple[str, ...]:
    """Products of data with what comes from a generator of random numbers and from no parameter."""
    own = set(program.inputs[:num_leaves])
    batch, drawn = set(program.inputs[num_leaves:]), set()
    lines = []
    for operation in program.operations:
        numbers = set(filter(is_number, operation.inputs))
        if numbers & own:
            own |= set(operation.outputs)
        if operation.name in LAYERS:
            for weight, data in (operation.inputs, operation.inputs[::-1]):
                if weight in drawn - own - batch and data in batch | own:
                    lines.append(line_of(operation))
        if numbers & batch:
            batch |= set(operation.outputs)
        if operation.name.startswith(("random_", "threefry")) or numbers & drawn:
            drawn |= set(operation.outputs)
    return tuple(dict.fromkeys(lines))
