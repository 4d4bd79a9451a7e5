"""Compiled programs that are let go: a program holds memory maps, of which the kernel grants a process 65,530.

`jax.jit` keeps a program for each value of its static arguments and each structure of the others, for ever. Where these
are objects that users make anew, such as rules and losses, programs are kept for the last few of them only.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax

_MOST_PROGRAMS = 128


def compiled(
    function: Callable[..., Any], static: tuple[Any, ...] = (), like: Any = None, donate: tuple[int, ...] = ()
) -> Callable[..., Any]:
    """The jitted form of a function, kept while it is among the last 128 that were asked for.

    Args:
      function: (*static, *arguments) -> a pytree.
      static: what is fixed at compile time, hashable.
      like: a pytree whose structure belongs to the program's identity, such as one with `Partial`s of a user's
        functions.
      donate: positions among the arguments, counted without the static ones, whose buffers may be reused.

    Returns:
      The function of the arguments.

    Example:
      >>> import jax.numpy as jnp
      >>> power = compiled(lambda exponent, x: x**exponent, (3,))
      >>> float(power(jnp.asarray(2.0)))
      8.0
    """
    return _kept(function, static, jax.tree.structure(like), donate)


@functools.lru_cache(maxsize=_MOST_PROGRAMS)
def _kept(
    function: Callable[..., Any], static: tuple[Any, ...], structure: Any, donate: tuple[int, ...]
) -> Callable[..., Any]:
    del structure
    return jax.jit(functools.partial(function, *static), donate_argnums=donate)
