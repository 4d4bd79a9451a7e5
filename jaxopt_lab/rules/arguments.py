"""What every rule does with its arguments: check the numbers, evaluate the schedules, ask for what is missing."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxopt_lab.core import fail
from jaxopt_lab.core.errors import require_between, require_positive

LearningRate = optax.ScalarOrSchedule


def require_learning_rate(rule: str, learning_rate: LearningRate) -> None:
    """Raises unless a concrete learning rate is positive and finite; schedules and traced values pass."""
    if not callable(learning_rate):
        require_positive(rule, "learning_rate", learning_rate, "A step against the gradient needs a positive rate.")


def require_rho(rule: str, rho: float | jax.Array, name: str = "rho") -> None:
    """Raises unless a concrete momentum constant is in [0, 1)."""
    require_between(rule, name, rho, 0, 1, ends="[)", why=f"With {name} >= 1 the velocity never forgets a gradient.")


def require_curvature_bounds(rule: str, smoothness: float | jax.Array, strong_convexity: float | jax.Array) -> None:
    """Raises unless concrete bounds satisfy 0 < strong_convexity <= smoothness."""
    why = "They are the largest and the smallest eigenvalue of the Hessian."
    require_positive(rule, "smoothness", smoothness, why)
    require_positive(rule, "strong_convexity", strong_convexity, why)
    require_between(rule, "strong_convexity / smoothness", strong_convexity / smoothness, 0, 1, why=why)


def rate_at(learning_rate: LearningRate, count: jax.Array) -> Any:
    """The learning rate at step `count`: a schedule's value, or the number itself."""
    return learning_rate(count) if callable(learning_rate) else learning_rate


def next_count(count: jax.Array, more: jax.typing.ArrayLike = 1) -> jax.Array:
    """The count after `more` >= 0 further events; it stays at its largest value instead of overflowing."""
    more = jnp.asarray(more, count.dtype)
    return jnp.minimum(count, jnp.iinfo(count.dtype).max - more) + more


def require_rule(where: str, inner: Any) -> optax.GradientTransformationExtraArgs:
    """Returns the rule that another one wraps, fit to take extra inputs; raises where it is no rule."""
    if not isinstance(inner, optax.GradientTransformation):
        raise fail(where, f"inner must be an optax.GradientTransformation, got {inner!r}", "Example: sgd(0.1).")
    return optax.with_extra_args_support(inner)


def required(rule: str, name: str, value: Any) -> Any:
    """Returns `value`, or raises when the caller of `update` did not pass it."""
    if value is None:
        raise fail(
            rule,
            f"update needs {name}",
            f"Call update(grads, state, params, {name}=...); the engine passes it by itself.",
        )
    return value
