"""Where the run ended: the validation loss, what smaller weights would do there, and what became of the metrics."""

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from jaxopt_lab import curvature
from jaxopt_lab.core import Estimate, Problem, mean_of_samples, vectors
from jaxopt_lab.core.problem import as_partial
from jaxopt_lab.diagnosis.budget import LOSS, PRODUCT, Budget, Skipped, some_examples
from jaxopt_lab.diagnosis.gradient_noise import value

if TYPE_CHECKING:
    from jaxopt_lab.diagnosis.evidence import Evidence

_MOST_EXAMPLES = 2048
_BETTER = {
    "accuracy", "score", "auc", "f1", "iou", "dice", "r2", "precision", "recall", "correlation", "similarity", "reward",
}  # fmt: skip
_SHRINKS = (1.0, 0.9, 0.8, 0.65, 0.5, 0.35, 0.2, 0.1)


@dataclasses.dataclass(frozen=True)
class Validation:
    """The end of the run on the validation data.

    Attributes:
      loss: mean over the validation data.
      shrink_factor: the factor of all weights, at most 1, with the least validation loss.
      shrink_gain: how many times lower it is there.
      weight_curvature: of the training loss along the weights themselves, w'Hw / w'w.
      alike: training loss, in evaluation mode, on as many examples at once as the validation loss was taken on: a loss
        that is no mean over its examples hangs on their number.
    """

    loss: Estimate
    shrink_factor: float
    shrink_gain: float
    weight_curvature: float
    alike: float = float("nan")


class MetricChange(NamedTuple):
    """A metric of the problem on its training data.

    Attributes:
      name: of the metric.
      start: at the point.
      end: at the end of the run.
    """

    name: str
    start: float
    end: float


def measure_metrics(evidence: "Evidence") -> tuple[MetricChange, ...]:
    """The metrics of which more is better, by their names, where the run brought the loss down; none elsewhere."""
    setting, run = evidence.setting, evidence.run
    names = [name for name in setting.problem.metrics if _BETTER & set(name.lower().replace("-", "_").split("_"))]
    if not names or setting.problem.data is None or run is None or run.diverged or not run.end < evidence.point.loss:
        return ()
    batch = some_examples(setting.problem.data, _MOST_EXAMPLES, setting.seed)
    places = ((setting.problem.freeze(), setting.params), (setting.problem.freeze(run.model_state), run.params))
    found = [(name, *(_metric(problem, name, params, batch) for problem, params in places)) for name in names]
    return tuple(MetricChange(*each) for each in found if np.isfinite(each[1:]).all())


def _metric(problem: Problem, name: str, params: Any, batch: Any) -> float:
    """NaN for what cannot be computed: a metric is the user's, and may be for other data."""
    try:
        return float(jax.jit(problem.metrics[name])(params, batch))
    except Exception:
        return float("nan")


def measure_validation(evidence: "Evidence", budget: Budget) -> Validation | Skipped:
    """The end of the run on the validation data, and what shrinking the weights would do there."""
    problem, run = evidence.setting.problem, evidence.run
    if problem.validation is None:
        return Skipped("the problem has no validation data", applies=False)
    if run is None or run.diverged:
        return Skipped("there is no end of a run")
    frozen = problem.freeze(run.model_state)
    loss, shrink = _loss_in_parts(frozen, run.params, problem.validation), _shrinking(frozen, run.params)
    num = len(jax.tree.leaves(problem.validation)[0])
    alike = _loss_in_parts(frozen, run.params, some_examples(problem.data, num, evidence.setting.seed))
    bent = budget.attempt("curvature along the weights", lambda: _weight_curvature(frozen, run.params))
    share = num / (problem.num_examples or 1)
    budget.pay((2 + len(_SHRINKS)) * LOSS * share + PRODUCT)
    return Validation(loss, *shrink, bent or 0.0, alike.value)


def _loss_in_parts(frozen: Problem, params: Any, data: Any) -> Estimate:
    """The mean over eight parts of the data, with the error that their scatter tells."""
    leaves, structure = jax.tree.flatten(data)
    num = leaves[0].shape[0]
    parts = min(8, num)
    size = num // parts
    loss = as_partial(frozen.loss)
    values = []
    for k in range(parts):
        batch = structure.unflatten([leaf[k * size : (k + 1) * size] for leaf in leaves])
        values.append(float(value(loss, params, batch)))
    return mean_of_samples(np.array(values)) if parts > 1 else Estimate(values[0])


def _shrinking(frozen: Problem, params: Any) -> tuple[float, float]:
    """The factor of the weights, at most 1, with the least validation loss, and that loss's gain."""
    loss = as_partial(frozen.loss)
    losses = [float(_value_of_multiple(loss, factor, params, frozen.validation)) for factor in _SHRINKS]
    best = int(np.nanargmin(losses))
    return _SHRINKS[best], losses[0] / max(losses[best], 1e-300)


@jax.jit
def _value_of_multiple(loss: Any, factor: Any, params: Any, data: Any) -> jax.Array:
    return value(loss, jax.tree.map(lambda leaf: factor * leaf, params), data)


def _weight_curvature(frozen: Problem, params: Any) -> float:
    """The curvature along the weights themselves, w'Hw / w'w."""
    weights = jax.tree.map(vectors.widened, params)
    square = float(vectors.sum_of_squares(weights))
    return float(vectors.dot(weights, curvature.hessian(frozen, params)(weights))) / square if square else 0.0
