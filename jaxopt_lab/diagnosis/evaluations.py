"""Losses and gradients of a problem's expected loss, compiled once for each loss and shape."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab import training
from jaxopt_lab.core import Problem, as_partial, vectors


@jax.jit
def value_and_gradient(loss: Any, params: Any, data: Any) -> Any:
    """The expected loss and its gradient."""
    return jax.value_and_grad(loss)(params, data, None)


@jax.jit
def sample_gradient(loss: Any, params: Any, data: Any, key: jax.Array) -> Any:
    """The gradient of one draw of the loss's own randomness."""
    return jax.grad(loss)(params, data, key)


@jax.jit
def value(loss: Any, params: Any, data: Any) -> jax.Array:
    """The expected loss."""
    return jnp.asarray(loss(params, data, None))


def knowing_nothing(problem: Problem, params: Any) -> tuple[float | None, int | None]:
    """The loss of the best constant output, and the number of classes.

    Where the outputs are not known, the loss with all parameters zero; None without data.
    """
    loss, num_classes = training.constant_loss(problem)
    if loss is not None or problem.data is None:
        return loss, num_classes
    zero = float(value(as_partial(problem.freeze().loss), vectors.zeros_like(params), problem.data))
    return (zero if np.isfinite(zero) else None), None


def share_of_data(problem: Problem, batch_size: int | None) -> float:
    """Cost of one step on so many examples."""
    num = problem.num_examples
    return 1.0 if num is None or batch_size is None else min(batch_size, num) / num
