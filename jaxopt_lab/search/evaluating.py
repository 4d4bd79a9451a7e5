"""`evaluator`: what an adaptive search asks for the losses of its trials, on the engine."""

import numpy as np

from jaxopt_lab import training
from jaxopt_lab.core import Problem, require_count
from jaxopt_lab.search.history import Evaluate
from jaxopt_lab.search.plans import Rule


def evaluator(
    problem: Problem,
    rule: Rule,
    *,
    seeds: int = 1,
    seed: int = 0,
    batch_size: int | None = None,
    validate: bool = False,
) -> Evaluate:
    """A function (columns, steps) -> losses for `coarse_to_fine` and its relatives.

    Args:
      problem: what to minimize.
      rule: a factory, hyperparameters -> rule.
      seeds: runs of each trial; their median counts; it is infinite where half of them diverged.
      seed: the first of the seeds.
      batch_size: examples a step, or None for all.
      validate: whether the loss on the validation data counts instead of that on the training data.

    Returns:
      The function; a trial that diverged has an infinite loss. All trials of a call are one compiled program, which
      calls with as many trials share, whatever their steps.

    Raises:
      InputError: seeds or seed is no such number.

    Example:
      >>> from jaxopt_lab import objectives, rules, search
      >>> bowl = objectives.quadratic([1.0, 0.1], start=1.0)
      >>> space = search.Space(learning_rate=search.log_uniform(1e-4, 1e-3))
      >>> found = search.coarse_to_fine(search.evaluator(bowl, rules.sgd), space, trials=8, steps=(10, 20, 40))
      >>> 1.6 < found.values["learning_rate"] < 1.9  # from far off to near the best, 1.8
      True
    """
    require_count("evaluator", "seeds", seeds)
    require_count("evaluator", "seed", seed, 0)
    probes = (training.loss(), training.validation_loss()) if validate else (training.loss(),)

    def evaluate(columns: dict[str, np.ndarray], steps: int) -> np.ndarray:
        losses = []
        for number in range(seed, seed + seeds):
            trace = training.run(
                problem, rule, columns, steps=steps, seeds=number, probes=probes, every=steps, batch_size=batch_size,
                keep_final=False, share_batches=True,
            )  # fmt: skip
            ended = trace[probes[-1].name][:, -1].astype(float)
            feasible = np.array([status.feasible for status in trace.status])
            losses.append(np.where(feasible & np.isfinite(ended), ended, np.inf))
        return np.median(losses, 0)

    return evaluate
