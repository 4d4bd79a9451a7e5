"""The laws of problems: what the package takes for granted of a loss, its data and what is known of it."""

from collections.abc import Iterable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Problem, vectors
from jaxopt_lab.testing.laws import check, named

_MOST_DENSE = 300
_ROOM = 100.0  # rounding errors of a loss, in units of its precision


def check_problem(problem: Problem, *, laws: Iterable[str] | None = None) -> None:
    """Checks a problem against the laws that hold for every problem.

    Args:
      problem: from `from_loss`, `from_nnx`, `from_linen`, or of your own making.
      laws: names of `PROBLEM_LAWS`; None for all.

    Raises:
      InputError: an unknown law.
      LawError: a law that does not hold, the first one.

    Cost: about twenty evaluations of the loss; with a known spectrum and at most 300 parameters a dense Hessian.

    Example:
      >>> from jaxopt_lab import objectives
      >>> check_problem(objectives.quadratic([1.0, 0.1], start=1.0))
    """
    check(problem.name, PROBLEM_LAWS, laws, problem)


def the_loss_is_a_real_scalar(problem: Problem) -> None:
    """With a key and without one."""
    params = jax.eval_shape(problem.init, jax.random.key(0))
    for key in (None, jax.random.key(0)):
        shape = jax.eval_shape(problem.loss, params, problem.data, key)
        chex.assert_shape(shape, ())
        assert jnp.issubdtype(shape.dtype, jnp.floating)


def initialization_is_a_function_of_the_key(problem: Problem) -> None:
    """Equal keys give equal parameters."""
    one, again = (problem.init(jax.random.key(1)) for _ in range(2))
    chex.assert_trees_all_equal(one, again)


def equal_keys_give_equal_losses(problem: Problem) -> None:
    """And no key at all gives the expected loss, the same each time."""
    params = problem.init(jax.random.key(0))
    for key in (None, jax.random.key(5)):
        one, again = (problem.loss(params, problem.data, key) for _ in range(2))
        chex.assert_trees_all_equal(one, again)


def jit_equals_eager(problem: Problem) -> None:
    """Up to the rounding of fused operations."""
    params, key = problem.init(jax.random.key(0)), jax.random.key(2)
    eager, compiled = problem.loss(params, problem.data, key), jax.jit(problem.loss)(params, problem.data, key)
    np.testing.assert_allclose(compiled, eager, rtol=_ROOM * _epsilon(params), atol=_ROOM * _epsilon(params))


def the_gradient_is_the_slope_of_the_loss(problem: Problem) -> None:
    """Central differences at two steps tell the slope and their own error."""
    frozen, params = problem.freeze(), _point(problem)
    direction = _direction(params)
    for key in (None, jax.random.key(3)):
        loss = jax.jit(lambda point, key=key: frozen.loss(point, frozen.data, key))
        slope = float(vectors.dot(jax.jit(jax.grad(loss))(params), direction))
        step = _epsilon(params) ** (1 / 3) * max(1.0, float(vectors.norm(params)))
        near, far = (_difference(loss, params, direction, factor * step) for factor in (1.0, 2.0))
        error = abs(near - far) + _ROOM * _epsilon(params) * abs(float(loss(params))) / step
        assert abs(slope - near) <= 4 * error + 1e-12, f"slope {slope}, difference {near} +- {error}"


def the_loss_is_a_mean_over_examples(problem: Problem) -> None:
    """In evaluation mode the loss of all is the mean of those of its parts; batch statistics would break that."""
    num, frozen = problem.num_examples, problem.freeze()
    if num is None or num < 3:
        return
    params, cut = _point(problem), num // 3
    parts = [jax.tree.map(lambda leaf, rows=rows: leaf[rows], frozen.data) for rows in (slice(cut), slice(cut, None))]
    one, other = (float(frozen.loss(params, part, None)) for part in parts)
    whole, mean = float(frozen.full_loss(params)), (cut * one + (num - cut) * other) / num
    np.testing.assert_allclose(mean, whole, rtol=_ROOM * _epsilon(params), atol=_ROOM * _epsilon(params))


def criterion_of_outputs_is_the_loss(problem: Problem) -> None:
    """Where the problem tells its outputs from its criterion."""
    frozen, params = problem.freeze(), _point(problem)
    if frozen.composite is None:
        return
    outputs = frozen.composite.outputs(params, frozen.data)
    composed, loss = frozen.composite.criterion(outputs, frozen.data), frozen.full_loss(params)
    np.testing.assert_allclose(composed, loss, rtol=_ROOM * _epsilon(params), atol=_ROOM * _epsilon(params))


def the_separable_form_is_the_loss(problem: Problem) -> None:
    """Where the problem can be run in chunks of coordinates."""
    if problem.separable is not None:
        params = _point(problem)
        chunkable = problem.separable.loss(params, problem.separable.constants)
        np.testing.assert_allclose(chunkable, problem.full_loss(params), rtol=_ROOM * _epsilon(params))


def nothing_lies_below_the_minimum(problem: Problem) -> None:
    """And at the minimizer, where it is known, the loss is the minimum."""
    truth, params = problem.truth, _point(problem)
    if truth.minimum is None:
        return
    room = _ROOM * _epsilon(params) * max(1.0, abs(truth.minimum), abs(float(problem.full_loss(params))))
    assert float(problem.full_loss(params)) >= truth.minimum - room
    if truth.minimizer is not None:
        best = jax.tree.map(lambda known, leaf: jnp.broadcast_to(known, leaf.shape), truth.minimizer, params)
        assert abs(float(problem.full_loss(best)) - truth.minimum) <= room


def the_truth_bounds_the_hessian(problem: Problem) -> None:
    """All eigenvalues at a point lie between the known ones; for few parameters."""
    truth, params = problem.truth, _point(problem)
    if truth.smoothness is None or truth.eigenvalues is None or vectors.size(params) > _MOST_DENSE:
        return
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    values = np.linalg.eigvalsh(jax.jit(jax.hessian(lambda x: problem.full_loss(unravel(x))))(flat))
    room = _ROOM * _epsilon(params) * np.abs(values).max()
    np.testing.assert_allclose(values, np.sort(truth.eigenvalues), atol=room)
    assert values[-1] <= truth.smoothness + room


def _point(problem: Problem) -> Any:
    """A point a little away from the initial one, so that nothing vanishes by symmetry."""
    return jax.tree.map(lambda leaf: leaf + jnp.asarray(0.1, leaf.dtype), problem.init(jax.random.key(0)))


def _direction(params: Any) -> Any:
    """A random direction of norm 1."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(7), len(leaves))
    drawn = [jax.random.normal(key, leaf.shape, leaf.dtype) for key, leaf in zip(keys, leaves, strict=True)]
    return vectors.scale(1 / vectors.norm(drawn), structure.unflatten(drawn))


def _difference(loss: Any, params: Any, direction: Any, step: float) -> float:
    ends = [float(loss(vectors.axpy(sign * step, direction, params))) for sign in (1, -1)]
    return (ends[0] - ends[1]) / (2 * step)


def _epsilon(params: Any) -> float:
    """The coarsest precision among the leaves."""
    return max(float(jnp.finfo(leaf.dtype).eps) for leaf in jax.tree.leaves(params))


PROBLEM_LAWS = named(
    the_loss_is_a_real_scalar, initialization_is_a_function_of_the_key, equal_keys_give_equal_losses, jit_equals_eager,
    the_gradient_is_the_slope_of_the_loss, the_loss_is_a_mean_over_examples, criterion_of_outputs_is_the_loss,
    the_separable_form_is_the_loss, nothing_lies_below_the_minimum, the_truth_bounds_the_hessian,
)  # fmt: skip
