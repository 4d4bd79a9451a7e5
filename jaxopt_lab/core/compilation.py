"""Compiled programs that are let go: a program holds up to thousands of memory maps, and Linux grants a process 65,530.

`jax.jit` keeps a program for each value of its static arguments and each structure of the others, for ever. Where these
are objects that users make anew, such as rules and losses, only the last few programs are kept. What JAX itself keeps,
a program for every operation on every shape, goes when little more fits: to compile again is better than to die.
"""

import collections
import functools
import gc
import pathlib
from collections.abc import Callable
from typing import Any

import jax

_MOST_PROGRAMS = 32
_MOST_MAPS = 10_000
_LAST_MAPS = 20_000  # above what was left the last time: a gigabyte or two of programs
_MAPS = pathlib.Path("/proc/self/maps")
_kept: collections.OrderedDict[Any, Callable[..., Any]] = collections.OrderedDict()
_left = {"maps": 0}
_counted = {"programs": 0}


def _count(event: str, duration_secs: float, **details: str | int) -> None:
    del duration_secs, details
    _counted["programs"] += event == "/jax/core/compile/backend_compile_duration"


jax.monitoring.register_event_duration_secs_listener(_count)


def num_compiled() -> int:
    """Programs that XLA has compiled in this process, or found in the persistent compilation cache, so far.

    Example:
      >>> import jax.numpy as jnp
      >>> before = num_compiled()
      >>> _ = jax.jit(lambda x: x * 3 + x.size)(jnp.ones(7))
      >>> num_compiled() > before
      True
    """
    return _counted["programs"]


def compiled(
    function: Callable[..., Any], static: tuple[Any, ...] = (), like: Any = None, donate: tuple[int, ...] = ()
) -> Callable[..., Any]:
    """The jitted form of a function, kept while it is among the last few that were asked for.

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
    name = (function, static, jax.tree.structure(like), donate)
    if name not in _kept:
        make_room(1)
        _kept[name] = jax.jit(functools.partial(function, *static), donate_argnums=donate)
    _kept.move_to_end(name)
    return _kept[name]


def make_room(num_programs: int = 0) -> None:
    """Lets programs go where they are too many, or hold too many memory maps: the oldest half, and at last all.

    Args:
      num_programs: programs that are about to come.
    """
    going, grown = len(_kept) - _MOST_PROGRAMS + num_programs, _num_maps() - _left["maps"]
    if grown > _MOST_MAPS:
        going = max(going, len(_kept) // 2)
    for _ in range(going):
        _kept.popitem(last=False)
    if grown > _LAST_MAPS:
        _kept.clear()
        jax.clear_caches()
        gc.collect()
        _left["maps"] = _num_maps()


def _num_maps() -> int:
    try:
        return _MAPS.read_bytes().count(b"\n")
    except OSError:
        return 0
