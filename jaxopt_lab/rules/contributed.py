"""Rules of recent years that optax keeps in `optax.contrib`, by the names that the command line takes.

They are optax's own. Sophia takes the Hessian products that it needs from `grad_fn`, as all rules here do, and counts
them:

    x <- x - lr (clip(m / max(gamma h, eps), -1, 1) + decay x)

m is the mean gradient and h the mean of r * (H r), the Hessian's diagonal, with random signs r at every 10th step.

Reference: Liu, Li, Hall, Liang, Ma, Sophia: a scalable stochastic second-order optimizer for language model
pre-training, ICLR 2024, arXiv 2305.14342.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxopt_lab.core import meshes, vectors
from jaxopt_lab.core.errors import require_count
from jaxopt_lab.rules import krylov
from jaxopt_lab.rules.arguments import LearningRate, next_count, require_learning_rate, require_rho, required

Number = float | jax.Array


class DiagonalState(NamedTuple):
    """State of the Hessian's diagonal inside of `sophia`.

    Attributes:
      key_data: of the next draw.
      num_products: Hessian products so far, int32 scalar.
    """

    key_data: jax.Array
    num_products: jax.Array


def sophia(
    learning_rate: LearningRate,
    b1: Number = 0.965,
    b2: Number = 0.99,
    eps: Number = 1e-8,
    gamma: Number = 0.01,
    weight_decay: Number = 0.0,
    update_interval: int = 10,
    seed: int = 0,
) -> optax.GradientTransformationExtraArgs:
    """`optax.contrib.sophia` with Hutchinson's estimate of the diagonal, from `grad_fn`.

    Args:
      learning_rate: lr > 0, a number, a traced scalar or a schedule step -> rate.
      b1: decay of the mean gradient, in [0, 1).
      b2: decay of the diagonal, in [0, 1).
      eps: the smallest divisor.
      gamma: of the diagonal; the smaller, the more coordinates take a step of length lr.
      weight_decay: decoupled; optax's default is 1e-4, the authors' 0.2.
      update_interval: steps from one product to the next, >= 1.
      seed: of the random signs.

    Returns:
      The rule; it needs `grad_fn`. Its state holds two vectors. Cost: a Hessian product every `update_interval` steps.

    Raises:
      InputError: a concrete argument is out of its range, or `update` is called without `grad_fn`.

    Example:
      >>> rule = sophia(0.1, update_interval=1)
      >>> params = jnp.array([1.0, -2.0])
      >>> bowl = jax.grad(lambda x: x @ (jnp.array([4.0, 1.0]) * x) / 2)
      >>> updates, state = rule.update(bowl(params), rule.init(params), params, grad_fn=bowl)
      >>> [f"{float(nu):.3f}" for nu in state[0].nu]  # (1 - b2) times the diagonal
      ['0.040', '0.010']

    Reference: Liu et al. 2024, algorithm 3.
    """
    require_learning_rate("sophia", learning_rate)
    require_rho("sophia", b1, "b1")
    require_rho("sophia", b2, "b2")
    require_count("sophia", "update_interval", update_interval)
    return optax.contrib.sophia(
        learning_rate, b1, b2, eps, weight_decay, gamma=gamma, update_interval=update_interval,
        hessian_diagonal_fn=_diagonal(seed),
    )  # fmt: skip


def _diagonal(seed: int) -> optax.GradientTransformationExtraArgs:
    def init(params: Any) -> DiagonalState:
        del params
        return DiagonalState(jax.random.key_data(jax.random.key(seed)), jnp.zeros((), jnp.int32))

    def update(
        updates: Any, state: Any, params: Any = None, *, grad_fn: Any = None, **extra: Any
    ) -> tuple[Any, DiagonalState]:
        del updates, extra
        params = required("sophia", "params", params)
        product = krylov.hessian_product(required("sophia", "grad_fn", grad_fn), params)
        key, draw = jax.random.split(jax.random.wrap_key_data(state.key_data))
        signs = _signs(draw, krylov.realized(params))
        diagonal = jax.tree.map(jnp.multiply, signs, product(signs))
        after = DiagonalState(jax.random.key_data(key), next_count(state.num_products))
        return krylov.restored(diagonal, params), after

    return optax.GradientTransformationExtraArgs(init, update)


def _signs(key: jax.Array, like: Any) -> Any:
    """Random signs like a pytree."""
    leaves, structure = jax.tree.flatten(like)
    keys = jax.random.split(key, max(len(leaves), 1))
    drawn = [
        meshes.placed_like(jax.random.rademacher(k, leaf.shape, vectors.wide_dtype(leaf.dtype)), leaf)
        for k, leaf in zip(keys, leaves, strict=False)
    ]
    return structure.unflatten(drawn)


CONTRIBUTED: dict[str, Callable[..., optax.GradientTransformation]] = {
    "ademamix": optax.contrib.ademamix,
    "adopt": optax.contrib.adopt,
    "muon": optax.contrib.muon,
    "prodigy": optax.contrib.prodigy,
    "schedule_free_adamw": optax.contrib.schedule_free_adamw,
    "schedule_free_sgd": optax.contrib.schedule_free_sgd,
    "sophia": sophia,
}
