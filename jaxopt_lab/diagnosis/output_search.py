"""What the criterion lets the outputs reach: the loss with the last layer's outputs as free variables.

    reachable   least loss on the way of gradient steps on the outputs, from those that the model gives now, shrunk to
                the size of the targets: that an activation saturates at large weights is no fault of the criterion
    bypassed    the same with an output activation handing its argument on
    constant    the same with the best constant output: what is reached knowing nothing of the inputs

No model is trained here: what the outputs cannot reach, no weights and no learning rate will.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Problem, meshes
from jaxopt_lab.core.compilation import compiled
from jaxopt_lab.core.problem import as_partial
from jaxopt_lab.diagnosis.budget import some_examples
from jaxopt_lab.tracing.jaxprs import Program, evaluate, largest_value, lay_out
from jaxopt_lab.tracing.outputs import OutputPlace, find_outputs, loss_of_outputs
from jaxopt_lab.tracing.targets import target_size

_EXAMPLES = 256
_MOST_EXAMPLES = 2048  # for the best constant output
_NUMBERS = 2**17
_LARGEST = 2**19  # numbers of the largest value behind the outputs, such as all pairs of the examples'
_STEPS = 300
_RATES = (0.03, 0.3, 3.0)
_B1, _B2, _EPS = 0.9, 0.99, 1e-12
_RUNAWAY, _GAP = 10.0, 0.05
_MOST_CLASSES = 1000
_DRAWS = 4  # of unit size, and of that of the outputs


class Search(NamedTuple):
    """Gradient steps on the outputs.

    Attributes:
      loss: the least on the way.
      outputs: there.
    """

    loss: float
    outputs: np.ndarray


@dataclasses.dataclass(frozen=True)
class OutputSearch:
    """What free outputs reach, on some of the examples.

    Attributes:
      place: where the outputs stand in the loss.
      loss: at the outputs of the model.
      outputs: of the model, of the examples' shape.
      slope: root mean square of the loss's derivative with respect to them, times the number of examples.
      reachable: from the model's outputs, where they are larger than the targets shrunk to their size.
      bypassed: with the activation that costs most handing its argument on; None where the reachable loss is low.
      activation: that activation's name, "" without one.
      constant: of the best constant output of up to 2048 examples.
      silent: rows of the data, at whose examples the loss has no derivative with respect to the outputs, the model's
        and random ones; and the rows that were looked at, up to 256. Both are empty where outputs are not one row an
        example.
      shift: the derivative along a number added to all outputs of an example, over that along each: 0 behind a softmax.
    """

    place: OutputPlace
    loss: float
    outputs: np.ndarray
    slope: float
    reachable: Search
    bypassed: Search | None
    activation: str
    constant: Search
    silent: tuple[np.ndarray, np.ndarray] = (np.empty(0, int), np.empty(0, int))
    shift: float = 1.0

    @property
    def scale(self) -> float:
        """The size of the loss: of the model's outputs or of a constant one."""
        return max(abs(self.loss), abs(self.constant.loss), 1e-30)

    @property
    def runs_away(self) -> bool:
        """Whether the loss of free outputs falls without end."""
        return self.reachable.loss < -_RUNAWAY * max(abs(self.loss), 1e-30)

    @property
    def constant_runs_away(self) -> bool:
        """Whether that of the best constant output does."""
        return self.constant.loss < -_RUNAWAY * max(abs(self.loss), 1e-30)


def search_outputs(problem: Problem, params: Any, seed: int = 0) -> OutputSearch | None:
    """Searches the least loss over free outputs.

    Args:
      problem: in evaluation mode, with data.
      params: where the model's outputs are taken.
      seed: draws the examples.

    Returns:
      What was reached; None where the loss holds no layer. Cost: a few thousand evaluations of the criterion alone.
    """
    loss = as_partial(problem.loss)
    batch = some_examples(problem.data, _EXAMPLES, seed)
    if (place := find_layout(loss, params, batch)[1]) is None:
        return None
    kept = int(np.clip(_NUMBERS // max(np.prod(place.shape, dtype=int) // _length(batch), 1), 2, _EXAMPLES))
    if kept < _length(batch):
        batch = some_examples(batch, kept, seed)
        place = find_layout(loss, params, batch)[1] or place
    outputs, value, slope, shift = jax.device_get(compiled(_actual, (), (loss, params))(loss, params, batch))
    scale = jnp.asarray(target_size(place, batch))
    reachable = _run(loss, params, batch, scale, None, "actual" if slope > 0 else "both")
    several = some_examples(problem.data, _affordable(loss, params, problem.data), seed)
    constant = _run(loss, params, several, scale, None, "constant")
    bypassed, name = None, ""
    if reachable.loss > _GAP * max(abs(constant.loss), abs(float(value))):
        bypassed, name = _bypassed(loss, params, batch, scale, place, reachable.loss)
    return OutputSearch(
        place, float(value), outputs, float(slope), reachable, bypassed, name, constant,
        _silent(loss, params, problem.data, kept, place, seed), float(shift),
    )  # fmt: skip


def constant_output_loss(problem: Problem, params: Any, search: OutputSearch) -> float | None:
    """The loss over all data of the one output that the search found best; None where it says nothing."""
    place = search.place
    if place.is_pairwise or (len(place.shape) > 1 and place.shape[-1] > _MOST_CLASSES) or search.constant_runs_away:
        return None
    found = loss_at_constant(problem, params, search, problem.data)
    return found if np.isfinite(found) else None


def find_place(problem: Problem, params: Any) -> OutputPlace | None:
    """Where the outputs stand in the loss of a problem with data; None where it holds no layer."""
    return find_layout(as_partial(problem.loss), params, problem.data)[1]


def outputs_of(problem: Problem, params: Any, data: Any) -> np.ndarray | None:
    """The model's outputs for the data; None where the loss holds no layer."""
    if find_layout(loss := as_partial(problem.loss), params, data)[1] is None:
        return None
    return np.asarray(compiled(_actual, (), (loss, params))(loss, params, data)[0])


def loss_at_constant(problem: Problem, params: Any, search: OutputSearch, data: Any = None) -> float:
    """The loss of the best constant output, with what else it asks of the parameters; on up to 2048 examples."""
    loss, batch = as_partial(problem.loss), some_examples(problem.data, _MOST_EXAMPLES, 0) if data is None else data
    return float(compiled(_at_constant, (), (loss, params))(loss, params, batch, search.constant.outputs))


def _affordable(loss: Any, params: Any, data: Any) -> int:
    """How many examples the constant output is searched on: fewer where the criterion makes large values of them."""
    num = min(_MOST_EXAMPLES, _length(data))
    while num > _EXAMPLES and _largest(*find_layout(loss, params, some_examples(data, num, 0))) > _LARGEST:
        num //= 2
    return num


def _largest(program: Program, place: OutputPlace | None) -> int:
    return 0 if place is None else largest_value(program, place.value)


def find_layout(loss: Any, params: Any, batch: Any) -> tuple[Program, OutputPlace | None]:
    """The loss laid out, and where the outputs stand in it; None where it holds no layer."""
    program = lay_out(lambda params, batch: loss(params, batch, None), params, batch, open_derivatives=False)
    return program, find_outputs(program, len(jax.tree.leaves(params)))


def _actual(loss: Any, params: Any, batch: Any) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """The model's outputs, the loss, and of its derivative with respect to them the size and the shift."""
    program, place = find_layout(loss, params, batch)
    assert place is not None
    leaves = jax.tree.leaves((params, batch))
    outputs = evaluate(program, leaves)[place.value]
    value, slopes = jax.value_and_grad(lambda z: loss_of_outputs(program, place, leaves, z))(outputs)
    together = jnp.sum(slopes, -1) if slopes.ndim > 1 else slopes
    shift = jnp.sum(jnp.abs(together)) / jnp.maximum(jnp.sum(jnp.abs(slopes)), 1e-30)
    return outputs, value, jnp.sqrt(jnp.mean(jnp.square(slopes))) * _length(batch), shift


def _run(loss: Any, params: Any, batch: Any, scale: jax.Array, bypass: int | None, start: str) -> Search:
    search = compiled(_search, (bypass, start), (loss, params))
    losses, outputs = jax.device_get(search(loss, params, batch, scale))
    best = int(np.nanargmin(np.where(np.isnan(losses), np.inf, losses)))
    return Search(float(losses[best]), outputs[best])


def _at_constant(loss: Any, params: Any, data: Any, outputs: jax.Array) -> jax.Array:
    program, place = find_layout(loss, params, data)
    assert place is not None
    return loss_of_outputs(program, place, jax.tree.leaves((params, data)), jnp.broadcast_to(outputs, place.shape))


def _bypassed(
    loss: Any, params: Any, batch: Any, scale: jax.Array, place: OutputPlace, reachable: float
) -> tuple[Search | None, str]:
    """The activation without which the outputs come lowest, losses that fall without end left out."""
    best, name = None, ""
    for number, activation in place.activations[::-1]:
        found = _run(loss, params, batch, scale, number, "both")
        if -1e-3 < found.loss < (1 - _GAP) * reachable and (best is None or found.loss < best.loss):
            best, name = found, activation
    return best, name


def _search(
    bypass: int | None, start: str, loss: Any, params: Any, batch: Any, scale: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Adam on the outputs at some rates: the least losses and where they were, a row a rate and start."""
    program, place = find_layout(loss, params, batch)
    assert place is not None
    leaves = jax.tree.leaves((params, batch))
    actual = evaluate(program, leaves)[place.value].astype(jnp.float32)
    actual = actual * jnp.minimum(1.0, scale / jnp.maximum(jnp.sqrt(jnp.mean(jnp.square(actual))), 1e-30))
    value = lambda z: loss_of_outputs(  # noqa: E731
        program, place, leaves, jnp.broadcast_to(z, place.shape), bypass
    ).astype(jnp.float32)
    slope = jax.value_and_grad(value)
    if start == "constant":
        actual = jnp.mean(actual, axis=tuple(range(max(actual.ndim - 1, 1 if actual.ndim else 0))))
    starts = [actual, 0.5 + 0.1 * jnp.sin(jnp.arange(actual.size, dtype=jnp.float32)).reshape(actual.shape)]
    starts = jnp.stack(starts if start == "both" else starts[:1])
    rates = jnp.asarray(_RATES, jnp.float32) * scale

    def climb(begin: jax.Array, rate: jax.Array) -> tuple[jax.Array, jax.Array]:
        def step(carry: Any, count: jax.Array) -> tuple[Any, None]:
            z, first, second, least, where = carry
            now, slopes = slope(z)
            slopes = jnp.where(jnp.isfinite(slopes), slopes, 0.0)
            better = now < least
            first, second = _B1 * first + (1 - _B1) * slopes, _B2 * second + (1 - _B2) * jnp.square(slopes)
            size = jnp.sqrt(second / (1 - _B2 ** (count + 1))) + _EPS
            after = z - rate * (1 - count / _STEPS) * first / (1 - _B1 ** (count + 1)) / size
            return (after, first, second, jnp.where(better, now, least), jnp.where(better, z, where)), None

        carry = (begin, 0 * begin, 0 * begin, jnp.asarray(jnp.inf, jnp.float32), begin)
        carry, _ = jax.lax.scan(step, carry, jnp.arange(_STEPS, dtype=jnp.float32))
        return carry[3], carry[4]

    return jax.vmap(climb)(jnp.repeat(starts, len(_RATES), 0), jnp.tile(rates, len(starts)))


def _silent(loss: Any, params: Any, data: Any, kept: int, place: OutputPlace, seed: int) -> tuple[Any, Any]:
    """Rows of the data whose outputs the loss does not feel, and the rows that were looked at."""
    rows = some_examples(np.arange(_length(data)), kept, seed)
    batch = meshes.take(data, rows)
    drawn = np.random.default_rng((seed, 2)).standard_normal((_DRAWS, *place.shape), np.float32)
    felt = np.asarray(compiled(_felt, (), (loss, params))(loss, params, batch, drawn))
    return (rows[~felt], rows) if felt.shape == rows.shape else (rows[:0], rows[:0])


def _felt(loss: Any, params: Any, batch: Any, drawn: jax.Array) -> jax.Array:
    """Whether each example's outputs change the loss, at some draw of them."""
    program, place = find_layout(loss, params, batch)
    assert place is not None
    leaves = jax.tree.leaves((params, batch))
    outputs = evaluate(program, leaves)[place.value]
    if outputs.shape[:1] != (_length(batch),):
        return jnp.ones((), bool)
    slope = jax.grad(lambda z: loss_of_outputs(program, place, leaves, z))
    sizes = drawn * jnp.sqrt(jnp.mean(jnp.square(outputs)))  # large ones saturate
    tries = jnp.concatenate([outputs[None], drawn, sizes]).astype(outputs.dtype)
    return jnp.any(jax.vmap(slope)(tries) != 0, axis=(0, *range(2, tries.ndim)))


def _length(data: Any) -> int:
    return len(jax.tree.leaves(data)[0])
