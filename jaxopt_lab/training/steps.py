"""One step of one configuration, and what is carried from step to step.

Metrics are taken from the new state behind a barrier, so that their reductions do not pull the step's arrays out of
place.
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
from jax.sharding import Mesh

from jaxopt_lab.core import Truth, fail
from jaxopt_lab.curvature.products import gauss_newton_map
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
      composite: outputs and the curvature of the criterion on them, where the loss has that form.
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
    batch_key, loss_key = step_keys(lane.key, time)
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
        outputs, curvature = inputs.composite
        extra["gauss_newton_fn"] = partial(
            gauss_newton_map, lambda point: outputs(point, batch), lambda z: curvature(z, batch)
        )
    update = program.rule(hyperparameters).update
    updates, state = update(grads, lane.state, lane.params, **_accepted(update, extra))
    params = optax.apply_updates(lane.params, updates)
    kept = None
    if program.needs("updates"):  # in the dtypes of the lane's, which a rate of float32 widens for parameters of less
        kept = jax.tree.map(lambda new, old: new.astype(old.dtype), updates, lane.updates)
    return Lane(params, state, lane.key, order, kept, lane.previous_updates, model_state)


def observe(program: Program, inputs: Inputs, lane: Lane) -> Observation:
    """What the probes may look at, behind a barrier."""
    params, state = lax.optimization_barrier((lane.params, lane.state))
    at, data = inputs.expected, inputs.data

    def loss(point: Any, batch: Any) -> jax.Array:
        return inputs.loss(point, batch, None) if at is None else at(point, lane.model_state, batch)

    return Observation(
        params=params,
        state=state,
        loss=lambda point: loss(point, data),
        loss_on=loss,
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


def _accepted(update: Callable[..., Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Those of the extra inputs that `update` takes: all where it has **kwargs, else those that it names."""
    parameters = inspect.signature(update).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return extra
    return {name: value for name, value in extra.items() if name in parameters}


def step_keys(key: jax.Array, time: jax.typing.ArrayLike) -> jax.Array:
    """The keys of the batch and of the loss at step `time` of a run with this key."""
    return jax.random.split(jax.random.fold_in(key, time))


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
