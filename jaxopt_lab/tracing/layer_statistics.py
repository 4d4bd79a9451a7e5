"""What each layer of a model does to the signal, forward and backward, found in the loss's own program.

For layer l with pre-activation z_l, over examples and units:

    forward_l  = rms z_l                          backward_l = rms of d(sum of the examples' losses) / d z_l

A network at its best start keeps both; one that multiplies them by a factor at each layer vanishes or explodes with
depth. Zeros are added to each z_l, so that one gradient with respect to them gives every backward_l.

Reference: Glorot and Bengio 2010; Schoenholz et al. 2017, arXiv 1611.01232; see `theory.mean_field.mean_field_factor`.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Problem, meshes, vectors
from jaxopt_lab.core.errors import require_count
from jaxopt_lab.core.problem import Batch, Params, as_partial
from jaxopt_lab.tracing.jaxprs import Program, evaluate, lay_out
from jaxopt_lab.tracing.layer_detection import ActivationPlace, LayerPlace, LoopPlace, find_loops, find_places
from jaxopt_lab.tracing.loops import Taps, gain_over_turns, run_loop, zero_taps
from jaxopt_lab.tracing.signals import ActivationSignal, LayerSignal, Signals

BOUNDED = ("tanh", "logistic")
RECTIFIED = ("relu", "relu6")
_FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu, "relu6": jax.nn.relu6, "leaky_relu": jax.nn.leaky_relu, "elu": jax.nn.elu,
    "selu": jax.nn.selu, "silu": jax.nn.silu, "softplus": jax.nn.softplus, "gelu": jax.nn.gelu, "tanh": jnp.tanh,
    "logistic": jax.nn.sigmoid,
}  # fmt: skip
_FLAT = 0.05
_NONE = 1e-3
_EQUAL = 1e-6
_MOST_NUMBERS = 2**24  # kept of loops, which would hold each step of long sequences


def measure_signals(problem: Problem, params: Params, *, num_examples: int = 256, seed: int = 0) -> Signals:
    """Measures every layer and activation of a problem's model at `params`.

    Args:
      problem: any problem with data; one with batch statistics is measured in evaluation mode, at its initial
        statistics unless it was frozen at others. Its loss must be the mean over the examples.
      params: where.
      num_examples: at most so many examples of the data, drawn at random; fewer where long loops hold layers.
      seed: seeds the draw, >= 0.

    Returns:
      The signals; with no layer and a note where the problem has no data. Cost: one gradient on the examples, and
      memory for all pre-activations. Compiled once for a loss and shapes.

    Raises:
      InputError: num_examples below 1, or a negative seed.

    Example:
      >>> from jaxopt_lab import core
      >>> weights = (jnp.eye(2), jnp.ones((2, 1)))
      >>> loss = lambda w, x, key: jnp.mean(jax.nn.relu(x @ w[0]) @ w[1])
      >>> signals = measure_signals(core.from_loss(loss, weights, jnp.array([[3.0, -4.0]])), weights)
      >>> [f"{layer.name}: {layer.forward:.3f}" for layer in signals.layers], signals.worst_dead
      (['0: 3.536', '1: 3.000'], 0.5)
    """
    require_count("measure_signals", "num_examples", num_examples)
    require_count("measure_signals", "seed", seed, 0)
    if problem.num_examples is None:
        return Signals(notes=(f"{problem.name} has no data, so that no layer can be told.",))
    frozen = problem.freeze()
    chosen = np.arange(problem.num_examples)
    if num_examples < len(chosen):
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, num_examples, replace=False))
    batch, params = meshes.take(problem.data, chosen), jax.tree.map(_strong, params)
    size = _size_of_loops(as_partial(frozen.loss), params, batch).count
    if size > _MOST_NUMBERS:
        chosen = chosen[: max(len(chosen) * _MOST_NUMBERS // size, 1)]
        batch = meshes.take(problem.data, chosen)
    layers, prints, activations, hidden = jax.device_get(_measure(as_partial(frozen.loss), params, batch))
    layers = [dataclasses.replace(layer, copies=_copies(marks)) for layer, marks in zip(layers, prints, strict=True)]
    notes = []
    if not layers:
        notes.append("The loss holds no product of a weight with data.")
    if hidden.count:
        notes.append(f"{hidden.count} loops, branches or complex products of the loss hold layers that are not seen.")
    return Signals(tuple(map(_plain, layers)), tuple(map(_plain, activations)), len(chosen), tuple(notes))


@functools.partial(jax.tree_util.register_dataclass, data_fields=[], meta_fields=["count"])
@dataclasses.dataclass(frozen=True)
class _Known:
    """A number that is known when the program is traced."""

    count: int


@jax.jit
def _size_of_loops(loss: Any, params: Params, batch: Batch) -> _Known:
    """Numbers in what the layers and activations of all loops are over all steps."""
    program = lay_out(lambda params, batch: loss(params, batch, None), params, batch, open_derivatives=False)
    sizes = (
        program.operations[loop.step].equation.params["length"] * math.prod(loop.body.shapes[place.value].shape)
        for loop in find_loops(program, len(jax.tree.leaves(params)))
        for place in (*loop.layers, *loop.activations)
    )
    return _Known(sum(sizes))


@dataclasses.dataclass(frozen=True)
class _Values:
    """What layers and activations that stand in one program, or in one loop of it, were seen to be.

    Attributes:
      layers: their places.
      activations: likewise.
      values: by the number of a place's value; in a loop with the turns as first axis.
      grads: of the examples' losses, likewise, for the layers.
      loop: the loop, or None.
    """

    layers: list[LayerPlace]
    activations: list[ActivationPlace]
    values: Taps
    grads: Taps
    loop: LoopPlace | None = None


@jax.jit
def _measure(
    loss: Any, params: Params, batch: Batch
) -> tuple[list[LayerSignal], list[jax.Array], list[ActivationSignal], _Known]:
    """What is known when traced travels in the structure of the result, so that a second call traces nothing."""
    program = lay_out(lambda params, batch: loss(params, batch, None), params, batch, open_derivatives=False)
    names = vectors.parameter_paths(params)
    layers, activations, hidden = find_places(program, len(names))
    loops = find_loops(program, len(names))
    groups = _values(program, jax.tree.leaves((params, batch)), layers, activations, loops)
    in_order = lambda found: sorted(found, key=lambda one: _order(one[0], one[1].loop))  # noqa: E731
    each_layer = in_order([(place, group) for group in groups for place in group.layers])
    each_activation = in_order([(place, group) for group in groups for place in group.activations])
    return (
        [_layer_signal(place, names[place.leaf], group, program) for place, group in each_layer],
        [_prints(_table(group.values[place.value], _axes(place, group))) for place, group in each_layer],
        [_activation_signal(place, names[group.layers[place.layer].leaf], group) for place, group in each_activation],
        _Known(hidden + sum(loop.hidden for loop in loops)),
    )


def _values(
    program: Program, leaves: list[jax.Array], layers: list[LayerPlace], activations: list[ActivationPlace],
    loops: list[LoopPlace],
) -> list[_Values]:  # fmt: skip
    """What stands outside of loops, and what in each of them, at the leaves of (params, batch)."""
    steps = [program.operations[loop.step] for loop in loops]
    num_examples = jnp.shape(leaves[-1])[0]

    def total(taps: Taps, turns: list[Taps]) -> tuple[jax.Array, tuple[Taps, list[Taps]]]:
        seen: dict[int, Taps] = {}

        def run(place: int, inputs: list[Any]) -> list[Any]:
            outputs, seen[place] = run_loop(loops[place], steps[place], turns[place], inputs)
            return outputs

        instead = {loop.step: functools.partial(run, place) for place, loop in enumerate(loops)}
        change = lambda number, value: value + taps[number] if number in taps else value  # noqa: E731
        values = evaluate(program, leaves, change, instead)
        kept = {place.value: values[place.value] for place in (*layers, *activations)}
        return num_examples * values[program.outputs[0]], (kept, [seen[place] for place in range(len(loops))])

    if not (layers or loops):
        return []
    zeros = {place.value: jnp.zeros(**_like(program.shapes[place.value])) for place in layers}
    starts = list(map(zero_taps, loops, steps))
    (grads, in_turns), (values, seen) = jax.grad(total, (0, 1), has_aux=True)(zeros, starts)
    inner = zip(loops, seen, in_turns, strict=True)
    return [
        _Values(layers, activations, values, grads),
        *(_Values(loop.layers, loop.activations, own, slopes, loop) for loop, own, slopes in inner),
    ]


def _order(place: LayerPlace | ActivationPlace, loop: LoopPlace | None) -> tuple[int, int]:
    return (place.step, 0) if loop is None else (loop.step, place.step)


def _layer_signal(place: LayerPlace, name: str, group: _Values, program: Program) -> LayerSignal:
    value, grads, loop = group.values[place.value], group.grads[place.value], group.loop
    table = _table(value, _axes(place, group))
    centres = jnp.mean(table, axis=0)
    rms = lambda array: jnp.sqrt(jnp.mean(jnp.square(vectors.widened(array))))  # noqa: E731
    numbers: Any = (rms(table), rms(grads), jnp.std(centres), rms(table - centres), float("nan"), centres)
    if loop is None:
        return LayerSignal(name, place.fan_in, table.shape[1], *numbers)
    gain: Any = gain_over_turns(program.operations[loop.step], vectors.widened(grads))
    return LayerSignal(
        name, place.fan_in, table.shape[1], *numbers, turns=value.shape[0], over_turns=gain,
        is_recurrent=place.leaf in loop.recurrent, loop=loop.step + 1,
    )  # fmt: skip


def _axes(place: LayerPlace | ActivationPlace, group: _Values) -> tuple[int, ...]:
    """Axes of the place's value that count units; in a loop the turns stand before them."""
    return place.unit_axes if group.loop is None else tuple(axis + 1 for axis in place.unit_axes)


def _activation_signal(place: ActivationPlace, layer: str, group: _Values) -> ActivationSignal:
    table = _table(group.values[place.value], _axes(place, group))
    outputs, slopes = jax.jvp(_FUNCTIONS[place.operation], (table,), (jnp.ones_like(table),))
    bounded = place.operation in BOUNDED
    if bounded:
        flat = jnp.abs(slopes) < _FLAT * (1.0 if place.operation == "tanh" else 0.25)
        still = jnp.std(outputs, axis=0) < _NONE * (2.0 if place.operation == "tanh" else 1.0)
        dead = jnp.all(flat, axis=0) & still
    else:
        flat = slopes == 0 if place.operation in RECTIFIED else jnp.abs(slopes) < _NONE
        dead = jnp.all(flat, axis=0)
    shares = jnp.asarray([jnp.mean(flat), jnp.nan] if bounded else [jnp.nan, jnp.mean(table > 0)])
    numbers: Any = (jnp.mean(dead), shares[0], shares[1])
    return ActivationSignal(place.operation, layer, table.shape[1], *numbers)


def _table(value: jax.Array, unit_axes: tuple[int, ...]) -> jax.Array:
    """The value as [examples and places, units], in at least float32."""
    turned = jnp.moveaxis(vectors.widened(value), unit_axes, range(-len(unit_axes), 0)) if unit_axes else value
    num_units = int(np.prod([value.shape[axis] for axis in unit_axes], dtype=int))
    return jnp.reshape(turned, (-1, num_units))


def _prints(table: jax.Array) -> jax.Array:
    """What tells columns apart, [5, units]: four fixed projections of each, of rms size, and its largest entry."""
    places = jnp.arange(1, table.shape[0] + 1, dtype=table.dtype)
    weights = jnp.sin(places * jnp.asarray([[1.0], [2.2], [3.7], [5.9]], table.dtype))
    projections = jnp.matmul(weights, table, precision="highest") / table.shape[0] ** 0.5
    return jnp.concatenate([projections, jnp.max(jnp.abs(table), axis=0, keepdims=True)])


def _copies(prints: np.ndarray) -> float:
    """Share of units with the prints of another; equal ones lie side by side when sorted by the first."""
    prints = np.asarray(prints, np.float64)[:, np.argsort(prints[0], kind="stable")]
    bound = _EQUAL * np.maximum(prints[-1, 1:], prints[-1, :-1])
    equal = (np.abs(np.diff(prints, axis=1)) <= bound).all(axis=0)
    return float(np.mean(np.append(equal, False) | np.append(False, equal)))


def _strong(leaf: Any) -> jax.Array:
    """The leaf with a dtype of its own: one that came from a Python number would be traced anew."""
    array = jnp.asarray(leaf)
    return jax.lax.convert_element_type(array, array.dtype) if array.weak_type else array


def _like(aval: Any) -> dict[str, Any]:
    return {"shape": aval.shape, "dtype": aval.dtype}


def _plain(signal: Any) -> Any:
    """The same with Python numbers in the place of scalar arrays."""
    kept = {field.name: getattr(signal, field.name) for field in dataclasses.fields(signal)}
    return type(signal)(
        **{
            name: value if isinstance(value, str | int) or np.ndim(value) else float(value)
            for name, value in kept.items()
        }
    )
