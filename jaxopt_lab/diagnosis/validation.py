"""Where the run ended: on validation data, with smaller weights, without decay, in evaluation mode, in the metrics."""

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab import curvature
from jaxopt_lab.core import Estimate, Problem, mean_of_samples, vectors
from jaxopt_lab.core.compilation import compiled
from jaxopt_lab.core.problem import as_partial
from jaxopt_lab.diagnosis.budget import GRADIENT, LOSS, PRODUCT, Budget, Skipped, some_examples, step_cost
from jaxopt_lab.diagnosis.gradient_noise import draw_batch, value, value_and_gradient
from jaxopt_lab.diagnosis.probe_runs import without_decay
from jaxopt_lab.storage.fingerprints import program_of
from jaxopt_lab.tracing.jaxprs import lay_out
from jaxopt_lab.tracing.randomness import asks_for_noise, learns_noise, moves_data

if TYPE_CHECKING:
    from jaxopt_lab.diagnosis.evidence import Evidence

_MOST_EXAMPLES = 2048
_BATCHES = 4
_AT_REST = 40  # steps: a momentum of .9 has forgotten all but a hundredth
_BETTER = {
    "accuracy", "score", "auc", "f1", "iou", "dice", "r2", "precision", "recall", "correlation", "similarity", "reward",
}  # fmt: skip
_SHRINKS = (1.0, 0.9, 0.8, 0.65, 0.5, 0.35, 0.2, 0.1)


class Modes(NamedTuple):
    """A model that trains in another mode than it is evaluated in, at the end of the run, on the same examples.

    Attributes:
      training: loss in training mode, batches as in use.
      evaluation: loss in evaluation mode.
      key_share: of the variance of a step's gradient, what the key alone makes; median over the leaves of two or more
        axes.
      is_meant: whether the noise is no addition: the parameters give it its size, as where a model samples what it
        encodes, or the loss asks for it, as of a denoiser.
      moved: of the way to those of the batch, what a step moves the running statistics; measured where evaluation mode
        has the higher loss, else NaN.
    """

    training: float
    evaluation: float
    key_share: float
    is_meant: bool = False
    moved: float = float("nan")


@dataclasses.dataclass(frozen=True)
class Validation:
    """The end of the run on the validation data.

    Attributes:
      loss: mean over the validation data.
      shrink_factor: the factor of all weights, at most 1, with the least validation loss.
      shrink_gain: how many times lower it is there.
      weight_curvature: of the training loss along the weights themselves, w'Hw / w'w.
      alike: training loss, in evaluation mode, on as many examples at once as the validation loss was taken on: a loss
        that is no mean over its examples depends on their number.
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
    found = [(name, *(metric_at(problem, name, params, batch) for problem, params in places)) for name in names]
    return tuple(MetricChange(*each) for each in found if np.isfinite(each[1:]).all())


def metric_at(problem: Problem, name: str, params: Any, batch: Any) -> float:
    """A metric; NaN where it cannot be computed: it is the user's, and may be for other data."""
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


def measure_decay(evidence: "Evidence", budget: Budget) -> float | Skipped:
    """What weight decay changes of the step where the run ended, over the step without it.

    The larger of two: of the next step, and of one whose momentum has forgotten, in steps along the same gradient, what
    it knew of those before: their decay too, where that is added to the gradient.
    """
    setting, run = evidence.setting, evidence.run
    if not setting.optimizer.weight_decay > 0:
        return Skipped("the rule decays no weights", applies=False)
    if run is None or run.diverged:
        return Skipped("there is no end of a run")
    if not budget.allows_aside("weight decay", GRADIENT):
        return budget.skipped["weight decay"]
    frozen = setting.problem.freeze(run.model_state)
    _, gradient = value_and_gradient(as_partial(frozen.loss), run.params, frozen.data)
    shares = compiled(_shares, (setting.rule,), (run.state, run.params))
    return float(max(shares(run.state, run.params, gradient)))


def _shares(rule: Any, state: Any, params: Any, gradient: Any) -> list[jax.Array]:
    """What the parameters change of a step, over the step at zero parameters: at once, and once momentum forgot."""

    def steps(rule: Any) -> tuple[Any, Any]:
        first = rule.update(gradient, state, params)
        step = lambda _, carry: rule.update(gradient, carry[1], params)  # noqa: E731
        return first[0], jax.lax.fori_loop(0, _AT_REST, step, first)[0]

    share = lambda one, other: vectors.norm(vectors.subtract(one, other)) / jnp.maximum(vectors.norm(other), 1e-30)  # noqa: E731
    return [share(one, other) for one, other in zip(steps(rule), steps(without_decay(rule)), strict=True)]


def measure_modes(evidence: "Evidence", budget: Budget) -> Modes | None:
    """Training against evaluation mode at the end of the run; None where they are one."""
    setting, run = evidence.setting, evidence.run
    problem = setting.problem
    if run is None or run.diverged:
        return None
    if not (problem.stateful is not None or evidence.point.is_random or _has_modes(problem, run.params)):
        return None
    cost = _BATCHES * (2 * LOSS + 3) * step_cost(problem, setting.batch_size)
    if not budget.allows_aside("train-eval-mismatch", cost):
        return None
    state = run.model_state
    batches = [draw_batch(problem, setting.batch_size, (setting.seed, place)) for place in range(_BATCHES)]
    keys = jax.random.split(jax.random.key(setting.seed), _BATCHES)
    both = compiled(_both_modes, (problem.stateful is not None,), (_forms(problem), run.params, state))
    forms = _forms(problem)
    pairs = np.array([both(forms, run.params, state, batch, key) for batch, key in zip(batches, keys, strict=True)])
    spread = compiled(_slope, (problem.stateful is not None,), (forms, run.params, state))
    one_batch = [spread(forms, run.params, state, batches[0], key) for key in keys]
    all_batches = [spread(forms, run.params, state, batch, key) for batch, key in zip(batches, keys, strict=True)]
    shares = [
        min(own / whole, 1.0)
        for own, whole in zip(_variances(one_batch), _variances(all_batches), strict=True)
        if whole > 0
    ]
    train, leaves = forms[0], len(jax.tree.leaves(run.params))
    arguments = (run.params, *([state] if problem.stateful is not None else []), batches[0], keys[0])
    program = lay_out(train, *arguments, open_derivatives=False)
    alone, evaluated = pairs.mean(0).tolist()
    lags = problem.stateful is not None and evaluated > alone
    return Modes(
        alone, evaluated, float(np.median(shares)) if shares else 0.0,
        any(is_meant(program, leaves) for is_meant in (learns_noise, asks_for_noise, moves_data)),
        float(compiled(_moved, (), (train, state))(train, run.params, state, batches[0], keys[0])) if lags else np.nan,
    )  # fmt: skip


def _has_modes(problem: Problem, params: Any) -> bool:
    """Whether the loss with a key is another program than without, such as of a layer that acts in training alone."""
    one, other = (
        program_of(lambda p, batch, key=key: problem.loss(p, batch, key), params, problem.data)
        for key in (jax.random.key(0), None)
    )
    return str(one) != str(other)


def _forms(problem: Problem) -> Any:
    if problem.stateful is None:
        return as_partial(problem.loss), as_partial(problem.loss)
    return as_partial(problem.stateful.loss), as_partial(problem.stateful.evaluate)


def _both_modes(stateful: bool, forms: Any, params: Any, state: Any, batch: Any, key: Any) -> tuple[Any, Any]:
    train, evaluate = forms
    if stateful:
        return train(params, state, batch, key)[0], evaluate(params, state, batch)
    return train(params, batch, key), evaluate(params, batch, None)


def _moved(train: Any, params: Any, state: Any, batch: Any, key: Any) -> jax.Array:
    """From two states apart: each moves the same share of its own way to what the batch says."""
    other = jax.tree.map(lambda leaf: leaf + (1 + jnp.abs(leaf)) if vectors.is_floating(leaf) else leaf, state)
    means = lambda tree: [leaf for leaf in jax.tree.leaves(tree) if vectors.is_floating(leaf)]  # noqa: E731
    steps = [vectors.subtract(means(train(params, each, batch, key)[1]), means(each)) for each in (state, other)]
    apart = vectors.subtract(means(other), means(state))
    return vectors.dot(vectors.subtract(*steps), apart) / vectors.dot(apart, apart)


def _slope(stateful: bool, forms: Any, params: Any, state: Any, batch: Any, key: Any) -> list[jax.Array]:
    train = forms[0]
    loss = (lambda p: train(p, state, batch, key)[0]) if stateful else (lambda p: train(p, batch, key))
    leaves = [vectors.widened(leaf) for leaf in jax.tree.leaves(jax.grad(loss)(params))]
    return [leaf for leaf in leaves if leaf.ndim > 1] or leaves


def _variances(gradients: list[list[jax.Array]]) -> list[float]:
    """The variance of each leaf over the gradients, summed over its entries."""
    found = []
    for leaves in zip(*gradients, strict=True):
        table = np.stack([np.asarray(leaf, np.float64) for leaf in leaves])
        found.append(float(np.square(table - table.mean(0)).sum() / (len(table) - 1)))
    return found
