"""From a Flax module to a `Problem`: `from_nnx` and `from_linen`.

    loss = loss_fn(model, batch)                            anything
    loss = criterion(model(inputs(batch)), batch)           what Gauss-Newton and Fisher operators need to see

In training mode (`problem.loss`) batch normalization takes the statistics of the batch, and dropout is on when a key is
given. `problem.stateful` carries the running statistics along; `problem.freeze` holds them fixed.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen, nnx

from jaxopt_lab.core import (
    Batch,
    Composite,
    Key,
    Params,
    Problem,
    Stateful,
    Truth,
    fail,
    require_choice,
    require_scalar_loss,
)
from jaxopt_lab.networks.forms import (
    EvaluationLoss,
    EvaluationOutputs,
    Metric,
    ModelFunction,
    Parts,
    StatefulLoss,
    TrainingLoss,
    TrainingOutputs,
)
from jaxopt_lab.networks.functional import Functional, functional_nnx, takes
from jaxopt_lab.networks.linen_modules import functional_linen

STATISTICS = ("batch", "running")


def first(batch: Batch) -> Any:
    """The inputs of a batch that is a pair (inputs, targets)."""
    return batch[0]


def from_nnx(
    model: nnx.Module | Callable[[nnx.Rngs], nnx.Module],
    loss_fn: ModelFunction | None = None,
    data: Batch = None,
    *,
    criterion: Callable[[Any, Batch], jax.Array] | None = None,
    family: str | None = None,
    inputs: Callable[[Batch], Any] = first,
    statistics: str = "batch",
    validation: Batch = None,
    metrics: Mapping[str, ModelFunction] | None = None,
    truth: Truth | None = None,
    name: str | None = None,
) -> Problem:
    """Makes a problem from a Flax NNX module.

    Args:
      model: the module, whose parameters are the start, or a function of `nnx.Rngs` that builds it, so that each seed
        starts elsewhere.
      loss_fn: (model, batch) -> scalar mean over the batch; with a third argument named `key` it gets the key of the
        step, or None, for layers that take one. Dropout that was built with `rngs` needs none: its stream is
        seeded from the key of each step.
      data: pytree of arrays with a common leading axis n.
      criterion: instead of `loss_fn`, (outputs, batch) -> scalar mean over the batch, convex in the outputs;
        `problem.composite` is then filled.
      family: the likelihood that the criterion belongs to, as `Composite.family` says.
      inputs: batch -> what the model takes; the first of a pair by default.
      statistics: "batch", or "running" to hold the model's running statistics fixed (`Problem.freeze`).
      validation: a pytree like `data`, or None.
      metrics: name -> (model, batch) -> scalar.
      truth: what is known exactly.
      name: defaults to the name of the module's class.

    Returns:
      The problem. Parameters are a plain dictionary; those of a finished module are copied into it.

    Raises:
      InputError: the loss is not a scalar, the module returns no array, dropout finds no random stream, both or
        neither of `loss_fn` and `criterion` are given, or the data's leaves differ in length.

    Example:
      >>> data = (jnp.ones((4, 3)), jnp.zeros((4, 1)))
      >>> square = lambda model, batch: jnp.mean((model(batch[0]) - batch[1]) ** 2)
      >>> problem = from_nnx(nnx.Linear(3, 1, kernel_init=nnx.initializers.ones, rngs=nnx.Rngs(0)), square, data)
      >>> float(problem.full_loss(problem.init(jax.random.key(0))))
      9.0
    """
    if isinstance(model, nnx.Module):
        form, label = functional_nnx(model), type(model).__name__
        init = _copies(form.params)
        _require_streams(model, loss_fn)
    else:
        form, label = _traced(model, loss_fn)
        init = lambda key: functional_nnx(_build(model, key)).params  # noqa: E731
    parts = Parts("from_nnx", form.call, loss_fn, criterion, inputs)
    return _problem(
        parts, form, init, data, family=family, statistics=statistics, validation=validation, metrics=metrics or {},
        truth=truth or Truth(), name=name or label,
    )  # fmt: skip


def from_linen(
    module: linen.Module,
    variables: Mapping[str, Any],
    loss_fn: ModelFunction | None = None,
    data: Batch = None,
    *,
    criterion: Callable[[Any, Batch], jax.Array] | None = None,
    family: str | None = None,
    inputs: Callable[[Batch], Any] = first,
    statistics: str = "batch",
    validation: Batch = None,
    metrics: Mapping[str, ModelFunction] | None = None,
    truth: Truth | None = None,
    name: str | None = None,
) -> Problem:
    """Makes a problem from a Flax Linen module and its variables.

    `loss_fn` and the metrics get a callable in the place of the model: `model(inputs)` applies the module. Arguments
    of the module's call named `train`, `training`, `is_training`, `deterministic`, `use_running_average` are filled in.

    Args:
      module: the module.
      variables: what `module.init` gave: "params" and further collections, such as "batch_stats".
      loss_fn: as in `from_nnx`.
      data: as in `from_nnx`.
      criterion: as in `from_nnx`.
      family: as in `from_nnx`.
      inputs: as in `from_nnx`.
      statistics: as in `from_nnx`.
      validation: as in `from_nnx`.
      metrics: as in `from_nnx`.
      truth: as in `from_nnx`.
      name: defaults to the name of the module's class.

    Returns:
      The problem, which starts at the given parameters.

    Raises:
      InputError: as `from_nnx`, or the variables hold no "params".
    """
    form = functional_linen(module, variables)
    parts = Parts("from_linen", form.call, loss_fn, criterion, inputs)
    return _problem(
        parts, form, _copies(form.params), data, family=family, statistics=statistics, validation=validation,
        metrics=metrics or {}, truth=truth or Truth(), name=name or type(module).__name__,
    )  # fmt: skip


def _problem(
    parts: Parts, form: Functional, init: Callable[[Key], Params], data: Batch, *, family: str | None,
    statistics: str, validation: Batch, metrics: Mapping[str, ModelFunction], truth: Truth, name: str,
) -> Problem:  # fmt: skip
    if (parts.loss_fn is None) == (parts.criterion is None):
        raise fail(
            parts.where, "exactly one of loss_fn and criterion must be given",
            "Give criterion(outputs, batch) when curvature is wanted: it shows the outputs to the operators.",
        )  # fmt: skip
    require_choice(parts.where, "statistics", statistics, STATISTICS)
    composite = stateful = None
    if parts.criterion is not None:
        outputs = jax.tree_util.Partial(TrainingOutputs(parts), form.model_state)
        composite = Composite(outputs, parts.criterion, family)
    if jax.tree.leaves(form.model_state):
        outputs = EvaluationOutputs(parts) if composite else None
        stateful = Stateful(form.model_state, StatefulLoss(parts), EvaluationLoss(parts), outputs)
    problem = Problem(
        loss=jax.tree_util.Partial(TrainingLoss(parts), form.model_state),
        init=init,
        data=data,
        validation=validation,
        metrics={
            label: jax.tree_util.Partial(Metric(parts.call, function), form.model_state)
            for label, function in metrics.items()
        },
        truth=truth,
        composite=composite,
        stateful=stateful,
        name=name,
    )
    require_scalar_loss(parts.where, problem)
    return problem.freeze() if statistics == "running" else problem


def _copies(params: Params) -> Callable[[Key], Params]:
    return lambda key: jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), params)


def _build(factory: Any, key: Key) -> nnx.Module:
    model = factory(nnx.Rngs(key)) if callable(factory) else factory
    if not isinstance(model, nnx.Module):
        raise fail(
            "from_nnx", f"model must be a flax.nnx.Module or a function of nnx.Rngs that returns one, got {model!r}",
            "A Linen module goes through from_linen.",
        )  # fmt: skip
    return model


def _traced(factory: Any, loss_fn: ModelFunction | None) -> tuple[Functional, str]:
    """The functional form and the class of what the factory builds, with arrays for the state alone.

    Only a model that has state is built here: one of 1e8 parameters is drawn once, by `init`, and not twice.
    """
    static: list[tuple[Any, str]] = []

    def build(key: Key) -> tuple[Params, Any]:
        model = _build(factory, key)
        _require_streams(model, loss_fn)
        form = functional_nnx(model)
        static.append((form.call, type(model).__name__))
        return form.params, form.model_state

    key = jax.random.key(0)
    params, state = jax.eval_shape(build, key)
    if jax.tree.leaves(state):
        state = functional_nnx(_build(factory, key)).model_state
    call, label = static[0]
    return Functional(params, state, call), label


def _require_streams(model: nnx.Module, loss_fn: ModelFunction | None) -> None:
    if takes(type(model).__call__, "key") or (loss_fn is not None and takes(loss_fn, "key")):
        return
    dropouts = [module for _, module in nnx.iter_modules(model) if isinstance(module, nnx.Dropout)]
    if any(module.rate > 0 and module.rngs is None for module in dropouts):
        raise fail(
            "from_nnx", "the model has nnx.Dropout without a random stream, and no key reaches it",
            "Build it as nnx.Dropout(rate, rngs=rngs), or write loss_fn(model, batch, key) and hand the key on.",
        )  # fmt: skip
