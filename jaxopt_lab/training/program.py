"""The compiled program: `advance` takes one group of configurations through one segment of steps.

A segment is a fixed number of records; between two records lie as many steps as `counts` says, a traced number, so that
every segment of every run of one shape is the same program. Metrics are taken from the new state behind a barrier, so
that their reductions do not pull the step's arrays out of place.
"""

import dataclasses
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from jaxopt_lab.core import Truth, compiled, fail
from jaxopt_lab.curvature import gauss_newton_map
from jaxopt_lab.training.probes import Evaluation, Observation, Probe


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Lane:
    """What is carried from step to step, for one configuration or stacked over K of them.

    Attributes:
      params: the parameters.
      state: the rule's state.
      key: the configuration's random key; step t uses fold_in(key, t).
      order: a permutation of the examples, int32 [n], redrawn each epoch; None without minibatches.
      updates: the last update, if a probe needs it.
      previous_updates: the one before it, if a probe needs it.
      model_state: the model's state, such as running batch statistics; None where it has none.
    """

    params: Any
    state: Any
    key: jax.Array
    order: jax.Array | None = None
    updates: Any = None
    previous_updates: Any = None
    model_state: Any = None


@dataclasses.dataclass(frozen=True)
class Program:
    """What is fixed at compile time.

    Attributes:
      factory: hyperparameters -> rule.
      probes: what is measured at each record.
      batch_size: examples a step, or None for all of them.
      loop: "vmap" or "map" over the configurations, "step" for a Python loop over one jitted step, or "chunks".
      one_seed: whether the K configurations on a device have one seed, so that they share each batch.
      mesh: the devices over which the configurations are spread, each takes K; None for one device.
    """

    factory: Callable[..., optax.GradientTransformation]
    probes: tuple[Probe, ...]
    batch_size: int | None
    loop: str
    one_seed: bool = False
    mesh: Mesh | None = None

    @property
    def num_devices(self) -> int:
        """Number of devices."""
        return 1 if self.mesh is None else self.mesh.size

    def rule(self, hyperparameters: dict[str, Any]) -> optax.GradientTransformation:
        """The rule at one set of hyperparameters.

        Raises:
          InputError: the factory gives something else.
        """
        rule = self.factory(**hyperparameters)
        if not isinstance(rule, optax.GradientTransformation):
            name = getattr(self.factory, "__name__", self.factory)
            raise fail(str(name), f"must return an optax.GradientTransformation, got {type(rule).__name__}")
        return rule

    def needs(self, name: str) -> bool:
        """Whether any probe asks for `name`."""
        return any(name in probe.needs for probe in self.probes)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Inputs:
    """The arrays that stay the same from segment to segment: arguments of the program, never constants in it.

    Attributes:
      loss: (params, batch, key) -> scalar.
      data: all of the examples.
      truth: what is known exactly, if a probe needs it.
      stateful_loss: (params, model state, batch, key) -> (scalar, model state), for a model that has one.
      evaluation: what evaluates the model, if a probe needs it.
      composite: the loss's (outputs, criterion), where it has that form.
      expected: (params, model state, batch) -> scalar, where `loss` without a key cannot tell the expected loss.
    """

    loss: jax.tree_util.Partial
    data: Any
    truth: Truth | None
    stateful_loss: jax.tree_util.Partial | None = None
    evaluation: Evaluation | None = None
    composite: tuple[jax.tree_util.Partial, jax.tree_util.Partial] | None = None
    expected: jax.tree_util.Partial | None = None


def step(program: Program, inputs: Inputs, hyperparameters: dict[str, Any], lane: Lane, time: jax.Array) -> Lane:
    """One step of one configuration, the `time`-th from 0."""
    key = jax.random.fold_in(lane.key, time)
    batch_key, loss_key = jax.random.split(key)
    batch, order = _draw(program, inputs.data, lane.order, batch_key, time)

    def value_fn(params: Any, grad_fn: Any = None, gauss_newton_fn: Any = None) -> jax.Array:
        del grad_fn, gauss_newton_fn  # optax's line searches hand the extra inputs that they do not know on to value_fn
        return inputs.loss(params, batch, loss_key)

    def grad_fn(params: Any, inner_step: int = 0) -> Any:
        del inner_step  # optax's SAM numbers its adversarial steps
        return _descent(jax.grad(value_fn)(params))

    if inputs.stateful_loss is None:
        (value, grads), model_state = jax.value_and_grad(value_fn)(lane.params), None
    else:
        moving = jax.value_and_grad(inputs.stateful_loss, has_aux=True)
        (value, model_state), grads = moving(lane.params, lane.model_state, batch, loss_key)
    grads = _descent(grads)
    extra = {"value": value, "grad": grads, "value_fn": value_fn, "grad_fn": grad_fn}
    if inputs.composite is not None:
        outputs, criterion = inputs.composite
        extra["gauss_newton_fn"] = partial(
            gauss_newton_map, lambda point: outputs(point, batch), lambda z: criterion(z, batch)
        )
    update = program.rule(hyperparameters).update
    updates, state = update(grads, lane.state, lane.params, **_accepted(update, extra))
    params = optax.apply_updates(lane.params, updates)
    kept = updates if program.needs("updates") else None
    return Lane(params, state, lane.key, order, kept, lane.previous_updates, model_state)


def observe(program: Program, inputs: Inputs, lane: Lane) -> Observation:
    """What the probes may look at, behind a barrier."""
    params, state = lax.optimization_barrier((lane.params, lane.state))
    at, data = inputs.expected, inputs.data
    return Observation(
        params=params,
        state=state,
        loss=lambda point: inputs.loss(point, data, None) if at is None else at(point, lane.model_state, data),
        updates=lane.updates,
        previous_updates=lane.previous_updates,
        truth=inputs.truth,
        data=inputs.data,
        model_state=lane.model_state,
        evaluation=inputs.evaluation,
    )


def measure(program: Program, inputs: Inputs, lane: Lane) -> dict[str, Any]:
    """The probes' values at one configuration's current state."""
    seen = observe(program, inputs, lane)
    return {probe.name: probe.finish(probe.sums(seen)) for probe in program.probes}


def walk(
    program: Program, take: Callable[[Lane, jax.Array], Lane], lane: Lane, start: jax.Array, count: jax.Array
) -> Lane:
    """`count` steps from step `start`, keeping the last two updates where a probe needs them."""
    if not program.needs("previous_updates"):
        return lax.fori_loop(0, count, lambda i, lane: take(lane, start + i), lane)
    lane = lax.fori_loop(0, jnp.maximum(count - 1, 0), lambda i, lane: take(lane, start + i), lane)
    last = lambda i, lane: take(dataclasses.replace(lane, previous_updates=lane.updates), start + count - 1)  # noqa: E731
    return lax.fori_loop(0, jnp.minimum(count, 1), last, lane)


def advance(
    program: Program,
    inputs: Inputs,
    lanes: Lane,
    hyperparameters: dict[str, jax.Array],
    start: jax.Array,
    counts: jax.Array,
) -> tuple[Lane, dict[str, Any]]:
    """Takes K configurations on each device through one segment.

    Every device runs the program of a single one on its own K, so that the number of devices changes no bit.

    Args:
      program: what is fixed at compile time.
      inputs: loss, data, truth.
      lanes: stacked lanes, leading axis K times the number of devices; donated.
      hyperparameters: name -> the same axis.
      start: number of steps done, int32 scalar.
      counts: steps before each record, int32 [R].

    Returns:
      The lanes after the segment, and the metrics, name -> [the same axis, R, ...].
    """
    run = compiled(_advance, (program,), inputs, donate=(1,))
    return run(inputs, lanes, hyperparameters, start, counts)


def _advance(
    program: Program,
    inputs: Inputs,
    lanes: Lane,
    hyperparameters: dict[str, jax.Array],
    start: jax.Array,
    counts: jax.Array,
) -> tuple[Lane, dict[str, Any]]:
    on_one = partial(_advance_on_one, program)
    if program.mesh is None:
        return on_one(inputs, lanes, hyperparameters, start, counts)
    same, spread = PartitionSpec(), PartitionSpec(program.mesh.axis_names)
    places = (same, spread, spread, same, same)
    on_all = jax.shard_map(on_one, mesh=program.mesh, in_specs=places, out_specs=spread, check_vma=False)
    return on_all(inputs, lanes, hyperparameters, start, counts)


def _advance_on_one(
    program: Program,
    inputs: Inputs,
    lanes: Lane,
    hyperparameters: dict[str, jax.Array],
    start: jax.Array,
    counts: jax.Array,
) -> tuple[Lane, dict[str, Any]]:
    """`advance` on one device, K side by side."""

    def single(lane: Lane, hyper: dict[str, jax.Array]) -> tuple[Lane, dict[str, Any]]:
        take = partial(step, program, inputs, hyper)

        def record(carry: tuple[Lane, jax.Array], count: jax.Array) -> tuple[tuple[Lane, jax.Array], dict[str, Any]]:
            lane, time = carry
            lane = walk(program, take, lane, time, count)
            return (lane, time + count), measure(program, inputs, lane)

        (lane, _), metrics = lax.scan(record, (lane, start), counts)
        return lane, metrics

    width = lanes.key.shape[0]
    if width == 1:
        squeezed = jax.tree.map(lambda leaf: leaf[0], (lanes, hyperparameters))
        return jax.tree.map(lambda leaf: leaf[None], single(*squeezed))
    if program.loop == "map":
        return lax.map(lambda pair: single(*pair), (lanes, hyperparameters))
    if not program.one_seed:
        return jax.vmap(single)(lanes, hyperparameters)
    first = jax.tree.map(lambda leaf: leaf[0], (lanes.key, lanes.order))
    shared = dataclasses.replace(lanes, key=first[0], order=first[1])
    axes: Any = Lane(0, 0, None, None, 0, 0, 0)  # pyrefly: ignore
    moved, metrics = jax.vmap(single, in_axes=(axes, 0), out_axes=(axes, 0))(shared, hyperparameters)
    order = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (width, *leaf.shape)), moved.order)
    return dataclasses.replace(moved, key=lanes.key, order=order), metrics


def _advance_one(
    program: Program, inputs: Inputs, lane: Lane, hyperparameters: dict[str, jax.Array], time: jax.Array
) -> Lane:
    """One step of one configuration."""
    if program.needs("previous_updates"):
        lane = dataclasses.replace(lane, previous_updates=lane.updates)
    return step(program, inputs, hyperparameters, lane, time)


def advance_by_steps(
    program: Program,
    inputs: Inputs,
    lanes: Lane,
    hyperparameters: dict[str, jax.Array],
    start: int,
    counts: Any,
) -> tuple[Lane, dict[str, Any]]:
    """The same as `advance`, as a Python loop over one jitted step, for losses that XLA runs slowly inside of loops."""
    advance_one = compiled(_advance_one, (program,), inputs, donate=(1,))
    measure_one = compiled(measure, (program,), inputs)
    results = []
    for k in range(lanes.key.shape[0]):
        lane, hyper = jax.tree.map(lambda leaf, k=k: leaf[k], (lanes, hyperparameters))
        time, rows = int(start), []
        for count in map(int, counts):
            for _ in range(count):
                lane = advance_one(inputs, lane, hyper, jnp.asarray(time, jnp.int32))
                time += 1
            rows.append(measure_one(inputs, lane))
        results.append((lane, jax.tree.map(lambda *values: jnp.stack(values), *rows)))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)


def _accepted(update: Callable[..., Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Those of the extra inputs that `update` takes: all where it has **kwargs, else those that it names."""
    parameters = inspect.signature(update).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return extra
    return {name: value for name, value in extra.items() if name in parameters}


def _draw(
    program: Program, data: Any, order: jax.Array | None, key: jax.Array, time: jax.Array
) -> tuple[Any, jax.Array | None]:
    """The batch of step `time`: without replacement inside an epoch of floor(n / batch_size) steps."""
    if order is None:
        return data, None
    batch_size = program.batch_size or order.shape[0]
    per_epoch = order.shape[0] // batch_size
    place = time % per_epoch
    order = lax.cond(place == 0, lambda: jax.random.permutation(key, order.shape[0]).astype(order.dtype), lambda: order)
    rows = lax.dynamic_slice(order, (place * batch_size,), (batch_size,))
    return jax.tree.map(lambda leaf: leaf[rows], data), order


def _descent(grads: Any) -> Any:
    """JAX's gradient of a real loss in a complex leaf is the conjugate of the direction of steepest ascent."""
    return jax.tree.map(lambda leaf: jnp.conj(leaf) if jnp.iscomplexobj(leaf) else leaf, grads)
