"""A problem as rules are compared on it: what is trained on, what the search selects by, and what is reported.

validation data   half of them select, the other half are the test
none              a tenth of the examples is held out to select, and another tenth for the test
no data           the loss itself selects and is reported: all there is to compare is how far it is brought down
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from jaxopt_lab import training
from jaxopt_lab.core import Problem, Truth, fail, meshes
from jaxopt_lab.core.errors import require_choice
from jaxopt_lab.core.leaves import count_examples
from jaxopt_lab.core.problem import Batch, as_partial
from jaxopt_lab.training.baselines import constant_loss
from jaxopt_lab.training.evaluation_params import with_evaluation_params

MEASURES = ("auto", "loss")
_LEAST_HELD_OUT = 10


@dataclasses.dataclass(frozen=True)
class DataSplit:
    """A problem, its data split into those that train, those that select and the test.

    Attributes:
      problem: with the validation part alone as its validation data, and the test part in its metrics.
      selection: the probe by which trials, and the moment within a run, are selected.
      report: the probe that is reported at that moment.
      further: metrics of the test part that are recorded too.
      text: how it was split, one sentence.
      baseline: the loss of the best constant output, above which a run counts as diverged; or None.
    """

    problem: Problem
    selection: str
    report: str
    further: tuple[str, ...]
    text: str
    baseline: float | None

    @property
    def probes(self) -> tuple[training.Probe, ...]:
        """What a final run records: the training loss, selection, report, further metrics, and what the rule took."""
        probes = [training.loss(), training.cost()]
        if self.selection != "loss":
            probes += [training.validation_loss(), training.metric(self.report, on="training")]
        return (*probes, *(training.metric(name, on="training") for name in self.further))

    def with_evaluation_params(self) -> "DataSplit":
        """The same for a rule that is judged at another point than that at which it takes gradients."""
        return dataclasses.replace(self, problem=with_evaluation_params(self.problem))


def split_data(problem: Problem, seed: int = 0, measure: str = "auto") -> DataSplit:
    """Splits a problem.

    Args:
      problem: any.
      seed: of the split, the same for all rules.
      measure: "auto", as the module says; "loss": the training loss, for questions about optimization alone.

    Returns:
      The split.

    Raises:
      InputError: there are too few examples to hold any out, or no such measure.

    Example:
      >>> from jaxopt_lab import objectives
      >>> split_data(objectives.quadratic([1.0, 0.1])).report
      'loss'
    """
    require_choice("compare", "measure", measure, MEASURES)
    baseline = constant_loss(problem)[0]
    if problem.data is None or measure == "loss":
        why = "the loss itself" if problem.data is None else "the loss on the training data, as asked,"
        text = f"{problem.name}: {why} selects and is reported; nothing is said about other data."
        return DataSplit(problem, "loss", "loss", (), text, baseline)
    if problem.validation is not None:
        train, held_out = problem.data, problem.validation
        how, truth = "of the validation data half select and half are the test", problem.truth
    else:
        order = np.random.default_rng(seed).permutation(problem.num_examples or 0)
        cut = len(order) // 5
        train, held_out = meshes.take(problem.data, np.sort(order[cut:])), meshes.take(problem.data, order[:cut])
        how, truth = "a fifth of the examples is held out: half of it selects, half is the test", Truth()
    num = count_examples(held_out, problem.name, "validation") if jax.tree.leaves(held_out) else 0
    if not num or num < _LEAST_HELD_OUT:
        raise fail(
            "compare", f"{problem.name} has {num} examples to select by and to report on, and needs {_LEAST_HELD_OUT}",
            "Give validation data, or compare the training loss: measure='loss'.",
        )  # fmt: skip
    shuffled = np.random.default_rng(seed + 1).permutation(num)
    validation, test = (meshes.take(held_out, np.sort(part)) for part in (shuffled[: num // 2], shuffled[num // 2 :]))
    split = dataclasses.replace(
        problem, data=train, validation=validation, truth=truth, metrics=_on_test(problem, test)
    )  # fmt: skip
    text = f"{problem.name}: {split.num_examples} examples train; {how} ({num // 2} and {num - num // 2})."
    further = tuple(f"test_{name}" for name in problem.metrics)
    return DataSplit(split, "validation_loss", "test_loss", further, text, baseline)


def _on_test(problem: Problem, test: Batch) -> dict[str, Any]:
    """The loss and the metrics of the test part, as metrics; its arrays stay arguments of the program."""
    if problem.stateful is None:
        loss = jax.tree_util.Partial(_loss_on, as_partial(problem.loss), test)
    else:
        loss = jax.tree_util.Partial(_evaluated_on, as_partial(problem.stateful.evaluate), test)
    metrics = {
        f"test_{name}": jax.tree_util.Partial(_metric_on, as_partial(metric), test)
        for name, metric in problem.metrics.items()
    }
    return {"test_loss": loss} | metrics


def _loss_on(loss: Any, test: Batch, params: Any, batch: Batch) -> jax.Array:
    del batch
    return loss(params, test, None)


def _evaluated_on(evaluate: Any, test: Batch, params: Any, batch: Batch, model_state: Any) -> jax.Array:
    del batch
    return evaluate(params, model_state, test)


def _metric_on(metric: Any, test: Batch, params: Any, batch: Batch, *model_state: Any) -> jax.Array:
    del batch
    return metric(params, test, *model_state)
