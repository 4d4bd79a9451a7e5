"""A problem in words: what `print(problem)` and `repr(problem)` say, without computing anything."""

from typing import Any

import jax

from jaxopt_lab.core import vectors
from jaxopt_lab.core.batches import Batches, first_batch
from jaxopt_lab.core.leaves import describe_tree

_TRUTHS = ("eigenvalues", "smoothness", "strong_convexity", "minimum", "minimizer", "index", "noise_variance")


def summary_line(problem: Any) -> str:
    """The problem in one line, as `Problem('quadratic', 100 numbers train)`."""
    parts = [repr(problem.name), _trained(problem)]
    if problem.frozen is not None:
        parts.append(f"{vectors.size(problem.frozen):,} frozen")
    if isinstance(problem.data, Batches):
        parts.append(f"batches of {problem.data.batch_size:,} examples")
    elif problem.num_examples is not None:
        parts.append(f"{problem.num_examples:,} examples")
    return f"Problem({', '.join(parts)})"


def summary(problem: Any) -> str:
    """The problem in at most ten lines: what trains, what is frozen, data, state, metrics, what is known."""
    lines = [f"{problem.name}: {_trained(problem)}"]
    if problem.frozen is not None:
        lines[0] += f", {vectors.size(problem.frozen):,} frozen"
    shapes = _shapes(problem)
    if shapes is not None:
        lines.append(f"  parameters   {describe_tree(shapes)}")
    for label, tree in (("frozen", problem.frozen), ("data", problem.data), ("validation", problem.validation)):
        if tree is not None:
            told = "batches of " if isinstance(tree, Batches) else ""
            lines.append(f"  {label:<12} {told}{describe_tree(first_batch(tree))}")
    if jax.tree.leaves(problem.model_state):
        lines.append(f"  model state  {describe_tree(problem.model_state)}, moved by the model itself")
    if problem.metrics:
        lines.append(f"  metrics      {', '.join(problem.metrics)}")
    if problem.composite is not None:
        family = problem.composite.family
        lines.append(f"  form         criterion(outputs, batch){f', {family}' if family else ''}")
    known = [name.replace("_", " ") for name in _TRUTHS if getattr(problem.truth, name) is not None]
    if known:
        lines.append(f"  known        {', '.join(known)}")
    return "\n".join(lines)


def _shapes(problem: Any) -> Any:
    """Shapes of the parameters; None for an initialization that cannot be traced."""
    try:
        return jax.eval_shape(problem.init, jax.random.key(0))
    except Exception:
        return None


def _trained(problem: Any) -> str:
    shapes = _shapes(problem)
    return "parameters unknown" if shapes is None else f"{vectors.size(shapes):,} numbers train"
