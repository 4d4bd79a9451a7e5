"""Averaging of iterates: under gradient noise the mean of many iterates is far closer to the minimizer than the last.

uniform:      a_n = (x_1 + ... + x_n) / n                         (Polyak and Ruppert)
exponential:  a_n = sum_i decay^(n-i) x_i / sum_i decay^(n-i)
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxopt_lab.core import fail, vectors
from jaxopt_lab.core.errors import require_between, require_choice, require_count
from jaxopt_lab.rules.arguments import next_count, require_rule, required


class AverageState(NamedTuple):
    """State of `average_iterates`.

    Attributes:
      inner: the state of the inner rule.
      count: number of updates so far, int32 scalar.
      num_averaged: number of iterates in the average, int32 scalar.
      average: the average, a pytree like the parameters; leaves of less than 32 bits are kept in float32.
    """

    inner: Any
    count: jax.Array
    num_averaged: jax.Array
    average: Any


def average_iterates(
    inner: optax.GradientTransformation,
    kind: str = "uniform",
    decay: float | jax.Array = 0.999,
    start: int = 0,
) -> optax.GradientTransformationExtraArgs:
    """Runs `inner` unchanged and keeps the average of the parameters that it makes; read it with `averaged_params`.

    Args:
      inner: any rule.
      kind: "uniform" (Polyak-Ruppert) or "exponential" (without bias towards the start).
      decay: weight ratio of consecutive iterates in the exponential average, in [0, 1).
      start: number of first updates whose iterates are left out.

    Returns:
      The rule; `update` needs `params`. Its state is that of inner, two counts and one vector.

    Raises:
      InputError: a concrete argument is out of its range, or `update` is called without params.

    Reference: Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992, theorem 1.
    """
    require_choice("average_iterates", "kind", kind, ("uniform", "exponential"))
    require_between("average_iterates", "decay", decay, 0, 1, ends="[)")
    require_count("average_iterates", "start", start, minimum=0)
    inner = require_rule("average_iterates", inner)

    def init(params: Any) -> AverageState:
        average = jax.tree.map(lambda leaf: jnp.zeros_like(leaf, vectors.wide_dtype(leaf.dtype)), params)
        return AverageState(inner.init(params), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), average)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, AverageState]:
        params = required("average_iterates", "params", params)
        updates, inner_state = inner.update(updates, state.inner, params, **extra)
        count = next_count(state.count)
        num_averaged = next_count(state.num_averaged, count > start)
        order = jnp.maximum(num_averaged, 1)
        weight = 1.0 / order if kind == "uniform" else (1.0 - decay) / (1.0 - jnp.power(decay, order))
        weight = jnp.where(count > start, weight, 0.0)
        newest = optax.apply_updates(params, updates)
        average = vectors.combination((1.0 - weight, state.average), (weight, newest))
        return updates, AverageState(inner_state, count, num_averaged, average)

    return optax.GradientTransformationExtraArgs(init, update)


def averaged_params(state: Any, params: Any) -> Any:
    """The average that `average_iterates` keeps, wherever in an optax state it sits.

    Args:
      state: the state of a rule that has `average_iterates` in it.
      params: the current parameters; they give the dtypes, and the answer while nothing is averaged yet.

    Returns:
      A pytree like `params`.

    Raises:
      InputError: the state holds no average.
    """
    found = [leaf for leaf in jax.tree.leaves(state, is_leaf=_is_average) if _is_average(leaf)]
    if not found:
        raise fail("averaged_params", "the state holds no average", "Wrap the rule in average_iterates(...).")
    kept = found[0]
    return jax.tree.map(
        lambda mean, leaf: jnp.where(kept.num_averaged > 0, mean.astype(leaf.dtype), leaf), kept.average, params
    )


def _is_average(node: Any) -> bool:
    return isinstance(node, AverageState)
