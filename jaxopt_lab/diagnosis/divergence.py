"""What made a run infinite or NaN: its own growth, or an operation that the run walked into.

A run that climbs before it ends has a learning rate that is too high. One whose loss was no larger than twice its start
at the last step at which it was finite met something else, and that is looked for one step further.
"""

from typing import Any

import numpy as np
import optax

from jaxopt_lab import training
from jaxopt_lab.core import Problem, vectors
from jaxopt_lab.diagnosis.culprits import Culprit, find_culprit
from jaxopt_lab.diagnosis.runs import ProbeRun

_GROWN = 2.0


def culprit_on_the_way(
    problem: Problem, rule: optax.GradientTransformation, params: Any, run: ProbeRun, batch_size: int | None, seed: int
) -> tuple[Culprit, int] | None:
    """The operation that ended a run which had not grown, and its step; None for one that had.

    Args:
      problem: as it was run.
      rule: as it was run.
      params: where it began.
      run: a run that ended with a number that is not finite.
      batch_size: examples a step.
      seed: of the data order.

    Returns:
      The culprit and the step, or None. Cost: the run again, about log2(steps between records) times.
    """
    finite = np.flatnonzero(np.isfinite(run.losses))
    if not finite.size:
        return _at(find_culprit(problem, params), 0)
    last = int(finite[-1])
    low, high = int(run.steps[last]), int(run.steps[min(last + 1, len(run.steps) - 1)])
    before = params
    while high - low > 1:
        middle = (low + high) // 2
        there = _after(problem, rule, params, middle, batch_size, seed)
        if there is None:
            high = middle
        else:
            low, before = middle, there
    if low > 0 and before is params:
        before = _after(problem, rule, params, low, batch_size, seed)
    frozen = problem.freeze()
    if before is None or float(frozen.full_loss(before)) > _GROWN * abs(float(run.losses[0])):
        return None
    after = _step(problem, rule, params, high, batch_size, seed)
    if after is not None and bool(vectors.all_finite(after)):
        return _at(find_culprit(frozen, after), high)
    return _at(find_culprit(frozen, before), high)


def _at(culprit: Culprit | None, step: int) -> tuple[Culprit, int] | None:
    return None if culprit is None else (culprit, step)


def _after(problem: Problem, rule: Any, params: Any, steps: int, batch_size: int | None, seed: int) -> Any:
    """Parameters after so many steps, or None where loss or parameters are not finite there."""
    there = _step(problem, rule, params, steps, batch_size, seed)
    if there is None or not bool(vectors.all_finite(there)):
        return None
    return there if np.isfinite(float(problem.freeze().full_loss(there))) else None


def _step(problem: Problem, rule: Any, params: Any, steps: int, batch_size: int | None, seed: int) -> Any:
    """Parameters after so many steps, finite or not."""
    trace = training.run(
        problem, rule, steps=steps, every=max(steps, 1), params=params, batch_size=batch_size,
        seeds=seed, probes=[training.update_ratio()], execution=training.Execution(progress=False),
    )  # fmt: skip
    return trace.params_of()
