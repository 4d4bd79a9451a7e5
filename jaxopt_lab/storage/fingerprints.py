"""What tells two problems, or two rules, apart: their programs and their arrays, so that a folder never mixes them."""

import hashlib
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab.core import Problem, fail


def problem_digest(problem: Problem) -> str:
    """What tells two problems apart: the program of the loss, and every array in it and in the data."""
    total = hashlib.sha256(loss_program(problem).encode())
    trees = (problem.data, problem.validation, problem.model_state, problem.init(jax.random.key(0)))
    for leaf in jax.tree.leaves(trees):
        array = np.ascontiguousarray(np.asarray(leaf))
        total.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return total.hexdigest()[:16]


def loss_program(problem: Problem) -> str:
    """The loss as the text of its program, with a digest of the arrays that it holds."""
    shapes = jax.eval_shape(problem.init, jax.random.key(0))
    closed = jax.make_jaxpr(problem.loss)(shapes, problem.data, jax.random.key(0))
    arrays = hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in closed.consts if not _is_key(leaf)))
    return _without_addresses(str(closed.jaxpr)) + arrays.hexdigest()


def rule_digest(factory: Callable[..., optax.GradientTransformation], first: dict[str, Any], problem: Problem) -> str:
    """What tells two rules apart: the program of one update, at one set of hyperparameters.

    Raises:
      InputError: the rule does not take these hyperparameters.
    """
    params, name = jax.eval_shape(problem.init, jax.random.key(0)), getattr(factory, "__name__", factory)

    def start(point: Any, hyper: Any) -> Any:
        rule = factory(**hyper)
        if not isinstance(rule, optax.GradientTransformation):
            raise fail("sweep", f"{name} must return an optax.GradientTransformation, got {type(rule).__name__}")
        return rule.init(point)

    def update(point: Any, hyper: Any, state: Any) -> Any:
        return factory(**hyper).update(point, state, point)

    try:
        state = jax.eval_shape(start, params, first)
    except TypeError as error:
        raise fail(
            "sweep",
            f"{name} does not take the hyperparameters {', '.join(first)} ({error})",
            "Name them as it does.",
        ) from error
    try:
        text = str(jax.make_jaxpr(update)(params, first, state))
    except (
        ValueError,
        TypeError,
        AttributeError,
    ):  # an update that needs the engine's extra inputs is told apart by its state and its name
        text = f"{factory!r}{jax.tree.map(lambda leaf: leaf.shape, state)}"
    return hashlib.sha256(_without_addresses(text).encode()).hexdigest()[:16]


def _without_addresses(text: str) -> str:
    return re.sub(r"0x[0-9a-f]+", "", text)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
