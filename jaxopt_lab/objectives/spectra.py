"""Spectra by name: increasing eigenvalues [d] whose largest is `largest` and whose ratio is kappa.

Each is one formula in the index i = 0 .. d - 1, made in one pass, in the default float type.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import fail
from jaxopt_lab.core.errors import require_between, require_finite, require_memory, require_positive, require_size
from jaxopt_lab.core.memory import available_memory


def log_uniform(dim: int, kappa: float, largest: float = 1.0) -> jax.Array:
    """Evenly spaced logarithms: lambda_i = largest kappa^(i / (d - 1) - 1).

    Args:
      dim: d >= 1; one eigenvalue is `largest`.
      kappa: condition number >= 1.
      largest: the largest eigenvalue, > 0.

    Returns:
      Eigenvalues, shape [d], increasing.

    Raises:
      InputError: an argument is out of its range, or the array does not fit in memory.

    Example:
      >>> [round(float(value), 6) for value in log_uniform(3, 100.0)]
      [0.01, 0.1, 1.0]
    """
    _check("log_uniform", dim, kappa, largest)
    return _along_index(dim, largest, lambda place: largest * jnp.exp(jnp.log(kappa) * (place - 1)))


def linear(dim: int, kappa: float, largest: float = 1.0) -> jax.Array:
    """Evenly spaced eigenvalues from largest / kappa to largest, shape [d]; arguments as in `log_uniform`."""
    _check("linear", dim, kappa, largest)
    smallest = largest / kappa
    return _along_index(dim, largest, lambda place: smallest + (largest - smallest) * place)


def two_point(dim: int, kappa: float, largest: float = 1.0, fraction: float = 0.5) -> jax.Array:
    """A `fraction` of the eigenvalues at largest, the others at largest / kappa, shape [d]; both ends occur if d > 1.

    Args:
      dim: d >= 1.
      kappa: condition number >= 1.
      largest: the largest eigenvalue, > 0.
      fraction: share of the large eigenvalues, in (0, 1).
    """
    _check("two_point", dim, kappa, largest)
    require_between("two_point", "fraction", fraction, 0, 1, ends="()")
    small = min(max(round(dim * (1 - fraction)), 1), dim - 1) if dim > 1 else 0
    cut = (small - 0.5) / max(dim - 1, 1)
    return _along_index(dim, largest, lambda place: jnp.where(place < cut, largest / kappa, largest))


def power_law(dim: int, exponent: float, largest: float = 1.0) -> jax.Array:
    """lambda_j = largest j^-exponent for j = d .. 1, shape [d], increasing; kappa = d^exponent.

    Args:
      dim: d >= 1.
      exponent: decay, > 0.
      largest: the largest eigenvalue, > 0.
    """
    _check("power_law", dim, 1.0, largest)
    require_positive("power_law", "exponent", exponent)
    return _along_index(dim, largest, lambda place: largest * jnp.exp(-exponent * jnp.log1p((1 - place) * (dim - 1))))


def marchenko_pastur(dim: int, ratio: float, largest: float | None = None) -> jax.Array:
    """Quantiles of the Marchenko-Pastur law, the spectrum of the covariance of white noise, shape [d], increasing.

    Args:
      dim: d >= 1.
      ratio: parameters per example, in (0, 1].
      largest: rescales the law's upper edge (1 + sqrt(ratio))^2 to this value; None leaves it.

    Returns:
      The quantiles at (i + 1/2) / d.

    Raises:
      InputError: an argument is out of its range, or the array does not fit in memory.

    Reference: Marchenko and Pastur, Distribution of eigenvalues for some sets of random matrices, 1967.
    """
    _check("marchenko_pastur", dim, 1.0, 1.0 if largest is None else largest)
    require_between(
        "marchenko_pastur", "ratio", ratio, 0, 1, ends="(]", why="Above 1 some eigenvalues are exactly zero."
    )
    low, high = (1 - np.sqrt(ratio)) ** 2, (1 + np.sqrt(ratio)) ** 2
    angle = np.linspace(0, np.pi, 20_001)
    points = (low + high) / 2 - (high - low) / 2 * np.cos(angle)
    # the density over the angle, up to a factor; 1 is its limit where an edge lies at 0
    density = np.divide(np.sin(angle) ** 2, points, out=np.ones_like(points), where=points > 1e-12)
    mass = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    scale = 1.0 if largest is None else largest / high
    middles = (np.arange(dim) + 0.5) / dim
    return jnp.asarray(scale * np.interp(middles, mass / mass[-1], points), float)


SPECTRA: dict[str, Callable[..., jax.Array]] = {
    "log-uniform": log_uniform,
    "linear": linear,
    "two-point": two_point,
    "power-law": power_law,
    "marchenko-pastur": marchenko_pastur,
}


def _check(name: str, dim: int, kappa: float, largest: float) -> None:
    require_size(name, "dim", dim)
    require_between(name, "kappa", kappa, 1, np.inf, ends="[)", why="It is the largest eigenvalue over the smallest.")
    require_positive(name, "largest", largest)
    needed = 2 * dim * jnp.zeros((), float).dtype.itemsize
    require_memory(name, needed, available_memory(), f"a spectrum of {dim:.3g} eigenvalues", "Take a smaller dim.")


def _along_index(dim: int, largest: float, formula: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """The formula at i / (d - 1) for i = 0 .. d - 2, and `largest`, exactly, at the end.

    It is evaluated in float64 and rounded once: a bias of one float32 rounding near the largest eigenvalue is a visible
    error in the loss after some hundred steps at the edge of stability.
    """
    dtype = jnp.zeros((), float).dtype
    with jax.enable_x64(True):
        return jax.jit(partial(_evaluate, dim, largest, formula, dtype))()


def _evaluate(dim: int, largest: float, formula: Callable[[jax.Array], jax.Array], dtype: jnp.dtype) -> jax.Array:
    index = jax.lax.iota(jnp.int32, dim)
    inner = formula(index.astype(jnp.float64) / max(dim - 1, 1))
    return jnp.where(index == dim - 1, largest, inner).astype(dtype)


def require_spectrum(where: str, eigenvalues: jax.typing.ArrayLike | Sequence[float]) -> jax.Array:
    """The eigenvalues as a floating array [d].

    Raises:
      InputError: they are not a non-empty vector of finite numbers.
    """
    if isinstance(eigenvalues, jax.Array):
        array = eigenvalues
    else:
        require_finite(where, "eigenvalues", eigenvalues)
        array = jnp.asarray(np.asarray(eigenvalues), float)
    if array.ndim != 1 or array.size == 0 or not jnp.issubdtype(array.dtype, jnp.floating):
        raise fail(
            where, f"eigenvalues must be a vector of real numbers, got shape {array.shape}, {array.dtype}",
            "Make one with objectives.spectra, or give a list.",
        )  # fmt: skip
    if not bool(jnp.all(jnp.isfinite(array))):
        bad = int(jnp.argmax(~jnp.isfinite(array)))
        raise fail(where, f"eigenvalues must be finite, got {float(array[bad])} at position {bad}")
    return array
