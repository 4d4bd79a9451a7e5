"""`precision`: float64 where numbers are compared with closed forms, without flipping a global switch."""

import contextlib
from collections.abc import Iterator

import jax

from jaxopt_lab.core.errors import require_choice


@contextlib.contextmanager
def precision(dtype: str = "float64") -> Iterator[None]:
    """Within the block, arrays default to `dtype` and matrix products keep its full accuracy.

    Args:
      dtype: "float64" or "float32".

    Example:
      >>> import jax.numpy as jnp
      >>> with precision("float64"):
      ...     print(jnp.zeros(1).dtype)
      float64
    """
    require_choice("precision", "dtype", dtype, ("float32", "float64"))
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
        yield
