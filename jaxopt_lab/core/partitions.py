"""Parameters apart from what stands beside them in their pytree and cannot be trained.

A model that is a pytree itself (an Equinox module) holds floating arrays next to functions, flags and counts; a tree of
parameters may hold PRNG keys. Floating arrays train. The rest is held fixed: arrays as data of the loss, so that they
are arguments of the compiled program; everything else as a part of the loss. In the places of what is fixed the
parameters have None, as `equinox.partition` leaves it.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxopt_lab.core.errors import InputError, fail, reason
from jaxopt_lab.core.leaves import is_array, is_key, is_raw_key, is_trained, require_trainable
from jaxopt_lab.core.vectors import equal

Params = Any


@dataclasses.dataclass(frozen=True)
class Start:
    """Where training starts.

    Attributes:
      init: key -> parameters, with None in the places of what is fixed.
      fixed: the arrays that are held fixed, a list with None in the places of all other leaves; [] for none.
      statics: what is fixed and no array, each with its place among the leaves.
      structure: of the whole tree, with None counted as a leaf.
    """

    init: Callable[[jax.Array], Params]
    fixed: list[Any] = dataclasses.field(default_factory=list)
    statics: tuple["Static", ...] = ()
    structure: Any = None

    def on_whole_trees(self, loss: Callable[..., Any]) -> Callable[..., Any]:
        """A function of whole trees, as one of the parameters; itself where nothing is fixed."""
        if self.structure is None:
            return loss
        return jax.tree_util.Partial(_OnWholeTrees(loss, self.structure, self.statics), self.fixed)


@dataclasses.dataclass(frozen=True, eq=False)
class Static:
    """A leaf that is no array, as part of a function: equal to an equal one, to itself alone where it has no hash.

    Attributes:
      place: among the leaves.
      leaf: a function, a flag, a number.
    """

    place: int
    leaf: Any

    def __hash__(self) -> int:
        try:
            return hash((self.place, self.leaf))
        except TypeError:
            return hash((self.place, id(self.leaf)))

    def __eq__(self, other: object) -> bool:
        """Equal leaves of one type in one place."""
        if not isinstance(other, Static) or hash(self) != hash(other) or type(self.leaf) is not type(other.leaf):
            return False
        return self.leaf is other.leaf or bool(self.leaf == other.leaf)


def start_at(where: str, params: Any) -> Start:
    """The start that a user gives as a pytree, or as a function that makes one.

    Args:
      where: for errors.
      params: a pytree of arrays, also one that can be called, such as an Equinox module; or a function, a method or a
        class, key -> such a pytree.

    Raises:
      InputError: a leaf that can neither be trained nor be held fixed, an initializer that fails, or one that makes
        arrays which are no parameters and differ from key to key.
    """
    _refuse_flax(where, params)
    if not is_initializer(params):
        trained, fixed, statics, structure = _apart(where, params)
        return Start(_Given(trained), fixed, statics, structure)
    found: list[Any] = []

    def traced(key: jax.Array) -> Any:
        found[:] = _apart(where, params(key))
        return found[0], found[1]

    try:
        jax.eval_shape(traced, jax.random.key(0))
    except InputError:
        raise
    except Exception as error:
        label = getattr(params, "__name__", type(params).__name__)
        raise fail(where, f"the initializer {label}(key) fails {reason(error)}", _INITIALIZER) from error
    if found[3] is None:
        return Start(params)
    fixed = found[1]
    if jax.tree.leaves(fixed):
        one, fixed = (_apart(where, params(jax.random.key(seed)))[1] for seed in (1, 0))
        if not equal(_plain(one), _plain(fixed)):
            raise fail(
                where, "the initializer makes arrays that are no parameters (keys, whole numbers) anew from each key",
                "Leave them out of the parameters: the loss gets a key of its own at each step.",
            )  # fmt: skip
    return Start(_TrainedPart(where, params), fixed, found[2], found[3])


def is_initializer(params: Any) -> bool:
    """Whether what is given as parameters makes them: it can be called, and is no pytree of its own.

    Example:
      >>> is_initializer(lambda key: jnp.zeros(2)), is_initializer(jnp.zeros(2))
      (True, False)
    """
    return callable(params) and (isinstance(params, functools.partial) or jax.tree_util.all_leaves([params]))


_INITIALIZER = "It is called with a PRNG key and returns the initial parameters, a pytree of floating arrays."


@dataclasses.dataclass(frozen=True, eq=False)
class _Given:
    """key -> the parameters that were given."""

    params: Params

    def __call__(self, key: jax.Array) -> Params:
        del key
        return jax.tree.map(jnp.asarray, self.params)


@dataclasses.dataclass(frozen=True)
class _TrainedPart:
    """key -> the trained part of what an initializer makes."""

    where: str
    initializer: Callable[[jax.Array], Any]

    def __call__(self, key: jax.Array) -> Params:
        return _apart(self.where, self.initializer(key))[0]


@dataclasses.dataclass(frozen=True)
class _OnWholeTrees:
    """(fixed arrays, parameters, ...) -> the user's function of the whole tree."""

    function: Callable[..., Any]
    structure: Any
    statics: tuple[Static, ...]

    def __call__(self, fixed: list[Any], params: Params, *rest: Any) -> Any:
        leaves = jax.tree.leaves(params, is_leaf=_is_none)
        leaves = [leaf if held is None else held for leaf, held in zip(leaves, fixed, strict=True)]
        for static in self.statics:
            leaves[static.place] = static.leaf
        return self.function(self.structure.unflatten(leaves), *rest)


def _apart(where: str, tree: Any) -> tuple[Params, list[Any], tuple[Static, ...], Any]:
    """(trained part, fixed arrays, fixed rest, structure of all); the structure is None where nothing is fixed."""
    leaves, structure = jax.tree.flatten(tree, is_leaf=_is_none)
    trained, fixed, statics = list(leaves), [None] * len(leaves), []
    for place, (leaf, inside) in enumerate(zip(leaves, _inside_modules(tree), strict=True)):
        if leaf is None or (is_trained(leaf) and (hasattr(leaf, "dtype") or not inside)):
            continue
        if hasattr(leaf, "dtype") and is_array(leaf) and (inside or is_key(leaf) or is_raw_key(leaf)):
            trained[place], fixed[place] = None, leaf
        elif inside and not hasattr(leaf, "dtype"):
            trained[place] = None
            statics.append(Static(place, leaf))
    params = structure.unflatten(trained)
    require_trainable(where, params)
    if all(held is None for held in fixed) and not statics:
        return tree, [], (), None
    if not jax.tree.leaves(params):
        raise fail(where, "the parameters hold nothing that can be trained", "Give floating arrays.")
    return params, fixed, tuple(statics), structure


def _inside_modules(tree: Any) -> list[bool]:
    """For each leaf, None included, whether it lies in a node that can be called."""
    if _is_module(tree):
        return [True] * len(jax.tree.leaves(tree, is_leaf=_is_none))
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: node is None or _is_module(node))
    flags = [[_is_module(node)] * len(jax.tree.leaves(node, is_leaf=_is_none)) for node in nodes]
    return [flag for each in flags for flag in each]


def _is_module(node: Any) -> bool:
    return callable(node) and not jax.tree_util.all_leaves([node])


def _is_none(node: Any) -> bool:
    return node is None


def _plain(fixed: list[Any]) -> list[Any]:
    """Keys as their words, so that they can be compared."""
    return [jax.random.key_data(leaf) if is_key(leaf) else leaf for leaf in fixed]


def _refuse_flax(where: str, params: Any) -> None:
    kinds = {kind.__module__.split(".")[0] for kind in type(params).__mro__}
    if "flax" in kinds and callable(params):
        raise fail(
            where, f"params is a Flax module, {type(params).__name__}", "Give it to lab.from_nnx or lab.from_linen."
        )  # fmt: skip
