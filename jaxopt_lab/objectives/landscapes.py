"""Random landscapes in high dimension, whose critical points have a known index at each height.

    spherical spin glass   H(x) = N^(-(p - 1) / 2) sum J_(i ... k) x_i ... x_k   on |x|^2 = N, J from N(0, 1)
    Gaussian field         V(x) = sqrt(N / M) sum_m a_m cos(w_m x) + b_m sin(w_m x),   w_m from N(0, I / N)

with a and b from N(0, 1). Both have mean zero and variance N at every point; the covariances are N (x y / N)^p and, for
M >> N, N exp(-|x - y|^2 / 2 N). How many directions lead down at a critical point of a given height is
`theory.landscapes.spherical_index` and `theory.landscapes.gaussian_field_index`.
"""

import functools
import itertools
import math

import jax
import jax.numpy as jnp

from jaxopt_lab.core import Problem, fail
from jaxopt_lab.core.errors import require_count, require_memory
from jaxopt_lab.core.memory import available_memory
from jaxopt_lab.core.problem import Batch, Key
from jaxopt_lab.objectives.quadratics import Start, on_sphere, starting_at


def spherical_spin_glass(key: Key, dim: int, degree: int = 3, *, start: Start = None) -> Problem:
    """The spherical p-spin model: a random homogeneous polynomial of degree p on a sphere of N dimensions.

    The parameters x are not constrained: the loss is H(sqrt(N) x / |x|), which is constant along each ray. So gradients
    are tangent to the sphere, the Hessian has one zero eigenvalue along x, on the sphere its others are those of the
    sphere's own Hessian, and a step of descent lengthens x a little, which makes the later ones shorter.

    Args:
      key: draws the couplings.
      dim: N >= 2 spins.
      degree: p >= 3.
      start: initial parameters, a constant or an array [N]; None draws them uniformly on the sphere.

    Returns:
      The problem; its loss is the energy H, so the energy per spin is loss / N. Nothing is known exactly at finite N;
      for large N critical points are minima below the energy N `theory.landscapes.spherical_threshold(p)`. The
      couplings are made symmetric, so a gradient is one contraction. Cost: memory N^p, a gradient 2 N^p operations.

    Raises:
      InputError: a degree below 3, a start at the origin, or couplings that do not fit in memory.

    Example:
      >>> problem = spherical_spin_glass(jax.random.key(0), 10)
      >>> point = problem.init(jax.random.key(1))
      >>> bool(jnp.allclose(problem.full_loss(point), problem.full_loss(2 * point), rtol=1e-5))
      True

    Reference: Crisanti and Sommers 1992, The spherical p-spin interaction spin glass model, Z. Phys. B 87; Auffinger,
    Ben Arous, Cerny 2013, Random matrices and complexity of spin glasses.
    """
    where = "spherical_spin_glass"
    require_count(where, "dim", dim, 2)
    require_count(where, "degree", degree, 3, "At 2 it is a quadratic form, whose critical points are eigenvectors.")
    real = jnp.zeros((), float).dtype
    require_memory(where, 3 * dim**degree * real.itemsize, available_memory(), f"{dim}^{degree} couplings")
    if start is not None and not jnp.any(jnp.asarray(start)):
        raise fail(where, "start is the origin", "It has no direction: the energy is defined on the sphere.")
    loss = jax.tree_util.Partial(_spin_loss, _couplings(key, dim, degree, real))
    init = on_sphere(dim, dim, real) if start is None else starting_at(start, dim, real)
    return Problem(loss=loss, init=init, name=f"spherical-{degree}-spin")


def gaussian_field(key: Key, dim: int, num_features: int, *, start: Start = None) -> Problem:
    """An isotropic Gaussian random field of covariance N exp(-|x - y|^2 / 2 N), from random Fourier features.

    Given the frequencies it is exactly Gaussian; its covariance is right to a relative 1 / sqrt(M).

    Args:
      key: draws frequencies and amplitudes.
      dim: N >= 1.
      num_features: M >= N, better M >> N: with fewer than N the Hessian has not full rank.
      start: initial parameters, a constant or an array [N]; None draws them from N(0, I).

    Returns:
      The problem; its loss is the height V, of mean 0 and variance N. Nothing is known exactly at finite N; for large N
      critical points are minima below V = -2 N. Cost: memory and a gradient 2 M N.

    Raises:
      InputError: fewer features than dimensions, or features that do not fit in memory.

    Example:
      >>> problem = gaussian_field(jax.random.key(0), 4, 1000)
      >>> problem.full_loss(problem.init(jax.random.key(1))).shape
      ()

    Reference: Bray and Dean 2007, PRL 98, 150201, for the field; Rahimi and Recht 2007, Random features for large-scale
    kernel machines.
    """
    where = "gaussian_field"
    require_count(where, "dim", dim)
    require_count(where, "num_features", num_features, dim, "With fewer features than dimensions it is no such field.")
    real = jnp.zeros((), float).dtype
    require_memory(where, 2 * dim * num_features * real.itemsize, available_memory(), f"{num_features} features")
    loss = jax.tree_util.Partial(_field_loss, *_features(key, dim, num_features, real))
    return Problem(loss=loss, init=starting_at(start, dim, real), name="gaussian-field")


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _couplings(key: Key, dim: int, degree: int, real: jnp.dtype) -> jax.Array:
    """Couplings from N(0, 1), averaged over all orders of their indices: the polynomial is the same."""
    drawn = jax.random.normal(key, (dim,) * degree, real)
    orders = list(itertools.permutations(range(degree)))
    total = functools.reduce(jnp.add, [drawn.transpose(order) for order in orders])
    return total / (len(orders) * dim ** ((degree - 1) / 2))


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _features(key: Key, dim: int, num_features: int, real: jnp.dtype) -> tuple[jax.Array, jax.Array]:
    """Frequencies [M, N] and amplitudes [2, M]."""
    wave_key, height_key = jax.random.split(key)
    waves = jax.random.normal(wave_key, (num_features, dim), real) / math.sqrt(dim)
    return waves, jax.random.normal(height_key, (2, num_features), real) * math.sqrt(dim / num_features)


def _spin_loss(couplings: jax.Array, params: jax.Array, batch: Batch, key: Key | None) -> jax.Array:
    del batch, key
    spins = params * jnp.sqrt(params.shape[0] / jnp.sum(jnp.square(params)))
    return _contract(couplings.ndim, couplings, spins)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _contract(count: int, couplings: jax.Array, spins: jax.Array) -> jax.Array:
    """Symmetric couplings times `count` copies of the spins."""
    for _ in range(count):
        couplings = couplings @ spins
    return couplings


@_contract.defjvp
def _contract_derivative(
    count: int, primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]
) -> tuple[jax.Array, jax.Array]:
    """Each copy gives the same term; the automatic rule would go through all of the couplings for each."""
    couplings, spins = primals
    couplings_tangent, spins_tangent = tangents
    below = _contract(count - 1, couplings, spins)
    slope = count * (below @ spins_tangent)
    return below @ spins, slope + _contract(count, couplings_tangent, spins)


def _field_loss(waves: jax.Array, heights: jax.Array, params: jax.Array, batch: Batch, key: Key | None) -> jax.Array:
    del batch, key
    phases = waves @ params
    return jnp.sum(heights[0] * jnp.cos(phases) + heights[1] * jnp.sin(phases))
