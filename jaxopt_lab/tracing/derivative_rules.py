"""Whether the gradient of a program is that of its loss: rules that it brings along, and parts that it holds back.

What holds a gradient back: stop_gradient, roundings, and comparisons whose outcome is used as a number. It is handed
straight on in their place, through comparisons as that of a sigmoid.

Reference: Bengio, Leonard, Courville 2013, arXiv 1308.3432 (the straight-through estimator).
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import vectors
from jaxopt_lab.tracing.jaxprs import Operation, Program, ancestors, bind, is_number, line_of, with_operations

_REACH = 1e-2  # of a leaf's size
_ROUNDINGS = 100.0
_OPPOSED = 0.1
MOST_CHECKED = 8
_ROUNDINGS_OF = ("round", "floor", "ceil", "sign")
_COMPARISONS = {"gt": 1, "ge": 1, "lt": -1, "le": -1}
_STEEPNESS = 4.0
_MOVES = {"select_n", "broadcast_in_dim", "reshape", "squeeze", "expand_dims", "max", "convert_element_type"}


@dataclasses.dataclass(frozen=True)
class PassGradient:
    """(function, params, *rest) -> function(params, *rest) whose gradient passes what holds it back."""

    def __call__(self, function: Any, params: Any, *rest: Any) -> Any:
        """The function's value."""
        return with_operations(_passing, function, params, *rest)


def holding_lines(program: Program, read: set[int], leaves: set[int]) -> tuple[str, ...]:
    """`file:line` of what holds the gradient of some of the program's inputs back from a value with these ancestors."""
    places = [program.operations[place] for place in sorted(_passing(program))]
    made = {number: each for each in program.operations for number in each.outputs}
    held = [each for each in places if read & set(each.outputs) and not _is_largest(made, each.inputs[0])]
    lines = [line_of(each) for each in held if any(leaves & ancestors(program, number) for number in each.inputs)]
    return tuple(dict.fromkeys(lines))


def _passing(program: Program) -> dict[int, Callable[[list[Any]], list[Any]]]:
    """What stands in the place of the operations that hold a gradient back, by their places."""
    users: dict[Any, set[str]] = {}
    for operation in program.operations:
        for number in filter(is_number, operation.inputs):
            users.setdefault(number, set()).add(operation.name)
    found: dict[int, Callable[[list[Any]], list[Any]]] = {}
    for place, operation in enumerate(program.operations):
        name = operation.name
        floating = all(jnp.issubdtype(each.aval.dtype, jnp.floating) for each in operation.equation.invars)
        if name == "stop_gradient":
            found[place] = lambda inputs: inputs
        elif name in _ROUNDINGS_OF:
            found[place] = functools.partial(_rounded, operation)
        elif name in _COMPARISONS and floating and users.get(operation.outputs[0]) == {"convert_element_type"}:
            found[place] = functools.partial(_compared, operation)
    return found


def _rounded(operation: Operation, inputs: list[Any]) -> list[Any]:
    (x,) = inputs
    return [bind(operation.equation, inputs)[0] + x - jax.lax.stop_gradient(x)]


def _compared(operation: Operation, inputs: list[Any]) -> list[Any]:
    """The outcome as a number, with the derivative of a sigmoid."""
    soft = jax.nn.sigmoid(_STEEPNESS * _COMPARISONS[operation.name] * (inputs[0] - inputs[1]))
    return [bind(operation.equation, inputs)[0].astype(soft.dtype) + soft - jax.lax.stop_gradient(soft)]


def brings_rules(program: Program) -> bool:
    """Whether a derivative rule for the way back stands in a program."""
    return any(operation.equation.primitive.name.startswith("custom_vjp") for operation in program.operations)


def holds_back(program: Program, num_params: int, read: set[int]) -> bool:
    """Whether what the loss reads of the parameters is held back from the gradient, but for the shift of a softmax."""
    params, made = (
        set(program.inputs[:num_params]),
        {number: each for each in program.operations for number in each.outputs},
    )
    held = [each for each in program.operations if each.name == "stop_gradient" and read & set(each.outputs)]
    numbers = [number for each in held for number in each.inputs if not _is_largest(made, number)]
    return any(params & ancestors(program, number) for number in numbers)


def _is_largest(made: dict[int, Operation], number: Any) -> bool:
    """Whether a value is a largest one, as a softmax subtracts: what it gives does not depend on that."""
    if not is_number(number) or (operation := made.get(number)) is None:
        return False
    if operation.name == "reduce_max":
        return True
    return operation.name in _MOVES and any(_is_largest(made, each) for each in operation.inputs)


def opposed_leaves(loss: Any, params: Any, gradient: Any, data: Any) -> list[int]:
    """The leaves along whose gradient the loss falls, by a tenth of what it should rise; of the eight largest.

    Args:
      loss: (params, data, None) -> scalar, a `Partial`.
      params: the point.
      gradient: what jax gives for the loss there.
      data: of the loss.

    Returns:
      Their numbers. Cost: two losses a leaf.
    """
    norms = np.array([float(vectors.norm(leaf)) for leaf in jax.tree.leaves(gradient)])
    alone = np.eye(len(norms), dtype=bool)
    largest = np.argsort(-norms)[:MOST_CHECKED].tolist()
    return [place for place in largest if _rise_along(loss, params, gradient, data, alone[place]) < -_OPPOSED]


def rise(loss: Any, params: Any, gradient: Any, data: Any) -> float:
    """What the loss rises along its gradient, over what the gradient tells: 1 for one that is the loss's own."""
    return _rise_along(loss, params, gradient, data, np.ones(len(jax.tree.leaves(params)), bool))


def _rise_along(loss: Any, params: Any, gradient: Any, data: Any, chosen: np.ndarray) -> float:
    """Of the chosen leaves; 1 too where the difference drowns in the loss's rounding, or the gradient is zero."""
    ahead, behind, said = map(float, _around(loss, params, gradient, data, chosen))
    rounding = max(float(jnp.finfo(leaf.dtype).eps) for leaf in jax.tree.leaves(params))
    is_seen = abs(ahead - behind) > _ROUNDINGS * rounding * max(abs(ahead), abs(behind))
    return (ahead - behind) / said if said > 0 and is_seen else 1.0


@jax.jit
def _around(loss: Any, params: Any, gradient: Any, data: Any, chosen: jax.Array) -> tuple[jax.Array, ...]:
    """The losses a hundredth of the leaves' size ahead and behind along the gradient, and what it tells of them."""
    leaves, structure = jax.tree.flatten(params)
    slopes = [jnp.where(take, slope, 0) for take, slope in zip(chosen, jax.tree.leaves(gradient), strict=True)]
    size = vectors.norm([jnp.where(take, leaf, 0) for take, leaf in zip(chosen, leaves, strict=True)])
    norm = vectors.norm(slopes)
    step = _REACH * jnp.maximum(size, 1.0) / jnp.where(norm > 0, norm, 1.0)

    def at(side: int) -> jax.Array:
        moved = [leaf + (side * step * slope).astype(leaf.dtype) for leaf, slope in zip(leaves, slopes, strict=True)]
        return jnp.asarray(loss(structure.unflatten(moved), data, None), jnp.float32)

    return at(1), at(-1), 2 * step * jnp.square(norm)
