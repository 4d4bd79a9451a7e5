"""Curvature as an adaptive rule sees it: P^-1/2 A P^-1/2 with the rule's own diagonal P.

    Adam: P = sqrt(nu / (1 - b2^t)) + eps      RMSProp: P = sqrt(nu + eps)      Adagrad: P = sqrt(sum + eps)

A rule that divides its step by P is stable where the largest eigenvalue of P^-1 H, which is that of P^-1/2 H P^-1/2,
is below its edge over the learning rate: for Adam 2 (1 + b1) / (1 - b1), 38 at b1 = .9.

Reference: Cohen et al. 2022, Adaptive gradient methods at the edge of stability, arXiv 2207.14484.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxopt_lab.core import fail, vectors
from jaxopt_lab.core.errors import require_between, require_positive
from jaxopt_lab.curvature.operators import Operator


def preconditioned(operator: Operator, preconditioner: Any) -> Operator:
    """The operator P^-1/2 A P^-1/2.

    Args:
      operator: A, symmetric.
      preconditioner: P, a pytree like the vectors with positive entries, such as `preconditioner_of` reads.

    Returns:
      The operator; it has the eigenvalues of P^-1 A.

    Raises:
      InputError: P has another structure, or an entry that is not positive and finite.

    Example:
      >>> from jaxopt_lab.curvature import from_diagonal
      >>> half = preconditioned(from_diagonal(jnp.array([2.0, 8.0])), jnp.array([4.0, 16.0]))
      >>> half(jnp.ones(2)).tolist()
      [0.5, 0.5]
    """
    like = jax.tree.structure(operator.like)
    if jax.tree.structure(preconditioner) != like:
        raise fail("preconditioned", f"the preconditioner must be {like}, got {jax.tree.structure(preconditioner)}")
    factor, positive = _inverse_root(preconditioner)
    if not all(map(bool, positive)):
        raise fail(
            "preconditioned", "every entry of the preconditioner must be positive and finite",
            "Take a step with the rule first, or give it an eps.",
        )  # fmt: skip
    product = jax.tree_util.Partial(jax.jit(_scaled_product), operator.product, factor)
    if not isinstance(operator.product, jax.tree_util.Partial):
        product = _Streamed(operator.product, factor)
    return dataclasses.replace(operator, product=product, name=f"preconditioned {operator.name}", hint=None)


def preconditioner_of(state: Any, *, b2: float = 0.999, eps: float = 1e-8) -> Any:
    """The diagonal by which a rule divides its step, read from its optax state.

    Args:
      state: the state of any rule that holds, at whatever depth, the second moment of Adam, RMSProp or Adagrad.
      b2: Adam's decay of the second moment, for its bias correction; in [0, 1).
      eps: the rule's eps, positive.

    Returns:
      P, a pytree like the parameters, in float32 or wider.

    Raises:
      InputError: no such state, or more than one.

    Example:
      >>> rule = optax.adam(0.1)
      >>> _, state = rule.update(jnp.array([3.0, -4.0]), rule.init(jnp.zeros(2)))
      >>> bool(jnp.allclose(preconditioner_of(state), jnp.array([3.0, 4.0])))
      True
    """
    require_between("preconditioner_of", "b2", b2, 0, 1, ends="[)")
    require_positive("preconditioner_of", "eps", eps)
    found = [node for node in jax.tree.leaves(state, is_leaf=_has_second_moment) if _has_second_moment(node)]
    if len(found) != 1:
        raise fail(
            "preconditioner_of", f"the state must hold one second moment, found {len(found)}",
            "Pass the state of one rule of the Adam, RMSProp or Adagrad family.",
        )  # fmt: skip
    (node,) = found
    if isinstance(node, optax.ScaleByAdamState):
        return _adam_scale(node.nu, node.count, b2, eps)
    moments = node.sum_of_squares if isinstance(node, optax.ScaleByRssState) else node.nu
    return jax.tree.map(lambda moment: jnp.sqrt(vectors.widened(moment) + eps), moments)


@jax.jit
def _inverse_root(preconditioner: Any) -> tuple[Any, list[jax.Array]]:
    """P^-1/2, and for each leaf whether P is positive and finite."""
    factor = jax.tree.map(lambda leaf: jax.lax.rsqrt(vectors.widened(leaf)), preconditioner)
    return factor, [jnp.all((leaf > 0) & jnp.isfinite(leaf)) for leaf in jax.tree.leaves(preconditioner)]


@jax.jit
def _adam_scale(moments: Any, count: jax.Array, b2: float, eps: float) -> Any:
    correction = 1 - b2 ** jnp.asarray(count, float)

    def scale(moment: jax.Array) -> jax.Array:
        wide = vectors.widened(moment)
        return jnp.sqrt(wide / correction.astype(wide.dtype)) + jnp.asarray(eps, wide.dtype)

    return jax.tree.map(scale, moments)


@dataclasses.dataclass(frozen=True)
class _Streamed:
    """The product of an operator that goes through its data on the host."""

    product: Any
    factor: Any

    def __call__(self, vector: Any) -> Any:
        return _scaled_product(self.product, self.factor, vector)


def _has_second_moment(node: Any) -> bool:
    return isinstance(node, optax.ScaleByAdamState | optax.ScaleByRmsState | optax.ScaleByRssState)


def _scaled_product(product: Any, factor: Any, vector: Any) -> Any:
    scaled = jax.tree.map(jnp.multiply, factor, vector)
    return jax.tree.map(jnp.multiply, factor, product(scaled))
