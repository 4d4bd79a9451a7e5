"""The linear model x -> x W + b, which starts at zero."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxopt_lab.networks.layers import Options
from jaxopt_lab.networks.perceptron import flattened


class Linear(nnx.Module):
    """An affine map; with a convex criterion the loss is convex, and every start leads to the same minimum.

    Args:
      num_inputs: numbers an example, after flattening.
      num_outputs: outputs an example.
      dtype: as in `MLP`.
      rngs: not used, as the parameters start at 0.

    Raises:
      InputError: a size below 1.
    """

    def __init__(self, num_inputs: int, num_outputs: int, *, dtype: Any = None, rngs: nnx.Rngs) -> None:
        del rngs
        counts = {"num_inputs": num_inputs, "num_outputs": num_outputs}
        options = Options.check("Linear", counts, "identity", "scaled", 1.0, "none", 0.0, dtype)
        self.num_inputs, self.dtype = num_inputs, options.dtype
        self.kernel = nnx.Param(jnp.zeros((num_inputs, num_outputs), options.dtype))
        self.bias = nnx.Param(jnp.zeros(num_outputs, options.dtype))

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Outputs [n, num_outputs] for inputs [n, ...]."""
        return flattened("Linear", inputs, self.num_inputs).astype(self.dtype) @ self.kernel[...] + self.bias[...]
