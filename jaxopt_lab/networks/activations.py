"""Activations by name."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxopt_lab.core.errors import require_choice

Activation = Callable[[jax.Array], jax.Array]


def identity(inputs: jax.Array) -> jax.Array:
    """x: a network of linear layers, whose loss is still not convex in its parameters."""
    return inputs


ACTIVATIONS: dict[str, Activation] = {
    "identity": identity,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "softplus": jax.nn.softplus,
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
}


def resolve_activation(activation: str | Activation) -> Activation:
    """The activation of a name; a function passes.

    Args:
      activation: a name of `ACTIVATIONS`, or a function of an array of any shape.

    Returns:
      The function.

    Raises:
      InputError: an unknown name.

    Example:
      >>> float(resolve_activation("relu")(-1.0))
      0.0
    """
    if callable(activation):
        return activation
    require_choice("resolve_activation", "activation", activation, ACTIVATIONS)
    return ACTIVATIONS[activation]
