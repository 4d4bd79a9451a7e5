"""Pytrees in files, with facts about them: an `.npz` whose header says what each array is and whose the file is.

Leaves are stored as bytes with their dtype, so that every dtype comes back bit by bit. Sizes are checked before
anything is unpacked: members are stored as they are, so that none can be larger than the file.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.storage.encoding import to_json
from jaxopt_lab.storage.files import reading, replacing

_MOST_HEADER = 2**24
_NPY_HEADER = 2**12


def save(path: Path, tree: Any, facts: Mapping[str, Any]) -> None:
    """Writes the leaves of a pytree and a dictionary of JSON values to `path`, completely or not at all.

    Leaves are stored as bytes with their dtype, so that every dtype comes back bit by bit.
    """
    arrays, kinds = {}, []
    for i, leaf in enumerate(jax.tree.leaves(tree)):
        arrays[f"leaf-{i}"], kind = _to_bytes(leaf)
        kinds.append(kind)
    header = np.frombuffer(json.dumps({"facts": to_json(facts), "leaves": kinds}).encode(), np.uint8)
    with replacing(path) as file:
        np.savez(file, header=header, **arrays)


def load_facts(path: Path, what: str = "a checkpoint", remedy: str = "") -> dict[str, Any]:
    """The dictionary stored beside the leaves.

    Raises:
      InputError: the file is torn or of another kind.
    """
    with reading(path, what, remedy), _Archive(path) as stored:
        return stored.facts


def load(
    path: Path, like: Any, facts: Mapping[str, Any] | None = None, *, what: str = "a checkpoint", remedy: str = ""
) -> Any:
    """The pytree stored at `path`, in the structure of `like`.

    Args:
      path: the file.
      like: a pytree; where its leaves have a shape other than (), the stored ones must have it too.
      facts: what must stand beside the leaves, by name: whose file it is.
      what: what the file should be, for the errors.
      remedy: what to do, for the errors.

    Raises:
      InputError: the file is torn, of another kind or of something else, or holds a tree of another structure.
    """
    structure, leaves = jax.tree.structure(like), []
    with reading(path, what, remedy), _Archive(path) as stored:
        for name, value in (facts or {}).items():
            if stored.facts.get(name) != to_json(value):
                raise ValueError(f"it belongs to another {name}: {stored.facts.get(name)} in place of {value}")
        if structure.num_leaves != len(stored.kinds):
            raise ValueError(f"it holds {len(stored.kinds)} arrays in place of {structure.num_leaves}")
        for number, leaf in enumerate(jax.tree.leaves(like)):
            leaves.append(stored.leaf(number, _shape(leaf)))
    return structure.unflatten(leaves)


class _Archive:
    """A file of `save`, open to be read; members are stored as they are, so that none can be larger than the file."""

    def __init__(self, path: Path) -> None:
        self._file = zipfile.ZipFile(path)
        members = self._file.infolist()
        if any(each.compress_type != zipfile.ZIP_STORED or each.file_size != each.compress_size for each in members):
            raise ValueError("its parts are compressed, which this package never writes")
        header = json.loads(bytes(read_member(self._file, "header.npy", np.uint8, None, _MOST_HEADER)))
        self.facts, self.kinds = dict(header["facts"]), list(header["leaves"])

    def leaf(self, number: int, shape: tuple[int, ...]) -> Any:
        """One leaf; of the given shape unless that is ()."""
        kind = self.kinds[number]
        stored = tuple(kind["shape"])
        if shape and stored != shape:
            raise ValueError(f"array {number} has the shape {stored} in place of {shape}")
        dtype = jnp.dtype(kind["dtype"])
        if dtype.hasobject:
            raise ValueError(f"array {number} holds Python objects")
        size = int(np.prod(stored, dtype=object)) * dtype.itemsize
        array = read_member(self._file, f"leaf-{number}.npy", np.uint8, (size,)).view(dtype).reshape(stored)
        if "key" in kind:
            return jax.random.wrap_key_data(jnp.asarray(array), impl=kind["key"])
        return array

    def __enter__(self) -> "_Archive":
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.close()


def read_member(
    archive: zipfile.ZipFile, name: str, dtype: Any, shape: tuple[int, ...] | None, most_bytes: int = 2**62
) -> np.ndarray:
    """One array of an open `.npz`, its header read and its size checked before its numbers are.

    Args:
      archive: the file.
      name: of the member, with ".npy".
      dtype: what it must have, or None for any that holds no objects.
      shape: what it must have, or None for any.
      most_bytes: the most that it may hold.
    """
    info = archive.getinfo(name)
    found_shape, found_dtype = _described(archive, info)
    if found_dtype.hasobject or (dtype is not None and found_dtype != dtype):
        raise ValueError(f"{name} holds {found_dtype} in place of {dtype or 'numbers'}")
    if shape is not None and found_shape != shape:
        raise ValueError(f"{name} has the shape {found_shape} in place of {shape}")
    size = int(np.prod(found_shape, dtype=object)) * found_dtype.itemsize
    if size > most_bytes or not size <= info.file_size <= size + _NPY_HEADER:
        raise ValueError(f"{name} has {info.file_size} bytes in place of {size}")
    with archive.open(info) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False, max_header_size=_NPY_HEADER)


def member_shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    """The shape of one array of an open `.npz`, from its header alone."""
    return _described(archive, archive.getinfo(name))[0]


def _described(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of a member, from its header."""
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream, max_header_size=_NPY_HEADER)
    return shape, dtype


def _shape(leaf: Any) -> tuple[int, ...]:
    """The shape in which a leaf is stored: a random key's with its words."""
    if isinstance(leaf, jax.Array) and _is_key(leaf):
        return jax.random.key_data(leaf).shape
    return np.shape(leaf)


def _is_key(leaf: jax.Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _to_bytes(leaf: Any) -> tuple[np.ndarray, dict[str, Any]]:
    is_key = isinstance(leaf, jax.Array) and _is_key(leaf)
    array = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
    kind: dict[str, Any] = {"dtype": array.dtype.name, "shape": array.shape}
    if is_key:
        kind["key"] = str(jax.random.key_impl(leaf))
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8), kind
