"""Where in a loss's program its layers and activations stand, told by what each value depends on.

A layer is a product or convolution of a weight (a value of the parameters alone) with a value of the batch. An
activation is an elementwise nonlinearity, of a value of both, that a later layer reads. No framework is known here.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from jaxopt_lab.tracing.activation_detection import find_candidates
from jaxopt_lab.tracing.jaxprs import (
    LAYERS,
    Operation,
    Program,
    ancestors,
    carried_part,
    holds_layer,
    is_number,
    lay_out,
)


@dataclasses.dataclass(frozen=True)
class LayerPlace:
    """Where a layer stands.

    Attributes:
      value: number of its output, a bias that is added right after included.
      leaf: the parameter leaf that its weight comes from; the largest of several.
      fan_in: numbers that one output is a sum over.
      unit_axes: axes of the output that count units; along the others are examples and places.
      step: the operation.
    """

    value: int
    leaf: int
    fan_in: int
    unit_axes: tuple[int, ...]
    step: int


@dataclasses.dataclass(frozen=True)
class ActivationPlace:
    """Where an activation stands.

    Attributes:
      operation: one of the values of `activation_detection.NAMES`.
      value: number of what it is applied to.
      unit_axes: as in `LayerPlace`.
      layer: the last layer before it, by its place in the list.
      step: the operation.
    """

    operation: str
    value: int
    unit_axes: tuple[int, ...]
    layer: int
    step: int


@dataclasses.dataclass(frozen=True)
class LoopPlace:
    """A loop (`scan`) with layers inside.

    Attributes:
      step: the operation.
      body: the program of one turn, of (constants, what is carried, what is read at this turn).
      layers: in the body; their `value` and `step` are its own.
      activations: likewise; their `layer` counts the body's layers.
      recurrent: leaves of the layers whose data are carried from turn to turn.
      hidden: loops, branches and complex products in the body that hold further layers.
    """

    step: int
    body: Program
    layers: list[LayerPlace]
    activations: list[ActivationPlace]
    recurrent: frozenset[int]
    hidden: int


def find_places(program: Program, num_leaves: int) -> tuple[list[LayerPlace], list[ActivationPlace], int]:
    """Layers and activations in program order, and how many branches and complex products are further layers.

    Args:
      program: of (params, batch) -> loss.
      num_leaves: how many of its first inputs are parameters.
    """
    return _places(program, _given(program, num_leaves), _sizes(program), leaves_loop=False)


def find_loops(program: Program, num_leaves: int) -> list[LoopPlace]:
    """The loops that hold layers, in program order; the arguments are those of `find_places`."""
    origins = _origins(program, _given(program, num_leaves))
    return [
        _loop(
            step,
            operation,
            [origins.get(atom, _Origin()) if is_number(atom) else _Origin() for atom in operation.inputs],
            _sizes(program),
        )
        for step, operation in enumerate(program.operations)
        if _is_open_loop(operation)
    ]


def _is_open_loop(operation: Operation) -> bool:
    return operation.name == "scan" and holds_layer(operation)


def _loop(step: int, operation: Operation, given: list["_Origin"], sizes: list[int]) -> LoopPlace:
    """One loop, whose operands depend on what `given` says."""
    closed, (first, last) = operation.equation.params["jaxpr"], carried_part(operation)
    shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in closed.in_avals]
    body = lay_out(jax.extend.core.jaxpr_as_fun(closed), *shapes, open_derivatives=False)
    while True:  # what is carried depends on all that it was made of in the turns before
        origins = _origins(body, given)
        carried = [
            _joined([old, origins.get(atom, _Origin())]) if is_number(atom) else old
            for old, atom in zip(given[first:last], body.outputs, strict=False)
        ]
        if carried == given[first:last]:
            break
        given = [*given[:first], *carried, *given[last:]]
    layers, activations, hidden = _places(body, given, sizes, leaves_loop=True)
    moving = {body.inputs[place] for place in range(first, last) if given[place].batch}
    recurrent = frozenset(
        layer.leaf for layer in layers if ancestors(body, _data_of(body, origins, layer.step)) & moving
    )
    return LoopPlace(step, body, layers, activations, recurrent, hidden)


def _data_of(program: Program, origins: dict[int, "_Origin"], step: int) -> int:
    """Number of the data of the layer at a step."""
    operation = program.operations[step]
    sides = _sides(operation, origins)
    assert sides is not None
    return operation.inputs[sides[1]]


def _places(
    program: Program, given: list["_Origin"], sizes: list[int], *, leaves_loop: bool
) -> tuple[list[LayerPlace], list[ActivationPlace], int]:
    """The same of a program whose inputs depend on what `given` says.

    Args:
      program: flat.
      given: for each of its inputs.
      sizes: numbers in each of the parameters' leaves.
      leaves_loop: whether its outputs are read by layers that it does not hold.
    """
    origins = _origins(program, given)
    readers: dict[int, list[Operation]] = {}
    for operation in program.operations:
        for number in filter(is_number, operation.inputs):
            readers.setdefault(number, []).append(operation)
    steps = [
        step
        for step, operation in enumerate(program.operations)
        if operation.name in LAYERS and _sides(operation, origins) is not None
    ]
    real = [step for step in steps if _is_real(program, program.operations[step])]
    layers = [_layer(program, origins, readers, step, sizes) for step in real]
    closed = [each for each in program.operations if each.name not in LAYERS and holds_layer(each)]
    hidden = sum(leaves_loop or not _is_open_loop(operation) for operation in closed) + len(steps) - len(real)
    read = set(program.shapes) if leaves_loop else _read_by_layers(program, origins, layers)
    return layers, _activations(program, origins, readers, layers, read), hidden


def _given(program: Program, num_leaves: int) -> list["_Origin"]:
    """What the inputs of a program of (params, batch) depend on."""
    return [
        _Origin(frozenset({place})) if place < num_leaves else _Origin(batch=True)
        for place in range(len(program.inputs))
    ]


def _sizes(program: Program) -> list[int]:
    return [math.prod(program.shapes[number].shape) for number in program.inputs]


def _is_real(program: Program, operation: Operation) -> bool:
    return not jnp.issubdtype(program.shapes[operation.outputs[0]].dtype, jnp.complexfloating)


@dataclasses.dataclass(frozen=True)
class _Origin:
    """What a value depends on: parameter leaves, and whether the batch."""

    leaves: frozenset[int] = frozenset()
    batch: bool = False


def _joined(origins: list[_Origin]) -> _Origin:
    return _Origin(frozenset().union(*(one.leaves for one in origins)), any(one.batch for one in origins))


def _origins(program: Program, given: list[_Origin]) -> dict[int, _Origin]:
    origins = dict.fromkeys(program.constants, _Origin()) | dict(zip(program.inputs, given, strict=True))
    for operation in program.operations:
        read = [origins[number] for number in operation.inputs if is_number(number)]
        origins.update(dict.fromkeys(operation.outputs, _joined(read)))
    return origins


def _sides(operation: Operation, origins: dict[int, _Origin]) -> tuple[int, int] | None:
    """Which operand is the weight and which the data, or None where it is no layer."""
    left, right = (origins.get(atom, _Origin()) if is_number(atom) else _Origin() for atom in operation.inputs)
    for weight, data, sides in ((right, left, (1, 0)), (left, right, (0, 1))):
        if weight.leaves and not weight.batch and data.batch:
            return sides
    return None


def _layer(
    program: Program, origins: dict[int, _Origin], readers: dict[int, list[Operation]], step: int, sizes: list[int]
) -> LayerPlace:
    operation = program.operations[step]
    sides = _sides(operation, origins)
    assert sides is not None
    weight = operation.inputs[sides[0]]
    shape = program.shapes[weight].shape
    numbers = operation.equation.params["dimension_numbers"]
    if operation.name == "dot_general":
        contracted, batched = (pair[sides[0]] for pair in numbers)
        fan_in = math.prod(shape[axis] for axis in contracted)
        num_own = len(shape) - len(contracted) - len(batched)
        rank = len(program.shapes[operation.outputs[0]].shape)
        first = rank - num_own if sides[0] else len(batched)
        axes = (*range(len(batched)), *range(first, first + num_own))
    else:
        fan_in, axes = math.prod(shape) // shape[numbers.rhs_spec[0]], (numbers.out_spec[1],)
    value, axes = _with_bias(program, origins, readers, operation.outputs[0], tuple(axes))
    leaf = max(origins[weight].leaves, key=lambda leaf: (sizes[leaf], -leaf))
    return LayerPlace(value, leaf, fan_in, axes, step)


def _with_bias(
    program: Program,
    origins: dict[int, _Origin],
    readers: dict[int, list[Operation]],
    value: int,
    axes: tuple[int, ...],
) -> tuple[int, tuple[int, ...]]:
    """The value after the bias that is added to it, through casts and transpositions; itself where there is none."""
    now, turned = value, axes
    while len(readers.get(now, ())) == 1:
        operation = readers[now][0]
        if operation.name == "transpose":
            permutation = operation.equation.params["permutation"]
            turned = tuple(new for new, old in enumerate(permutation) if old in turned)
        elif operation.name == "add":
            other = next((atom for atom in operation.inputs if is_number(atom) and atom != now), None)
            bias = other is not None and origins[other].leaves and not origins[other].batch
            return (operation.outputs[0], turned) if bias else (value, axes)
        elif operation.name != "convert_element_type":
            break
        now = operation.outputs[0]
    return value, axes


def _activations(
    program: Program, origins: dict[int, _Origin], readers: dict[int, list[Operation]], layers: list[LayerPlace],
    read: set[int],
) -> list[ActivationPlace]:  # fmt: skip
    units = {layer.value: layer.unit_axes for layer in layers}
    found, taken = [], set()
    for step, stop, name, value in find_candidates(program, readers):
        before = sum(layer.step < step for layer in layers)
        known = origins.get(value, _Origin())
        if value not in read or not before or not (known.leaves and known.batch) or taken & set(range(step, stop)):
            continue
        taken |= set(range(step, stop))
        rank = len(program.shapes[value].shape)
        found.append(ActivationPlace(name, value, units.get(value, (rank - 1,) if rank else ()), before - 1, step))
    return sorted(found, key=lambda place: place.step)


def _read_by_layers(program: Program, origins: dict[int, _Origin], layers: list[LayerPlace]) -> set[int]:
    """Numbers of the values that some layer's data are made of."""
    steps = {layer.step for layer in layers}
    read: set[int] = set()
    for step in range(len(program.operations) - 1, -1, -1):
        operation = program.operations[step]
        if step in steps:
            read.add(_data_of(program, origins, step))
        if _is_open_loop(operation):
            read |= set(filter(is_number, operation.inputs))
        if read & set(operation.outputs):
            read |= set(filter(is_number, operation.inputs))
    return read
