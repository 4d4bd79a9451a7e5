"""Compiled programs that are let go: a program holds up to thousands of memory maps, and Linux grants a process 65,530.

`jax.jit` keeps a program for each value of its static arguments and each structure of the others, for ever. Where these
are objects that users make anew, such as rules and losses, only the last few programs are kept. What JAX itself keeps,
a program for every operation on every shape, goes when little more fits: to compile again is better than to die.

A rule that is made anew of the same numbers, as `optax.sgd(0.1)` twice, has the same program. What libraries define is
told by its code and by what it was made of; a user's own function, which may read what has changed, by itself alone.
"""

import collections
import dataclasses
import functools
import gc
import pathlib
import types
from collections.abc import Callable
from typing import Any

import jax

_MOST_PROGRAMS = 32
_MOST_MAPS = 10_000
_LAST_MAPS = 20_000  # above what was left the last time: a gigabyte or two of programs
_MAPS = pathlib.Path("/proc/self/maps")
_LIBRARIES = ("chex", "jax", "jaxopt_lab", "optax")
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
      static: what is fixed at compile time, hashable; rules of libraries are one where they are made of the same.
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
    name = (function, _name_of(static), jax.tree.structure(like), donate)
    if name not in _kept:
        make_room(1)
        _kept[name] = jax.jit(functools.partial(function, *static), donate_argnums=donate)
    _kept.move_to_end(name)
    return _kept[name]


@dataclasses.dataclass(frozen=True, eq=False)
class _Itself:
    """What is equal to nothing but itself; kept, so that no other object comes to its place."""

    value: Any

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other.value is self.value


@functools.lru_cache(_MOST_PROGRAMS)
def _name_of(static: tuple[Any, ...]) -> Any:
    return _made_of(static)


def _made_of(value: Any, within: tuple[int, ...] = ()) -> Any:
    """What is equal for values that a library made of the same, and else for the same objects alone; hashable."""
    if id(value) in within:
        return _Itself(value)
    parts = functools.partial(_made_of, within=(*within, id(value)))
    if isinstance(value, types.FunctionType) and _is_of_library(value.__globals__.get("__name__", "")):
        held = tuple(map(_content, value.__closure__ or ()))
        return _Itself(value.__code__), parts((value.__defaults__, value.__kwdefaults__, held))
    if isinstance(value, functools.partial):
        return functools.partial, parts((value.func, value.args, value.keywords))
    if isinstance(value, dict):
        return dict, tuple((key, parts(each)) for key, each in value.items())
    if isinstance(value, (tuple, list)):
        return type(value), tuple(map(parts, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and _is_of_library(type(value).__module__):
        return type(value), tuple(parts(getattr(value, field.name)) for field in dataclasses.fields(value))
    try:
        hash(value)
    except TypeError:
        return _Itself(value)
    return type(value), repr(value) if isinstance(value, float) else value


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that was never set
        return types.CellType


def _is_of_library(module: str) -> bool:
    return module.partition(".")[0] in _LIBRARIES


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
