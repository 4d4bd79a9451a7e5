"""Initializers by name: weights W [fan_in, fan_out] with mean 0 and a standard deviation that follows the width.

    lecun, scaled    gain / sqrt(fan_in)                   keeps the variance of a linear or tanh layer
    he               gain sqrt(2 / fan_in)                 of a relu layer
    xavier           gain sqrt(2 / (fan_in + fan_out))     of values forward and gradients backward, on average
    orthogonal       W'W = gain^2 I                        keeps every length

"normal" cuts the Gaussian at two standard deviations and corrects its variance; "scaled" does not cut.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxopt_lab.core.errors import require_choice, require_positive

_VARIANCES: dict[str, tuple[float, Any, Any]] = {
    "scaled": (1.0, "fan_in", "normal"),
    "lecun_normal": (1.0, "fan_in", "truncated_normal"),
    "lecun_uniform": (1.0, "fan_in", "uniform"),
    "he_normal": (2.0, "fan_in", "truncated_normal"),
    "he_uniform": (2.0, "fan_in", "uniform"),
    "xavier_normal": (1.0, "fan_avg", "truncated_normal"),
    "xavier_uniform": (1.0, "fan_avg", "uniform"),
}

INITIALIZERS = (*_VARIANCES, "orthogonal")

_CUT_DEVIATION = 0.87962566103423978  # of N(0, 1) cut at two
_LEAST, _MOST = 2**12, 2**18


@dataclasses.dataclass(frozen=True)
class _CutNormal:
    """The bits of JAX's `variance_scaling`, drawn in a few lengths: each new one is slow to compile."""

    scale: float
    mode: str

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: Any = None, **_: Any) -> jax.Array:
        size, real = math.prod(shape), jnp.dtype(dtype or float)
        length = size if size > _MOST else max(_LEAST, 1 << (size - 1).bit_length())
        drawn = jax.random.truncated_normal(key, -2, 2, (length,), real)[:size].reshape(shape)
        window = math.prod(shape[:-2])
        fan = window * (shape[-2] if self.mode == "fan_in" else (shape[-2] + shape[-1]) / 2)
        return drawn * (jnp.sqrt(jnp.array(self.scale / fan, real)) / jnp.array(_CUT_DEVIATION, real))


@functools.cache
def _named(name: str, gain: float) -> Callable[..., jax.Array]:
    """Made once, so that two networks of equal options are equal and share a compiled program."""
    if name == "orthogonal":
        return jax.nn.initializers.orthogonal(scale=gain)
    scale, mode, distribution = _VARIANCES[name]
    if distribution == "truncated_normal":
        return _CutNormal(scale * gain**2, mode)
    return jax.nn.initializers.variance_scaling(scale * gain**2, mode, distribution)


def resolve_initializer(initializer: str | Callable[..., jax.Array], gain: float = 1.0) -> Callable[..., jax.Array]:
    """The initializer of a name; a function (key, shape, dtype) -> array passes.

    Args:
      initializer: a name of `INITIALIZERS`, or a function.
      gain: multiplies the standard deviation of a named one, > 0.

    Returns:
      The function.

    Raises:
      InputError: an unknown name, or a gain that is not positive.

    Example:
      >>> weights = resolve_initializer("orthogonal", 2.0)(jax.random.key(0), (3, 3), float)
      >>> (weights @ weights.T).round(4).diagonal().tolist()
      [4.0, 4.0, 4.0]

    Reference: LeCun et al. 1998 (lecun); Glorot and Bengio 2010, equations 12 and 16 (xavier); He et al. 2015,
    equation 10 (he); Saxe, McClelland, Ganguli 2014 (orthogonal).
    """
    require_positive("resolve_initializer", "gain", gain)
    if callable(initializer):
        return initializer
    require_choice("resolve_initializer", "initializer", initializer, INITIALIZERS)
    return _named(initializer, float(gain))
