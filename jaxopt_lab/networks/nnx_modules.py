"""A Flax NNX module as pure functions.

It is split once into a graph definition for each mode and dictionaries: the parameters that train, what is frozen,
random streams, and everything else (batch statistics). A call merges them, runs, and splits again, so that nothing is
mutated outside of it and it may stand under jit, vmap, scan and grad. Random streams that the module stores are seeded
anew from the key of each call: stored as they are, they would give every configuration of a sweep the same masks.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxopt_lab.core import fail
from jaxopt_lab.core.leaves import describe
from jaxopt_lab.core.problem import Params
from jaxopt_lab.networks.functional import Functional, Unknown, like

STATE = (nnx.BatchStat, nnx.Cache, nnx.Intermediate)


def functional_nnx(model: nnx.Module, wrt: Any = nnx.Param, held: tuple[tuple[Any, ...], ...] = ()) -> Functional:
    """A Flax NNX module as pure functions; the module itself is left alone.

    Args:
      model: any module whose layers follow `nnx.view` or `train()`/`eval()`.
      wrt: what trains, an NNX filter: a type of variables, a path, a function of (path, variable), or several of them
        in a tuple. Whole numbers never train.
      held: paths of further variables that are frozen; parameters that `wrt` leaves out are frozen too.

    Returns:
      The functional form.

    Raises:
      InputError: the module is no `nnx.Module`, or stores random streams that were split; `wrt` is no filter, selects
        nothing, or selects running statistics.

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
    fixed = lambda path, variable: path in held  # noqa: E731
    trained = nnx.All(_predicate(wrt), lambda path, variable: _is_floating(_value(variable)))
    _, streams, kept, params, left_out, rest = nnx.split(model, nnx.RngState, fixed, trained, nnx.Param, ...)
    _require_parameters(model, wrt, params)
    places = []
    for path, stream in nnx.to_flat_state(streams):
        if jnp.shape(stream[...]):
            raise fail(
                "functional_nnx", "the module stores a split random stream", "Build it from an unsplit nnx.Rngs."
            )
        places.append((path, isinstance(stream, nnx.RngKey)))
    call = NNXCaller(tuple(_definition(model, training, dropout) for training, dropout in _MODES), tuple(places))
    frozen = nnx.to_pure_dict(nnx.merge_state(kept, left_out))
    unknown = tuple(_unknown(path, leaf) for path, leaf in nnx.to_flat_state(rest) if not isinstance(leaf, STATE))
    return Functional(nnx.to_pure_dict(params), nnx.to_pure_dict(rest), call, frozen, unknown)


_MODES = ((True, True), (True, False), (False, False))


def _definition(model: nnx.Module, training: bool, dropout: bool) -> Any:
    """The graph in one mode; without dropout its rate is 0, also for a module that is told to drop in the call."""
    modes = {"deterministic": not dropout, "use_running_average": not training}
    view = nnx.view(model, raise_if_not_found=False, **modes)
    view.set_attributes(raise_if_not_found=False, **modes)
    if not dropout:
        view.set_attributes(nnx.Dropout, rate=0.0, raise_if_not_found=False)
        view.set_attributes(nnx.MultiHeadAttention, dropout_rate=0.0, raise_if_not_found=False)
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

    @property
    def draws(self) -> bool:
        """Whether the module stores random streams."""
        return bool(self.streams)

    def __call__(
        self, function: Callable[[Any], Any], params: Params, model_state: Any, *, training: bool,
        frozen: Any = None, key: jax.Array | None = None, stream_key: jax.Array | None = None,
    ) -> tuple[Any, Any]:  # fmt: skip
        """The function's value on the merged module, and the state after it."""
        definition = self.definitions[_MODES.index((training, training and key is not None))]
        streams = self._seeded(stream_key if key is None else key)
        model = nnx.merge(definition, params, streams, model_state, *([frozen] if frozen else []))
        value = function(model)
        if not training:
            return value, model_state
        _, after = nnx.state(model, nnx.Any(nnx.Param, nnx.RngState, nnx.Intermediate), ...)
        return value, like(model_state, _without(nnx.to_pure_dict(after), params, frozen or {}))

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


def _without(tree: Any, *others: Any) -> Any:
    """A nested dictionary without the entries that stand in others; branches that become empty are dropped."""
    kept = {}
    for name, branch in tree.items():
        inner = [other[name] for other in others if name in other]
        if not isinstance(branch, dict):
            kept |= {} if inner else {name: branch}
        elif rest := _without(branch, *inner):
            kept[name] = rest
    return kept


def _predicate(wrt: Any) -> Callable[..., bool]:
    try:
        return nnx.filterlib.to_predicate(wrt)
    except (TypeError, ValueError) as error:
        raise fail(
            "from_nnx", f"wrt must be an NNX filter, got {wrt!r}",
            "Give a type of variables, such as nnx.Param or nnx.LoRAParam, or a tuple of types.",
        ) from error  # fmt: skip


def _require_parameters(model: nnx.Module, wrt: Any, params: Any) -> None:
    """Raises where `wrt` is asked for and selects nothing, or what the module moves itself."""
    moved = ["/".join(map(str, path)) for path, leaf in nnx.to_flat_state(params) if isinstance(leaf, STATE)]
    if moved:
        raise fail(
            "from_nnx", f"wrt selects {', '.join(moved[:4])}, which the module moves itself",
            "Leave out nnx.BatchStat, nnx.Cache and nnx.Intermediate.",
        )  # fmt: skip
    if wrt is not nnx.Param and not params:
        kinds = sorted({type(leaf).__name__ for _, leaf in nnx.to_flat_state(nnx.state(model))})
        raise fail(
            "from_nnx", f"wrt={_name(wrt)} selects no floating variable",
            f"The module holds variables of the types {', '.join(kinds)}.",
        )  # fmt: skip


def _unknown(path: tuple[Any, ...], leaf: Any) -> Unknown:
    kind = type(leaf).__name__ if isinstance(leaf, nnx.Variable) else ""
    return Unknown(path, kind, describe(_value(leaf)), _is_floating(_value(leaf)))


def _name(wrt: Any) -> str:
    return wrt.__name__ if isinstance(wrt, type) else repr(wrt)


def _value(leaf: Any) -> Any:
    return leaf[...] if isinstance(leaf, nnx.Variable) else leaf


def _is_floating(value: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(value), jnp.inexact)
