"""The sharpness along the update that a `Monitor` takes, and rules whose monitors take none."""

import contextvars
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxopt_lab.core import fail, vectors
from jaxopt_lab.core.errors import reason
from jaxopt_lab.curvature import derivatives, sharpness
from jaxopt_lab.rules.arguments import required

TAKES_SHARPNESS = contextvars.ContextVar("takes_sharpness", default=True)


@dataclasses.dataclass(frozen=True)
class WithoutSharpness:
    """An update that is traced while monitors take no sharpness; compared by the update, for what is compiled."""

    update: Callable[..., tuple[Any, Any]]

    def __call__(self, *args: Any, **extra: Any) -> tuple[Any, Any]:
        """The update and the state."""
        before = TAKES_SHARPNESS.set(False)
        try:
            return self.update(*args, **extra)
        finally:
            TAKES_SHARPNESS.reset(before)


def required_gradient(params: Any, extra: dict[str, Any]) -> Callable[[Any], Any]:
    """The `grad_fn` that a sharpness needs; raises where it or the parameters are not given."""
    required("Monitor", "params", params)
    return required("Monitor", "grad_fn", extra.get("grad_fn"))


def sharpness_along(grad_fn: Callable[[Any], Any], params: Any, updates: Any, like: jax.Array) -> jax.Array:
    """u'Hu / |u|^2 and -2 g'u / |u|^2, in the dtype of `like`; NaN for an update of zero."""
    point, update = jax.tree.map(vectors.widened, jax.lax.stop_gradient((params, updates)))
    direction = jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), sharpness.unit(update), point)
    slope = functools.partial(jax.jvp, grad_fn)
    try:
        derivatives.require_forward_rules(derivatives.program_of(slope, (point,), (direction,)))
        gradient, image = slope((point,), (direction,))
    except (TypeError, ValueError, NotImplementedError) as error:  # as JAX and its kernels say that there is none
        raise fail(
            "Monitor", f"grad_fn cannot be differentiated along the update {reason(error)}",
            "Leave sharpness_every out, or give the gradient of a loss that has a second derivative.",
        ) from error  # fmt: skip
    length = vectors.norm(update)
    found = jnp.stack([vectors.dot(direction, image), -2 * vectors.dot(gradient, direction) / length])
    return jnp.where(length > 0, found, jnp.nan).astype(like.dtype)
