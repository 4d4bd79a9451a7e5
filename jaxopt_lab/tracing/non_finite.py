"""Where a number that is not finite comes from: a parameter, an example, or the line of the loss that makes it first.

The loss's program, with its gradient, is run with every value looked at. A value that is not finite is traced back to
the inputs that made it so; infinities written into the program, such as the mask of an attention, are no fault
until they meet (inf - inf).
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Problem, vectors
from jaxopt_lab.core.problem import Batch, Key, Params, as_partial
from jaxopt_lab.tracing.jaxprs import Operation, Program, bind, evaluate, is_number, lay_out, line_of, with_operations

_REASONS = {
    "log": "the logarithm of a number that is not positive", "log1p": "the logarithm of a number that is not positive",
    "sqrt": "the root of a negative number", "rsqrt": "one over the root of a number that is not positive",
    "div": "a division by zero, or a quotient too large", "exp": "a number too large for its type",
    "exp2": "a number too large for its type", "expm1": "a number too large for its type",
    "gather": "an index out of range", "pow": "a power of a number that is not positive, or one too large",
    "integer_pow": "a number too large for its type, or a negative power of 0", "dot_general": "a sum too large",
    "mul": "a product too large, or 0 times infinity", "reduce_sum": "a sum too large",
    "square": "a number too large for its type", "sub": "infinity minus infinity",
}  # fmt: skip
GUARD = 1e-6
GUARDED = {"log": GUARD, "log1p": GUARD - 1, "sqrt": GUARD, "rsqrt": GUARD, "div": GUARD}
_BY_DESIGN = -1
_SHOWN = 5
_SMALL = 2.0**-64


@dataclasses.dataclass(frozen=True)
class NonFiniteOrigin:
    """What is not finite first.

    Attributes:
      kind: where it is made: "parameters", "data", "constant" (an array that the loss closes over), "loss" or
        "gradient".
      name: the path of the leaf, or the name of the operation.
      shape: of the leaf, or of the operation's result.
      line: `file:line` of the user's code for an operation, "" otherwise.
      count: entries of the leaf that are not finite, 0 for an operation.
      index: of the first of them.
      examples: the examples of the data that hold them.
      others: further leaves that are not finite.
      leaf: the first parameter whose gradient is not finite, for kind "gradient".
      value: the loss.
    """

    kind: str
    name: str
    shape: tuple[int, ...]
    line: str = ""
    count: int = 0
    index: tuple[int, ...] = ()
    examples: tuple[int, ...] = ()
    others: tuple[str, ...] = ()
    leaf: str = ""
    value: float = float("nan")

    def __str__(self) -> str:
        if self.kind == "constant":
            return f"The loss is {self.value:g}: an array of shape {list(self.shape)} that it closes over holds NaN."
        if self.kind in ("parameters", "data"):
            what = "parameter" if self.kind == "parameters" else "data leaf"
            named = f"{what} {self.name}" if self.name else ("parameters" if self.kind == "parameters" else "data")
            rows = f", in example{'s' * (len(self.examples) > 1)} {_listed(self.examples)}" if self.examples else ""
            others = f" Not finite either: {', '.join(self.others)}." if self.others else ""
            share = f"{self.count} of {int(np.prod(self.shape, dtype=int))} entries"
            first = f"the first at {list(self.index)}{rows}"
            return f"The {named} {'is' if self.name else 'are'} not finite: {share}, {first}.{others}"
        reason = f" ({_REASONS[self.name]})" if self.name in _REASONS else ""
        made = f"{self.name} at {self.line}{reason}, shape {list(self.shape)}"
        if self.kind == "loss":
            return f"The loss is {self.value:g}. The first to make it so is {made}."
        what = f"its gradient with respect to {self.leaf}" if self.leaf else "its gradient"
        return (
            f"The loss is finite ({self.value:g}), {what} is not. The first to make it so is {made}. A where() around"
            " it does not help: guard its argument."
        )


@dataclasses.dataclass(frozen=True)
class GuardLine:
    """(function, params, *rest) -> function(params, *rest) with the logarithms, roots and divisions of a line guarded.

    Attributes:
      line: `file:line`, as `NonFiniteOrigin` gives it.
    """

    line: str

    def __call__(self, function: Any, params: Any, *rest: Any) -> Any:
        """The function's value."""
        return with_operations(self._guards, function, params, *rest)

    def _guards(self, program: Program) -> dict[int, Any]:
        return {
            place: functools.partial(_guarded, operation)
            for place, operation in enumerate(program.operations)
            if operation.name in GUARDED and line_of(operation) == self.line
        }


def _guarded(operation: Operation, inputs: list[Any]) -> list[Any]:
    """The operation's outputs, its last input kept above the least that it takes; of a division, away from zero."""
    *before, last = inputs
    least = GUARDED[operation.name]
    if operation.name == "div":
        last = jnp.where(jnp.abs(last) < least, jnp.where(last < 0, -least, least).astype(last.dtype), last)
    else:
        last = jnp.maximum(last, jnp.asarray(least, last.dtype))
    return bind(operation.equation, [*before, last])


def find_non_finite(
    problem: Problem, params: Params, batch: Batch = None, key: Key | None = None
) -> NonFiniteOrigin | None:
    """Finds what makes a loss or its gradient infinite or NaN.

    Args:
      problem: any problem; one with batch statistics is looked at in training mode.
      params: where it fails.
      batch: the examples on which it fails; None for all of the data.
      key: the key of that step, or None.

    Returns:
      The origin; None where parameters, loss and gradient are finite. A loop or branch is named as a whole. Cost: one
      gradient, compiled with a look at every value.

    Example:
      >>> from jaxopt_lab import core
      >>> problem = core.from_loss(lambda w, batch, key: jnp.sum(jnp.log(w)), jnp.ones(2))
      >>> origin = find_non_finite(problem, jnp.array([1.0, 0.0]))
      >>> origin.kind, origin.name, origin.shape, origin.value
      ('loss', 'log', (2,), -inf)
      >>> find_non_finite(problem, jnp.ones(2)) is None
      True
    """
    leaf = _wrong_leaf("parameters", params)
    if leaf is not None:
        return leaf
    batch = problem.data if batch is None else batch
    loss = as_partial(problem.loss)
    program = _program(params, batch, key, loss)
    sizes, value = jax.device_get(_look_once(params, batch, key, loss))
    numbers = _looked_at(program)
    nan, infinite = (dict(zip(numbers, test(sizes).tolist(), strict=True)) for test in (np.isnan, np.isinf))
    num_params, num_data = (len(jax.tree.leaves(tree)) for tree in (params, batch))
    origins = _origins(program, nan, infinite, program.inputs[num_params:])
    found = [origins.get(atom) if is_number(atom) else None for atom in program.outputs]
    blamed = [origin for origin in found if origin is not None]
    if not blamed:
        return None
    kind = "loss" if not np.isfinite(value) else "gradient"
    origin = found[0] if found[0] is not None and kind == "loss" else min(blamed)
    if origin < 0:
        number = -2 - origin
        if number in program.inputs[num_params : num_params + num_data]:
            return _wrong_leaf("data", batch)
        return NonFiniteOrigin("constant", "", tuple(program.shapes[number].shape), value=float(value))
    operation = program.operations[origin]
    shape = tuple(program.shapes[operation.outputs[0]].shape)
    paths = vectors.parameter_paths(params)
    leaf_name = next((path for path, own in zip(paths, found[1:], strict=True) if own is not None), "")
    return NonFiniteOrigin(kind, operation.name, shape, line_of(operation), leaf=leaf_name, value=float(value))


def _program(params: Params, batch: Batch, key: Key | None, loss: Any) -> Program:
    """(loss, gradient), laid out; the loss's own arrays are arguments too."""
    evaluate_loss = lambda params, batch, key, loss: loss(params, batch, key)  # noqa: E731
    return lay_out(jax.value_and_grad(evaluate_loss, allow_int=True), params, batch, key, loss, open_derivatives=True)


def _looked_at(program: Program) -> list[int]:
    """Numbers of the values that can be not finite."""
    return [
        number
        for number, aval in program.shapes.items()
        if jnp.issubdtype(getattr(aval, "dtype", jnp.int32), jnp.inexact)
    ]


def _look(params: Params, batch: Batch, key: Key | None, loss: Any) -> tuple[jax.Array, jax.Array]:
    """For each value NaN, infinite or finite as its entries are, [values]; and the loss.

    A sum of magnitudes that cannot overflow: XLA's largest entry loses NaN on a CPU, and a test of each kind takes four
    times as long to compile.
    """
    program = _program(params, batch, key, loss)
    values = evaluate(program, jax.tree.leaves((params, batch, key, loss)))
    sizes = [jnp.sum(jnp.abs(vectors.widened(values[number])) * _SMALL) for number in _looked_at(program)]
    loss_atom = program.outputs[0]
    return jnp.stack(sizes), values[loss_atom] if is_number(loss_atom) else jnp.asarray(loss_atom.val)


# It runs once: compiling it in haste takes a quarter of the time.
_look_once = jax.jit(_look, compiler_options={"xla_backend_optimization_level": 0})


def _origins(
    program: Program, nan: dict[int, bool], infinite: dict[int, bool], inputs: Sequence[int]
) -> dict[Any, int]:
    """Who made each value that is not finite: a step >= 0, or -2 - number for an input; absent where it is finite."""
    wrong = {number for number in nan if nan[number] or infinite[number]}
    origins = {number: -2 - number for number in inputs if number in wrong}
    origins |= {number: -2 - number if nan[number] else _BY_DESIGN for number in program.constants if number in wrong}
    for step, operation in enumerate(program.operations):
        for output in set(operation.outputs) & wrong:
            numbers = [atom for atom in operation.inputs if is_number(atom) and atom in wrong]
            written = any(not is_number(atom) and not _finite(atom.val) for atom in operation.inputs)
            blamed = [number for number in numbers if origins[number] != _BY_DESIGN]
            if nan[output]:
                blamed = [number for number in blamed if nan[number]] or blamed
            if blamed:
                origins[output] = min(origins[number] for number in blamed)
            elif not nan[output] and (written or numbers):
                origins[output] = _BY_DESIGN
            else:
                origins[output] = step
    return {number: origin for number, origin in origins.items() if origin != _BY_DESIGN}


def _finite(value: Any) -> bool:
    array = np.asarray(value)
    return not np.issubdtype(array.dtype, np.inexact) or bool(np.isfinite(array).all())


def _wrong_leaf(kind: str, tree: Any) -> NonFiniteOrigin | None:
    """The first leaf that is not finite."""
    wrong = []
    for path, leaf in zip(vectors.parameter_paths(tree), jax.tree.leaves(tree), strict=True):
        if jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.inexact):
            places = np.argwhere(~np.isfinite(np.asarray(leaf, np.float64 if np.isrealobj(leaf) else np.complex128)))
            if len(places):
                wrong.append((path, np.shape(leaf), places))
    if not wrong:
        return None
    path, shape, places = wrong[0]
    examples = tuple(np.unique(places[:, 0]).tolist()) if kind == "data" else ()
    others = tuple(other for other, _, _ in wrong[1:])
    return NonFiniteOrigin(
        kind, path, shape, count=len(places), index=tuple(places[0].tolist()), examples=examples, others=others
    )


def _listed(examples: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, examples[:_SHOWN]))
    return shown if len(examples) <= _SHOWN else f"{shown} and {len(examples) - _SHOWN} more"
