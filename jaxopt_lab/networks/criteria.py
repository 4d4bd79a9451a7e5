"""Criteria: how far outputs are from targets, averaged over the examples, with the likelihood each one belongs to.

cross_entropy    -log softmax(z)_y                  categorical
bernoulli        softplus(z) - y z,  y in {0, 1}    bernoulli
squared          1/2 sum_c (z_c - y_c)^2            gaussian; class numbers are taken as one-hot vectors
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxopt_lab.core import fail, vectors
from jaxopt_lab.core.errors import require_choice
from jaxopt_lab.core.problem import Batch

__all__ = ["CRITERIA", "Criterion", "OnOutputs", "resolve_criterion"]


@dataclasses.dataclass(frozen=True)
class Criterion:
    """A loss of outputs, convex in them.

    Attributes:
      function: (outputs [n, ..., c], targets) -> scalar mean over the examples and, where there are any, positions.
      family: the likelihood whose negative logarithm it is: "categorical", "bernoulli" or "gaussian".
    """

    function: Callable[[jax.Array, jax.Array], jax.Array]
    family: str

    def __call__(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The scalar; outputs of less than 32 bits are taken in float32."""
        return self.function(vectors.widened(outputs), targets)


def first(batch: Batch) -> Any:
    """The inputs of a batch that is a pair (inputs, targets)."""
    return batch[0]


@dataclasses.dataclass(frozen=True)
class OnOutputs:
    """The loss criterion(model(inputs(batch)), batch) of a model that is still to come, as `from_nnx` takes it.

    Attributes:
      criterion: (outputs, batch) -> scalar mean over the batch, convex in the outputs; None where there is none.
      family: the likelihood that the criterion belongs to, as `Composite.family` says.
      inputs: batch -> what the model takes; the first of a pair by default.
    """

    criterion: Callable[[Any, Batch], jax.Array] | None
    family: str | None = None
    inputs: Callable[[Batch], Any] = first


def _cross_entropy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    if outputs.shape[:-1] != targets.shape:
        raise fail("cross_entropy", f"outputs {outputs.shape} need targets {outputs.shape[:-1]}, got {targets.shape}")
    logarithms = jax.nn.log_softmax(outputs)
    return -jnp.mean(jnp.take_along_axis(logarithms, targets[..., None], axis=-1))


def _bernoulli(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    logits = outputs.reshape(targets.shape) if outputs.shape == (*targets.shape, 1) else outputs
    if logits.shape != targets.shape:
        raise fail("bernoulli", f"outputs {outputs.shape} need targets of the same shape, got {targets.shape}")
    return jnp.mean(jax.nn.softplus(logits) - targets * logits)


def _squared(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    if jnp.issubdtype(targets.dtype, jnp.integer):
        targets = jax.nn.one_hot(targets, outputs.shape[-1], dtype=outputs.dtype)
    wanted = targets[..., None] if outputs.shape == (*targets.shape, 1) else targets
    if outputs.shape != wanted.shape:
        raise fail("squared", f"outputs {outputs.shape} need targets of the same shape, got {targets.shape}")
    return 0.5 * jnp.mean(jnp.sum(jnp.square(outputs - wanted), axis=-1))


CRITERIA: dict[str, Criterion] = {
    "cross_entropy": Criterion(_cross_entropy, "categorical"),
    "bernoulli": Criterion(_bernoulli, "bernoulli"),
    "squared": Criterion(_squared, "gaussian"),
}


def resolve_criterion(name: str) -> Criterion:
    """The criterion of a name.

    Args:
      name: "cross_entropy", "bernoulli" or "squared".

    Returns:
      The criterion.

    Raises:
      InputError: an unknown name.

    Example:
      >>> float(resolve_criterion("squared")(jnp.array([[1.0, 2.0]]), jnp.array([0])))
      2.0
    """
    require_choice("resolve_criterion", "criterion", name, CRITERIA)
    return CRITERIA[name]
