"""The octopus: d saddles in a row, each of which shrinks the coordinate along which the next one is to be left.

    p(x)   the walk out of one saddle, for |x| by pieces
           -gamma x^2                                                      up to tau
           -gamma x^2 + (10 gamma - 14 L) (|x| - tau)^3 / (3 tau)
                      + (5 L - 3 gamma) (|x| - tau)^4 / (2 tau^2)          up to 2 tau
           L (|x| - 4 tau)^2 - nu,   nu = (37 L + 13 gamma) tau^2 / 6      beyond
    w(x)   a gate: 0 up to tau, 1 from 2 tau on, t^3 (6 t^2 - 15 t + 10) with t = |x| / tau - 1 between
    f(x) = sum_j W_j p(x_j) + (1 - W_j) L x_j^2,   W_j = w(x_1) ... w(x_{j-1})

Coordinate j is held by L x^2 until all before it have passed 2 tau; then p leads it from the saddle at 0 to 4 tau. On
the domain of the paper (before x_i everything beyond 2 tau, after it everything below tau) these are its equations:
there g_1 = p, and g_2 = L - (L + gamma) w is its quintic spline. The paper continues f to all of R^d by Whitney's
theorem, without a formula; the gates do it with one, twice continuously differentiable everywhere, and without a new
critical point: p(x) <= L x^2, so that between tau and 2 tau every force points outwards.

Reference: Du, Jin, Lee, Jordan, Poczos, Singh 2017, Gradient descent can take exponential time to escape saddle points,
arXiv 1705.10412, section 4 and appendix A.
"""

import math

import jax
import jax.numpy as jnp

from jaxopt_lab.core import Problem, Truth, fail
from jaxopt_lab.core.errors import is_concrete_number, require_choice, require_count, require_finite, require_positive
from jaxopt_lab.core.problem import Batch, Key
from jaxopt_lab.objectives import rotations
from jaxopt_lab.objectives.quadratics import Start, starting_at


def octopus(
    dim: int,
    *,
    smoothness: float = 1.0,
    curvature: float = 1.0,
    scale: float = math.e,
    rotation: str | None = None,
    start: Start = None,
    seed: int = 0,
) -> Problem:
    """A chain of d strict saddles that gradient descent needs exp(d) steps to pass, from a uniform start.

    Saddle i = 1 .. d has its first i - 1 coordinates at +-4 tau and the others at 0, index 1, eigenvalues 2 L (d - 1
    times) and -2 gamma, and loss -(i - 1) nu; see `octopus_saddle` and `octopus_losses`.

    Args:
      dim: d >= 1.
      smoothness: L > 0: stable eigenvalues are 2 L.
      curvature: gamma > 0: the eigenvalue of the way out is -2 gamma.
      scale: tau > 0, half of the distance at which a saddle is passed; in the paper e, above the start's size.
      rotation: None, or "hadamard" (d a power of two): the parameters are the coordinates above in another basis, in
        which no axis is left recognizable.
      start: initial parameters, a constant or an array [d]; None draws the coordinates above from U[-1, 1]^d.
      seed: seeds the rotation's signs.

    Returns:
      The problem. Its metric "passed" counts the saddles passed. `truth` holds the minimum -d nu, the minimizer
      of the positive orthant (all at 4 tau), and eigenvalues and index of the first saddle, at the origin. Cost of a
      gradient: O(d).

    Raises:
      InputError: an argument out of its range, a start that is the first saddle itself, a rotation that does not fit.

    Example:
      >>> problem = octopus(3, scale=1.0)
      >>> [round(float(problem.full_loss(octopus_saddle(3, passed, scale=1.0))), 4) for passed in range(4)]
      [0.0, -8.3333, -16.6667, -25.0]
    """
    where = "octopus"
    _require_shape(where, dim, smoothness, curvature, scale)
    require_choice(where, "rotation", rotation, (None, "hadamard"))
    if rotation and dim & (dim - 1):
        raise fail(where, f"rotation='hadamard' needs a power of two as dim, got {dim}")
    if start is not None:
        require_finite(where, "start", start)
        if is_concrete_number(start) and start == 0:
            raise fail(
                where, "start is the first saddle itself",
                "Gradients vanish there, and gradient descent stays for ever: start beside it.",
            )  # fmt: skip
    real = jnp.zeros((), float).dtype
    constants = tuple(jnp.asarray(value, real) for value in (smoothness, curvature, scale))
    signs = None if rotation is None else rotations.random_signs(jax.random.key(seed), dim).astype(real)
    minimizer = jnp.asarray(4 * scale, real)
    return Problem(
        loss=jax.tree_util.Partial(_octopus_loss, constants, signs),
        init=_in_cube(dim, real, signs) if start is None else starting_at(start, dim, real),
        metrics={"passed": jax.tree_util.Partial(_num_passed, constants[-1], signs)},
        truth=Truth(
            eigenvalues=jnp.full(dim, 2 * smoothness, real).at[0].set(-2 * curvature),
            smoothness=2 * smoothness,
            minimum=-dim * _depth(smoothness, curvature, scale),
            minimizer=minimizer if signs is None else signs * rotations.hadamard(jnp.full(dim, minimizer)),
            index=1,
        ),
        name="octopus",
    )


def octopus_saddle(dim: int, passed: int, *, scale: float = math.e) -> jax.Array:
    """The saddle of the positive orthant behind `passed` others: that many coordinates at 4 tau, the rest at 0, [d].

    Example:
      >>> octopus_saddle(3, 1, scale=0.5).tolist()
      [2.0, 0.0, 0.0]
    """
    require_count("octopus_saddle", "dim", dim)
    if not 0 <= passed <= dim:
        raise fail(
            "octopus_saddle", f"passed must be between 0 and dim = {dim}, got {passed}", "At dim it is a minimum."
        )
    return jnp.where(jnp.arange(dim, dtype=jnp.int32) < passed, 4 * scale, 0.0).astype(jnp.zeros((), float).dtype)


def octopus_losses(dim: int, *, smoothness: float = 1.0, curvature: float = 1.0, scale: float = math.e) -> list[float]:
    """Losses of the d saddles in the order in which they are passed, and of the minimum, d + 1 numbers.

    Example:
      >>> octopus_losses(2, smoothness=1.0, curvature=1.0, scale=3.0)
      [0.0, -75.0, -150.0]
    """
    _require_shape("octopus_losses", dim, smoothness, curvature, scale)
    depth = _depth(smoothness, curvature, scale)
    return [0.0 if passed == 0 else -passed * depth for passed in range(dim + 1)]


def _octopus_loss(
    constants: tuple[jax.Array, jax.Array, jax.Array],
    signs: jax.Array | None,
    params: jax.Array,
    batch: Batch,
    key: Key | None,
) -> jax.Array:
    del batch, key
    smoothness, curvature, scale = constants
    points = _coordinates(signs, params)
    walk, gate = _walk_and_gate(points, smoothness, curvature, scale)
    # A scan, not `cumprod`: for the few coordinates of this problem it compiles and runs twice as fast on a CPU.
    _, open_gates = jax.lax.scan(lambda before, own: (before * own, before), jnp.ones_like(gate[0]), gate)
    return jnp.sum(open_gates * walk + (1 - open_gates) * smoothness * jnp.square(points))


def _num_passed(scale: jax.Array, signs: jax.Array | None, params: jax.Array, batch: Batch) -> jax.Array:
    """How many coordinates from the first on lie beyond 2 tau."""
    del batch
    beyond = jnp.abs(_coordinates(signs, params)) > 2 * scale
    return jnp.sum(jnp.cumprod(beyond.astype(params.dtype)))


def _coordinates(signs: jax.Array | None, params: jax.Array) -> jax.Array:
    return params if signs is None else rotations.hadamard(signs * params)


def _walk_and_gate(
    params: jax.Array, smoothness: jax.Array, curvature: jax.Array, scale: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """p and w of every coordinate."""
    distance = jnp.abs(params)
    beyond = jnp.clip(distance / scale - 1, 0, 1)  # t: its slope does not matter at the ends, w and p are flat there
    cubic, quartic = (10 * curvature - 14 * smoothness) / 3, (5 * smoothness - 3 * curvature) / 2
    inner = -curvature * jnp.square(params) + jnp.square(scale) * beyond**3 * (cubic + quartic * beyond)
    outer = smoothness * jnp.square(distance - 4 * scale) - _depth(smoothness, curvature, scale)
    gate = beyond**3 * (10 + beyond * (6 * beyond - 15))
    return jnp.where(distance < 2 * scale, inner, outer), gate


def _depth(smoothness, curvature, scale):
    """nu, the loss between two saddles; of numbers and of arrays."""
    return (37 * smoothness + 13 * curvature) * scale**2 / 6


def _in_cube(dim: int, real: jnp.dtype, signs: jax.Array | None):
    def init(key: Key) -> jax.Array:
        points = jax.random.uniform(key, (dim,), real, -1.0, 1.0)
        return points if signs is None else signs * rotations.hadamard(points)

    return init


def _require_shape(where: str, dim: int, smoothness: float, curvature: float, scale: float) -> None:
    require_count(where, "dim", dim)
    require_positive(where, "smoothness", smoothness)
    require_positive(where, "curvature", curvature, "Without it there is no way out of a saddle.")
    require_positive(where, "scale", scale)
