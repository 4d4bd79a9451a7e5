"""Where in the program of a loss a model's outputs stand, and what is made of them on the way to the loss.

The outputs are the values of the last layer, its bias included: every later operation reads them, the data and
constants. An output activation is a value of the same size that comes from the outputs alone and through which all of
the loss passes.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxopt_lab.tracing.jaxprs import LAYERS, Operation, Program, ancestors, evaluate, is_number, lay_out, results_of
from jaxopt_lab.tracing.layer_detection import find_places

_MOST_ACTIVATIONS = 3
_MOVES = {"reshape", "squeeze", "convert_element_type", "broadcast_in_dim", "transpose", "copy", "expand_dims"}
_PARTS = {"sub", "add", "mul", "neg", "exp", "log"}  # of a softmax, or a change of units
_COMPARES = {"ge", "gt", "le", "lt", "eq", "ne", "sub"}
_WORDS = {"logistic": "sigmoid", "max": "relu", "div": "softmax"}


@dataclasses.dataclass(frozen=True)
class OutputPlace:
    """Where the outputs stand.

    Attributes:
      value: number of the outputs' value.
      shape: of the outputs.
      activations: (number, name) of the output activations, first to last.
      inputs: places of the data leaves that the outputs are made of.
      targets: places of the data leaves that reach the loss beside the outputs.
      is_pairwise: whether the loss compares examples on purpose: multiplies outputs with outputs, as a contrastive one,
        reads the same layer's outputs for other inputs beside these, as of three in a triplet, or holds a leaf of the
        data against itself, as who is still at risk when another dies.
    """

    value: int
    shape: tuple[int, ...]
    activations: tuple[tuple[int, str], ...]
    inputs: tuple[int, ...]
    targets: tuple[int, ...]
    is_pairwise: bool


def find_outputs(program: Program, num_leaves: int) -> OutputPlace | None:
    """The outputs in a program of (params, data) -> loss, both of them flat; None where no layer is seen.

    Args:
      program: of the loss.
      num_leaves: how many of its first inputs are parameters.
    """
    layers, _, _ = find_places(program, num_leaves)
    if not layers or not is_number(program.outputs[0]):
        return None
    value, loss = layers[-1].value, program.outputs[0]
    after = _after(program, value)
    if loss not in after:
        return None
    data = program.inputs[num_leaves:]
    beside = ancestors(program, loss, stop=value)
    made_of, later = ancestors(program, value), program.operations[layers[-1].step + 1 :]
    return OutputPlace(
        value,
        tuple(program.shapes[value].shape),
        _activations(program, value, loss, after, set(data)),
        tuple(place for place, number in enumerate(data) if number in made_of),
        tuple(place for place, number in enumerate(data) if number in beside),
        any(after.keys() & set(filter(is_number, each.inputs)) for each in later if each.name in LAYERS)
        or _pairs_data(program, data, beside)
        or any(layer.leaf == layers[-1].leaf and layer.value in beside for layer in layers[:-1]),
    )


def loss_of_outputs(
    program: Program, place: OutputPlace, arguments: Sequence[Any], outputs: jax.Array, bypass: int | None = None
) -> jax.Array:
    """The loss with other outputs in the place of the model's.

    Args:
      program: of the loss.
      place: where its outputs stand.
      arguments: the leaves of (params, data).
      outputs: of the same shape.
      bypass: number of an output activation that hands on what it gets; None for the loss as it is.
    """
    return evaluate(program, arguments, _bypassing(place, bypass, outputs))[program.outputs[0]]


def _bypassing(place: OutputPlace, bypass: int | None, outputs: jax.Array | None = None) -> Any:
    """(number, value) -> value: others in the place of the outputs, if given, and an activation that changes nothing.

    What that gets is what the activation before it gives, or the outputs.
    """
    numbers, given = {number for number, _ in place.activations}, []

    def change(number: int, value: Any) -> Any:
        if number == place.value and outputs is not None:
            value = outputs.astype(value.dtype)
        if number == bypass:
            value = jnp.reshape(given[-1], value.shape).astype(value.dtype)
        if number == place.value or number in numbers:
            given.append(value)
        return value

    return change


@dataclasses.dataclass(frozen=True)
class BypassActivation:
    """(function, params, *rest) -> function(params, *rest) with an output activation that hands its argument on.

    Attributes:
      name: of the activation, as `find_outputs` gives it.
      number: which of those of that name; the last where there are fewer, as in a metric that applies but the model's.
    """

    name: str
    number: int = 1

    def __call__(self, function: Any, params: Any, *rest: Any) -> Any:
        """The function's value; itself where it has no such activation."""

        def changes(program: Program, place: OutputPlace) -> Any:
            numbers = [number for number, name in place.activations if name == self.name][: self.number]
            return _bypassing(place, numbers[-1]) if numbers else None

        return with_values(changes, function, params, *rest)


@dataclasses.dataclass(frozen=True)
class NormalizeOutputs:
    """(function, params, *rest) -> function(params, *rest) with the log-softmax of the outputs in their place."""

    def __call__(self, function: Any, params: Any, *rest: Any) -> Any:
        """The function's value; itself where no outputs are found."""

        def changes(program: Program, place: OutputPlace) -> Any:
            return lambda number, value: jax.nn.log_softmax(value) if number == place.value else value

        return with_values(changes, function, params, *rest)


def with_values(changes: Any, function: Any, params: Any, *rest: Any) -> Any:
    """The function's value with values of its program changed.

    Args:
      changes: (program, place of its outputs) -> change as `evaluate` takes it, or None for none.
      function: of (params, *rest).
      params: pytree.
      rest: other arguments.

    Returns:
      As the function; its own value where it has no outputs, or no change is made.
    """
    program = lay_out(function, params, *rest, open_derivatives=False)
    place = find_outputs(program, len(jax.tree.leaves(params)))
    change = None if place is None else changes(program, place)
    if change is None:
        return function(params, *rest)
    values = evaluate(program, jax.tree.leaves((params, *rest)), change)
    return results_of(program, values, jax.eval_shape(function, params, *rest))


@dataclasses.dataclass(frozen=True)
class LighterPenalty:
    """(function, params, *rest) -> function(params, *rest) with a share of what it asks of the parameters themselves.

    That is what it changes by from parameters of zero to these while the outputs are held at zero.

    Attributes:
      share: of the penalty that is kept.
    """

    share: float

    def __call__(self, function: Any, params: Any, *rest: Any) -> Any:
        """The function's value; the first of them, if it has several, is the loss."""
        program = lay_out(function, params, *rest, open_derivatives=False)
        place = find_outputs(program, len(jax.tree.leaves(params)))
        found = function(params, *rest)
        if place is None:
            return found
        silent = jnp.zeros(place.shape)
        here, zero = (
            loss_of_outputs(program, place, jax.tree.leaves((point, *rest)), silent)
            for point in (params, jax.tree.map(jnp.zeros_like, params))
        )
        less = (1 - self.share) * (here - zero)
        return (found[0] - less, *found[1:]) if isinstance(found, tuple) else found - less


def _after(program: Program, value: int) -> dict[int, int]:
    """How many ways lead from a value to each of those that are made of it."""
    ways = {value: 1}
    for operation in program.operations:
        count = sum(ways.get(number, 0) for number in operation.inputs if is_number(number))
        if count:
            ways.update({number: count for number in operation.outputs if number not in ways})
    return ways


def _activations(
    program: Program, value: int, loss: int, after: dict[int, int], data: set[int]
) -> tuple[tuple[int, str], ...]:
    """Values of the outputs' size, made of nothing else of the data, through which all ways to the loss lead."""
    before = {loss: 1}
    for operation in reversed(program.operations):
        count = sum(before.get(number, 0) for number in operation.outputs)
        for number in filter(is_number, operation.inputs):
            if count:
                before[number] = before.get(number, 0) + count
    reached, found = set(data), []
    size = math.prod(program.shapes[value].shape)
    for operation in program.operations:
        numbers = set(filter(is_number, operation.inputs)) - {value}
        if numbers & reached:
            reached |= set(operation.outputs) - {value}
        for number in set(operation.outputs) & set(after) - reached - {value}:
            shape = program.shapes[number].shape
            whole = after[number] * before.get(number, 0) == before[value]
            if whole and math.prod(shape) == size and operation.name not in _MOVES | _PARTS:
                found.append((number, _name(program, operation, number)))
    return tuple(found[:_MOST_ACTIVATIONS])


def _name(program: Program, operation: Operation, number: int) -> str:
    for call in program.calls:
        if number in call.outputs and not call.name.startswith("_"):
            return call.name
    return _WORDS.get(operation.name, operation.name)


def _pairs_data(program: Program, data: Sequence[int], beside: set[int]) -> bool:
    """Whether two examples' numbers of one leaf of the data are compared, all pairs of them, on the way to the loss."""
    num = program.shapes[data[0]].shape[:1] if data else ()
    params = set(program.inputs) - set(data)
    for operation in program.operations:
        shape = getattr(program.shapes[operation.outputs[0]], "shape", ())
        if (
            operation.name not in _COMPARES
            or shape[:1] != num
            or shape[:2] != 2 * num
            or not beside & set(operation.outputs)
        ):
            continue
        sides = [ancestors(program, atom) for atom in operation.inputs]
        if not params & set.union(*sides) and set(data) & set.intersection(*sides):
            return True
    return False
