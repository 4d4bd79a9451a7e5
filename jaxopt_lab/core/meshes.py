"""Arrays spread over a mesh of devices, whose axes are of two kinds.

On an axis of the kind Auto the compiler chooses how a result is sharded. On one of the kind Explicit, which
`jax.make_mesh` makes, the type of each array says how it is sharded, and an operation whose result could be sharded in
several ways raises. What is said here holds for both kinds.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def replicated(*trees: Any) -> NamedSharding | None:
    """Where a result lies that every device holds in full: on the Explicit mesh of any leaf; None where there is none.

    Example:
      >>> replicated(jax.numpy.ones(3)) is None
      True
    """
    for leaf in jax.tree.leaves(trees):
        if not isinstance(leaf, jax.Array):
            continue
        mesh = jax.typeof(leaf).sharding.mesh
        if not mesh.empty and AxisType.Explicit in mesh.axis_types:
            return NamedSharding(mesh, PartitionSpec())
    return None


def placed_like(array: jax.Array, like: jax.Array) -> jax.Array:
    """The array, sharded as `like` of its shape is where that lies on Explicit axes; elsewhere nothing is said.

    Example:
      >>> placed_like(jax.numpy.arange(2), jax.numpy.zeros(2)).tolist()
      [0, 1]
    """
    return array if replicated(like) is None else jax.sharding.reshard(array, jax.typeof(like).sharding)


def on_any_mesh(function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments), where the function need not say how its results are sharded; they are replicated then.

    Where an argument lies on Explicit axes the compiler chooses inside of the function, as it does on Auto axes. A
    function that says itself how its results are sharded is called as it is.
    """
    place = replicated(function, arguments)
    if place is None:
        return function(*arguments)
    bound = function if isinstance(function, jax.tree_util.Partial) else jax.tree_util.Partial(function)
    try:
        return jax.sharding.auto_axes(_call, out_sharding=place)(bound, *arguments)
    except Exception:
        return function(*arguments)


def take(tree: Any, rows: Any) -> Any:
    """Rows of every leaf, a slice or numbers [k]; of leaves on Explicit axes every device gets them all.

    Numbers are taken of all arrays by one program: an operation of its own compiles four for each shape.

    Example:
      >>> take(jax.numpy.arange(4), slice(1, 3)).tolist()
      [1, 2]
    """
    if isinstance(rows, slice):
        return jax.tree.map(lambda leaf: _taken(leaf, rows), tree)
    leaves, structure = jax.tree.flatten(tree)
    arrays = iter(_taken_together([leaf for leaf in leaves if isinstance(leaf, jax.Array)], rows))
    return structure.unflatten(next(arrays) if isinstance(leaf, jax.Array) else leaf[rows] for leaf in leaves)


@jax.jit
def _taken_together(leaves: list[jax.Array], rows: Any) -> list[jax.Array]:
    return [_taken(leaf, rows) for leaf in leaves]


def settled(tree: Any) -> Any:
    """The same arrays, waited for where the devices of a CPU hold them together.

    Those devices share a few threads, all of which two sums over devices that are under way at once can take: neither
    then ends. Elsewhere, and inside of compiled functions, nothing is waited for.
    """
    spread = [leaf for leaf in jax.tree.leaves(tree) if _on_divided_cpu(leaf)]
    jax.block_until_ready(spread)
    return tree


def on_auto_axes(tree: Any) -> Any:
    """The same arrays where they are, on axes of the kind Auto; nothing is moved."""
    return jax.tree.map(lambda leaf: _with_kinds(leaf, None), tree)


def as_before(tree: Any, before: Any) -> Any:
    """Undoes `on_auto_axes`: arrays made from its result, on axes of the kinds of `before`, its argument."""
    place = replicated(before)
    return tree if place is None else jax.tree.map(lambda leaf: _with_kinds(leaf, place.mesh), tree)


def bytes_on_one_device(tree: Any) -> int:
    """Bytes of a pytree of arrays, or of their shapes, on one of the devices that it is spread over.

    Each device is taken to have memory of its own, as accelerators have; the devices that a CPU is divided into do not.

    Example:
      >>> bytes_on_one_device({"a": jax.numpy.zeros((3, 2), "float32")})
      24
    """
    return sum(_local_size(leaf) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def is_shared(tree: Any) -> bool:
    """Whether a leaf, or what has the shape and sharding of one, lies in part on devices of other processes.

    Example:
      >>> is_shared(jax.numpy.ones(3))
      False
    """
    kinds = (jax.Array, jax.ShapeDtypeStruct)
    known = [
        leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, kinds) and not isinstance(leaf, jax.core.Tracer)
    ]
    return any(leaf.sharding is not None and not leaf.sharding.is_fully_addressable for leaf in known)


def local_parts(tree: Any) -> Any:
    """The tree with what this process holds of each shared leaf, a list, a part for each of its devices.

    Example:
      >>> local_parts({"a": 3})
      {'a': 3}
    """
    return jax.tree.map(
        lambda leaf: [shard.data for shard in leaf.addressable_shards] if is_shared(leaf) else leaf, tree
    )


def from_local_parts(parts: Any, like: Any) -> Any:
    """The inverse of `local_parts` for a tree whose shared leaves are sharded as those of `like`."""
    leaves, structure = jax.tree.flatten(like)
    return structure.unflatten(
        _whole(part, leaf) if is_shared(leaf) else part
        for part, leaf in zip(structure.flatten_up_to(parts), leaves, strict=True)
    )


def _whole(parts: list[Any], like: jax.Array) -> jax.Array:
    placed = [
        jax.device_put(part, shard.device) for part, shard in zip(parts, like.addressable_shards, strict=True)
    ]  # fmt: skip
    return jax.make_array_from_single_device_arrays(like.shape, like.sharding, placed)


def _taken(leaf: Any, rows: Any) -> Any:
    place = replicated(leaf)
    return leaf[rows] if place is None else leaf.at[rows].get(out_sharding=place)


def _on_divided_cpu(leaf: Any) -> bool:
    if not isinstance(leaf, jax.Array) or isinstance(leaf, jax.core.Tracer):
        return False
    devices = leaf.sharding.device_set
    return len(devices) > 1 and next(iter(devices)).platform == "cpu"


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def _local_size(leaf: Any) -> int:
    sharding = getattr(leaf, "sharding", None)
    return math.prod(leaf.shape if sharding is None else sharding.shard_shape(tuple(leaf.shape)))


def _with_kinds(leaf: Any, like: Any) -> Any:
    """The array on a mesh of the same devices whose axes are of the kinds of the mesh `like`, or Auto."""
    sharding = getattr(leaf, "sharding", None)
    if not isinstance(sharding, NamedSharding) or (like is not None and sharding.mesh.axis_names != like.axis_names):
        return leaf
    mesh = sharding.mesh
    kinds = (AxisType.Auto,) * len(mesh.axis_names) if like is None else like.axis_types
    if tuple(mesh.axis_types) == tuple(kinds):
        return leaf
    same = Mesh(mesh.devices, mesh.axis_names, axis_types=kinds)
    return jax.device_put(leaf, NamedSharding(same, sharding.spec, memory_kind=sharding.memory_kind))
