"""Parameters, a loss and single steps on which the laws of rules are checked."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxopt_lab.core import precision, vectors
from jaxopt_lab.rules.registry import RuleSpec

STEPS = 4
# Two compilations of one step fuse multiplications and additions in other ways, and every processor in its own: up to
# 15 eps apart after four steps, where a rule divides by small differences (barzilai_borwein, Krylov spaces). In float64
# that is 3e-15, and this bound is no matter of a processor.
SAME: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-12}


def in_float64(law: Callable[[RuleSpec], None]) -> Callable[[RuleSpec], None]:
    """The law, checked in float64: for one that compares two ways to the same numbers."""

    @functools.wraps(law)
    def checked(spec: RuleSpec) -> None:
        with precision("float64"):
            law(spec)

    return checked


def tree(dtype: str = "float32") -> dict[str, jax.Array]:
    """Parameters with a matrix, a 0-d leaf and an empty leaf."""
    return {
        "matrix": jnp.linspace(-1, 1, 6).reshape(2, 3).astype(dtype),
        "scalar": jnp.asarray(0.5, dtype),
        "empty": jnp.zeros((0, 3), dtype),
    }


def gradient(params: Any) -> Any:
    """Gradient of a quadratic with eigenvalues 0.1, 0.2, ... along each leaf, in the leaf's own dtype."""

    def of_leaf(leaf: jax.Array) -> jax.Array:
        return (0.1 + 0.1 * jnp.arange(leaf.size).reshape(leaf.shape)).astype(leaf.dtype) * leaf

    return jax.tree.map(of_leaf, params)


def value(params: Any) -> jax.Array:
    """A loss that falls where that quadratic does."""
    return sum((jnp.sum(vectors.widened(jnp.abs(leaf)) ** 2) for leaf in jax.tree.leaves(params)), jnp.zeros(()))


def take(rule: optax.GradientTransformation, params: Any, state: Any) -> tuple[Any, Any]:
    """One update with every extra input that a rule may need."""
    grads = gradient(params)
    extra = {"value": value(params), "grad": grads, "value_fn": value, "grad_fn": gradient}
    updates, state = optax.with_extra_args_support(rule).update(grads, state, params, **extra)
    return optax.apply_updates(params, updates), state


def first_updates(rule: optax.GradientTransformation, grads: Any, params: Any, **extra: Any) -> tuple[Any, Any]:
    """The updates and the state after the first step."""
    return optax.with_extra_args_support(rule).update(grads, rule.init(params), params, **extra)


def walk(rule: optax.GradientTransformation, params: Any, steps: int = STEPS) -> tuple[Any, Any]:
    """A few eager steps."""
    state = rule.init(params)
    for _ in range(steps):
        params, state = take(rule, params, state)
    return params, state


def stepper(spec: RuleSpec) -> Callable[..., Any]:
    """One compiled step of a rule whose hyperparameters are arguments."""
    return jax.jit(lambda hyper, params, state: take(spec.build(**hyper), params, state))


def traced_of(spec: RuleSpec) -> dict[str, float]:
    """The hyperparameters that are given as traced values: the floats."""
    return {key: number for key, number in spec.defaults.items() if isinstance(number, float)}


def random_free(trees: Any) -> Any:
    """The same with random keys as their numbers, so that they can be compared."""

    def plain(leaf: Any) -> Any:
        return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf

    return jax.tree.map(plain, trees)
