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
      weight_decay: the share of themselves by which it shrinks the parameters in a step without a gradient.
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
    ones = jax.tree.map(jnp.ones_like, params)
    try:
        updates, _ = rule.update(jax.tree.map(jnp.zeros_like, params), rule.init(ones), ones)
    except (TypeError, ValueError):
        return 0.0
    return float(-np.mean([float(jnp.mean(leaf)) for leaf in jax.tree.leaves(updates) if leaf.size])) + 0.0


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
    origin = jax.tree.map(jnp.zeros_like, params)
    state, steps = rule.init(origin), []
    for place in range(_LENGTH):
        grads = jax.tree.map(lambda leaf, at=place: _first_entry(leaf, size if at == 0 else 0.0), origin)
        updates, state = rule.update(grads, state, origin)
        entries = [leaf.ravel()[0] for leaf in jax.tree.leaves(updates) if leaf.size]
        steps.append(np.mean([np.asarray(entry, np.float64) for entry in entries]))
    return np.array(steps)


def _first_entry(leaf: jax.Array, value: float) -> jax.Array:
    return leaf if not leaf.size else leaf.at[(0,) * leaf.ndim].set(value)


def _first_moment(rule: optax.GradientTransformation, params: Any) -> float | None:
    """The decay of a first moment that the state holds under Adam's name, or None."""
    origin = jax.tree.map(jnp.zeros_like, params)
    ones = jax.tree.map(jnp.ones_like, origin)
    _, state = rule.update(ones, rule.init(origin), origin)
    found = optax.tree.get_all_with_path(state, "mu")
    leaves = [leaf for leaf in jax.tree.leaves(found[0][1]) if leaf.size] if found else []
    return None if not leaves else float(1 - jnp.mean(leaves[0]))
