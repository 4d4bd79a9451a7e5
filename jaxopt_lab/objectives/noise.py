"""Additive noise oracles: a known noise on every gradient, put into the loss as a random tilt.

f(x, key) = f(x) + <xi(key), x>,   so that   grad f(x, key) = grad f(x) + xi
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Problem, fail
from jaxopt_lab.core.errors import require_between, require_choice, require_positive
from jaxopt_lab.core.problem import as_partial

KINDS = ("uniform", "gaussian", "heavy-tailed")


@dataclasses.dataclass(frozen=True)
class _TiltedLoss:
    kind: str
    degrees: float

    def __call__(self, loss: Any, scale: jax.Array, params: Any, batch: Any, key: jax.Array | None) -> jax.Array:
        if key is None:
            return loss(params, batch, None)
        loss_key, noise_key = jax.random.split(key)
        leaves = jax.tree.leaves(params)
        keys = jax.random.split(noise_key, max(len(leaves), 1))
        tilts = [jnp.sum(self.draw(k, leaf) * leaf) for k, leaf in zip(keys, leaves, strict=False)]
        return loss(params, batch, loss_key) + scale * sum(tilts)

    def draw(self, key: jax.Array, leaf: jax.Array) -> jax.Array:
        if self.kind == "uniform":
            return jax.random.uniform(key, leaf.shape, leaf.dtype, -1.0, 1.0)
        if self.kind == "gaussian":
            return jax.random.normal(key, leaf.shape, leaf.dtype)
        return jax.random.t(key, self.degrees, leaf.shape, leaf.dtype)


def with_noise(problem: Problem, kind: str = "uniform", scale: float = 1.0, degrees: float = 3.0) -> Problem:
    """The same problem with independent noise on every entry of every gradient.

    Args:
      problem: any problem with real floating parameters.
      kind: "uniform" on [-scale, scale] (the lecture's), "gaussian" with standard deviation scale, or "heavy-tailed",
        scale times a Student t of `degrees` degrees of freedom.
      scale: size of the noise, > 0.
      degrees: degrees of freedom of the heavy-tailed noise, > 1; its variance is infinite up to 2.

    Returns:
      The noisy problem; its expected loss (without a key) is that of `problem`; `truth.noise_variance` is set.

    Raises:
      InputError: an unknown kind, or a number out of its range.

    Example:
      >>> from jaxopt_lab import objectives
      >>> with_noise(objectives.quadratic([1.0]), "uniform", 3.0).truth.noise_variance
      3.0
    """
    require_choice("with_noise", "kind", kind, KINDS)
    require_positive("with_noise", "scale", scale)
    require_between("with_noise", "degrees", degrees, 1, np.inf, ends="(]", why="Below, the noise has no mean.")
    shapes = jax.eval_shape(problem.init, jax.random.key(0))
    if any(not jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(shapes)):
        raise fail("with_noise", "the parameters must be real floating arrays", "Wrap complex leaves as two real ones.")
    spread = {
        "uniform": 1 / 3,
        "gaussian": 1.0,
        "heavy-tailed": degrees / (degrees - 2) if degrees > 2 else np.inf,
    }[kind]
    return dataclasses.replace(
        problem,
        loss=jax.tree_util.Partial(
            _TiltedLoss(kind, float(degrees)), as_partial(problem.loss), jnp.asarray(scale, float)
        ),
        truth=dataclasses.replace(problem.truth, noise_variance=scale**2 * spread),
        separable=None,
        name=f"{problem.name}-{kind}-noise",
    )
