"""The loss of the best constant output: what a network earns by knowing nothing of its inputs.

For C equally frequent classes and cross-entropy it is ln C; for squared errors, half the variance of the targets.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxopt_lab.core import Problem, as_partial

_MOST_OUTPUTS = 256
_NEWTON_STEPS = 20
_RIDGE = 1e-4


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

    criterion = as_partial(form.criterion)
    constant = jnp.zeros(output.shape[-1], jnp.promote_types(output.dtype, jnp.float32))
    value = jnp.inf
    for _ in range(_NEWTON_STEPS):
        constant, value = _newton_step(criterion, output.shape, output.dtype, constant, problem.data)
    classes = output.shape[-1] if form.family == "categorical" else 2 if form.family == "bernoulli" else None
    return float(value), classes


@partial(jax.jit, static_argnums=(1, 2))
def _newton_step(
    criterion: Any, shape: tuple[int, ...], dtype: Any, constant: jax.Array, data: Any
) -> tuple[jax.Array, jax.Array]:
    """The next constant, and the loss at this one."""

    def loss(z: jax.Array) -> jax.Array:
        return criterion(jnp.broadcast_to(z, shape).astype(dtype), data)

    value, slope = jax.value_and_grad(loss)(constant)
    return constant - jnp.linalg.solve(jax.hessian(loss)(constant) + _RIDGE * jnp.eye(constant.size), slope), value
