"""Spectral steps: a rate read off from how the gradient changed along the last step.

With s = x - x_old and y = g - g_old, s'y / s's is a Rayleigh quotient of the Hessian averaged along the step,
so its inverse is a rate that fits the curvature just seen.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxopt_lab.core import fail, vectors
from jaxopt_lab.core.errors import is_concrete_number, require_choice, require_positive
from jaxopt_lab.rules.arguments import next_count, require_learning_rate, required


class BarzilaiBorweinState(NamedTuple):
    """State of `barzilai_borwein`: the number of updates, and the last point and gradient (pytrees)."""

    count: jax.Array
    params: Any
    grads: Any


def barzilai_borwein(
    learning_rate: float | jax.Array = 1e-3,
    variant: str = "long",
    minimum: float | jax.Array = 1e-10,
    maximum: float | jax.Array = 1e10,
) -> optax.GradientTransformationExtraArgs:
    """Gradient descent at the Barzilai-Borwein rate, for deterministic losses.

        long: lr = s's / s'y,   short: lr = s'y / y'y,   x <- x - lr g

    Where the curvature along the last step is not positive (s'y <= 0: a saddle, or no step at all), and at the first
    step, the rate is `learning_rate`. The loss need not fall at every step. Inner products are taken of scaled
    vectors, so that huge or tiny gradients neither overflow nor vanish.

    Args:
      learning_rate: the rate of the first step and of steps without positive curvature, > 0.
      variant: "long" or "short".
      minimum: lower bound of the rate, > 0.
      maximum: upper bound of the rate, > minimum.

    Returns:
      The rule; `update` needs `params`; its state holds two vectors.

    Raises:
      InputError: a concrete argument is out of its range, or `update` is called without params.

    Reference: Barzilai and Borwein, Two-point step size gradient methods, IMA J. Numerical Analysis 8, 1988, eq. 5-6.
    """
    require_learning_rate("barzilai_borwein", learning_rate)
    require_choice("barzilai_borwein", "variant", variant, ("long", "short"))
    require_positive("barzilai_borwein", "minimum", minimum)
    require_positive("barzilai_borwein", "maximum", maximum)
    if is_concrete_number(minimum) and is_concrete_number(maximum) and minimum >= maximum:
        raise fail("barzilai_borwein", f"minimum must be below maximum, got {minimum} and {maximum}")

    def init(params: Any) -> BarzilaiBorweinState:
        zeros = vectors.zeros_like
        return BarzilaiBorweinState(jnp.zeros((), jnp.int32), zeros(params), zeros(params))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, BarzilaiBorweinState]:
        del extra
        params = required("barzilai_borwein", "params", params)
        step, change = vectors.subtract(params, state.params), vectors.subtract(updates, state.grads)
        measured, curved = _rate(step, change, variant)
        usable = curved & (state.count > 0)
        rate = jnp.where(usable, jnp.clip(measured, minimum, maximum), learning_rate)
        seen, kept = (params, updates), (state.params, state.grads)
        kept = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), seen, kept)
        return vectors.combination((-rate, updates)), BarzilaiBorweinState(next_count(state.count), *kept)

    return optax.GradientTransformationExtraArgs(init, update)


def _rate(step: Any, change: Any, variant: str) -> tuple[jax.Array, jax.Array]:
    """The rate, and whether the curvature along the step is positive."""
    step_scale, change_scale = vectors.largest(step), vectors.largest(change)
    step, change = _divided(step, step_scale), _divided(change, change_scale)
    mixed = vectors.dot(step, change)
    if variant == "long":
        numerator, denominator = vectors.sum_of_squares(step), mixed
    else:
        numerator, denominator = mixed, vectors.sum_of_squares(change)
    curved = mixed > 0
    ratio = numerator / jnp.where(curved, denominator, 1)
    return ratio * (step_scale / jnp.where(change_scale > 0, change_scale, 1)), curved


def _divided(tree: Any, scale: jax.Array) -> Any:
    return jax.tree.map(lambda leaf: vectors.widened(leaf) / jnp.where(scale > 0, scale, 1), tree)
