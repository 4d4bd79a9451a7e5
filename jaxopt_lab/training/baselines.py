"""The loss of the best constant output: what a network reaches knowing nothing of its inputs.

For C equally frequent classes and cross-entropy it is ln C; for squared errors, half the variance of the targets.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Problem
from jaxopt_lab.core.problem import as_partial

_MOST_OUTPUTS = 256
_NEWTON_STEPS = 20
_RIDGE = 1e-4
_RAREST, _FLAT, _DONE = 1e-7, 1e-3, 1e-8


def constant_loss(problem: Problem) -> tuple[float | None, int | None]:
    """The loss of the best constant output and, for a classifier, its number of classes.

    Args:
      problem: one whose loss has the form criterion(outputs(params, batch), batch).

    Returns:
      (loss, classes); (None, None) where the form is not known or has more than 256 outputs.

    Example:
      >>> import jaxopt_lab as lab
      >>> loss, classes = constant_loss(lab.load_problem("digits-mlp", width=4, depth=1))
      >>> f"{loss:.3f}", classes  # ln 10 = 2.303
      ('2.301', 10)
    """
    if problem.composite is None or problem.data is None:
        return None, None
    form = problem.composite
    shape = jax.eval_shape(
        lambda key, data: form.outputs(problem.init(key), data), jax.random.key(0), problem.data
    )  # fmt: skip
    outputs = jax.tree.leaves(shape)
    if len(outputs) != 1 or not outputs[0].shape or outputs[0].shape[-1] > _MOST_OUTPUTS:
        return None, None
    (output,) = outputs

    evaluate = partial(_evaluate, as_partial(form.criterion), output.shape, output.dtype, data=problem.data)
    classes = output.shape[-1] if form.family == "categorical" else 2 if form.family == "bernoulli" else None
    constant = jnp.zeros(output.shape[-1], jnp.promote_types(output.dtype, jnp.float32))
    value, slope = evaluate(constant)
    if form.family == "categorical":  # the slope is softmax minus the frequencies, at zero 1 / C minus them
        constant = jnp.log(jnp.maximum(1 / constant.size - slope, _RAREST))
        value, slope = evaluate(constant)
        if jnp.abs(slope).max() < _FLAT / constant.size:
            return float(value), classes
    for _ in range(_NEWTON_STEPS):
        step = jnp.linalg.solve(evaluate(constant, bent=True) + _RIDGE * jnp.eye(constant.size), slope)
        constant, fall = constant - step, 0.5 * float(step @ slope)
        value, slope = evaluate(constant)
        if fall <= _DONE * abs(float(value)):
            break
    return float(value), classes


def loss_reach(problem: Problem, seed: int = 0) -> float:
    """How large the loss is where nothing is learned: of the best constant output, and at the problem's own start.

    Args:
      problem: what is minimized.
      seed: of the start, as `run` takes it.

    Returns:
      The larger magnitude; 0 where neither is finite. Cost: a few evaluations of the loss.
    """
    start = problem.full_loss(problem.init(jax.random.fold_in(jax.random.key(seed), 0)))
    known = [abs(float(start)), abs(constant_loss(problem)[0] or 0.0)]
    return max((each for each in known if np.isfinite(each)), default=0.0)


@partial(jax.jit, static_argnames=("shape", "dtype", "bent"))
def _evaluate(
    criterion: Any, shape: tuple[int, ...], dtype: Any, constant: jax.Array, *, data: Any, bent: bool = False
) -> Any:
    """Loss and slope at a constant output, or with `bent` the Hessian there."""

    def loss(z: jax.Array) -> jax.Array:
        return criterion(jnp.broadcast_to(z, shape).astype(dtype), data)

    return jax.hessian(loss)(constant) if bent else jax.value_and_grad(loss)(constant)
