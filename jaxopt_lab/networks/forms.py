"""The forms of a loss on a module: in training and in evaluation, and the outputs and metrics beside it.

Each is a small frozen class rather than a closure, so that two problems made of equal parts share their programs.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from jaxopt_lab.core import Batch, Key, Params, fail
from jaxopt_lab.networks.functional import Caller, forward, takes

ModelFunction = Callable[..., jax.Array]


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a loss is made of.

    Attributes:
      where: the constructor, for errors.
      call: runs a function of the module.
      loss_fn: (model, batch) or (model, batch, key) -> scalar; None where there is a criterion.
      criterion: (outputs, batch) -> scalar, or None.
      inputs: batch -> what the module takes.
    """

    where: str
    call: Caller
    loss_fn: ModelFunction | None
    criterion: Callable[[Any, Batch], jax.Array] | None
    inputs: Callable[[Batch], Any]

    def outputs(self, model: Any, batch: Batch, key: Key | None) -> Any:
        """The module's outputs, checked to be arrays."""
        outputs = forward(model, self.inputs(batch), key)
        leaves = jax.tree.leaves(outputs, is_leaf=lambda leaf: leaf is None)
        if not leaves or not all(isinstance(leaf, jax.Array) for leaf in leaves):
            raise fail(self.where, f"the model must return an array, got {type(outputs).__name__}")
        return outputs

    def loss(self, model: Any, batch: Batch, key: Key | None) -> jax.Array:
        """The scalar."""
        if self.criterion is not None:
            return self.criterion(self.outputs(model, batch, key), batch)
        assert self.loss_fn is not None
        return self.loss_fn(model, batch, key=key) if takes(self.loss_fn, "key") else self.loss_fn(model, batch)


@dataclasses.dataclass(frozen=True)
class StatefulLoss:
    """`Stateful.loss`."""

    parts: Parts

    def __call__(self, params: Params, state: Any, batch: Batch, key: Key | None) -> tuple[jax.Array, Any]:
        """The loss in training mode, and the state after the batch."""
        function = lambda model: self.parts.loss(model, batch, key)  # noqa: E731
        return self.parts.call(function, params, state, training=True, key=key)


@dataclasses.dataclass(frozen=True)
class TrainingLoss:
    """`Problem.loss`: the training mode alone; the state, which it does not depend on, comes first to be bound."""

    parts: Parts

    def __call__(self, state: Any, params: Params, batch: Batch, key: Key | None) -> jax.Array:
        """The loss in training mode."""
        return StatefulLoss(self.parts)(params, state, batch, key)[0]


@dataclasses.dataclass(frozen=True)
class EvaluationLoss:
    """`Stateful.evaluate`."""

    parts: Parts

    def __call__(self, params: Params, state: Any, batch: Batch) -> jax.Array:
        """The loss in evaluation mode."""
        function = lambda model: self.parts.loss(model, batch, None)  # noqa: E731
        return self.parts.call(function, params, state, training=False)[0]


@dataclasses.dataclass(frozen=True)
class TrainingOutputs:
    """`Composite.outputs`: normalized by the statistics of the given batch, without dropout; the state comes first."""

    parts: Parts

    def __call__(self, state: Any, params: Params, batch: Batch) -> Any:
        """The outputs in training mode."""
        function = lambda model: self.parts.outputs(model, batch, None)  # noqa: E731
        return self.parts.call(function, params, state, training=True)[0]


@dataclasses.dataclass(frozen=True)
class EvaluationOutputs:
    """`Stateful.outputs`."""

    parts: Parts

    def __call__(self, params: Params, state: Any, batch: Batch) -> Any:
        """The outputs in evaluation mode."""
        function = lambda model: self.parts.outputs(model, batch, None)  # noqa: E731
        return self.parts.call(function, params, state, training=False)[0]


@dataclasses.dataclass(frozen=True)
class Metric:
    """One of `Problem.metrics`; the initial state comes first to be bound."""

    call: Caller
    function: ModelFunction

    def __call__(self, initial: Any, params: Params, batch: Batch, model_state: Any = None) -> jax.Array:
        """The metric in evaluation mode; where the state is needed and not given, by the statistics of the batch."""
        training = model_state is None and bool(jax.tree.leaves(initial))
        state = initial if model_state is None else model_state
        return self.call(lambda model: self.function(model, batch), params, state, training=training)[0]
