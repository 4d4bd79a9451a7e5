"""Momentum: rules that step along a velocity, a decaying sum of the gradients seen so far.

    v <- rho v + g,   x <- x - lr v

With a constant gradient the velocity grows to g / (1 - rho), so a rule with momentum takes steps as long as those of
plain descent at the effective rate lr / (1 - rho).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab.core import fail, vectors
from jaxopt_lab.core.errors import require_between
from jaxopt_lab.rules.arguments import (
    LearningRate,
    next_count,
    rate_at,
    require_learning_rate,
    require_rho,
    required,
)


class VelocityState(NamedTuple):
    """State of a rule with one velocity.

    Attributes:
      count: number of updates so far, int32 scalar.
      velocity: a pytree like the parameters.
    """

    count: jax.Array
    velocity: Any


class VelocitiesState(NamedTuple):
    """State of a rule with several velocities: `count`, and one pytree like the parameters for each."""

    count: jax.Array
    velocities: tuple[Any, ...]


def sgd(learning_rate: LearningRate) -> optax.GradientTransformationExtraArgs:
    """Gradient descent: x <- x - lr g.

    Args:
      learning_rate: lr > 0, a number, a traced scalar or a schedule step -> rate.

    Returns:
      The rule; its state is empty but for the schedule's count.

    Raises:
      InputError: learning_rate is a number and not positive.

    Reference: Robbins and Monro, A stochastic approximation method, 1951.
    """
    require_learning_rate("sgd", learning_rate)
    return optax.with_extra_args_support(optax.sgd(learning_rate))


def heavy_ball(learning_rate: LearningRate, rho: float | jax.Array = 0.9) -> optax.GradientTransformationExtraArgs:
    """Momentum in the lecture's form: v <- rho v + g, x <- x - lr v, from v = 0.

    The rate stands outside of the velocity: a schedule acts on all of it at once, as in `optax.sgd(momentum=...)`,
    whose iterates these are. Unlike it, this rule keeps the dtypes of its state when rho is traced.

    Args:
      learning_rate: lr > 0, a number, a traced scalar or a schedule step -> rate.
      rho: fraction of the velocity that is kept each step, in [0, 1); 0 gives `sgd`.

    Returns:
      The rule; its state holds one vector.

    Raises:
      InputError: a concrete argument is out of its range.

    Reference: Polyak, Some methods of speeding up the convergence of iteration methods, 1964.
    """
    require_learning_rate("heavy_ball", learning_rate)
    require_rho("heavy_ball", rho)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, VelocityState]:
        del params, extra
        velocity = vectors.combination((rho, state.velocity), (1.0, updates))
        updates = vectors.combination((-rate_at(learning_rate, state.count), velocity))
        return updates, _advanced(state, velocity)

    return optax.GradientTransformationExtraArgs(_at_rest, update)


def nesterov(learning_rate: LearningRate, rho: float | jax.Array = 0.9) -> optax.GradientTransformationExtraArgs:
    """Nesterov momentum after the change of variables, loss and gradient at one point.

        v' = rho v - lr g(x),   x <- x + v' + rho (v' - v)  =  x + rho v' - lr g(x)

    The parameters are the lookahead point of `nesterov_lookahead`. The rate stands inside of the velocity: for a
    constant rate the iterates are those of `optax.sgd(nesterov=True)`; after a change of the rate they differ, because
    there the old velocity is rescaled and here it is not.

    Args:
      learning_rate: lr > 0, a number, a traced scalar or a schedule step -> rate.
      rho: fraction of the velocity that is kept each step, in [0, 1); 0 gives `sgd`.

    Returns:
      The rule; its state holds one vector.

    Raises:
      InputError: a concrete argument is out of its range.

    Reference: Nesterov, A method of solving a convex programming problem with convergence rate O(1/k^2), 1983; the
    change of variables: Bengio, Boulanger-Lewandowski and Pascanu, Advances in optimizing recurrent networks, 2013,
    eq. 7.
    """
    require_learning_rate("nesterov", learning_rate)
    require_rho("nesterov", rho)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, VelocityState]:
        del params, extra
        rate = rate_at(learning_rate, state.count)
        velocity = vectors.combination((rho, state.velocity), (-rate, updates))
        # the second form of the formula: without the old velocity, the new one may take its place in memory
        updates = vectors.combination((-rate, updates), (rho, velocity))
        return updates, _advanced(state, velocity)

    return optax.GradientTransformationExtraArgs(_at_rest, update)


def nesterov_lookahead(
    learning_rate: LearningRate, rho: float | jax.Array = 0.9
) -> optax.GradientTransformationExtraArgs:
    """Nesterov momentum as first written: the gradient is taken where the velocity will carry the point.

        v <- rho v - lr g(x + rho v),   x <- x + v

    Args:
      learning_rate: lr > 0, a number, a traced scalar or a schedule step -> rate.
      rho: fraction of the velocity that is kept each step, in [0, 1); 0 gives `sgd`.

    Returns:
      The rule; `update` needs `params` and `grad_fn`, a function from parameters to gradients. The gradient that
      it is given is not used. Cost: one evaluation of grad_fn a step; its state holds one vector.

    Raises:
      InputError: a concrete argument is out of its range, or `update` is called without params or grad_fn.

    Reference: Sutskever, Martens, Dahl and Hinton, On the importance of initialization and momentum, 2013, eq. 3-4.
    """
    require_learning_rate("nesterov_lookahead", learning_rate)
    require_rho("nesterov_lookahead", rho)

    def update(
        updates: Any,
        state: Any,
        params: Any = None,
        *,
        grad_fn: Callable[[Any], Any] | None = None,
        **extra: Any,
    ) -> tuple[Any, VelocityState]:
        del updates, extra
        params = required("nesterov_lookahead", "params", params)
        gradient_at = required("nesterov_lookahead", "grad_fn", grad_fn)
        ahead = vectors.combination((1.0, params), (rho, state.velocity))
        rate = rate_at(learning_rate, state.count)
        velocity = vectors.combination((rho, state.velocity), (-rate, gradient_at(ahead)))
        return velocity, _advanced(state, velocity)

    return optax.GradientTransformationExtraArgs(_at_rest, update)


def quasi_hyperbolic(
    learning_rate: LearningRate, rho: float | jax.Array = 0.999, nu: float | jax.Array = 0.7
) -> optax.GradientTransformationExtraArgs:
    """Quasi-hyperbolic momentum: a step along an average of the gradient and its moving average.

        m <- rho m + (1 - rho) g,   x <- x - lr ((1 - nu) g + nu m)

    nu = 0 is `sgd`; nu = 1 is `heavy_ball` at the rate lr (1 - rho); nu = rho is `nesterov` at that rate.

    Args:
      learning_rate: lr > 0, a number, a traced scalar or a schedule step -> rate.
      rho: fraction of the average that is kept each step, in [0, 1).
      nu: weight of the average against the gradient, in [0, 1].

    Returns:
      The rule; its state holds one vector.

    Raises:
      InputError: a concrete argument is out of its range.

    Reference: Ma and Yarats, Quasi-hyperbolic momentum and Adam for deep learning, ICLR 2019, eq. 3-4; defaults of
      section 1.
    """
    require_learning_rate("quasi_hyperbolic", learning_rate)
    require_rho("quasi_hyperbolic", rho)
    require_between("quasi_hyperbolic", "nu", nu, 0, 1, why="It is the weight of an average.")

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, VelocityState]:
        del params, extra
        rate = rate_at(learning_rate, state.count)
        velocity = vectors.combination((rho, state.velocity), (1.0 - rho, updates))
        updates = vectors.combination((-rate * (1.0 - nu), updates), (-rate * nu, velocity))
        return updates, _advanced(state, velocity)

    return optax.GradientTransformationExtraArgs(_at_rest, update)


def aggregated_momentum(
    learning_rate: LearningRate, rhos: Sequence[float | jax.Array] = (0.0, 0.9, 0.99)
) -> optax.GradientTransformationExtraArgs:
    """Aggregated momentum: the mean of several velocities, each with its own memory.

        v_i <- rho_i v_i + g,   x <- x - (lr / m) sum_i v_i

    Args:
      learning_rate: lr > 0, a number, a traced scalar or a schedule step -> rate.
      rhos: the m momentum constants, each in [0, 1); a single one gives `heavy_ball`.

    Returns:
      The rule; its state holds m vectors.

    Raises:
      InputError: a concrete argument is out of its range, or rhos is empty.

    Reference: Lucas, Sun, Zemel and Grosse, Aggregated momentum: stability through passive damping, ICLR 2019, eq. 4.
    """
    require_learning_rate("aggregated_momentum", learning_rate)
    several = isinstance(rhos, Sequence) and not isinstance(rhos, str | bytes)
    if not (several or np.ndim(rhos) == 1) or not len(rhos):
        raise fail("aggregated_momentum", f"rhos must hold at least one momentum constant, got {rhos!r}")
    rhos = tuple(rhos)
    for rho in rhos:
        require_rho("aggregated_momentum", rho, "each of rhos")

    def init(params: Any) -> VelocitiesState:
        return VelocitiesState(jnp.zeros((), jnp.int32), tuple(vectors.zeros_like(params) for _ in rhos))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, VelocitiesState]:
        del params, extra
        velocities = tuple(
            vectors.combination((rho, velocity), (1.0, updates))
            for rho, velocity in zip(rhos, state.velocities, strict=True)
        )
        share = -rate_at(learning_rate, state.count) / len(rhos)
        updates = vectors.combination(*((share, velocity) for velocity in velocities))
        return updates, VelocitiesState(next_count(state.count), velocities)

    return optax.GradientTransformationExtraArgs(init, update)


def _at_rest(params: Any) -> VelocityState:
    return VelocityState(jnp.zeros((), jnp.int32), vectors.zeros_like(params))


def _advanced(state: VelocityState, velocity: Any) -> VelocityState:
    return VelocityState(next_count(state.count), velocity)
