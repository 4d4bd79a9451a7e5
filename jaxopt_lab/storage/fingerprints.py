"""One fingerprint for all that is reused: SHA-256 over programs and arrays, both by value.

A function is what its jaxpr says: every equation with its parameters, and every number that it holds, whether as a
literal or as an array that it closes over. `repr(function)` says none of that. Where a program calls back into Python,
its numbers are nowhere to be seen: such a program has no fingerprint, and nothing is reused for it.
"""

import dataclasses
import enum
import hashlib
import inspect
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from jaxopt_lab.core import Problem

_DIGITS = 16
_UNSEEN = "not fingerprinted"
_WITHOUT_EFFECT = ("debug_callback", "debug_print")


class _UnseenError(Exception):
    """A part that can change the result and that no fingerprint can see; its text says which."""


def fingerprint(*parts: Any) -> str:
    """Sixteen hexadecimal digits that differ when any number, array, program or name in the parts does.

    Args:
      *parts: numbers, strings, arrays, random keys, programs as `program_of` gives them, and containers of these:
        mappings, sequences, dataclasses, pytrees.

    Returns:
      The digits; for parts that cannot be seen whole, a text that `is_reusable` tells from all others and that no
      other call returns.

    Example:
      >>> fingerprint("rate", 0.1) == fingerprint("rate", 0.1), fingerprint("rate", 0.1) == fingerprint("rate", 0.2)
      (True, False)
    """
    total = hashlib.sha256()
    try:
        _add(total, parts)
    except _UnseenError as unseen:
        return f"{_UNSEEN}: {unseen} ({uuid.uuid4().hex[:8]})"
    return total.hexdigest()[:_DIGITS]


def is_reusable(digits: str) -> bool:
    """False for the fingerprint of something that cannot be seen whole; the text itself says why."""
    return not digits.startswith(_UNSEEN)


def program_of(function: Callable[..., Any], *arguments: Any) -> ClosedJaxpr:
    """The jaxpr of a function, nothing computed.

    Args:
      function: traceable.
      *arguments: arrays or `jax.ShapeDtypeStruct`s.

    Returns:
      The program with its constants, for `fingerprint`.
    """
    return jax.make_jaxpr(function)(*arguments)


def problem_fingerprint(problem: Problem) -> str:
    """What tells two problems apart: loss, initialization, the forms of the loss, and every array in them.

    Metrics change no run: those that are recorded belong to the rule's fingerprint, with the other probes.
    """
    key, data, state = jax.random.key(0), problem.data, problem.model_state
    params = jax.eval_shape(problem.init, key)
    programs = [
        program_of(problem.loss, params, data, key),
        program_of(lambda p, b: problem.loss(p, b, None), params, data),
    ]
    if problem.stateful is not None:
        programs.append(program_of(problem.stateful.loss, params, state, data, key))
        programs.append(program_of(problem.stateful.evaluate, params, state, data))
    if problem.composite is not None:
        outputs = jax.eval_shape(problem.composite.outputs, params, data)
        programs.append(program_of(problem.composite.outputs, params, data))
        programs.append(program_of(problem.composite.criterion, outputs, data))
    return fingerprint(programs, *jax.tree.leaves((data, problem.validation, state, problem.init(key))))


def _add(total: Any, value: Any) -> None:
    """Takes a value into the hash, with its type, so that 1, 1.0, True and "1" differ."""
    if isinstance(value, ClosedJaxpr):
        _mark(total, "program")
        _add(total, list(value.consts))
        _add_program(total, value.jaxpr)
    elif isinstance(value, Jaxpr):
        _mark(total, "program")
        _add_program(total, value)
    elif value is None or isinstance(value, bool | int | float | complex | str | bytes | enum.Enum):
        _mark(total, f"{type(value).__name__} {value!r}")
    elif _is_array(value):
        _add_array(total, value)
    elif isinstance(value, Mapping):
        _mark(total, f"mapping {len(value)}")
        for name in sorted(value, key=str):
            _add(total, name)
            _add(total, value[name])
    elif isinstance(value, set | frozenset):
        _add(total, sorted(value, key=str))
    elif hasattr(value, "tag") and type(value).__name__ == "PRNGImpl":
        _mark(total, f"random bits {value.tag}")
    elif isinstance(value, list | tuple):
        _mark(total, f"sequence {len(value)}")
        for item in value:
            _add(total, item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        _mark(total, type(value).__qualname__)
        for field in dataclasses.fields(value):
            _add(total, getattr(value, field.name, None))
    else:
        _mark(total, _name_of(value))


def _add_program(total: Any, program: Jaxpr) -> None:
    """Every equation: its primitive, its parameters, and where its inputs come from."""
    places: dict[Any, int] = {}
    for variable in (*program.constvars, *program.invars):
        places[variable] = len(places)
        _mark(total, str(variable.aval))
    for equation in program.eqns:
        _mark(total, equation.primitive.name)
        _add_parameters(total, equation.primitive.name, equation.params)
        _add_inputs(total, equation.invars, places)
        for variable in equation.outvars:
            places[variable] = len(places)
            _mark(total, str(variable.aval))
    _add_inputs(total, program.outvars, places)


def _add_inputs(total: Any, inputs: Any, places: dict[Any, int]) -> None:
    for variable in inputs:
        if isinstance(variable, Literal):
            _add(total, variable.val)
            _mark(total, str(variable.aval))
        else:
            _mark(total, f"variable {places[variable]}")


def _add_parameters(total: Any, primitive: str, parameters: Mapping[str, Any]) -> None:
    """The parameters; functions among them add nothing where the equation carries its program as a jaxpr too."""
    told = any(isinstance(part, ClosedJaxpr | Jaxpr) for part in jax.tree.leaves(dict(parameters), is_leaf=_is_program))
    for name in sorted(parameters):
        value = parameters[name]
        if callable(value) and not isinstance(value, type | enum.Enum | ClosedJaxpr | Jaxpr) and not _is_array(value):
            if not told and primitive not in _WITHOUT_EFFECT:
                raise _UnseenError(f"{primitive} calls back into Python")
            continue
        _mark(total, name)
        if primitive not in _WITHOUT_EFFECT:
            _add(total, value)


def _add_array(total: Any, value: Any) -> None:
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        _mark(total, f"key {jax.random.key_impl(value)}")
        value = jax.random.key_data(value)
    if isinstance(value, jax.Array) and not value.is_fully_addressable:
        _mark(total, f"part of array {value.dtype} {value.shape}")  # each process answers for what it holds
        for shard in value.addressable_shards:
            _mark(total, str([place.indices(size) for place, size in zip(shard.index, value.shape, strict=True)]))
            _add_array(total, np.asarray(shard.data))
        return
    array = np.ascontiguousarray(np.asarray(value))
    if array.dtype == object:
        raise _UnseenError("an array holds Python objects")
    _mark(total, f"array {array.dtype} {array.shape}")
    total.update(array.reshape(-1).view(np.uint8).data)


def _mark(total: Any, text: str) -> None:
    """Text with its length, so that no two sequences of texts run together."""
    encoded = text.encode()
    total.update(f"{len(encoded)}:".encode() + encoded)


def _name_of(value: Any) -> str:
    """What stands for a value of another kind: a type's or function's name, or a text that holds no address."""
    if isinstance(value, type):
        return f"type {value.__module__}.{value.__qualname__}"
    if inspect.isroutine(value):
        raise _UnseenError(f"the function {getattr(value, '__qualname__', value)} was not traced")
    text = repr(value)
    if " at 0x" in text or "object at" in text:
        raise _UnseenError(f"a {type(value).__qualname__} has no value of its own")
    return f"{type(value).__qualname__} {text}"


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic | jax.Array) or type(value).__name__ == "TypedNdArray"


def _is_program(value: Any) -> bool:
    return isinstance(value, ClosedJaxpr | Jaxpr)
