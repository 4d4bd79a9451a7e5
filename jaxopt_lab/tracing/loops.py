"""Loops (`scan`) with layers inside, run so that what each step adds to a layer can be told from the others'."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxopt_lab.tracing.jaxprs import Operation, carried_part, evaluate, value_of
from jaxopt_lab.tracing.layer_detection import LoopPlace

Taps = dict[int, jax.Array]


def zero_taps(loop: LoopPlace, operation: Operation) -> Taps:
    """Zeros to add to each layer's outputs, [turns, ...], by the number of its value in the body."""
    turns = operation.equation.params["length"]
    shapes = {place.value: loop.body.shapes[place.value] for place in loop.layers}
    return {number: jnp.zeros((turns, *like.shape), like.dtype) for number, like in shapes.items()}


def run_loop(loop: LoopPlace, operation: Operation, taps: Taps, inputs: list[Any]) -> tuple[list[Any], Taps]:
    """The loop's outputs, and the values of its layers and activations at every step, [steps, ...].

    Args:
      loop: where its layers stand.
      operation: the loop.
      taps: what is added to the layers' outputs at each step, as `zero_taps` gives it.
      inputs: of the operation.
    """
    params, (first, last) = operation.equation.params, carried_part(operation)
    kept = {place.value for place in (*loop.layers, *loop.activations)}

    def turn(carried: list[Any], read: tuple[list[Any], Taps]) -> tuple[list[Any], tuple[list[Any], Taps]]:
        slices, added = read
        change = lambda number, value: value + added[number] if number in added else value  # noqa: E731
        values = evaluate(loop.body, [*inputs[:first], *carried, *slices], change)
        outputs = [value_of(atom, values) for atom in loop.body.outputs]
        split = last - first
        return outputs[:split], (outputs[split:], {number: values[number] for number in kept})

    carried, (stacked, seen) = lax.scan(
        turn, list(inputs[first:last]), (list(inputs[last:]), taps), params["length"], params["reverse"]
    )
    return [*carried, *stacked], seen


def gain_over_turns(operation: Operation, grads: jax.Array) -> jax.Array:
    """Rms of the gradient at the loop's first step over that at its last, from gradients [steps, ...]."""
    begin, end = (-1, 0) if operation.equation.params["reverse"] else (0, -1)
    first, last = (_rms(grads[turn]) for turn in (begin, end))
    return first / last


def _rms(values: jax.Array) -> jax.Array:
    """Rms of values whose squares may be too small for a number."""
    largest = jnp.max(jnp.abs(values))
    size = jnp.where(largest > 0, largest, 1)
    return size * jnp.sqrt(jnp.mean(jnp.square(values / size)))
