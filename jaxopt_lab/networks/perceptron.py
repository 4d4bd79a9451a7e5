"""The multilayer perceptron: x -> W_L a(norm(W_{L-1} ... a(norm(W_0 x + b_0)))) + b_L."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxopt_lab.core import fail
from jaxopt_lab.networks.activations import Activation
from jaxopt_lab.networks.layers import Dropout, Options


class MLP(nnx.Module):
    """A perceptron with `depth` hidden layers of one width.

    Args:
      num_inputs: numbers an example, after flattening.
      num_outputs: outputs an example.
      width: units in each hidden layer, >= 1.
      depth: number of hidden layers, >= 1.
      activation: a name of `ACTIVATIONS`, or a function.
      initializer: a name of `INITIALIZERS`, or a function (key, shape, dtype) -> array; biases start at 0.
      gain: multiplies the standard deviation of a named initializer, > 0.
      norm: "none", "batch" or "layer", before each activation.
      dropout: probability of dropping a hidden value, in [0, 1).
      dtype: of parameters and of the computation; None for the default float.
      rngs: seeds the parameters.

    Raises:
      InputError: an option is out of its range or unknown.

    Example:
      >>> model = MLP(64, 10, width=280, depth=2, activation="tanh", rngs=nnx.Rngs(0))
      >>> sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model)))
      99690
    """

    def __init__(
        self, num_inputs: int, num_outputs: int, *, width: int = 64, depth: int = 2,
        activation: str | Activation = "relu", initializer: str | Callable[..., jax.Array] = "he_normal",
        gain: float = 1.0, norm: str = "none", dropout: float = 0.0, dtype: Any = None, rngs: nnx.Rngs,
    ) -> None:  # fmt: skip
        counts = {"num_inputs": num_inputs, "num_outputs": num_outputs, "width": width, "depth": depth}
        options = Options.check("MLP", counts, activation, initializer, gain, norm, dropout, dtype)
        self.num_inputs, self.dtype, self.activation = num_inputs, options.dtype, options.activation
        widths = [num_inputs] + [width] * depth
        self.hidden = nnx.List([options.dense(*pair, rngs) for pair in itertools.pairwise(widths)])
        self.norms = nnx.List([options.normalization(width, rngs) for _ in range(depth)])
        self.dropout = Dropout(dropout)
        self.output = options.dense(width, num_outputs, rngs)

    def __call__(self, inputs: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """Outputs [n, num_outputs] for inputs [n, ...]; dropout only with a key."""
        values = flattened("MLP", inputs, self.num_inputs).astype(self.dtype)
        for place, (layer, norm) in enumerate(zip(self.hidden, self.norms, strict=True)):
            values = self.dropout(self.activation(norm(layer(values))), key, place)
        return self.output(values)


def flattened(where: str, inputs: jax.Array, num_inputs: int) -> jax.Array:
    """Inputs [n, ...] as [n, num_inputs]."""
    size = math.prod(jnp.shape(inputs)[1:])
    if jnp.ndim(inputs) < 2 or size != num_inputs:
        raise fail(where, f"inputs must be [n, ...] with {num_inputs} numbers an example, got {jnp.shape(inputs)}")
    return jnp.reshape(inputs, (-1, num_inputs))
