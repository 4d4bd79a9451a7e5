"""From a module as a pure function and a user's functions to a `Problem`: what `from_nnx` and `from_linen` share."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxopt_lab.core import Composite, Problem, Stateful, Truth, fail
from jaxopt_lab.core.batches import as_data, first_batch
from jaxopt_lab.core.errors import require_choice
from jaxopt_lab.core.leaves import count_examples, require_trainable
from jaxopt_lab.core.losses import require_scalar, traced
from jaxopt_lab.core.problem import Batch, Key, Params
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
from jaxopt_lab.networks.functional import Functional, Unknown
from jaxopt_lab.networks.modes import draws_without_key, require_evaluation, unmoved

STATISTICS = ("batch", "running")
_NO_KEY = (
    "Without a key the loss is the expected one: draw nothing where key is None, or give eval_loss_fn=, the same loss"
    " with the model in evaluation mode."
)


@dataclasses.dataclass(frozen=True)
class Source:
    """A module, in whichever way it was given.

    Attributes:
      form: as a pure function; its parameters may be shapes alone.
      init: key -> parameters.
      holding: the paths of variables -> the form in which they are frozen.
      remedy: an unknown variable -> what to do about it; None where `wrt` was given, so that the rest is frozen.
    """

    form: Functional
    init: Callable[[Key], Params]
    holding: Callable[[tuple[Any, ...]], Functional]
    remedy: Callable[[Unknown], str] | None


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a problem holds besides its loss: the arguments of `from_nnx` and `from_linen`, and its family."""

    data: Batch
    validation: Batch
    family: str | None
    statistics: str
    metrics: Mapping[str, ModelFunction]
    truth: Truth
    name: str


def build_problem(source: Source, parts: Parts, facts: Facts) -> Problem:
    """Checks the user's functions on the module and makes the problem.

    Raises:
      InputError: as `from_nnx` says.
    """
    _require_functions(parts)
    require_choice(parts.where, "statistics", facts.statistics, STATISTICS)
    data = as_data(facts.name, facts.data)
    facts = dataclasses.replace(facts, data=first_batch(data))
    for field, batch in (("data", facts.data), ("validation", first_batch(as_data(facts.name, facts.validation)))):
        count_examples(batch, facts.name, field)
    shapes = traced(parts.where, "the module's initialization", source.init, jax.random.key(0), names=("key",))
    require_trainable(parts.where, shapes)
    label = parts.label(training=True)
    problem = _assembled(source.init, source.form, parts, facts)
    require_scalar(parts.where, problem, shapes, jax.random.key(0), what=label)
    form = _decided(source, parts, shapes, facts.data)
    parts = dataclasses.replace(parts, random=draws_without_key(parts, form, shapes, facts.data))
    problem = _assembled(source.init, form, parts, facts)
    require_scalar(parts.where, problem, shapes, None, what=label, without_key=_NO_KEY)
    require_evaluation(parts, form, problem, form.params)
    problem = dataclasses.replace(problem, data=data)
    return problem.freeze() if facts.statistics == "running" else problem


def _require_functions(parts: Parts) -> None:
    if (parts.loss_fn is None) == (parts.criterion is None):
        raise fail(
            parts.where, "exactly one of loss_fn and criterion must be given",
            "Give criterion(outputs, batch) when curvature is wanted: it shows the outputs to the operators.",
        )  # fmt: skip
    if parts.criterion is not None and parts.eval_loss_fn is not None:
        raise fail(
            parts.where, "eval_loss_fn goes with loss_fn, and criterion was given",
            "A criterion is evaluated on the model's outputs in evaluation mode: flags of its call that are named"
            " train, training, is_training, deterministic or use_running_average are filled in.",
        )  # fmt: skip


def _decided(source: Source, parts: Parts, shapes: Any, data: Batch) -> Functional:
    """The form with every variable trained, frozen, or moved by the module.

    What a training step leaves as it is, is frozen: a whole number or an array that is no variable always, a floating
    variable where `wrt` was given; where it was not, it cannot be told whether it was meant to train.
    """
    left = unmoved(parts, source.form, shapes, data)
    doubtful = [unknown for unknown in left if unknown.floating and unknown.kind]
    if doubtful and source.remedy is not None:
        first, more = doubtful[0], len(doubtful) - 1
        others = f", and so {'does' if more == 1 else 'do'} {more} more" if more else ""
        raise fail(
            parts.where, f"{first.label} neither trains nor is moved by the module{others}", source.remedy(first)
        )  # fmt: skip
    return source.holding(tuple(unknown.path for unknown in left)) if left else source.form


def _assembled(init: Callable[[Key], Params], form: Functional, parts: Parts, facts: Facts) -> Problem:
    """The problem, unchecked."""
    bound = jax.tree_util.Partial
    composite = stateful = outputs = None
    if parts.criterion is not None:
        composite = Composite(
            bound(TrainingOutputs(parts), form.frozen, form.model_state), parts.criterion, facts.family
        )
        outputs = bound(EvaluationOutputs(parts), form.frozen)
    if jax.tree.leaves(form.model_state) or parts.eval_loss_fn is not None:
        evaluate = bound(EvaluationLoss(parts), form.frozen)
        expected = evaluate if parts.random else None
        stateful = Stateful(form.model_state, bound(StatefulLoss(parts), form.frozen), evaluate, outputs, expected)
    return Problem(
        loss=bound(TrainingLoss(parts), form.frozen, form.model_state),
        init=init,
        data=facts.data,
        validation=facts.validation,
        metrics={
            label: bound(Metric(parts.call, function), form.frozen, form.model_state)
            for label, function in facts.metrics.items()
        },
        truth=facts.truth,
        composite=composite,
        stateful=stateful,
        frozen=form.frozen or None,
        name=facts.name,
    )
