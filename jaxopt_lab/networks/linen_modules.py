"""A Flax Linen module with its variables as pure functions."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import linen

from jaxopt_lab.core import Params, fail
from jaxopt_lab.networks.functional import Functional, like, takes


def functional_linen(module: linen.Module, variables: Mapping[str, Any]) -> Functional:
    """A Flax Linen module as pure functions.

    Args:
      module: the module.
      variables: what `module.init` gave: "params" and further collections, such as "batch_stats".

    Returns:
      The functional form; all collections but "params" are its model state.

    Raises:
      InputError: the module is no `flax.linen.Module`, or the variables hold no "params".
    """
    if not isinstance(module, linen.Module):
        raise fail(
            "functional_linen", f"module must be a flax.linen.Module, got {type(module).__name__}",
            "An NNX module goes through functional_nnx.",
        )  # fmt: skip
    if not isinstance(variables, Mapping) or "params" not in variables:
        raise fail("functional_linen", "variables must hold 'params'", "Give what module.init(key, inputs) returns.")
    plain = _plain(variables)
    params = plain.pop("params")
    plain.pop("intermediates", None)
    return Functional(params, plain, LinenCaller(module))


@dataclasses.dataclass(frozen=True)
class LinenCaller:
    """The static part of a Linen module."""

    module: linen.Module

    def __call__(
        self, function: Callable[[Any], Any], params: Params, model_state: Any, *, training: bool,
        key: jax.Array | None = None,
    ) -> tuple[Any, Any]:  # fmt: skip
        """The function's value on the applied module, and the state after it."""
        model = Applied(self.module, params, model_state, training, key)
        value = function(model)
        return value, like(model_state, model.state) if training else model_state


class Applied:
    """A Linen module with its variables: `model(inputs)` applies it and moves its state on.

    Attributes:
      state: the collections besides "params" after the calls so far.
    """

    def __init__(self, module: linen.Module, params: Params, state: Any, training: bool, key: jax.Array | None) -> None:
        self.module, self.params, self.state = module, params, state
        self.training, self.random = training, key

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """The module's outputs; the flag of its mode is filled in where its call names one."""
        for name, value in _modes(self.training, self.random is not None).items():
            if name not in options and takes(type(self.module).__call__, name):
                options[name] = value
        rngs = {} if self.random is None else {"dropout": jax.random.fold_in(self.random, 0)}
        variables = {"params": self.params, **self.state}
        with linen.intercept_methods(_without_dropout if self.random is None or not self.training else _unchanged):
            if not self.training:
                return self.module.apply(variables, *inputs, rngs=rngs, **options)
            outputs, changed = self.module.apply(variables, *inputs, rngs=rngs, mutable=[*self.state], **options)
        self.state = {**self.state, **_plain(changed)}
        return outputs


def _modes(training: bool, dropout: bool) -> dict[str, bool]:
    """Flags by the names that modules use; batch statistics decide, dropout without a key is turned off by itself."""
    flags = dict.fromkeys(("train", "training", "is_training"), training)
    return flags | {"use_running_average": not training, "deterministic": not (training and dropout)}


def _without_dropout(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
    if isinstance(context.module, linen.Dropout) and context.method_name == "__call__":
        return args[0] if args else kwargs["inputs"]
    return call(*args, **kwargs)


def _unchanged(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
    del context
    return call(*args, **kwargs)


def _plain(tree: Any) -> Any:
    """Mappings of any kind as dictionaries."""
    return {name: _plain(branch) for name, branch in tree.items()} if isinstance(tree, Mapping) else tree
