"""What every network here shares: checked options, normalization by name, dropout whose key is given at call time."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxopt_lab.core.errors import require_between, require_choice, require_count
from jaxopt_lab.networks.activations import Activation, resolve_activation
from jaxopt_lab.networks.initializers import resolve_initializer

NORMS = ("none", "batch", "layer")


@dataclasses.dataclass(frozen=True)
class Options:
    """The options that every network takes, checked and resolved.

    Attributes:
      activation: the function itself.
      initializer: (key, shape, dtype) -> array.
      norm: one of `NORMS`.
      dropout: probability of dropping a value, in [0, 1).
      dtype: of parameters and of the computation.
    """

    activation: Activation
    initializer: Callable[..., jax.Array]
    norm: str
    dropout: float
    dtype: Any

    @classmethod
    def check(
        cls, where: str, counts: dict[str, int], activation: str | Activation,
        initializer: str | Callable[..., jax.Array], gain: float, norm: str, dropout: float, dtype: Any,
    ) -> "Options":  # fmt: skip
        """The options after their checks; `counts` are whole numbers of at least 1, by name."""
        for name, count in counts.items():
            require_count(where, name, count)
        require_choice(where, "norm", norm, NORMS)
        require_between(where, "dropout", dropout, 0, 1, ends="[)", why="With 1 nothing passes.")
        real = jnp.zeros((), float).dtype if dtype is None else jnp.dtype(dtype)
        return cls(resolve_activation(activation), resolve_initializer(initializer, gain), norm, dropout, real)

    def dense(self, num_inputs: int, num_outputs: int, rngs: nnx.Rngs) -> nnx.Linear:
        """A linear layer with bias 0."""
        return nnx.Linear(
            num_inputs, num_outputs, kernel_init=self.initializer, dtype=self.dtype, param_dtype=self.dtype, rngs=rngs
        )

    def convolution(self, num_inputs: int, num_outputs: int, size: int, stride: int, rngs: nnx.Rngs) -> nnx.Conv:
        """A convolution size x size with bias 0 that keeps the image's sides, up to the stride."""
        return nnx.Conv(
            num_inputs, num_outputs, (size, size), strides=(stride, stride), kernel_init=self.initializer,
            dtype=self.dtype, param_dtype=self.dtype, rngs=rngs,
        )  # fmt: skip

    def normalization(self, width: int, rngs: nnx.Rngs) -> nnx.Module:
        """The normalization over the last axis (layer), over all the others (batch), or none.

        Variances are taken around the mean: E[x^2] - E[x]^2 loses all digits where the mean is large.
        """
        common = {"dtype": self.dtype, "param_dtype": self.dtype, "use_fast_variance": False, "rngs": rngs}
        if self.norm == "layer":
            return nnx.LayerNorm(width, **common)
        if self.norm == "none":
            return Nothing()
        layer = nnx.BatchNorm(width, momentum=0.9, **common)
        if self.dtype == jnp.float64:
            layer.mean = nnx.BatchStat(jnp.zeros(width, self.dtype))
            layer.var = nnx.BatchStat(jnp.ones(width, self.dtype))
        return layer


class Nothing(nnx.Module):
    """The layer that returns its input."""

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """The input itself."""
        return inputs


class Dropout(nnx.Module):
    """Dropout without a random stream of its own: no key, no dropout, and one key gives one mask in every program."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, inputs: jax.Array, key: jax.Array | None, place: int) -> jax.Array:
        """The inputs with a share `rate` set to 0, the rest scaled up; `place` tells the layers of a model apart."""
        if key is None or self.rate == 0:
            return inputs
        kept = jax.random.bernoulli(jax.random.fold_in(key, place), 1 - self.rate, inputs.shape)
        return jnp.where(kept, inputs / (1 - self.rate), 0)
