"""Losses with minima of known sharpness: a race between two wells, the product of two layers, and Rosenbrock's valley.

    two_wells     f(x) = min over the wells of lambda_i |x - c_i|^2 / 2
    two_layers    f(u, v) = (u.v)^2 / (2 n);    at a minimum the largest eigenvalue is (|u|^2 + |v|^2) / n
    rosenbrock    f(x) = sum_i 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2

Reference: Lewkowycz, Bahri, Dyer, Sohl-Dickstein, Gur-Ari 2020, The large learning rate phase of deep learning, section
2 (two layers); Rosenbrock 1960.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from jaxopt_lab.core import Problem, Truth, fail
from jaxopt_lab.core.errors import require_count, require_positive
from jaxopt_lab.core.problem import Batch, Key
from jaxopt_lab.objectives.quadratics import Start, on_sphere, starting_at

_DENSE = 2000


def two_wells(
    sharpness: Sequence[float] = (25.0, 1.0),
    centers: Sequence[float] = (0.0, 2.0),
    *,
    dim: int = 1,
    spread: float = 0.3,
    start: Start = None,
) -> Problem:
    """The lower one of two quadratic wells, both with minimum 0.

    Args:
      sharpness: the two eigenvalues lambda_i > 0.
      centers: the first coordinate of the wells' bottoms, different; their other coordinates are 0.
      dim: d >= 1.
      spread: standard deviation of the start around the first well, per coordinate, > 0.
      start: initial parameters instead, a constant or an array [d].

    Returns:
      The problem; `truth` holds the first well's bottom and the larger sharpness.

    Raises:
      InputError: not two wells, equal centers, or a number that is not positive.

    Example:
      >>> problem = two_wells((25.0, 1.0), (0.0, 2.0))
      >>> float(problem.full_loss(jnp.array([0.25]))), float(problem.full_loss(jnp.array([1.0])))
      (0.78125, 0.5)
    """
    if len(sharpness) != 2 or len(centers) != 2 or centers[0] == centers[1]:
        raise fail("two_wells", f"needs two eigenvalues and two different centers, got {sharpness} and {centers}")
    for value in sharpness:
        require_positive("two_wells", "sharpness", value, "It is the eigenvalue at the bottom.")
    require_count("two_wells", "dim", dim)
    require_positive("two_wells", "spread", spread)
    real = jnp.zeros((), float).dtype
    bottoms = jnp.zeros((2, dim), real).at[:, 0].set(jnp.asarray(centers, real))
    given = None if start is None else starting_at(start, dim, real)
    return Problem(
        loss=jax.tree_util.Partial(_wells_loss, jnp.asarray(sharpness, real), bottoms),
        init=given or (lambda key: bottoms[0] + spread * jax.random.normal(key, (dim,), real)),
        truth=Truth(smoothness=float(max(sharpness)), minimum=0.0, minimizer=bottoms[0], index=0),
        name="two-wells",
    )


def two_layers(width: int, *, sharpness: float = 1.0) -> Problem:
    """Two layers of `width` weights, one example of input 1 and target 0.

    Args:
      width: n >= 1; the parameters are one vector [2 n], u and then v.
      sharpness: the start's (|u|^2 + |v|^2) / n, > 0; the draw is scaled to have exactly this one.

    Returns:
      The problem. Below lr sharpness = 2 descent keeps its sharpness; between 2 and 4 the loss first grows and descent
      ends where the sharpness is below 2 / lr; above 4 it diverges.

    Raises:
      InputError: a width below 1 or a sharpness that is not positive.

    Example:
      >>> problem = two_layers(2, sharpness=3.0)
      >>> round(float(jnp.sum(jnp.square(problem.init(jax.random.key(0))))) / 2, 5)
      3.0
    """
    require_count("two_layers", "width", width)
    require_positive("two_layers", "sharpness", sharpness)
    real = jnp.zeros((), float).dtype

    init = on_sphere(2 * width, width * sharpness, real)
    return Problem(loss=_layers_loss, init=init, truth=Truth(minimum=0.0, minimizer=jnp.zeros(2 * width, real)),
                   name="two-layers")  # fmt: skip


def rosenbrock(dim: int = 2, *, start: Start = -1.0) -> Problem:
    """Rosenbrock's curved valley in d dimensions; its only global minimum is at all ones.

    Args:
      dim: d >= 2; from 4 to 30 dimensions there is a second, local minimum near (-1, 1, ..., 1).
      start: a constant, an array [d], or None for N(0, I).

    Returns:
      The problem; `truth` holds the minimizer and, up to 2000 dimensions, the eigenvalues there.

    Raises:
      InputError: dim below 2.

    Example:
      >>> low, high = rosenbrock(2).truth.eigenvalues.tolist()
      >>> round(high / low, -1)  # the condition number
      2510.0
    """
    require_count("rosenbrock", "dim", dim, minimum=2)
    real = jnp.zeros((), float).dtype
    eigenvalues = jnp.asarray(_valley_spectrum(dim), real) if dim <= _DENSE else None
    truth = Truth(eigenvalues=eigenvalues, minimum=0.0, minimizer=jnp.ones(dim, real), index=0)
    return Problem(loss=_rosenbrock_loss, init=starting_at(start, dim, real), truth=truth, name="rosenbrock")


def _valley_spectrum(dim: int) -> np.ndarray:
    """Eigenvalues of the tridiagonal Hessian at all ones, in increasing order."""
    diagonal = np.full(dim, 1002.0)
    diagonal[0], diagonal[-1] = 802.0, 200.0
    return np.asarray(scipy.linalg.eigvalsh_tridiagonal(diagonal, np.full(dim - 1, -400.0)))


def _wells_loss(
    sharpness: jax.Array, bottoms: jax.Array, params: jax.Array, batch: Batch, key: Key | None
) -> jax.Array:
    del batch, key
    return jnp.min(0.5 * sharpness * jnp.sum(jnp.square(params - bottoms), axis=1))


def _layers_loss(params: jax.Array, batch: Batch, key: Key | None) -> jax.Array:
    del batch, key
    first, second = jnp.split(params, 2)
    return 0.5 * jnp.square(jnp.sum(first * second)) / first.size


def _rosenbrock_loss(params: jax.Array, batch: Batch, key: Key | None) -> jax.Array:
    del batch, key
    return jnp.sum(100 * jnp.square(params[1:] - jnp.square(params[:-1])) + jnp.square(1 - params[:-1]))
