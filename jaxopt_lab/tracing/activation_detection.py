"""Which operations of a program may be an activation: a named function, or one of its forms in primitives."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.tracing.jaxprs import Operation, Program, is_number

NAMES = {
    "relu": "relu", "relu6": "relu6", "leaky_relu": "leaky_relu", "elu": "elu", "selu": "selu", "celu": "elu",
    "silu": "silu", "swish": "silu", "softplus": "softplus", "gelu": "gelu", "sigmoid": "logistic", "tanh": "tanh",
    "logistic": "logistic",
}  # fmt: skip
_KEEPS_ZERO = {"broadcast_in_dim", "convert_element_type", "reshape", "copy", "neg"}
_SCALES = {"mul", "div", "neg"}
_GELU_CUBIC = math.sqrt(2 / math.pi)


def find_candidates(program: Program, readers: dict[int, list[Operation]]) -> list[tuple[int, int, str, int]]:
    """(first operation, one past the last, name, operand) of what may be an activation, outer functions first."""
    found = []
    for call in reversed(program.calls):
        reals = [atom for atom in call.inputs if _is_array(program, atom)]
        if call.name in NAMES and reals and call.start < call.stop:
            found.append((call.start, call.stop, NAMES[call.name], reals[0]))
    makers = {number: operation for operation in program.operations for number in operation.outputs}
    zeros: set[int] = set()
    for step, operation in enumerate(program.operations):
        if operation.name in _KEEPS_ZERO and _is_zero(operation.inputs[0], zeros):
            zeros |= set(operation.outputs)
        match = _single(program, operation, zeros, makers, readers)
        if match is not None:
            found.append((step, step + 1, *match))
    return found


def _single(
    program: Program, operation: Operation, zeros: set[int], makers: dict[int, Operation],
    readers: dict[int, list[Operation]],
) -> tuple[str, int] | None:  # fmt: skip
    """(name, operand) where one operation is an activation."""
    arrays = [atom for atom in operation.inputs if _is_array(program, atom)]
    if not arrays:
        return None
    operand = arrays[0]
    zero = any(_is_zero(atom, zeros) for atom in operation.inputs)
    if operation.name in ("max", "logaddexp") and zero and len(arrays) - bool(set(arrays) & zeros) == 1:
        operand = next(atom for atom in arrays if atom not in zeros)
        return ("relu" if operation.name == "max" else "softplus"), operand
    if operation.name == "select_n":
        return _rectified(operation, zeros, makers)
    if operation.name in ("erf", "erfc"):
        return "gelu", _unscaled(operand, makers)
    if operation.name == "tanh":
        inner = _gelu_operand(operand, makers)
        return ("tanh", operand) if inner is None else ("gelu", inner)
    if operation.name == "logistic":
        gated = any(
            reader.name == "mul" and operand in reader.inputs for reader in readers.get(operation.outputs[0], ())
        )
        return ("silu" if gated else "logistic"), operand
    return (NAMES[operation.name], operand) if operation.name in NAMES else None


def _rectified(operation: Operation, zeros: set[int], makers: dict[int, Operation]) -> tuple[str, int] | None:
    """where(x > 0, x, 0) in any of its forms."""
    which, *branches = operation.inputs
    test = makers.get(which) if is_number(which) else None
    if test is None or test.name not in ("gt", "ge", "lt", "le") or len(branches) != 2:
        return None
    if not any(_is_zero(atom, zeros) for atom in test.inputs):
        return None
    kept = [atom for atom in branches if not _is_zero(atom, zeros)]
    return ("relu", kept[0]) if len(kept) == 1 and is_number(kept[0]) and kept[0] in test.inputs else None


def _gelu_operand(number: int, makers: dict[int, Operation]) -> int | None:
    """x where the value is sqrt(2 / pi) (x + .044715 x^3), the form in which GELU is approximated; else None."""
    outer = makers.get(number)
    if outer is None or outer.name != "mul":
        return None
    factors = [_literal(atom) for atom in outer.inputs if not is_number(atom)]
    inner = next((makers.get(atom) for atom in outer.inputs if is_number(atom)), None)
    if inner is None or inner.name != "add" or not factors or not np.isclose(factors[0], _GELU_CUBIC, rtol=1e-2):
        return None
    return min(atom for atom in inner.inputs if is_number(atom))


def _unscaled(number: int, makers: dict[int, Operation]) -> int:
    """x where the value is x times or over a literal."""
    while (operation := makers.get(number)) is not None and operation.name in _SCALES:
        numbers = [atom for atom in operation.inputs if is_number(atom)]
        if len(numbers) != 1:
            break
        number = numbers[0]
    return number


def _is_array(program: Program, atom: Any) -> bool:
    if not is_number(atom):
        return False
    aval = program.shapes[atom]
    return bool(getattr(aval, "shape", ())) and jnp.issubdtype(aval.dtype, jnp.floating)


def _is_zero(atom: Any, zeros: set[int]) -> bool:
    return atom in zeros if is_number(atom) else _literal(atom) == 0


def _literal(atom: Any) -> float:
    value = atom.val
    if isinstance(value, jax.Array | np.ndarray) and value.size != 1:
        return float("nan")
    return float(np.asarray(value)) if np.issubdtype(np.asarray(value).dtype, np.number) else float("nan")
