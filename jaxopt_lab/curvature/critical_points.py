"""Critical points of a loss, by a dense damped Newton search on |gradient|^2, and the test of whether one was found.

    x <- x - (H^2 + mu I)^-1 H g          which goes to minima and saddles alike

A search for small gradients also ends at gradient-flat points: there H g = 0 but g is not, because g lies along
directions without curvature, and no critical point need be near. So a point counts only if |g| is tiny and a full
Newton step stays where it is.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Problem, fail, vectors
from jaxopt_lab.core.errors import require_count, require_memory, require_positive
from jaxopt_lab.core.memory import available_memory
from jaxopt_lab.core.problem import as_partial


class CriticalPoint(NamedTuple):
    """A candidate for a critical point, and what it turned out to be.

    Attributes:
      params: the point, shape [d].
      loss: the loss there.
      gradient_norm: |g|.
      step_norm: length of the full Newton step, inf where the Hessian is singular.
      eigenvalues: of the Hessian, increasing, shape [d].
      outcome: "accepted"; or "degenerate" (a tiny gradient, but a Newton step that leaves), "gradient-flat" (nine
        tenths of |g|^2 along directions without curvature) or "unfinished".
    """

    params: np.ndarray
    loss: float
    gradient_norm: float
    step_norm: float
    eigenvalues: np.ndarray
    outcome: str


def find_critical_points(
    problem: Problem, starts: jax.typing.ArrayLike, *, iterations: int = 250, stop: float = 1e-12
) -> np.ndarray:
    """Searches for critical points of any index from many starts: Levenberg and Marquardt's steps on |gradient|^2 / 2.

    Args:
      problem: its parameters must be one vector [d]; all of its data is used.
      starts: where the searches begin, shape [s, d].
      iterations: steps of a search at most.
      stop: a search ends when |gradient| is below it.

    Returns:
      The ends of the searches, shape [s, d]; look at each with `examine_point`. Use float64. Cost: a dense Hessian and
      a Cholesky factor a step, d^3; memory 4 d^2.

    Raises:
      InputError: starts of another shape, or Hessians that do not fit in memory.

    Example:
      >>> from jaxopt_lab.core import from_loss, precision
      >>> with precision("float64"):
      ...     problem = from_loss(lambda x, batch, key: x[0] ** 2 - jnp.cos(x[1]), jnp.zeros(2))
      ...     find_critical_points(problem, [[1.0, 3.0]]).round(6).tolist()
      [[0.0, 3.141593]]

    Reference: Nocedal and Wright 2006, Numerical optimization, section 10.3; Frye et al. 2021, Neural Computation 33.
    """
    where = "find_critical_points"
    points = jnp.asarray(starts)
    if points.ndim != 2:
        raise fail(where, f"starts must have the shape [s, d], got {points.shape}", "Ravel the parameters first.")
    require_count(where, "iterations", iterations)
    require_positive(where, "stop", stop)
    dim = points.shape[1]
    require_memory(where, 4 * dim**2 * points.dtype.itemsize, available_memory(), f"a dense Hessian of {dim} rows")
    return np.asarray(_search(as_partial(problem.loss), problem.data, points, iterations, stop))


def examine_point(
    problem: Problem,
    point: jax.typing.ArrayLike,
    *,
    small_gradient: float = 1e-8,
    small_step: float = 1e-5,
    flat: float = 1e-3,
) -> CriticalPoint:
    """Whether a point is critical, and the Hessian's eigenvalues there.

    Args:
      problem: its parameters must be one vector [d]; all of its data is used.
      point: shape [d].
      small_gradient: largest |gradient| of an accepted point.
      small_step: largest Newton step of an accepted point.
      flat: directions whose |eigenvalue| is below this share of the largest one count as having no curvature.

    Returns:
      The point with its outcome. Cost: a dense Hessian and its eigenvectors, d^3.

    Example:
      >>> from jaxopt_lab.core import from_loss, precision
      >>> with precision("float64"):
      ...     problem = from_loss(lambda x, batch, key: x[0] ** 2 - x[1] ** 2, jnp.zeros(2))
      ...     found = examine_point(problem, jnp.zeros(2))
      >>> found.outcome, found.eigenvalues.tolist()
      ('accepted', [-2.0, 2.0])
    """
    loss, values, parts = map(np.asarray, _derivatives(as_partial(problem.loss), jnp.asarray(point), problem.data))
    norm, sizes = float(np.linalg.norm(parts)), np.abs(values)
    step = float(np.linalg.norm(parts / sizes)) if sizes.min() > 0 else np.inf
    along_flat = float(np.sum(np.square(parts[sizes < flat * sizes.max()])))
    if norm < small_gradient:
        outcome = "accepted" if step < small_step else "degenerate"
    else:
        outcome = "gradient-flat" if along_flat > 0.9 * norm**2 else "unfinished"
    return CriticalPoint(np.asarray(point), float(loss), norm, step, values, outcome)


@jax.jit
def _search(loss: Any, data: Any, starts: jax.Array, iterations: int, stop: float) -> jax.Array:
    """One search after another; a step that does not shrink the gradient is undone, and damped more."""

    def full(point: jax.Array) -> jax.Array:
        return loss(point, data, None)

    def derivatives(point: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        return point, jax.grad(full)(point), jax.hessian(full)(point)

    def move(carry: Any) -> Any:
        count, damping, (point, slope, matrix) = carry
        factor = jax.scipy.linalg.cho_factor(matrix @ matrix + damping * jnp.eye(len(point), dtype=point.dtype))
        new = derivatives(point - jax.scipy.linalg.cho_solve(factor, matrix @ slope))
        better = vectors.sum_of_squares(new[1]) < vectors.sum_of_squares(slope)  # not so where the factor is NaN
        kept = jax.tree.map(lambda ours, other: jnp.where(better, ours, other), new, (point, slope, matrix))
        return count + 1, jnp.where(better, damping / 4, jnp.minimum(damping * 4, 1e6)), kept

    def unfinished(carry: Any) -> jax.Array:
        count, _, (_, slope, _) = carry
        return (count < iterations) & (vectors.sum_of_squares(slope) >= stop**2)

    def search(start: jax.Array) -> jax.Array:
        first = (jnp.zeros((), jnp.int32), jnp.asarray(0.1, start.dtype), derivatives(start))
        return jax.lax.while_loop(unfinished, move, first)[2][0]

    return jax.lax.map(search, starts)


@jax.jit
def _derivatives(loss: Any, point: jax.Array, data: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The loss, the Hessian's eigenvalues, and the gradient along its eigenvectors."""
    value, gradient = jax.value_and_grad(loss)(point, data, None)
    values, directions = jnp.linalg.eigh(jax.hessian(loss)(point, data, None))
    return value, values, directions.T @ gradient
