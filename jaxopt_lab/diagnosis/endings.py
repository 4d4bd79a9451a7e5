"""What is measured where the short run ended: layers, validation, what shrinking the weights would do, noise."""

from typing import Any

import jax
import numpy as np

from jaxopt_lab import curvature
from jaxopt_lab.core import Estimate, Problem, as_partial, mean_of_samples, vectors
from jaxopt_lab.diagnosis.budget import LOSS, PRODUCT, Budget
from jaxopt_lab.diagnosis.evaluations import share_of_data, value, value_and_gradient
from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.gradient_noise import measure_noise
from jaxopt_lab.tracing.layer_statistics import measure_signals

_SHRINKS = (1.0, 0.9, 0.8, 0.65, 0.5, 0.35, 0.2, 0.1)


def look_at_end(known: Evidence, budget: Budget) -> dict[str, Any]:
    """The fields of the evidence that belong to the end of the run; charges the budget."""
    run, problem = known.run, known.problem
    if run is None or run.diverged:
        return {}
    found: dict[str, Any] = {}
    frozen = problem.freeze(run.model_state)
    if known.signals is not None and budget.allows("layers at the end", share_of_data(problem, 256) * 2):
        found["signals_end"] = measure_signals(frozen, run.params, seed=known.seed)
        budget.pay(share_of_data(problem, 256) * 2)
    if problem.validation is not None:
        found["validation"] = _validation_loss(frozen, run.params)
        found["shrinking"] = _shrinking(frozen, run.params)
        bent = budget.attempt("curvature along the weights", lambda: _weight_curvature(frozen, run.params))
        found["weight_curvature"] = bent or 0.0
        budget.pay((1 + len(_SHRINKS)) * LOSS * _validation_share(problem) + PRODUCT)
    if not known.random:
        return found
    a_sample = share_of_data(problem, known.batch_size)
    count = int(min(32, 0.1 * budget.total / a_sample))
    if count >= 2 and budget.allows("gradient noise", count * a_sample):
        _, gradient = value_and_gradient(as_partial(frozen.loss), run.params, frozen.data)
        preconditioner = _preconditioner(known)
        found["noise"] = measure_noise(
            frozen, run.params, gradient, batch_size=known.batch_size, num_samples=count, seed=known.seed,
            preconditioner=preconditioner,
        )  # fmt: skip
        budget.pay(count * a_sample)
    return found


def _preconditioner(known: Evidence) -> Any:
    if known.model_end is None or not known.model_end.preconditioned or known.run is None:
        return None
    return curvature.preconditioner_of(known.run.state)


def _validation_loss(frozen: Problem, params: Any) -> Estimate:
    """The mean over eight parts of the validation data, with the error that their scatter tells."""
    leaves, structure = jax.tree.flatten(frozen.validation)
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
    losses = [float(value(loss, jax.tree.map(lambda leaf, c=c: c * leaf, params), frozen.validation)) for c in _SHRINKS]
    best = int(np.nanargmin(losses))
    return _SHRINKS[best], losses[0] / max(losses[best], 1e-300)


def _weight_curvature(frozen: Problem, params: Any) -> float:
    """The curvature along the weights themselves, w'Hw / w'w."""
    weights = jax.tree.map(vectors.widened, params)
    square = float(vectors.sum_of_squares(weights))
    return float(vectors.dot(weights, curvature.hessian(frozen, params)(weights))) / square if square else 0.0


def _validation_share(problem: Problem) -> float:
    """Validation examples for each that is trained on."""
    num = jax.tree.leaves(problem.validation)[0].shape[0] if problem.validation is not None else 0
    return num / (problem.num_examples or 1)
