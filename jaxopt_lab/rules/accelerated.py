"""Accelerated rules: momentum whose constants come from bounds on the curvature, or from what the run itself shows.

With eigenvalues in [mu, L] and kappa = L / mu, plain descent contracts the error by about 1 - 2 / kappa a step, these
by about 1 - 1 / sqrt(kappa) to 1 - 2 / sqrt(kappa).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxopt_lab.core import vectors
from jaxopt_lab.core.errors import require_choice
from jaxopt_lab.rules.arguments import next_count, require_curvature_bounds, require_rule, required
from jaxopt_lab.rules.momentum import VelocityState


class ChebyshevState(NamedTuple):
    """State of `chebyshev`.

    Attributes:
      count: number of updates so far, int32 scalar.
      tau: the recursion's scalar, 0 before the first update.
      displacement: the last step, a pytree like the parameters.
    """

    count: jax.Array
    tau: jax.Array
    displacement: Any


class RestartState(NamedTuple):
    """State of `adaptive_restart`.

    Attributes:
      inner: the state of the inner rule.
      value: the last loss seen, used by the "function" scheme.
      num_restarts: restarts so far, int32 scalar.
    """

    inner: Any
    value: jax.Array
    num_restarts: jax.Array


def triple_momentum(
    smoothness: float | jax.Array, strong_convexity: float | jax.Array
) -> optax.GradientTransformationExtraArgs:
    """The triple momentum method, the fastest known for smooth strongly convex functions when L and mu are known.

        d' = b d - a g(y),   y <- y + (1 + c) d' - c d,   r = 1 - 1 / sqrt(kappa),
        a = (1 + r) / L,  b = r^2 / (2 - r),  c = r^2 / ((1 + r)(2 - r))

    The parameters are the point y at which the gradient is taken. The error shrinks by r a step.

    Args:
      smoothness: L > 0, the largest eigenvalue of the Hessian anywhere.
      strong_convexity: mu in (0, L], the smallest.

    Returns:
      The rule; its state holds one vector.

    Raises:
      InputError: a concrete argument is out of its range.

    Reference: Van Scoy, Freeman and Lynch, The fastest known globally convergent first-order method for minimizing
    strongly convex functions, IEEE Control Systems Letters 2(1), 2018.
    """
    require_curvature_bounds("triple_momentum", smoothness, strong_convexity)

    def init(params: Any) -> VelocityState:
        return VelocityState(jnp.zeros((), jnp.int32), vectors.zeros_like(params))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, VelocityState]:
        del params, extra
        rate = 1.0 - jnp.sqrt(strong_convexity / smoothness)
        a, b, c = (1.0 + rate) / smoothness, rate**2 / (2.0 - rate), rate**2 / ((1.0 + rate) * (2.0 - rate))
        displacement = vectors.combination((b, state.velocity), (-a, updates))
        # -c d = -(d' + a g) / (1 + r): without the old velocity, the new one may take its place in memory
        updates = vectors.combination((-1.0 / smoothness, updates), (1.0 + c - 1.0 / (1.0 + rate), displacement))
        return updates, VelocityState(next_count(state.count), displacement)

    return optax.GradientTransformationExtraArgs(init, update)


def chebyshev(
    smoothness: float | jax.Array, strong_convexity: float | jax.Array
) -> optax.GradientTransformationExtraArgs:
    """Chebyshev semi-iteration: no rule that knows only [mu, L] does better on a quadratic, at any number of steps.

        t' = 1 / (2 m - h^2 t),   d <- h^2 t' t d - 2 t' g,   x <- x + d,   m = (L + mu) / 2,  h = (L - mu) / 2

    from t = 1 / m and d = -g / m. `heavy_ball` with its optimal constants is its limit for many steps.

    Args:
      smoothness: L > 0, the largest eigenvalue of the Hessian.
      strong_convexity: mu in (0, L], the smallest.

    Returns:
      The rule; its state holds one vector. Steps depend on their number, so `update` must see every step from the
      first.

    Raises:
      InputError: a concrete argument is out of its range.

    Reference: Golub and Varga, Chebyshev semi-iterative methods, 1961; Saad, Iterative methods for sparse linear
    systems, 2003, algorithm 12.1.
    """
    require_curvature_bounds("chebyshev", smoothness, strong_convexity)

    def init(params: Any) -> ChebyshevState:
        return ChebyshevState(jnp.zeros((), jnp.int32), jnp.zeros((), float), vectors.zeros_like(params))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, ChebyshevState]:
        del params, extra
        mean = (smoothness + strong_convexity) / 2.0
        half_squared = jnp.square((smoothness - strong_convexity) / 2.0)
        first = state.count == 0
        tau = jnp.where(first, 1.0 / mean, 1.0 / (2.0 * mean - half_squared * state.tau))
        step = jnp.where(first, tau, 2.0 * tau)
        displacement = vectors.combination((half_squared * tau * state.tau, state.displacement), (-step, updates))
        tau = tau.astype(state.tau.dtype)
        return displacement, ChebyshevState(next_count(state.count), tau, displacement)

    return optax.GradientTransformationExtraArgs(init, update)


def adaptive_restart(
    inner: optax.GradientTransformation, scheme: str = "gradient"
) -> optax.GradientTransformationExtraArgs:
    """Forgets the momentum of `inner` whenever it works against the descent, and takes that step again from rest.

    "gradient": the step that inner proposes has a positive inner product with the gradient. "function": the loss has
    risen since the last step. A restart gives inner its initial state back, a schedule's count included.

    Args:
      inner: a rule with momentum, of this package or of optax.
      scheme: "gradient" or "function"; the latter needs `value` at each update.

    Returns:
      The rule; `update` needs `params`. Its state is that of inner and two scalars. Cost: a second inner update at a
      restart only, unless vmapped.

    Raises:
      InputError: an unknown scheme, or `update` is called without params, or without value for the "function" scheme.

    Reference: O'Donoghue and Candes, Adaptive restart for accelerated gradient schemes, 2015, section 3.2.
    """
    require_choice("adaptive_restart", "scheme", scheme, ("gradient", "function"))
    inner = require_rule("adaptive_restart", inner)

    def init(params: Any) -> RestartState:
        real = jnp.zeros((), float).dtype
        return RestartState(inner.init(params), jnp.full((), jnp.finfo(real).max, real), jnp.zeros((), jnp.int32))

    def update(
        updates: Any, state: Any, params: Any = None, *, value: jax.Array | None = None, **extra: Any
    ) -> tuple[Any, RestartState]:
        params = required("adaptive_restart", "params", params)
        proposal = inner.update(updates, state.inner, params, value=value, **extra)
        if scheme == "gradient":
            uphill = vectors.dot(updates, proposal[0]) > 0
        else:
            uphill = required("adaptive_restart", "value", value) > state.value

        def from_rest() -> tuple[Any, Any]:
            fresh = inner.update(updates, inner.init(params), params, value=value, **extra)
            return jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), fresh, proposal)

        chosen, inner_state = jax.lax.cond(uphill, from_rest, lambda: proposal)
        last = state.value if value is None else jnp.asarray(value, state.value.dtype)
        return chosen, RestartState(inner_state, last, next_count(state.num_restarts, uphill))

    return optax.GradientTransformationExtraArgs(init, update)
