"""Saddles whose index, eigenvalues and way out are known: strict, degenerate, and strict with somewhere to go.

    strict      f(x) = 1/2 sum_i lambda_i x_i^2 + (c / 4) sum over lambda_i < 0 of x_i^4
    degenerate  f(x) = 1/2 sum_i lambda_i x_i^2 - y^p / p  (the monkey saddle is x^3 - 3 x y^2)

With c > 0 the strict saddle is bounded: its 2^m minima lie at x_i^2 = |lambda_i| / c, at loss -sum lambda_i^2 / (4 c).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Problem, Separable, Truth, fail
from jaxopt_lab.core.errors import is_concrete_number, require_between
from jaxopt_lab.core.problem import Batch, Key
from jaxopt_lab.objectives.quadratics import Start, starting_at
from jaxopt_lab.objectives.spectra import require_spectrum


def quadratic_saddle(
    eigenvalues: jax.typing.ArrayLike | Sequence[float],
    *,
    confinement: float = 1.0,
    start: Start = None,
    radius: float | None = None,
) -> Problem:
    """A saddle at the origin with the given eigenvalues, closed off by a quartic along its negative directions.

    Args:
      eigenvalues: [d], at least one negative; see `objectives.spectra` and `planted_index`.
      confinement: c >= 0; with 0 the loss is not bounded below.
      start: initial parameters, a constant or an array [d]; None draws them.
      radius: draw the start from the ball of this radius around the saddle, as perturbed gradient descent does; None
        draws it from N(0, I).

    Returns:
      The problem; separable. `truth` holds the saddle's eigenvalues and index, and with c > 0 the minimum and the
      minimizer in the positive orthant. Cost of a gradient: O(d).

    Raises:
      InputError: no negative eigenvalue, a negative confinement or radius, or a start that is the saddle itself.

    Example:
      >>> problem = quadratic_saddle([1.0, -2.0], start=0.1)
      >>> problem.truth.index, problem.truth.minimum, problem.truth.minimizer.round(3).tolist()
      (1, -1.0, [0.0, 1.4140000343322754])
    """
    where = "quadratic_saddle"
    spectrum = require_spectrum(where, eigenvalues)
    require_between(where, "confinement", confinement, 0.0, np.inf, ends="[)", why="A negative one opens the saddle.")
    index = int(jnp.sum(spectrum < 0, dtype=jnp.int32))
    if index == 0:
        raise fail(
            where, "eigenvalues must hold a negative one", "Without it the origin is a minimum: use `quadratic`."
        )
    if start is not None and is_concrete_number(start) and start == 0:
        raise fail(
            where, "start is the saddle itself",
            "Gradients vanish there, and gradient descent stays for ever: start beside it, or give a radius.",
        )  # fmt: skip
    if radius is not None:
        require_between(where, "radius", radius, 0.0, np.inf, ends="()")
    constants = (spectrum, jnp.asarray(confinement, spectrum.dtype))
    return Problem(
        loss=jax.tree_util.Partial(_saddle_loss, constants),
        init=starting_at(start, spectrum.shape[0], spectrum.dtype) if radius is None else _in_ball(radius, spectrum),
        truth=_truth(spectrum, confinement, index),
        separable=Separable(_saddle_energy, constants),
        name="quadratic-saddle",
    )


def planted_index(dim: int, fraction: float, *, smallest: float = -1.0, largest: float = 1.0) -> jax.Array:
    """A spectrum [dim] with a given fraction of negative eigenvalues, all equal, and the rest equal and positive.

    Args:
      dim: d >= 1.
      fraction: share of negative eigenvalues in [0, 1]; at least one eigenvalue unless it is 0.
      smallest: the negative eigenvalue.
      largest: the positive one.

    Returns:
      The eigenvalues, the negative ones first.

    Raises:
      InputError: an index fraction outside of [0, 1], or eigenvalues of the wrong sign.

    Example:
      >>> planted_index(4, 0.5).tolist()
      [-1.0, -1.0, 1.0, 1.0]
    """
    require_between("planted_index", "fraction", fraction, 0.0, 1.0, why="It is the share of negative eigenvalues.")
    require_between("planted_index", "smallest", smallest, -np.inf, 0.0, ends="()")
    require_between("planted_index", "largest", largest, 0.0, np.inf, ends="()")
    count = max(1, round(fraction * dim)) if fraction > 0 else 0
    return jnp.where(jnp.arange(dim, dtype=jnp.int32) < count, smallest, largest).astype(jnp.zeros((), float).dtype)


def degenerate_saddle(degree: int, *, dim: int = 2, start: Start = None) -> Problem:
    """f = 1/2 |x|^2 - y^p / p for even p and -|y|^p / p for odd p, y the last of d coordinates: no negative eigenvalue.

    Args:
      degree: p >= 3; at 2 the saddle is strict, see `quadratic_saddle`.
      dim: d >= 1 coordinates.
      start: as in `quadratic_saddle`.

    Returns:
      The problem; gradient descent leaves along y after about y_0^(2 - p) / ((p - 2) lr) steps. `truth` holds the
      eigenvalues at the saddle, one of them 0.

    Raises:
      InputError: a degree below 3.

    Example:
      >>> float(degenerate_saddle(4).full_loss(jnp.array([1.0, 2.0])))
      -3.5
    """
    if not isinstance(degree, int) or degree < 3:
        raise fail(
            "degenerate_saddle", f"degree must be a whole number of at least 3, got {degree}", "At 2 it is strict."
        )
    real = jnp.zeros((), float).dtype
    eigenvalues = jnp.ones(dim, real).at[-1].set(0.0)
    truth = Truth(eigenvalues=eigenvalues, smoothness=1.0, index=0)
    loss = jax.tree_util.Partial(_degenerate_loss, jnp.asarray(degree, real))
    return Problem(loss=loss, init=starting_at(start, dim, real), truth=truth, name=f"degenerate-saddle-{degree}")


def monkey_saddle(*, start: Start = None) -> Problem:
    """f(x, y) = x^3 - 3 x y^2: three ways down, and a Hessian that vanishes at the origin.

    Example:
      >>> float(monkey_saddle().full_loss(jnp.array([1.0, 1.0])))
      -2.0
    """
    real = jnp.zeros((), float).dtype
    truth = Truth(eigenvalues=jnp.zeros(2, real), smoothness=0.0, index=0)
    return Problem(loss=_monkey_loss, init=starting_at(start, 2, real), truth=truth, name="monkey-saddle")


def _saddle_energy(params: jax.Array, constants: tuple[jax.Array, jax.Array]) -> jax.Array:
    spectrum, confinement = constants
    square = jnp.square(params)
    quartic = jnp.where(spectrum < 0, 0.25 * confinement, 0.0) * jnp.square(square)
    return jnp.sum(0.5 * spectrum * square + quartic)


def _saddle_loss(constants: tuple[jax.Array, jax.Array], params: jax.Array, batch: Batch, key: Key | None) -> jax.Array:
    del batch, key
    return _saddle_energy(params, constants)


def _degenerate_loss(degree: jax.Array, params: jax.Array, batch: Batch, key: Key | None) -> jax.Array:
    del batch, key
    last = jnp.abs(params[-1])
    return 0.5 * jnp.sum(jnp.square(params[:-1])) - last**degree / degree


def _monkey_loss(params: jax.Array, batch: Batch, key: Key | None) -> jax.Array:
    del batch, key
    return params[0] ** 3 - 3 * params[0] * params[1] ** 2


def _in_ball(radius: float, spectrum: jax.Array):
    """A uniform point of the ball: a random direction at a distance radius u^(1 / d)."""

    def init(key: Key) -> jax.Array:
        direction_key, distance_key = jax.random.split(key)
        direction = jax.random.normal(direction_key, spectrum.shape, spectrum.dtype)
        share = jax.random.uniform(distance_key, (), spectrum.dtype) ** (1 / spectrum.shape[0])
        return direction * (radius * share / jnp.sqrt(jnp.sum(jnp.square(direction))))

    return init


def _truth(spectrum: jax.Array, confinement: float, index: int) -> Truth:
    if confinement == 0:
        return Truth(eigenvalues=spectrum, smoothness=float(jnp.max(jnp.abs(spectrum))), index=index)
    depth = jnp.where(spectrum < 0, -spectrum, 0)
    return Truth(
        eigenvalues=spectrum,
        smoothness=float(jnp.max(jnp.abs(spectrum))),
        minimum=float(-0.25 * jnp.sum(jnp.square(depth)) / confinement),
        minimizer=jnp.sqrt(depth / confinement),
        index=index,
    )
