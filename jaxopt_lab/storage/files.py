"""Files that are either complete or absent: pytrees with facts about them, and text.

A file is written under a temporary name, flushed to the disk and renamed, so that a process killed at any moment
leaves the last complete one. Leaves are stored as bytes with their dtype, so that every dtype comes back bit by bit.
"""

import contextlib
import json
import os
import pathlib
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core.errors import InputError, fail


def save(path: pathlib.Path, tree: Any, facts: dict[str, Any]) -> None:
    """Writes the leaves of a pytree and a dictionary of JSON values to `path`, completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays, kinds = {}, []
    for i, leaf in enumerate(jax.tree.leaves(tree)):
        array, kind = _to_bytes(leaf)
        arrays[f"leaf-{i}"], kinds = array, [*kinds, kind]
    header = np.frombuffer(json.dumps({"facts": facts, "leaves": kinds}).encode(), np.uint8)
    with replacing(path) as file:
        np.savez(file, header=header, **arrays)


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a text file, completely or not at all."""
    with replacing(path) as file:
        file.write(text.encode())


def load_facts(path: pathlib.Path) -> dict[str, Any]:
    """The dictionary stored beside the leaves.

    Raises:
      InputError: the file is torn or not a checkpoint.
    """
    with _reading(path) as stored:
        return _header(stored)["facts"]


def load(path: pathlib.Path, like: Any) -> Any:
    """The pytree stored at `path`, in the structure of `like`.

    Raises:
      InputError: the file is torn or not a checkpoint, or holds a tree of another structure.
    """
    with _reading(path) as stored:
        kinds = _header(stored)["leaves"]
        leaves = [_from_bytes(stored[f"leaf-{i}"], kind) for i, kind in enumerate(kinds)]
    structure = jax.tree.structure(like)
    if structure.num_leaves != len(leaves):
        raise fail(
            str(path), f"holds {len(leaves)} arrays where the run has {structure.num_leaves}", "It is of another run."
        )
    return structure.unflatten(leaves)


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[Any]:
    """A file to write to, which takes the place of `path` when the block ends well."""
    temporary = path.with_name(path.name + ".writing")
    with open(temporary, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


@contextlib.contextmanager
def _reading(path: pathlib.Path) -> Iterator[Any]:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            yield stored
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise fail(
            str(path),
            f"the checkpoint cannot be read ({error})",
            "Remove this file to start the run from its beginning.",
        ) from error


def _header(stored: Any) -> dict[str, Any]:
    return json.loads(bytes(stored["header"]))


def _to_bytes(leaf: Any) -> tuple[np.ndarray, dict[str, Any]]:
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    array = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
    kind: dict[str, Any] = {"dtype": array.dtype.name, "shape": array.shape}
    if is_key:
        kind["key"] = str(jax.random.key_impl(leaf))
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8), kind


def _from_bytes(stored: np.ndarray, kind: dict[str, Any]) -> Any:
    array = stored.view(jnp.dtype(kind["dtype"])).reshape(kind["shape"])
    if "key" in kind:
        return jax.random.wrap_key_data(jnp.asarray(array), impl=kind["key"])
    return array
