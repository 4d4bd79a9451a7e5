"""`Functional`: a Flax module as pure functions on plain dictionaries of arrays, whichever of the two APIs it uses."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from jaxopt_lab.core import fail
from jaxopt_lab.core.problem import Params


class Caller(Protocol):
    """Runs `function` on the module whose arrays are given, and returns its value and the state after it."""

    @property
    def draws(self) -> bool:
        """Whether the module stores random streams."""
        ...

    def __call__(
        self, function: Callable[[Any], Any], params: Params, model_state: Any, *, training: bool,
        frozen: Any = None, key: jax.Array | None = None, stream_key: jax.Array | None = None,
    ) -> tuple[Any, Any]:  # fmt: skip
        """In training mode batch statistics and, with a key, dropout; else running statistics and no dropout.

        `frozen` are the arrays that do not train; `stream_key` seeds stored random streams where there is no key.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Functional:
    """A module as a pure function.

    Attributes:
      params: the parameters that train, a plain dictionary.
      model_state: the variables that the module moves itself, such as running batch statistics; {} where it has none.
      call: runs any function of the module; holds no array, and is equal for equal modules.
      frozen: the arrays that neither train nor move; {} for none.
      unknown: variables in `model_state` of a kind that does not tell whether the module moves them.
    """

    params: Params
    model_state: Any
    call: Caller
    frozen: Any = dataclasses.field(default_factory=dict)
    unknown: tuple["Unknown", ...] = ()

    def apply(
        self, params: Params, model_state: Any, inputs: Any, *, training: bool, key: jax.Array | None = None
    ) -> tuple[Any, Any]:
        """Outputs and the model's state after them.

        Args:
          params: as `self.params`.
          model_state: as `self.model_state`.
          inputs: what the module takes, with leading axis n.
          training: batch normalization by the batch, with its running statistics moved on; else by them, unmoved.
          key: seeds dropout in training; None turns it off.

        Returns:
          The outputs, and the new model state, which is the old one unless `training`.
        """
        function = lambda model: forward(model, inputs, key, training=training)  # noqa: E731
        return self.call(function, params, model_state, frozen=self.frozen, training=training, key=key)


@dataclasses.dataclass(frozen=True)
class Unknown:
    """A variable, or a collection of them, that neither trains nor is known to be state.

    Attributes:
      path: where it stands in the model's state.
      kind: its type, or "" for an array that is no variable.
      what: its dtype and shape.
      floating: whether it could train.
    """

    path: tuple[Any, ...]
    kind: str
    what: str
    floating: bool

    @property
    def label(self) -> str:
        """It in words."""
        return f"{'/'.join(map(str, self.path))} ({self.kind}, {self.what})"


def forward(model: Any, inputs: Any, key: jax.Array | None, *, training: bool) -> Any:
    """The model's outputs; arguments of its call that name a mode, or the key, are filled in."""
    call = type(model).__call__
    options: dict[str, Any] = {"key": key} | mode_flags(training, training and key is not None)
    return model(inputs, **{name: value for name, value in options.items() if takes(call, name)})


def mode_flags(training: bool, dropout: bool) -> dict[str, bool]:
    """Flags by the names that modules use; batch statistics decide, dropout without a key is turned off by itself."""
    flags = dict.fromkeys(("train", "training", "is_training"), training)
    return flags | {"use_running_average": not training, "deterministic": not dropout}


def takes(function: Callable[..., Any], name: str) -> bool:
    """Whether the function names an argument `name`."""
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def like(before: Any, after: Any) -> Any:
    """The state `after` a call in the dtypes of the state `before` it, so that it can be carried from step to step."""
    if jax.tree.structure(before) != jax.tree.structure(after):
        raise fail(
            "Functional", "the module made new variables during the call, so that its state cannot be carried",
            "Make them where the module is built.",
        )  # fmt: skip
    return jax.tree.map(lambda old, new: jnp.asarray(new, jnp.asarray(old).dtype), before, after)
