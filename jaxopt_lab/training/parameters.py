"""Parameters in a file of their own: an `.npz` with one array for each parameter, named by its path.

Any program that writes such a file, with names like "hidden/0/kernel", can hand its parameters over.
"""

import os
import pathlib
import zipfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import fail, vectors
from jaxopt_lab.core.errors import require_choice
from jaxopt_lab.storage import archives, files


def save_params(path: str | os.PathLike[str], params: Any) -> None:
    """Writes parameters to an `.npz` file, completely or not at all; bfloat16 leaves become float32.

    Args:
      path: the file.
      params: any pytree of arrays.

    Raises:
      InputError: the file cannot be written.
    """
    leaves = zip(_paths(params), jax.tree.leaves(params), strict=True)
    arrays: dict[str, Any] = {name: np.asarray(_storable(leaf)) for name, leaf in leaves}
    target = pathlib.Path(path)
    files.require_folders(target.parent)
    with files.replacing(target) as file:
        np.savez(file, **arrays)


def load_params(path: str | os.PathLike[str], like: Any) -> Any:
    """Reads parameters from an `.npz` file.

    Args:
      path: the file.
      like: a pytree of arrays with the structure and shapes to expect.

    Returns:
      The parameters, in the structure and dtypes of `like`.

    Raises:
      InputError: no such file, no such format, or a parameter that is missing or has another shape.
    """
    leaves, what = [], "the parameters of this network"
    with files.reading(str(path), what, "Write them with save_params."), zipfile.ZipFile(path) as stored:
        names = [name.removesuffix(".npy") for name in stored.namelist()]
        for name, leaf in zip(_paths(like), jax.tree.leaves(like), strict=True):
            require_choice(str(path), "parameter", name, names)
            shape = jnp.shape(leaf)
            if (found := archives.member_shape(stored, f"{name}.npy")) != shape:
                raise fail(
                    str(path), f"{name} has shape {found}, the network's has {shape}",
                    "Build the network with the width and depth that it was trained with.",
                )  # fmt: skip
            array = archives.read_member(stored, f"{name}.npy", None, shape)
            leaves.append(jnp.asarray(array).astype(jnp.result_type(leaf)))
    return jax.tree.structure(like).unflatten(leaves)


def _paths(params: Any) -> list[str]:
    return [path or "params" for path in vectors.parameter_paths(params)]


def _storable(leaf: Any) -> Any:
    return leaf.astype(jnp.float32) if jnp.result_type(leaf) == jnp.bfloat16 else leaf
