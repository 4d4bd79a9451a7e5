"""Initializers by name: weights W [fan_in, fan_out] with mean 0 and a standard deviation that follows the width.

    lecun, scaled    gain / sqrt(fan_in)                   keeps the variance of a linear or tanh layer
    he               gain sqrt(2 / fan_in)                 of a relu layer
    xavier           gain sqrt(2 / (fan_in + fan_out))     of values forward and gradients backward, on average
    orthogonal       W'W = gain^2 I                        keeps every length

"normal" cuts the Gaussian at two standard deviations and corrects its variance; "scaled" does not cut.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax

from jaxopt_lab.core import require_choice, require_positive

Initializer = jax.nn.initializers.Initializer

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


@functools.cache
def _named(name: str, gain: float) -> Initializer:
    """Made once, so that two networks of equal options are equal and share a compiled program."""
    if name == "orthogonal":
        return jax.nn.initializers.orthogonal(scale=gain)
    scale, mode, distribution = _VARIANCES[name]
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
