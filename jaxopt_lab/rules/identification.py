"""The rule in use, told by what it does: learning rate, momentum and stability edge of any optax transformation.

A rule is fed one small gradient at the origin, in one entry of each leaf, so that clipping lets it pass, and then
zeros. What it answers is its impulse response h_0, h_1, h_2, ...

    gradient descent   -lr, 0, 0
    heavy ball         -lr, -lr rho, -lr rho^2
    Nesterov           -lr (1 + rho), -lr rho^2, -lr rho^3

A rule that answers twice the gradient with twice the step is one of these, or another linear filter; one that answers
with the same step divides by the gradient's size, as Adam and its family do.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab import theory
from jaxopt_lab.core.compilation import compiled

_SETTLED = 100
_LENGTH = 5
_CLOSE = 1e-3
_SMALL = 0.03


@dataclasses.dataclass(frozen=True)
class IdentifiedRule:
    """What is known of a rule from its steps.

    Attributes:
      kind: "gradient descent", "heavy ball" or "Nesterov"; "adaptive" for a rule of Adam's family; "linear" for another
        linear filter of the gradients; "unknown".
      learning_rate: of the first step; NaN where it is not known.
      rho: the momentum, 0 without.
      lookahead: as in `theory.stability.two_step_edge`: 0, or rho for Nesterov.
      effective_rate: the sum of the impulse response, lr / (1 - rho) for those named.
      weight_decay: the share of themselves by which it shrinks the parameters in a step without a gradient, once its
        momentum has come to rest.
    """

    kind: str
    learning_rate: float = float("nan")
    rho: float = 0.0
    lookahead: float = 0.0
    effective_rate: float = float("nan")
    weight_decay: float = 0.0

    @property
    def edge(self) -> float:
        """Largest stable learning rate times (preconditioned) eigenvalue; NaN where it is not known."""
        if self.kind in ("gradient descent", "heavy ball", "Nesterov"):
            return float(theory.stability.two_step_edge(self.rho, self.lookahead))
        return float(theory.stability.averaged_heavy_ball_edge(self.rho)) if self.kind == "adaptive" else float("nan")

    def relative_sharpness(self, curvature: float) -> float:
        """Learning rate times a (preconditioned) curvature over the edge; NaN where the edge is not known."""
        return self.learning_rate * curvature / self.edge

    def __str__(self) -> str:
        if not np.isfinite(self.learning_rate):
            return f"a rule of unknown form ({self.kind})"
        momentum = f", momentum {self.rho:.3g}" if self.rho else ""
        return f"{self.kind}, learning rate {self.learning_rate:.3g}{momentum}"


def identify(rule: optax.GradientTransformation, params: Any) -> IdentifiedRule:
    """Tells a rule by its impulse response.

    Args:
      rule: any optax transformation, at the beginning of its schedules.
      params: parameters of the structure that it is used on; their values do not matter.

    Returns:
      What is known. A rule that needs more than gradients and parameters, or whose first step is zero, as in a warm-up,
      is unknown. Cost: a few updates, no gradient.

    Example:
      >>> print(identify(optax.sgd(0.1, momentum=0.9, nesterov=True), jnp.ones(3)))
      Nesterov, learning rate 0.1, momentum 0.9
      >>> print(identify(optax.adam(0.003), jnp.ones(3)))
      adaptive, learning rate 0.003, momentum 0.9
    """
    return dataclasses.replace(_by_response(rule, params), weight_decay=weight_decay(rule, params))


def _by_response(rule: optax.GradientTransformation, params: Any) -> IdentifiedRule:
    try:
        single, double = (_response(rule, params, size) / _SMALL for size in (_SMALL, 2 * _SMALL))
        first_moment = _first_moment(rule, params)
    except (TypeError, ValueError):
        return IdentifiedRule("unknown")
    start = single[0]
    if not np.isfinite(single).all() or start >= 0:
        return IdentifiedRule("unknown")
    ratio = double[0] / start
    if abs(ratio - 1) < _CLOSE:
        rho, rate = first_moment or 0.0, -start * _SMALL
        return IdentifiedRule("adaptive", rate, rho, effective_rate=rate)
    if not np.allclose(double, 2 * single, rtol=_CLOSE, atol=_CLOSE * abs(start)):
        return IdentifiedRule("unknown")
    return _named(single)


def weight_decay(rule: optax.GradientTransformation, params: Any) -> float:
    """The share of themselves by which the rule shrinks the parameters in a step without a gradient.

    Args:
      rule: any optax transformation.
      params: parameters of the structure that it is used on.

    Returns:
      The share; 0 for a rule that needs more than gradients and parameters.

    Example:
      >>> round(weight_decay(optax.adamw(0.1, weight_decay=0.01), jnp.ones(3)), 6)
      0.001
    """
    try:
        means = compiled(_decays, (rule,), params)(params)
    except (TypeError, ValueError):
        return 0.0
    return float(-np.mean(np.asarray(means, np.float64))) + 0.0


def _decays(rule: optax.GradientTransformation, params: Any) -> jax.Array:
    """The mean of each leaf's hundredth step from ones without a gradient, when momentum has come to rest, [leaves]."""
    ones = jax.tree.map(lambda leaf: jnp.ones((min(leaf.size, 1),) * max(leaf.ndim, 1), leaf.dtype), params)
    ones = jax.tree.map(lambda one, leaf: one.reshape(()) if leaf.ndim == 0 else one, ones, params)
    zeros = jax.tree.map(jnp.zeros_like, ones)

    def step(carry: Any, _: None) -> tuple[Any, None]:
        updates, state = rule.update(zeros, carry[0], ones)
        return (state, jax.tree.map(lambda new, old: new.astype(old.dtype), updates, ones)), None

    (_, updates), _ = jax.lax.scan(step, (rule.init(ones), zeros), None, length=_SETTLED)
    return jnp.stack([jnp.mean(leaf).astype(float) for leaf in jax.tree.leaves(updates) if leaf.size])


def _named(response: np.ndarray) -> IdentifiedRule:
    """The two-step method with this impulse response."""
    shares = response / response[0]
    if np.abs(shares[1:]).max() < _CLOSE:
        return IdentifiedRule("gradient descent", -response[0], effective_rate=-response[0])
    rho = float(shares[2] / shares[1]) if abs(shares[1]) > _CLOSE else 0.0
    if 0 < rho < 1:
        for kind, lookahead in (("heavy ball", 0.0), ("Nesterov", rho)):
            rate = -response[0] / (1 + lookahead)
            expected = -rate * np.concatenate(
                [[1 + lookahead], (rho if not lookahead else rho**2) * rho ** np.arange(4)]
            )
            if np.allclose(response, expected[:_LENGTH], rtol=0, atol=_CLOSE * abs(response[0])):
                return IdentifiedRule(kind, float(rate), rho, lookahead, float(rate / (1 - rho)))
    return IdentifiedRule("linear")


def _response(rule: optax.GradientTransformation, params: Any, size: float) -> np.ndarray:
    """Mean over the leaves of the steps that answer `size` in the first entry of each, then 0, 0, ... [5]."""
    entries = compiled(_entries, (rule,), params)(params, size)
    return np.asarray(entries, np.float64).mean(1)


def _entries(rule: optax.GradientTransformation, params: Any, size: jax.Array) -> jax.Array:
    """The first entry of each leaf's steps, [5, leaves]."""
    origin = jax.tree.map(jnp.zeros_like, params)
    state, steps = rule.init(origin), []
    for place in range(_LENGTH):
        grads = jax.tree.map(lambda leaf, at=place: _first_entry(leaf, size if at == 0 else 0.0), origin)
        updates, state = rule.update(grads, state, origin)
        steps.append(jnp.stack([leaf.ravel()[0].astype(float) for leaf in jax.tree.leaves(updates) if leaf.size]))
    return jnp.stack(steps)


def _first_entry(leaf: jax.Array, value: Any) -> jax.Array:
    return leaf if not leaf.size else leaf.at[(0,) * leaf.ndim].set(value)


def _first_moment(rule: optax.GradientTransformation, params: Any) -> float | None:
    """The decay of a first moment that the state holds under Adam's name, or None."""
    moments = compiled(_first_moments, (rule,), params)(params)
    return float(1 - moments[0]) if moments else None


def _first_moments(rule: optax.GradientTransformation, params: Any) -> list[jax.Array]:
    """The mean of the first moment's first leaf after a step from ones; empty where the state holds none."""
    origin = jax.tree.map(jnp.zeros_like, params)
    _, state = rule.update(jax.tree.map(jnp.ones_like, origin), rule.init(origin), origin)
    found = optax.tree.get_all_with_path(state, "mu")
    return [jnp.mean(leaf) for leaf in jax.tree.leaves(found[0][1]) if leaf.size][:1] if found else []
