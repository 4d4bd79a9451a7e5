"""Quadratics whose spectrum is known exactly, matrix-free up to 1e8 dimensions.

f(x) = 1/2 (x - x*)' Q diag(lambda) Q' (x - x*)
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Problem, Separable, Truth, fail
from jaxopt_lab.core.errors import require_choice, require_count, require_finite, require_memory, require_size
from jaxopt_lab.core.memory import available_memory
from jaxopt_lab.core.problem import Batch, Key
from jaxopt_lab.objectives import rotations
from jaxopt_lab.objectives.spectra import require_spectrum

Start = float | jax.Array | np.ndarray | None


def quadratic(
    eigenvalues: jax.typing.ArrayLike | Sequence[float],
    *,
    rotation: str | None = None,
    minimizer: jax.typing.ArrayLike | None = None,
    start: Start = None,
    num_reflectors: int = 2,
    seed: int = 0,
) -> Problem:
    """A quadratic with the given eigenvalues. Cost of a gradient: O(d), with "hadamard" O(d log d).

    Args:
      eigenvalues: any real numbers, shape [d]; see `objectives.spectra`. Negative ones make a saddle.
      rotation: None (diagonal), "householder" (keeps `num_reflectors` more vectors) or "hadamard" (d a power of two).
      minimizer: x*, shape [d]; None for the origin.
      start: initial parameters, a constant or an array [d]; None draws them from N(0, I) by the key.
      num_reflectors: Householder reflections, >= 1.
      seed: seeds the rotation.

    Returns:
      The problem; `truth` holds the spectrum, the minimum 0 and the minimizer (no minimum when an eigenvalue is
      negative), and the index. Without rotation it is separable.

    Raises:
      InputError: eigenvalues that are not finite, an unknown rotation, shapes that do not fit, too little memory.

    Example:
      >>> problem = quadratic([1.0, 4.0], start=1.0)
      >>> float(problem.full_loss(problem.init(jax.random.key(0)))), problem.truth.condition_number
      (2.5, 4.0)
    """
    require_choice("quadratic", "rotation", rotation, (None, "householder", "hadamard"))
    spectrum = require_spectrum("quadratic", eigenvalues)
    dim = spectrum.shape[0]
    target = None if minimizer is None else _vector("minimizer", minimizer, dim, spectrum.dtype)
    key = jax.random.key(seed)
    if rotation is None:
        loss = jax.tree_util.Partial(_diagonal_loss, (spectrum, target))
    elif rotation == "householder":
        require_count("quadratic", "num_reflectors", num_reflectors)
        needed = 2 * num_reflectors * spectrum.nbytes
        require_memory("quadratic", needed, available_memory(), f"{num_reflectors} reflectors of {dim:.3g} entries")
        units = rotations.reflectors(key, dim, num_reflectors).astype(spectrum.dtype)
        loss = jax.tree_util.Partial(_rotated_loss, rotations.reflect, (spectrum, target), units)
    else:
        signs = rotations.random_signs(key, dim).astype(spectrum.dtype)
        loss = jax.tree_util.Partial(_rotated_loss, _signed_hadamard, (spectrum, target), signs)
    return Problem(
        loss=loss,
        init=starting_at(start, dim, spectrum.dtype),
        truth=_truth(spectrum, target),
        separable=Separable(_coordinate_loss, (spectrum, target)) if rotation is None else None,
        name="quadratic" if rotation is None else f"quadratic-{rotation}",
    )


def laplacian(dim: int, *, start: Start = None) -> Problem:
    """The chain of springs f(x) = 1/2 sum_i (x_{i+1} - x_i)^2 with both ends held at 0: a non-diagonal exact testbed.

    The Hessian is the stencil (-1, 2, -1) with eigenvalues 4 sin^2(pi j / (2 (d + 1))) and eigenvectors
    sin(pi i j / (d + 1)), j = 1 .. d; kappa is about 0.41 d^2. Cost of a gradient: 3 d.

    Args:
      dim: d >= 1.
      start: as in `quadratic`.

    Returns:
      The problem, with its exact spectrum in `truth`.

    Raises:
      InputError: dim is no count, or does not fit in memory.

    Example:
      >>> [round(float(value), 6) for value in laplacian(2).truth.eigenvalues]
      [1.0, 3.0]
    """
    require_size("laplacian", "dim", dim)
    real = jnp.zeros((), float).dtype
    require_memory("laplacian", 2 * dim * real.itemsize, available_memory(), f"a spectrum of {dim:.3g} eigenvalues")
    order = (jnp.arange(1, dim + 1, dtype=jnp.int32)).astype(real)
    eigenvalues = 4 * jnp.sin(order * (math.pi / (2 * (dim + 1)))) ** 2
    truth = Truth(
        eigenvalues=eigenvalues,
        smoothness=4 * math.sin(math.pi * dim / (2 * (dim + 1))) ** 2,
        strong_convexity=4 * math.sin(math.pi / (2 * (dim + 1))) ** 2,
        minimum=0.0,
        minimizer=jnp.zeros((), real),
        index=0,
    )
    return Problem(loss=_chain_loss, init=starting_at(start, dim, real), truth=truth, name="laplacian")


def laplacian_eigenvector(dim: int, order: int) -> np.ndarray:
    """Unit eigenvector of `laplacian(dim)` for its `order`-th smallest eigenvalue, order = 1 .. d; float64 [d]."""
    waves = np.sin(np.pi * order * np.arange(1, dim + 1) / (dim + 1))
    return waves * math.sqrt(2 / (dim + 1))


@jax.custom_jvp
def _energy(eigenvalues: jax.Array, offset: jax.Array) -> jax.Array:
    """1/2 sum_i eigenvalue_i offset_i^2."""
    return 0.5 * jnp.sum(eigenvalues * jnp.square(offset))


@_energy.defjvp
def _energy_derivative(primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
    """The gradient as one product, eigenvalue times offset; the automatic one would keep half the spectrum."""
    eigenvalues, offset = primals
    spectrum_tangent, offset_tangent = tangents
    slope = jnp.sum(eigenvalues * offset * offset_tangent) + 0.5 * jnp.sum(jnp.square(offset) * spectrum_tangent)
    return _energy(eigenvalues, offset), slope


def _coordinate_loss(params: jax.Array, constants: tuple[jax.Array, jax.Array | None]) -> jax.Array:
    eigenvalues, target = constants
    return _energy(eigenvalues, params if target is None else params - target)


def _diagonal_loss(
    constants: tuple[jax.Array, jax.Array | None], params: jax.Array, batch: None, key: None
) -> jax.Array:
    del batch, key
    return _coordinate_loss(params, constants)


def _rotated_loss(
    rotate: Callable[..., jax.Array],
    constants: tuple[jax.Array, jax.Array | None],
    rotation: jax.Array,
    params: jax.Array,
    batch: None,
    key: None,
) -> jax.Array:
    del batch, key
    eigenvalues, target = constants
    offset = params if target is None else params - target
    return _coordinate_loss(rotate(rotation, offset), (eigenvalues, None))


def _signed_hadamard(signs: jax.Array, x: jax.Array) -> jax.Array:
    return rotations.hadamard(signs * x)


def _chain_loss(params: jax.Array, batch: Batch, key: Key | None) -> jax.Array:
    del batch, key
    inner = jnp.sum(jnp.square(params[1:] - params[:-1]))
    return 0.5 * (inner + jnp.square(params[0]) + jnp.square(params[-1]))


def _truth(spectrum: jax.Array, target: jax.Array | None) -> Truth:
    low, high = float(jnp.min(spectrum)), float(jnp.max(spectrum))
    index = int(jnp.sum(spectrum < 0, dtype=jnp.int32))
    origin = jnp.zeros((), spectrum.dtype) if target is None else target
    return Truth(
        eigenvalues=spectrum,
        smoothness=high,
        strong_convexity=low if low > 0 else None,
        minimum=0.0 if low >= 0 else None,
        minimizer=origin if low >= 0 else None,
        index=index,
    )


def starting_at(start: Start, dim: int, dtype: jnp.dtype) -> Callable[[jax.Array], jax.Array]:
    """The `init` of a problem of dim numbers: a constant, an array, or for None a draw from N(0, I)."""
    if start is None:
        return lambda key: jax.random.normal(key, (dim,), dtype)
    require_finite("quadratic", "start", start)
    if np.ndim(start) == 0:
        return lambda key: jnp.full((dim,), start, dtype)
    given = _vector("start", start, dim, dtype)
    return lambda key: jnp.array(given, copy=True)


def on_sphere(dim: int, square: float, dtype: jnp.dtype) -> Callable[[jax.Array], jax.Array]:
    """The `init` of a problem that starts at a uniform point of the sphere |x|^2 = square."""

    def init(key: jax.Array) -> jax.Array:
        drawn = jax.random.normal(key, (dim,), dtype)
        return drawn * jnp.sqrt(square / jnp.sum(jnp.square(drawn)))

    return init


def _vector(name: str, given: jax.typing.ArrayLike, dim: int, dtype: jnp.dtype) -> jax.Array:
    vector = jnp.asarray(given, dtype)
    if vector.shape != (dim,):
        raise fail("quadratic", f"{name} must have the shape of the eigenvalues, ({dim},), got {vector.shape}")
    return vector
