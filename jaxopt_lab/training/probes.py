"""Probes: the numbers that the engine takes from the new state at each record, and nothing else.

A probe is a pair of functions: `sums` maps an observation to scalars or small arrays, `finish` maps them to the value
that is kept. When `sums` are sums over coordinates, the probe is additive and a separable loss can be run in chunks.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxopt_lab.core import vectors
from jaxopt_lab.core.errors import require_choice


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What judges a model in evaluation mode: running statistics, no dropout.

    Attributes:
      loss: (params, batch, model state) -> scalar.
      metrics: name -> (params, batch, model state) -> scalar.
      validation: examples that are not trained on, or None.
    """

    loss: jax.tree_util.Partial
    metrics: dict[str, jax.tree_util.Partial]
    validation: Any


@dataclasses.dataclass(frozen=True)
class Observation:
    """What a probe may look at.

    Attributes:
      params: the parameters after the step.
      state: the rule's state after the step.
      loss: params -> expected loss over all of the data.
      updates: the last update, if the probe's `needs` names "updates".
      previous_updates: the one before it, if `needs` names "previous_updates".
      truth: the problem's `Truth`, if `needs` names "truth".
      data: all of the examples that are trained on.
      model_state: the model's state after the step, or None.
      evaluation: the model's judge, if `needs` names "evaluation".
      loss_on: (params, batch) -> expected loss over the batch.
    """

    params: Any
    state: Any
    loss: Callable[[Any], jax.Array]
    updates: Any = None
    previous_updates: Any = None
    truth: Any = None
    data: Any = None
    model_state: Any = None
    evaluation: Any = None
    loss_on: Any = None


def _identity(sums: Any) -> Any:
    return sums


@dataclasses.dataclass(frozen=True)
class Probe:
    """One number, or one small array, per record.

    Attributes:
      name: its name in the trace.
      sums: observation -> array or tuple of arrays.
      finish: what `sums` returned -> the value that is kept.
      needs: inputs besides the parameters and the loss: "updates", "previous_updates", "truth",
        "evaluation".
      additive: whether `sums` may be added up over parts of a separable loss.
    """

    name: str
    sums: Callable[[Observation], Any]
    finish: Callable[[Any], Any] = _identity
    needs: tuple[str, ...] = ()
    additive: bool = False


def loss() -> Probe:
    """The expected loss over all of the data. Cost: one evaluation of the loss."""
    return Probe("loss", _loss, additive=True)


def gradient_norm() -> Probe:
    """Euclidean norm of the gradient of the expected loss. Cost: one gradient."""
    return Probe("gradient_norm", _gradient_square, jnp.sqrt, additive=True)


def distance() -> Probe:
    """Euclidean distance to the known minimizer."""
    return Probe("distance", _distance_square, jnp.sqrt, ("truth",), additive=True)


def update_cosine() -> Probe:
    """Cosine of the last two updates: near +1 a crawl, near -1 a zig-zag, near 0 noise. Keeps two more vectors."""
    return Probe("update_cosine", _update_products, _cosine, ("updates", "previous_updates"), additive=True)


def update_ratio() -> Probe:
    """Norm of the last update over the norm of the parameters. Keeps one more vector."""
    return Probe("update_ratio", _update_squares, _ratio, ("updates",), additive=True)


@dataclasses.dataclass(frozen=True)
class _BandEnergy:
    edges: tuple[float, ...]

    def __call__(self, seen: Observation) -> jax.Array:
        eigenvalues = seen.truth.eigenvalues
        offset = seen.params - seen.truth.minimizer
        band = jnp.searchsorted(jnp.asarray(self.edges, eigenvalues.dtype), eigenvalues, side="right")
        energy = 0.5 * eigenvalues * jnp.square(offset)
        return jnp.stack([jnp.sum(jnp.where(band == k, energy, 0)) for k in range(len(self.edges) + 1)])


def band_energy(edges: tuple[float, ...]) -> Probe:
    """Loss of a diagonal quadratic by band of eigenvalues, shape [len(edges) + 1].

    Args:
      edges: increasing eigenvalues at which the bands meet; the first band lies below edges[0].
    """
    return Probe("band_energy", _BandEnergy(tuple(edges)), needs=("truth",), additive=True)


@dataclasses.dataclass(frozen=True)
class _Coordinates:
    indices: tuple[int, ...]

    def __call__(self, seen: Observation) -> jax.Array:
        return seen.params[jnp.asarray(self.indices)]


def coordinates(*indices: int) -> Probe:
    """A few coordinates of a parameter vector, shape [len(indices)]."""
    return Probe("coordinates", _Coordinates(indices))


def validation_loss() -> Probe:
    """The loss over the validation data, in evaluation mode. Cost: one evaluation of the loss."""
    return Probe("validation_loss", _validation_loss, needs=("evaluation",))


def cost() -> Probe:
    """What the rule has taken besides one gradient a step: (gradients, Hessian products), int32 [2], from its state.

    A rule that takes more keeps the counts `num_gradients` and `num_products` in its state; those of wrapped rules are
    added up. Line searches of optax keep none.
    """
    return Probe("cost", _cost)


@dataclasses.dataclass(frozen=True)
class Measured:
    """The `sums` of the probe `metric`."""

    metric: str
    on: str

    def __call__(self, seen: Observation) -> jax.Array:
        """The metric's value."""
        batch = seen.evaluation.validation if self.on == "validation" else seen.data
        return seen.evaluation.metrics[self.metric](seen.params, batch, seen.model_state)


def metric(name: str, on: str = "validation") -> Probe:
    """One of the problem's metrics, in evaluation mode.

    Args:
      name: a name of `problem.metrics`.
      on: "validation", recorded as `validation_<name>`, or "training", recorded as `<name>`.

    Returns:
      The probe. Cost: one evaluation of the metric.

    Raises:
      InputError: `on` is neither.

    Example:
      >>> metric("accuracy").name, metric("accuracy", on="training").name
      ('validation_accuracy', 'accuracy')
    """
    require_choice("metric", "on", on, ("validation", "training"))
    label = f"validation_{name}" if on == "validation" else name
    return Probe(label, Measured(name, on), needs=("evaluation",))


def _cost(seen: Observation) -> jax.Array:
    return counted(seen.state)


def counted(state: Any) -> jax.Array:
    """The sums of all counts `num_gradients` and `num_products` in a rule's state, [..., 2]."""
    sums = []
    for name in ("num_gradients", "num_products"):
        found = [value for _, value in optax.tree.get_all_with_path(state, name)]
        sums.append(sum(found[1:], found[0]) if found else None)
    shape = next((jnp.shape(value) for value in sums if value is not None), ())
    return jnp.stack([jnp.zeros(shape, jnp.int32) if value is None else jnp.asarray(value) for value in sums], -1)


def _validation_loss(seen: Observation) -> jax.Array:
    return seen.evaluation.loss(seen.params, seen.evaluation.validation, seen.model_state)


def _loss(seen: Observation) -> jax.Array:
    return seen.loss(seen.params)


def _gradient_square(seen: Observation) -> jax.Array:
    return vectors.sum_of_squares(jax.grad(seen.loss)(seen.params))


def _distance_square(seen: Observation) -> jax.Array:
    return vectors.sum_of_squares(jax.tree.map(jnp.subtract, seen.params, seen.truth.minimizer))


def _update_products(seen: Observation) -> tuple[jax.Array, ...]:
    last, before = seen.updates, seen.previous_updates
    return vectors.dot(last, before), vectors.sum_of_squares(last), vectors.sum_of_squares(before)


def _cosine(sums: tuple[jax.Array, ...]) -> jax.Array:
    product, last, before = sums
    scale = jnp.sqrt(last) * jnp.sqrt(before)
    return jnp.where(scale > 0, product / jnp.where(scale > 0, scale, 1), 0)


def _update_squares(seen: Observation) -> tuple[jax.Array, ...]:
    return vectors.sum_of_squares(seen.updates), vectors.sum_of_squares(seen.params)


def _ratio(sums: tuple[jax.Array, ...]) -> jax.Array:
    update, weight = sums
    return jnp.sqrt(update) / jnp.where(weight > 0, jnp.sqrt(weight), jnp.inf)
