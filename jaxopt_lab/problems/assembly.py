"""How the ready-made problems are put together: examples, a network, a criterion, metrics."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxopt_lab.core import Problem, Truth, fail
from jaxopt_lab.core.errors import require_between, require_choice, require_count
from jaxopt_lab.core.problem import Batch
from jaxopt_lab.networks import from_nnx
from jaxopt_lab.networks.criteria import CRITERIA, OnOutputs

DTYPES = ("float32", "float64", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Examples:
    """Inputs and targets, ready for a network.

    Attributes:
      training: (inputs [n, ...], targets [n, ...]).
      validation: the same of others, or None.
      num_outputs: outputs that a network must have.
    """

    training: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray] | None
    num_outputs: int


@dataclasses.dataclass(frozen=True)
class OnBatch:
    """A criterion of (outputs, targets) as one of (outputs, batch), batch = (inputs, targets)."""

    criterion: Callable[[jax.Array, jax.Array], jax.Array]

    def __call__(self, outputs: jax.Array, batch: Batch) -> jax.Array:
        """The mean over the batch."""
        return self.criterion(outputs, batch[1])


def accuracy(model: Any, batch: Batch) -> jax.Array:
    """Share of the targets that the largest output names."""
    inputs, targets = batch
    return jnp.mean((jnp.argmax(model(inputs), axis=-1) == targets).astype(jnp.float32))


def positive_accuracy(model: Any, batch: Batch) -> jax.Array:
    """Share of the targets 0 and 1 that the sign of the only output names."""
    inputs, targets = batch
    return jnp.mean(((model(inputs)[:, 0] > 0) == targets).astype(jnp.float32))


def r_squared(model: Any, batch: Batch) -> jax.Array:
    """Share of the targets' variance that the outputs explain; at most 1, and 0 for the mean of the targets."""
    inputs, targets = batch
    rest = jnp.mean(jnp.square(model(inputs)[:, 0] - targets))
    return 1 - rest / jnp.var(targets)


def network_problem(
    name: str, network: Callable[..., nnx.Module], sizes: Mapping[str, Any], examples: Examples, *, criterion: str,
    dtype: str | None, options: Mapping[str, Any], metrics: Mapping[str, Callable[..., jax.Array]],
    truth: Truth | None = None,
) -> Problem:  # fmt: skip
    """A problem from examples and a network of this package.

    Args:
      name: for tables and folders.
      network: a class of `jaxopt_lab.networks`.
      sizes: its arguments that follow from the examples.
      examples: inputs and targets.
      criterion: a name of `networks.criteria.CRITERIA`.
      dtype: of parameters and computation, one of `DTYPES`; None for the default float.
      options: the network's further arguments.
      metrics: name -> (model, batch) -> scalar.
      truth: what is known exactly.

    Returns:
      The problem, with `composite` filled.
    """
    require_choice(name, "criterion", criterion, CRITERIA)
    real = real_dtype(name, dtype)
    return from_nnx(
        lambda rngs: network(**sizes, **options, dtype=real, rngs=rngs),
        data=_as_arrays(examples.training, real),
        criterion=OnOutputs(OnBatch(CRITERIA[criterion]), CRITERIA[criterion].family),
        validation=None if examples.validation is None else _as_arrays(examples.validation, real),
        metrics=metrics,
        truth=truth,
        name=name,
    )


def real_dtype(where: str, dtype: str | None) -> jnp.dtype:
    """The dtype of a name, checked against what is switched on."""
    usual = jnp.zeros((), float).dtype
    if dtype is None:
        return usual
    require_choice(where, "dtype", dtype, DTYPES)
    if dtype == "float64" and usual != jnp.float64:
        raise fail(where, "dtype float64 is switched off", "Build and run the problem in `with precision('float64'):`.")
    return jnp.dtype(dtype)


def chosen_rows(
    where: str, num: int, fraction: float, num_examples: int | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows for training and for validation, drawn at random without overlap, each in the order of the source.

    Args:
      where: for the error.
      num: number of examples there are.
      fraction: share for training, in (0, 1]; 1 leaves none for validation.
      num_examples: keep so many of the training examples; None for all.
      seed: seeds the draw, >= 0.
    """
    require_between(where, "fraction", fraction, 0, 1, ends="(]")
    require_count(where, "seed", seed, 0)
    order = np.random.default_rng(seed).permutation(num)
    num_training = round(fraction * num)
    if num_examples is not None:
        require_count(where, "num_examples", num_examples)
        if num_examples > num_training:
            raise fail(where, f"num_examples {num_examples} is more than the {num_training} examples for training")
    if num_training == 0:
        raise fail(where, f"fraction {fraction} of {num} examples leaves none for training")
    return np.sort(order[:num_training][:num_examples]), np.sort(order[num_training:])


def _as_arrays(pair: tuple[np.ndarray, np.ndarray], dtype: jnp.dtype) -> tuple[jax.Array, jax.Array]:
    """Numbers in at least float32 (the network rounds them), class and token numbers in int32."""
    wide = jnp.promote_types(dtype, jnp.float32)
    inputs, targets = (
        jnp.asarray(array, jnp.int32 if np.issubdtype(array.dtype, np.integer) else wide) for array in pair
    )
    return inputs, targets
