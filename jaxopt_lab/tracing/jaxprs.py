"""A traced program laid out flat: one list of operations, the calls in it opened, every value with a number of its own.

Loops and branches (scan, while, cond) stay whole, and so do functions with a derivative of their own where asked for:
opened, relu would lose its derivative 0 at 0.
"""

import dataclasses
import math
import pathlib
import re
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp

Literal = jax.extend.core.Literal

LAYERS = ("dot_general", "conv_general_dilated")
_CALLS = {
    "jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr", "remat2": "jaxpr",
    "checkpoint": "jaxpr", "remat": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr",
}  # fmt: skip
_KERNELS = ("pallas_call", "ffi_call", "pure_callback", "io_callback")
_LIBRARY = pathlib.Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Operation:
    """One primitive of a flat program.

    Attributes:
      name: the primitive's, or that of the function for one with a derivative of its own.
      equation: as it was traced.
      inputs: numbers of values, or literals.
      outputs: numbers of values.
      source: where in the code it came from, as JAX keeps it.
    """

    name: str
    equation: Any
    inputs: tuple[Any, ...]
    outputs: tuple[int, ...]
    source: Any


@dataclasses.dataclass(frozen=True)
class Call:
    """A function that was called by name: operations `start` to `stop` of the program.

    Attributes:
      name: the function's.
      inputs: numbers of values, or literals.
      outputs: numbers of values, or literals.
      start: first operation.
      stop: one past the last.
    """

    name: str
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    start: int
    stop: int


@dataclasses.dataclass(frozen=True)
class Program:
    """A flat program.

    Attributes:
      operations: in the order in which they run.
      calls: the named functions, inner ones before those they stand in.
      inputs: numbers of the arguments' leaves.
      outputs: numbers of values, or literals.
      constants: number -> array that the program closes over.
      shapes: number -> shape and dtype, as traced.
    """

    operations: tuple[Operation, ...]
    calls: tuple[Call, ...]
    inputs: tuple[int, ...]
    outputs: tuple[Any, ...]
    constants: Mapping[int, Any]
    shapes: Mapping[int, Any]


def lay_out(function: Callable[..., Any], *arguments: Any, open_derivatives: bool) -> Program:
    """Traces function(*arguments) and lays it out.

    Args:
      function: any function of pytrees of arrays.
      *arguments: arrays, or their shapes.
      open_derivatives: open functions with a derivative of their own too; else only those that hold a layer.

    Example:
      >>> import jax.numpy as jnp
      >>> program = lay_out(lambda x: jnp.sum(jax.nn.softplus(x)), jnp.ones(3), open_derivatives=False)
      >>> [operation.name for operation in program.operations], program.calls[0].name
      (['logaddexp', 'reduce_sum'], 'softplus')
    """
    closed = jax.make_jaxpr(function)(*arguments)
    builder = _Builder(open_derivatives)
    constants = dict(zip(map(builder.new, closed.jaxpr.constvars), closed.consts, strict=True))
    inputs = tuple(builder.new(variable) for variable in closed.jaxpr.invars)
    known = dict(zip([*closed.jaxpr.constvars, *closed.jaxpr.invars], [*constants, *inputs], strict=True))
    outputs = builder.walk(closed.jaxpr, known, None)
    return Program(
        tuple(builder.operations), tuple(builder.calls), inputs, outputs, {**constants, **builder.constants},
        builder.shapes,
    )  # fmt: skip


def evaluate(
    program: Program,
    arguments: Sequence[Any],
    change: Callable[[int, Any], Any] = lambda number, value: value,
    instead: Mapping[int, Callable[[list[Any]], list[Any]]] = types.MappingProxyType({}),
) -> dict[int, Any]:
    """Every value of the program by its number.

    Args:
      program: as laid out.
      arguments: the leaves of its arguments.
      change: (number, value) -> value, applied to each operation's outputs before they are used.
      instead: place of an operation -> function of its inputs that gives its outputs.
    """
    values = {**program.constants, **dict(zip(program.inputs, arguments, strict=True))}
    for place, operation in enumerate(program.operations):
        inputs = [value_of(atom, values) for atom in operation.inputs]
        outputs = instead[place](inputs) if place in instead else bind(operation.equation, inputs)
        for number, value in zip(operation.outputs, outputs, strict=True):
            values[number] = change(number, value)
    return values


def results_of(program: Program, values: Mapping[int, Any], like: Any) -> Any:
    """What the program gives, as a pytree like another."""
    found = [jnp.asarray(value_of(atom, values)) for atom in program.outputs]
    return jax.tree.unflatten(jax.tree.structure(like), found)


def with_operations(instead: Callable[[Program], Mapping[int, Any]], function: Any, *arguments: Any) -> Any:
    """What a function gives with operations of its program exchanged; what has a derivative of its own stays whole."""
    program = lay_out(function, *arguments, open_derivatives=False)
    values = evaluate(program, jax.tree.leaves(arguments), instead=instead(program))
    return results_of(program, values, jax.eval_shape(function, *arguments))


def value_of(atom: Any, values: Mapping[int, Any]) -> Any:
    """The value that an input or output of an operation stands for."""
    return atom.val if isinstance(atom, Literal) else values[atom]


def ancestors(program: Program, number: Any, stop: int | None = None) -> set[int]:
    """All values that a value is made of, itself included, those behind `stop` left out; none for a literal."""
    found = {number} if is_number(number) else set()
    for operation in reversed(program.operations):
        if found & set(operation.outputs) and stop not in operation.outputs:
            found |= set(filter(is_number, operation.inputs))
    return found


def carried_part(loop: Operation) -> tuple[int, int]:
    """First and one past the last of the inputs of a `scan` that are carried from turn to turn."""
    params = loop.equation.params
    if "num_consts" in params:
        first, count = params["num_consts"], params["num_carry"]
    else:  # from jax 0.12 on
        constants, carried, _ = params["ft_in"].unpack()
        first, count = len(constants), len(carried)
    return first, first + count


def largest_value(program: Program, of: int | None = None) -> int:
    """Numbers in the largest value that a program makes; of one of its values, where that is given."""
    made, sizes = set() if of is None else {of}, [0]
    for operation in program.operations:
        if of is None or made.intersection(filter(is_number, operation.inputs)):
            made.update(operation.outputs)
            sizes += [math.prod(getattr(program.shapes[number], "shape", ())) for number in operation.outputs]
    return max(sizes)


def is_number(atom: Any) -> bool:
    """Whether an input is the number of a value, and no literal."""
    return not isinstance(atom, Literal)


def line_of(operation: Operation) -> str:
    """`file:line` of the user's code that an operation came from: the nearest frame that lies in no library."""
    frames = jax.extend.source_info_util.summarize(operation.source, num_frames=1000).splitlines()[::-1]
    places = [match.groups() for match in map(re.compile(r"(.*?):(\d+)(?::\d+)? ").match, frames) if match]
    inner = []
    for file, line in places:
        if file == __file__:
            break
        inner.append((file, line))
    users = [place for place in inner if not _in_library(place[0])]
    return ":".join((users or inner or [("an unknown file", "0")])[0])


class _Builder:
    def __init__(self, open_derivatives: bool) -> None:
        self.open_derivatives = open_derivatives
        self.operations: list[Operation] = []
        self.calls: list[Call] = []
        self.constants: dict[int, Any] = {}
        self.shapes: dict[int, Any] = {}

    def new(self, variable: Any) -> int:
        number = len(self.shapes)
        self.shapes[number] = variable.aval
        return number

    def walk(self, jaxpr: Any, known: dict[Any, Any], source: Any) -> tuple[Any, ...]:
        """Appends the operations of `jaxpr`; `source` stands for all of them inside of a library's function."""

        def number(atom: Any) -> Any:
            return atom if isinstance(atom, Literal) else known[atom]

        for equation in jaxpr.eqns:
            inputs = tuple(number(atom) for atom in equation.invars)
            here = source or equation.source_info
            inner = self._opened(equation)
            if inner is None:
                outputs = tuple(self.new(variable) for variable in equation.outvars)
                self.operations.append(Operation(_name(equation), equation, inputs, outputs, here))
            else:
                outputs = self._call(equation, inner, inputs, here if source or _of_library(inner) else None)
            known.update(zip(equation.outvars, outputs, strict=True))
        return tuple(number(atom) for atom in jaxpr.outvars)

    def _call(self, equation: Any, inner: Any, inputs: tuple[Any, ...], source: Any) -> tuple[Any, ...]:
        jaxpr, consts = getattr(inner, "jaxpr", inner), getattr(inner, "consts", ())
        numbers = [self.new(variable) for variable in jaxpr.constvars]
        self.constants.update(zip(numbers, consts, strict=True))
        start = len(self.operations)
        known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*numbers, *inputs], strict=True))
        outputs = self.walk(jaxpr, known, source)
        self.calls.append(Call(_name(equation), inputs, outputs, start, len(self.operations)))
        return outputs

    def _opened(self, equation: Any) -> Any:
        """The program inside of an equation that is to be opened, or None."""
        name = equation.primitive.name
        inner = equation.params.get(_CALLS.get(name, ""))
        if inner is None or not name.startswith("custom") or self.open_derivatives:
            return inner
        jaxpr = getattr(inner, "jaxpr", inner)
        return inner if _holds_layer(jaxpr) and not _holds_kernel(jaxpr) else None


def holds_layer(operation: Operation) -> bool:
    """Whether an operation that stays whole has a layer inside."""
    return any(map(_holds_layer, jax.extend.core.jaxprs_in_params(operation.equation.params)))


def _holds_layer(jaxpr: Any) -> bool:
    if any(equation.primitive.name in LAYERS for equation in jaxpr.eqns):
        return True
    return any(_holds_layer(inner) for inner in jax.extend.core.subjaxprs(jaxpr))


def _holds_kernel(jaxpr: Any) -> bool:
    """Whether it has a part whose only derivative is a rule around it: opened, it could not be differentiated."""
    if any(equation.primitive.name in _KERNELS for equation in jaxpr.eqns):
        return True
    return any(_holds_kernel(inner) for inner in jax.extend.core.subjaxprs(jaxpr))


def bind(equation: Any, inputs: list[Any]) -> list[Any]:
    """The outputs of one equation for other inputs."""
    found = equation.primitive.get_bind_params(equation.params)
    functions, params = found if isinstance(found, tuple) else ((), found)
    with equation.ctx.manager:
        outputs = equation.primitive.bind(*functions, *inputs, **params)
    return list(outputs) if equation.primitive.multiple_results else [outputs]


def _name(equation: Any) -> str:
    """The primitive's name; that of the function where it is a call."""
    inner = equation.params.get(_CALLS.get(equation.primitive.name, ""))
    if inner is None:
        return equation.primitive.name
    written = getattr(getattr(inner, "jaxpr", inner).debug_info, "func_name", "")
    return str(equation.params.get("name") or written or equation.primitive.name)


def _of_library(inner: Any) -> bool:
    """Whether a function that is called was written in a library: its operations then stand at the call's line."""
    information = getattr(getattr(inner, "jaxpr", inner).debug_info, "func_src_info", "") or ""
    return _in_library(information.rpartition(" at ")[2])


def _in_library(file: str) -> bool:
    path = pathlib.Path(file)
    return bool({"site-packages", "dist-packages"} & set(path.parts)) or path.is_relative_to(_LIBRARY)
