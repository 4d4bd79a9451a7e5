"""A Flax Linen module with its variables as pure functions."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from flax import linen

from jaxopt_lab.core import fail, vectors
from jaxopt_lab.core.errors import require_choice
from jaxopt_lab.core.leaves import describe
from jaxopt_lab.core.problem import Params
from jaxopt_lab.networks.functional import Functional, Unknown, like, mode_flags, takes

STATE = ("batch_stats", "cache")
_NOT_STORED = ("intermediates", "perturbations")


def functional_linen(
    module: linen.Module, variables: Mapping[str, Any], wrt: str | Sequence[str] = "params", held: Sequence[str] = ()
) -> Functional:
    """A Flax Linen module as pure functions.

    Args:
      module: the module.
      variables: what `module.init` gave: "params" and further collections, such as "batch_stats".
      wrt: the collection that trains, or several; the parameters are then a dictionary of collections.
      held: further collections that are frozen; "params" is frozen too where `wrt` leaves it out.

    Returns:
      The functional form; all other collections are its model state.

    Raises:
      InputError: the module is no `flax.linen.Module`, or the variables hold no "params", or not what `wrt` names.
    """
    if not isinstance(module, linen.Module):
        raise fail(
            "functional_linen", f"module must be a flax.linen.Module, got {type(module).__name__}",
            "An NNX module goes through functional_nnx.",
        )  # fmt: skip
    if not isinstance(variables, Mapping) or "params" not in variables:
        raise fail("functional_linen", "variables must hold 'params'", "Give what module.init(key, inputs) returns.")
    plain = {name: tree for name, tree in _plain(variables).items() if name not in _NOT_STORED}
    trained = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    for name in trained:
        require_choice("functional_linen", "wrt", name, plain)
    frozen = {name: plain[name] for name in plain if name not in trained and (name == "params" or name in held)}
    state = {name: tree for name, tree in plain.items() if name not in trained and name not in frozen}
    params = plain[wrt] if isinstance(wrt, str) else {name: plain[name] for name in trained}
    unknown = tuple(_unknown(name, tree) for name, tree in state.items() if name not in STATE)
    return Functional(params, state, LinenCaller(module, wrt if isinstance(wrt, str) else None), frozen, unknown)


@dataclasses.dataclass(frozen=True)
class LinenCaller:
    """The static part of a Linen module.

    Attributes:
      module: the module.
      trained: the only collection that trains; None where the parameters are a dictionary of collections.
    """

    module: linen.Module
    trained: str | None = "params"

    @property
    def draws(self) -> bool:
        """Whether the module stores random streams: none does."""
        return False

    def __call__(
        self, function: Callable[[Any], Any], params: Params, model_state: Any, *, training: bool,
        frozen: Any = None, key: jax.Array | None = None, stream_key: jax.Array | None = None,
    ) -> tuple[Any, Any]:  # fmt: skip
        """The function's value on the applied module, and the state after it."""
        del stream_key
        fixed = {**(frozen or {}), **({self.trained: params} if self.trained else params)}
        model = Applied(self.module, fixed, model_state, training, key)
        value = function(model)
        return value, like(model_state, model.state) if training else model_state


class Applied:
    """A Linen module with its variables: `model(inputs)` applies it and moves its state on.

    Attributes:
      state: the collections that the module moves, after the calls so far.
    """

    def __init__(
        self, module: linen.Module, fixed: dict[str, Any], state: Any, training: bool, key: jax.Array | None
    ) -> None:
        self.module, self.fixed, self.state = module, fixed, state
        self.training, self.random = training, key

    def __call__(self, *inputs: Any, rngs: Mapping[str, jax.Array] | None = None, **options: Any) -> Any:
        """The module's outputs; the flag of its mode is filled in where its call names one.

        With a key, dropout and every other stream, `make_rng(name)`, are seeded from it; `rngs` adds streams by name.
        """
        for name, value in mode_flags(self.training, self.training and self.random is not None).items():
            if name not in options and takes(type(self.module).__call__, name):
                options[name] = value
        streams = dict(rngs or {})
        if self.random is not None and self.training:
            streams = {name: jax.random.fold_in(self.random, k) for k, name in enumerate(_STREAMS)} | streams
        variables = {**self.fixed, **self.state}
        with linen.intercept_methods(_without_dropout if self.random is None or not self.training else _unchanged):
            if not self.training:
                return self.module.apply(variables, *inputs, rngs=streams, **options)
            outputs, changed = self.module.apply(variables, *inputs, rngs=streams, mutable=[*self.state], **options)
        self.state = {**self.state, **_plain(changed)}
        return outputs


_STREAMS = ("dropout", "params")  # Linen draws every stream that is not given from "params"


def _unknown(name: str, tree: Any) -> Unknown:
    leaves = [(path, leaf) for path, leaf in zip(vectors.parameter_paths(tree), jax.tree.leaves(tree), strict=True)]
    floating = any(jax.numpy.issubdtype(leaf.dtype, jax.numpy.inexact) for _, leaf in leaves)
    return Unknown((name,), name, ", ".join(f"{path} {describe(leaf)}" for path, leaf in leaves[:4]), floating)


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
