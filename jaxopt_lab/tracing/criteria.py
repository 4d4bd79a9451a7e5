"""The usual criterion of outputs and targets, in the place of what a loss makes of them."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab.tracing.jaxprs import Program
from jaxopt_lab.tracing.outputs import OutputPlace, with_values
from jaxopt_lab.tracing.targets import are_one_hot

_CRITERIA = {
    "softmax_cross_entropy_with_integer_labels": lambda z, t: (z, t.astype(jnp.int32)),
    "softmax_cross_entropy": lambda z, t: (z, t.astype(z.dtype)),
    "sigmoid_binary_cross_entropy": lambda z, t: (z.reshape(t.shape), t.astype(z.dtype)),
    "squared_error": lambda z, t: (z.reshape(t.shape), t.astype(z.dtype)),
}
"""Name in optax -> (outputs, targets) as it takes them."""
_ACTIVATIONS = {"sigmoid_binary_cross_entropy": jax.nn.sigmoid, "squared_error": lambda z: z}
_REPLACED = {"sigmoid", "softmax", "relu", "tanh"}


@dataclasses.dataclass(frozen=True)
class UsualCriterion:
    """(function, params, *rest) -> function(params, *rest) with the mean of a criterion of the outputs as its loss.

    Attributes:
      name: of the criterion in optax.
      leaf: which leaf of the data holds the targets.
      structure: of the data.
    """

    name: str
    leaf: int
    structure: Any

    @property
    def of_classes(self) -> bool:
        """Whether the targets are classes."""
        return self.name != "squared_error"

    def __call__(self, function: Any, params: Any, *rest: Any) -> Any:
        """The function's value, of which the first is the loss; itself where no outputs are found."""
        batch = next(each for each in rest if jax.tree.structure(each) == self.structure)
        targets = jnp.asarray(jax.tree.leaves(batch)[self.leaf])

        def changes(program: Program, place: OutputPlace) -> Any:
            outputs = []

            def change(number: int, value: Any) -> Any:
                if number == place.value:
                    outputs.append(value.astype(jnp.promote_types(value.dtype, jnp.float32)))
                if number != program.outputs[0]:
                    return value
                losses = getattr(optax, self.name)(*_CRITERIA[self.name](outputs[0], targets))
                return jnp.mean(losses).astype(value.dtype)

            return change

        return with_values(changes, function, params, *rest)


@dataclasses.dataclass(frozen=True)
class UsualActivation:
    """(function, params, *rest) -> function(params, *rest) with a criterion's activation in the place of the one used.

    A sigmoid for the binary cross-entropy, a softmax for that of classes, none for the squared error.

    Attributes:
      name: of the criterion in optax.
    """

    name: str

    def __call__(self, function: Any, params: Any, *rest: Any) -> Any:
        """The function's value, such as of a metric; itself where the outputs have no activation."""

        def changes(program: Program, place: OutputPlace) -> Any:
            used = [number for number, name in place.activations if name in _REPLACED]
            outputs = []

            def change(number: int, value: Any) -> Any:
                if number == place.value:
                    outputs.append(value)
                if number != used[-1]:
                    return value
                return _ACTIVATIONS.get(self.name, jax.nn.softmax)(outputs[0]).reshape(value.shape).astype(value.dtype)

            return change if used else None

        return with_values(changes, function, params, *rest)


def usual_criterion(place: OutputPlace, data: Any) -> UsualCriterion | None:
    """The criterion that these targets ask for, of outputs of this shape.

    Softmax cross-entropy of class numbers or one-hot rows, binary cross-entropy of zeros and ones, the squared error of
    other floating targets.

    Args:
      place: where the outputs stand.
      data: of the problem.

    Returns:
      The criterion; None where several leaves of the data, such as a mask, stand beside the outputs, where targets are
      inputs too, or where they are not one or one row an output.
    """
    beside = set(place.targets) - set(place.inputs)
    if len(beside) != 1 or place.is_pairwise:
        return None
    leaf = beside.pop()
    name = _name(place.shape[1:], np.asarray(jax.tree.leaves(data)[leaf]))
    return None if name is None else UsualCriterion(name, leaf, jax.tree.structure(data))


def _name(outputs: tuple[int, ...], targets: np.ndarray) -> str | None:
    """The criterion's name by the shape of an example's outputs and all targets."""
    shape, values = targets.shape[1:], targets.astype(np.float64)
    if not values.size or not np.isfinite(values).all():
        return None
    if outputs[:-1] == shape and outputs and outputs[-1] > 1:
        whole = np.equal(values, np.round(values)).all() and 0 <= values.min() <= values.max() < outputs[-1]
        return "softmax_cross_entropy_with_integer_labels" if whole else None
    if np.prod(outputs, dtype=int) != np.prod(shape, dtype=int):
        return None
    if np.isin(values, (0.0, 1.0)).all():
        several = outputs == shape and outputs and outputs[-1] > 1 and are_one_hot(values)
        return "softmax_cross_entropy" if several else "sigmoid_binary_cross_entropy"
    return "squared_error" if targets.dtype.kind == "f" else None
