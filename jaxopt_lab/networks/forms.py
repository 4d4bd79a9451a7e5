"""The forms of a loss on a module: in training and in evaluation, and the outputs and metrics beside it.

Each is a small frozen class rather than a closure, so that two problems made of equal parts share their programs. What
each does not depend on from step to step, the frozen arrays and the initial state, comes first, to be bound.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from jaxopt_lab.core import fail
from jaxopt_lab.core.problem import Batch, Key, Params
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
      eval_loss_fn: as `loss_fn`, with the module in evaluation mode; None where `loss_fn` follows the mode by itself.
      random: whether the loss in training mode draws random numbers even without a key, so that without one it is the
        loss in evaluation mode.
    """

    where: str
    call: Caller
    loss_fn: ModelFunction | None
    criterion: Callable[[Any, Batch], jax.Array] | None
    inputs: Callable[[Batch], Any]
    eval_loss_fn: ModelFunction | None = None
    random: bool = False

    def outputs(self, model: Any, batch: Batch, key: Key | None, *, training: bool) -> Any:
        """The module's outputs, checked to be arrays."""
        outputs = forward(model, self.inputs(batch), key, training=training)
        leaves = jax.tree.leaves(outputs, is_leaf=lambda leaf: leaf is None)
        if not leaves or not all(isinstance(leaf, jax.Array) for leaf in leaves):
            raise fail(self.where, f"the model must return an array, got {type(outputs).__name__}")
        return outputs

    def loss(self, model: Any, batch: Batch, key: Key | None, *, training: bool) -> jax.Array:
        """The scalar."""
        if self.criterion is not None:
            return self.criterion(self.outputs(model, batch, key, training=training), batch)
        chosen = self.loss_fn if training or self.eval_loss_fn is None else self.eval_loss_fn
        assert chosen is not None
        return chosen(model, batch, key=key) if takes(chosen, "key") else chosen(model, batch)

    def label(self, *, training: bool) -> str:
        """The user's function by its argument and its name, for errors."""
        chosen = ("criterion", self.criterion) if self.criterion is not None else ("loss_fn", self.loss_fn)
        if not training and self.eval_loss_fn is not None:
            chosen = ("eval_loss_fn", self.eval_loss_fn)
        return f"{chosen[0]} {getattr(chosen[1], '__name__', type(chosen[1]).__name__)}"


@dataclasses.dataclass(frozen=True)
class StatefulLoss:
    """`Stateful.loss`."""

    parts: Parts

    def __call__(
        self, frozen: Any, params: Params, state: Any, batch: Batch, key: Key | None, stream_key: Key | None = None
    ) -> tuple[jax.Array, Any]:
        """The loss in training mode, and the state after the batch."""
        function = lambda model: self.parts.loss(model, batch, key, training=True)  # noqa: E731
        return self.parts.call(
            function, params, state, training=True, frozen=frozen, key=key, stream_key=stream_key
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class TrainingLoss:
    """`Problem.loss`: the training mode alone, which does not depend on the state."""

    parts: Parts

    def __call__(self, frozen: Any, state: Any, params: Params, batch: Batch, key: Key | None) -> jax.Array:
        """The loss in training mode; without a key the expected one."""
        if key is None and self.parts.random:
            return EvaluationLoss(self.parts)(frozen, params, state, batch)
        return StatefulLoss(self.parts)(frozen, params, state, batch, key)[0]


@dataclasses.dataclass(frozen=True)
class EvaluationLoss:
    """`Stateful.evaluate`."""

    parts: Parts

    def __call__(
        self, frozen: Any, params: Params, state: Any, batch: Batch, stream_key: Key | None = None
    ) -> jax.Array:
        """The loss in evaluation mode."""
        function = lambda model: self.parts.loss(model, batch, None, training=False)  # noqa: E731
        return self.parts.call(function, params, state, training=False, frozen=frozen, stream_key=stream_key)[0]


@dataclasses.dataclass(frozen=True)
class TrainingOutputs:
    """`Composite.outputs`: normalized by the statistics of the given batch, without dropout."""

    parts: Parts

    def __call__(self, frozen: Any, state: Any, params: Params, batch: Batch) -> Any:
        """The outputs in training mode; in evaluation mode where they would be random."""
        training = not self.parts.random
        function = lambda model: self.parts.outputs(model, batch, None, training=training)  # noqa: E731
        return self.parts.call(function, params, state, training=training, frozen=frozen)[0]


@dataclasses.dataclass(frozen=True)
class EvaluationOutputs:
    """`Stateful.outputs`."""

    parts: Parts

    def __call__(self, frozen: Any, params: Params, state: Any, batch: Batch) -> Any:
        """The outputs in evaluation mode."""
        function = lambda model: self.parts.outputs(model, batch, None, training=False)  # noqa: E731
        return self.parts.call(function, params, state, training=False, frozen=frozen)[0]


@dataclasses.dataclass(frozen=True)
class Metric:
    """One of `Problem.metrics`."""

    call: Caller
    function: ModelFunction

    def __call__(self, frozen: Any, initial: Any, params: Params, batch: Batch, model_state: Any = None) -> jax.Array:
        """The metric in evaluation mode; where the state is needed and not given, by the statistics of the batch."""
        training = model_state is None and bool(jax.tree.leaves(initial))
        state = initial if model_state is None else model_state
        return self.call(lambda model: self.function(model, batch), params, state, training=training, frozen=frozen)[0]
