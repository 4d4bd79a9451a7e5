"""Whether the model can fit sixteen examples: what it cannot memorize it is too small, or too broken, to learn.

Reference: Zhang et al. 2017, arXiv 1611.03530: networks of the usual size fit any labels.
"""

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np
import optax

from jaxopt_lab import training
from jaxopt_lab.diagnosis.budget import Budget, Skipped, some_examples, step_cost
from jaxopt_lab.diagnosis.prescriptions import without_randomness

if TYPE_CHECKING:
    from jaxopt_lab.diagnosis.evidence import Evidence

NUM_EXAMPLES = 16
_STEPS, _FEWEST_STEPS, _SHARE = 400, 100, 0.1
_RATES = (1e-3, 1e-2, 1e-1)


class Memorization(NamedTuple):
    """Runs on sixteen examples.

    Attributes:
      start: the loss of them at the point.
      least: over Adam's rates, where the runs end or on their way.
      rate: of the best run.
    """

    start: float
    least: float
    rate: float


def measure_memorization(evidence: "Evidence", budget: Budget) -> Memorization | Skipped:
    """The least loss of sixteen examples by Adam at three rates; only where training goes badly."""
    setting = evidence.setting
    num = setting.problem.num_examples
    if num is None or num < 2 * NUM_EXAMPLES:
        return Skipped("the problem has fewer than 32 examples", applies=False)
    if evidence.run is not None and not evidence.is_underperforming:
        return Skipped("the run learns its examples", applies=False)
    a_step = len(_RATES) * step_cost(setting.problem, NUM_EXAMPLES)
    steps = int(np.clip(_SHARE * budget.total / a_step, _FEWEST_STEPS, _STEPS))
    cost = steps * a_step
    if not budget.allows_aside("memorization", cost):
        return budget.skipped["memorization"]
    params = setting.params if setting.from_init else setting.problem.init(jax.random.key(setting.seed))
    data = some_examples(setting.problem.data, NUM_EXAMPLES, setting.seed)
    problem, _ = without_randomness().apply(setting.problem.freeze(), setting.rule)
    problem = dataclasses.replace(problem, data=data, validation=None, metrics={})
    trace = training.run(
        problem, optax.adam, {"learning_rate": np.array(_RATES)}, steps=steps, every=max(steps // 20, 1),
        params=params, seeds=setting.seed, execution=training.Execution(progress=False),
    )  # fmt: skip
    losses = np.where(np.isfinite(trace["loss"]), trace["loss"], np.inf)
    least = losses.min(1)
    best = int(least.argmin())
    return Memorization(float(losses[0, 0]), float(least[best]), _RATES[best])
