"""Checks on arguments, and the wording of every error that a wrong one gets.

A message says where, what is allowed, what was got, and why or what to try:
`heavy_ball: rho must be in [0, 1), got 1.5. With rho >= 1 the velocity never forgets a gradient.`
Only concrete numbers are checked; traced values pass, so that hyperparameters can be vmapped.
"""

import difflib
import math
import numbers
import re
import sys
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

LARGEST_COUNT = 2**31 - 1


class InputError(ValueError):
    """A wrong argument, found before any compute is spent; the command line ends with exit code 2."""


def fail(where: str, problem: str, remedy: str = "") -> InputError:
    """Returns the error `where: problem. remedy` in one line, ready to be raised."""
    text = f"{where}: {problem}." + (f" {remedy}" if remedy else "")
    return InputError(re.sub(r"\s*\n\s*", " ", text))


def reason(error: BaseException) -> str:
    """What an exception says, its first line alone, in parentheses, to stand inside of a sentence.

    Example:
      >>> reason(KeyError("kernel")), reason(ValueError("too short."))
      ("(KeyError: 'kernel')", '(ValueError: too short)')
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"({type(error).__name__}: {lines[0].rstrip('.')})" if lines else f"({type(error).__name__})"


def is_concrete_number(value: Any) -> bool:
    """True for Python and NumPy numbers and for concrete 0-d arrays, False for tracers, schedules, arrays."""
    if isinstance(value, jax.core.Tracer):
        return False
    if isinstance(value, numbers.Real):
        return True
    return isinstance(value, np.ndarray | np.generic | jax.Array) and value.ndim == 0


def require_real(where: str, name: str, value: Any) -> None:
    """Raises unless `value` is a real number or an array of them, traced ones included."""
    if isinstance(value, numbers.Real):
        return
    dtype = getattr(value, "dtype", None)
    kinds = (np.floating, np.integer, np.bool_)
    if dtype is None or not any(jnp.issubdtype(dtype, kind) for kind in kinds):
        raise fail(where, f"{name} must be a real number, got {_excerpt(value)}")


def require_positive(where: str, name: str, value: Any, why: str = "") -> None:
    """Raises unless `value` is a real number and, where it is concrete, finite in the default float and above zero."""
    _require_scalar(where, name, value)
    if not is_concrete_number(value):
        return
    if not 0 < value < math.inf:
        raise fail(where, f"{name} must be positive and finite, got {value}", why)
    if not _smallest() <= value <= _largest():
        raise fail(where, f"{name} must be positive and finite in the default float, got {value}", why)


def require_finite(where: str, name: str, value: Any, why: str = "") -> None:
    """Raises unless a concrete number, or every entry of a concrete array, is real and finite in the default float."""
    if isinstance(value, list | tuple):
        try:
            value = np.asarray(value)
        except (ValueError, TypeError):
            raise fail(where, f"{name} must be real numbers of one shape, got {value!r}") from None
    require_real(where, name, value)
    if not isinstance(value, jax.core.Tracer) and not np.all(np.abs(np.asarray(value, np.float64)) <= _largest()):
        raise fail(where, f"{name} must be finite, got {_excerpt(value)}", why)


def require_between(
    where: str, name: str, value: Any, low: float, high: float, *, ends: str = "[]", why: str = ""
) -> None:
    """Raises unless `value` is a real number and, where it is concrete, between `low` and `high`.

    Args:
      where: for the error.
      name: of the value.
      value: a number, or a traced one, which is not compared.
      low: the lower end.
      high: the upper end.
      ends: "[]", "[)", "(]" or "()": whether the ends themselves are allowed.
      why: why, or what to try.
    """
    _require_scalar(where, name, value)
    if not is_concrete_number(value):
        return
    above = value >= low if ends[0] == "[" else value > low
    below = value <= high if ends[1] == "]" else value < high
    if not (above and below):
        raise fail(where, f"{name} must be in {ends[0]}{low:g}, {high:g}{ends[1]}, got {value}", why)


def require_count(
    where: str, name: str, value: Any, minimum: int = 1, why: str = "", *, maximum: int = LARGEST_COUNT
) -> None:
    """Raises unless a concrete `value` is a whole number from `minimum` to `maximum`, by default what int32 holds."""
    if isinstance(value, jax.core.Tracer):
        return
    whole = isinstance(value, numbers.Integral) or (isinstance(value, jax.Array) and value.dtype.kind in "iu")
    if isinstance(value, bool) or not whole or value < minimum:
        raise fail(where, f"{name} must be a whole number of at least {minimum}, got {value!r}", why)
    if value > maximum:
        raise fail(where, f"{name} must be at most {maximum}, got {value!r}", why)


def require_size(where: str, name: str, value: Any, minimum: int = 1, why: str = "") -> None:
    """Raises unless a concrete `value` is a whole number of at least `minimum`; memory is what bounds it above."""
    require_count(where, name, value, minimum, why, maximum=sys.maxsize)


def require_choice(where: str, name: str, value: Any, allowed: Iterable[Any]) -> None:
    """Raises unless `value` is one of `allowed`; the message names the nearest one."""
    choices = list(allowed)
    if not hasattr(value, "shape") and value in choices:
        return
    shown = ", ".join(map(str, choices))
    near = difflib.get_close_matches(str(value), [str(choice) for choice in choices], n=1, cutoff=0.4)
    remedy = f"Did you mean {near[0]!r}?" if near else ""
    raise fail(where, f"{name} must be one of: {shown}; got {value!r}", remedy)


def require_memory(where: str, needed: int, available: int, what: str, remedy: str = "") -> None:
    """Raises when `needed` bytes exceed `available` bytes, before anything is allocated."""
    if needed > available:
        raise fail(
            where,
            f"{what} needs {needed / 2**30:.1f} GiB and {available / 2**30:.1f} GiB are available",
            remedy,
        )


def _require_scalar(where: str, name: str, value: Any) -> None:
    require_real(where, name, value)
    if getattr(value, "ndim", 0):
        raise fail(where, f"{name} must be a number, got an array of shape {value.shape}")


def _smallest() -> float:
    """The smallest normal number of the default floating type; what lies below becomes zero in it."""
    return float(np.finfo(np.float64 if jax.config.read("jax_enable_x64") else np.float32).tiny)


def _largest() -> float:
    """The largest number of the default floating type; what lies beyond becomes infinite in it."""
    return float(np.finfo(np.float64 if jax.config.read("jax_enable_x64") else np.float32).max)


def _excerpt(value: Any) -> str:
    if isinstance(value, str | complex) or not hasattr(value, "dtype"):
        return repr(value)
    array = np.asarray(value)
    if array.ndim == 0:
        return str(value)
    if array.dtype.kind not in "fiub":
        return f"an array of {array.dtype}"
    wrong = np.flatnonzero(~(np.abs(array.astype(np.float64)) <= _largest()))
    return f"{array.ravel()[wrong[0]]} at position {wrong[0]} ({wrong.size} such entries)"
