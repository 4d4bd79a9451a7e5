"""What the leaves of parameters and data may be, and how they are named in errors.

A parameter is trained when it is floating, real or complex. Data are arrays of numbers (or PRNG keys) with one leading
axis in common.
"""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core.errors import InputError, fail

_SHOWN = 4


def is_key(leaf: Any) -> bool:
    """Whether a leaf holds PRNG keys of the typed kind, as `jax.random.key` makes them."""
    return _is_of(leaf, jax.dtypes.prng_key)


def is_raw_key(leaf: Any) -> bool:
    """Whether a leaf looks like keys of the raw kind, as `jax.random.PRNGKey` makes them: uint32 [..., words]."""
    words = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0))).shape[-1]
    return getattr(leaf, "dtype", None) == jnp.uint32 and jnp.shape(leaf)[-1:] == (words,)


def is_trained(leaf: Any) -> bool:
    """Whether a leaf can be moved along a gradient: a floating array or number, real or complex."""
    return _is_of(leaf, np.inexact) or (isinstance(leaf, float | complex) and not hasattr(leaf, "dtype"))


def is_array(leaf: Any) -> bool:
    """Whether a leaf is an array of numbers, truth values or PRNG keys, or a number."""
    if isinstance(leaf, bool | int | float | complex) and not hasattr(leaf, "dtype"):
        return True
    return is_key(leaf) or _is_of(leaf, np.number) or _is_of(leaf, np.bool_)


def describe(leaf: Any) -> str:
    """A leaf by dtype and shape; what is no array by its type.

    Example:
      >>> describe(jnp.zeros((2, 3))), describe("abc")
      ('float32[2, 3]', 'str')
    """
    if not hasattr(leaf, "dtype"):
        return type(leaf).__name__
    return f"{leaf.dtype}{list(jnp.shape(leaf))}"


def describe_tree(tree: Any) -> str:
    """The leaves of a tree in a few words, each with its path.

    Example:
      >>> describe_tree({"w": jnp.zeros((2, 3)), "b": jnp.zeros(3)})
      'b float32[3], w float32[2, 3]'
    """
    leaves = [f"{path} {describe(leaf)}".strip() for path, leaf in _named(tree)]
    if not leaves:
        return "None" if tree is None else "nothing"
    return ", ".join(leaves[:_SHOWN]) + (f" and {len(leaves) - _SHOWN} more" if len(leaves) > _SHOWN else "")


def require_trainable(where: str, params: Any) -> None:
    """Raises unless there are parameters and every one of them can be trained.

    Args:
      where: for the error.
      params: a pytree of arrays or of their shapes.

    Raises:
      InputError: a leaf that is no floating array; it is named, with what to do.
    """
    for path, leaf in _named(params):
        if not is_trained(leaf):
            label = f"parameter {path}" if path else "the parameter"
            raise fail(
                where, f"{label} is {_article(leaf)}, so that the loss cannot be differentiated in it", _way(leaf)
            )


def count_examples(data: Any, name: str, field: str) -> int | None:
    """The common length of the leaves' leading axes, or None for no leaf.

    Args:
      data: a pytree of arrays.
      name: whose data they are, for errors.
      field: what they are called, for errors.

    Raises:
      InputError: the leaves are no arrays of numbers, differ in length, or hold no example.
    """
    for path, leaf in _named(data):
        if not is_array(leaf):
            label = f"the leaf {path} of {field}" if path else field
            raise fail(
                name, f"{label} holds {_content(leaf)}, which no compiled program takes",
                "Encode it as numbers, such as the number of a class, or leave it out.",
            )  # fmt: skip
    leaves = jax.tree.leaves(data)
    if not leaves:
        return None
    lengths = {jnp.shape(leaf)[0] if jnp.ndim(leaf) else None for leaf in leaves}
    if len(lengths) > 1 or None in lengths:
        raise _different(leaves, name, field)
    (length,) = lengths
    if length == 0:
        raise InputError(f"{name}: {field} holds no example.")
    return length


def _different(leaves: list[Any], name: str, field: str) -> InputError:
    shapes = ", ".join(str(jnp.shape(leaf)) for leaf in leaves[:_SHOWN])
    more = f" and {len(leaves) - _SHOWN} more" if len(leaves) > _SHOWN else ""
    taken_apart = any(not hasattr(leaf, "dtype") for leaf in leaves)
    remedy = "Numbers in a list are leaves of their own: make it an array, jnp.asarray(...)." if taken_apart else ""
    return fail(name, f"the leaves of {field} must share their leading axis, got shapes {shapes}{more}", remedy)


def _named(tree: Any) -> Iterable[tuple[str, Any]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield jax.tree_util.keystr(path, simple=True, separator="/"), leaf


def _is_of(leaf: Any, kind: Any) -> bool:
    dtype = getattr(leaf, "dtype", None)
    try:
        return dtype is not None and bool(jnp.issubdtype(dtype, kind))
    except TypeError:
        return False


def _article(leaf: Any) -> str:
    if is_key(leaf):
        return f"a PRNG key ({describe(leaf)})"
    return describe(leaf) if hasattr(leaf, "dtype") else f"a Python {describe(leaf)}"


def _way(leaf: Any) -> str:
    if is_key(leaf) or is_raw_key(leaf):
        return "lab.from_loss(loss, params, data) holds keys fixed; or let the loss close over it."
    if is_array(leaf):
        return "Make it floating, jnp.asarray(x, float), or let the loss close over it."
    return "Let the loss close over it, and give as parameters the floating arrays alone."


def _content(leaf: Any) -> str:
    dtype = getattr(leaf, "dtype", None)
    if isinstance(leaf, str | bytes) or getattr(dtype, "kind", "") in ("U", "S", "T"):
        return f"text ({type(leaf).__name__ if dtype is None else dtype})"
    return f"values of type {type(leaf).__name__ if dtype is None else dtype}"
