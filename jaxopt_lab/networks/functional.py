"""`Functional`: a Flax module as pure functions on plain dictionaries of arrays.

An NNX module is split once into a graph definition for each mode and three dictionaries: parameters, random streams,
and everything else (batch statistics). A call merges them, runs, and splits again, so that nothing is mutated outside
of it and it may stand under jit, vmap, scan and grad. Random streams that the module stores are seeded anew from
the key of each call: stored as they are, they would give every configuration of a sweep the same dropout masks.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import nnx

from jaxopt_lab.core import Params, fail


class Caller(Protocol):
    """Runs `function` on the module whose arrays are given, and returns its value and the state after it."""

    def __call__(
        self, function: Callable[[Any], Any], params: Params, model_state: Any, *, training: bool,
        key: jax.Array | None = None,
    ) -> tuple[Any, Any]:  # fmt: skip
        """In training mode batch statistics and, with a key, dropout; else running statistics and no dropout."""
        ...


@dataclasses.dataclass(frozen=True)
class Functional:
    """A module as a pure function.

    Attributes:
      params: its parameters, a plain dictionary.
      model_state: its other variables, such as running batch statistics; {} where it has none.
      call: runs any function of the module; holds no array, and is equal for equal modules.
    """

    params: Params
    model_state: Any
    call: Caller

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
        return self.call(lambda model: forward(model, inputs, key), params, model_state, training=training, key=key)


def forward(model: Any, inputs: Any, key: jax.Array | None) -> Any:
    """The model's outputs; a model whose call names an argument `key` gets it, as those of this package do."""
    return model(inputs, key=key) if takes(type(model).__call__, "key") else model(inputs)


def takes(function: Callable[..., Any], name: str) -> bool:
    """Whether the function names an argument `name`."""
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def functional_nnx(model: nnx.Module) -> Functional:
    """A Flax NNX module as pure functions; the module itself is left alone.

    Args:
      model: any module whose layers follow `nnx.view` or `train()`/`eval()`.

    Returns:
      The functional form.

    Raises:
      InputError: the module is no `nnx.Module`, or stores random streams that were split.

    Example:
      >>> form = functional_nnx(nnx.BatchNorm(2, rngs=nnx.Rngs(0)))
      >>> outputs, after = form.apply(form.params, form.model_state, jnp.array([[1.0, 4.0], [3.0, 4.0]]), training=True)
      >>> outputs.round(3).tolist(), [f"{mean:.2f}" for mean in after["mean"]]
      ([[-1.0, 0.0], [1.0, 0.0]], ['0.02', '0.04'])
    """
    if not isinstance(model, nnx.Module):
        raise fail(
            "functional_nnx", f"model must be a flax.nnx.Module, got {type(model).__name__}",
            "A Linen module goes through functional_linen.",
        )  # fmt: skip
    _, params, streams, rest = nnx.split(model, nnx.Param, nnx.RngState, ...)
    places = []
    for path, stream in nnx.to_flat_state(streams):
        if jnp.shape(stream[...]):
            raise fail(
                "functional_nnx", "the module stores a split random stream", "Build it from an unsplit nnx.Rngs."
            )
        places.append((path, isinstance(stream, nnx.RngKey)))
    call = NNXCaller(tuple(_definition(model, training, dropout) for training, dropout in _MODES), tuple(places))
    return Functional(nnx.to_pure_dict(params), nnx.to_pure_dict(rest), call)


_MODES = ((True, True), (True, False), (False, False))


def _definition(model: nnx.Module, training: bool, dropout: bool) -> Any:
    modes = {"deterministic": not dropout, "use_running_average": not training}
    view = nnx.view(model, raise_if_not_found=False, **modes)
    view.set_attributes(raise_if_not_found=False, **modes)
    return nnx.graphdef(view)


@dataclasses.dataclass(frozen=True, eq=False)
class NNXCaller:
    """The static part of an NNX module.

    Attributes:
      definitions: the graph in the modes training with dropout, training without, evaluation.
      streams: the paths of stored random streams, each with whether it is a key (else a count).
    """

    definitions: tuple[Any, ...]
    streams: tuple[tuple[tuple[Any, ...], bool], ...]

    def __call__(
        self, function: Callable[[Any], Any], params: Params, model_state: Any, *, training: bool,
        key: jax.Array | None = None,
    ) -> tuple[Any, Any]:  # fmt: skip
        """The function's value on the merged module, and the state after it."""
        definition = self.definitions[_MODES.index((training, training and key is not None))]
        model = nnx.merge(definition, params, self._seeded(key), model_state)
        value = function(model)
        if not training:
            return value, model_state
        _, after = nnx.state(model, nnx.Any(nnx.Param, nnx.RngState, nnx.Intermediate), ...)
        return value, like(model_state, nnx.to_pure_dict(after))

    def __eq__(self, other: object) -> bool:
        """Equal graphs and streams."""
        if self is other or not isinstance(other, NNXCaller):
            return self is other
        same = self._hash == other._hash and self.streams == other.streams
        return same and self.definitions == other.definitions

    def __hash__(self) -> int:
        return self._hash

    @functools.cached_property
    def _hash(self) -> int:
        """Kept: a graph of a thousand nodes takes longer to hash than a small step takes to run."""
        return hash((self.definitions, self.streams))

    def _seeded(self, key: jax.Array | None) -> dict[Any, Any]:
        base = jax.random.key(0) if key is None else key
        tree: dict[Any, Any] = {}
        for place, (path, is_key) in enumerate(self.streams):
            branch = tree
            for part in path[:-1]:
                branch = branch.setdefault(part, {})
            branch[path[-1]] = jax.random.fold_in(base, place) if is_key else jnp.zeros((), jnp.uint32)
        return tree


def like(before: Any, after: Any) -> Any:
    """The state `after` a call in the dtypes of the state `before` it, so that it can be carried from step to step."""
    if jax.tree.structure(before) != jax.tree.structure(after):
        raise fail(
            "Functional", "the module made new variables during the call, so that its state cannot be carried",
            "Make them where the module is built.",
        )  # fmt: skip
    return jax.tree.map(lambda old, new: jnp.asarray(new, jnp.asarray(old).dtype), before, after)
