"""`Case`: a training run with a known fault, and the cure that undoes nothing but that fault.

The cure is what makes a label true: a case of cause c is a run that trains badly and that trains well once c alone is
undone. Nothing here knows of `jaxopt_lab.diagnosis`.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab import training
from jaxopt_lab.core import Problem

CAUSES = (
    "ill-conditioned", "saddle", "plateau", "vanishing-signal", "exploding-signal", "dead-units", "gradient-noise",
    "learning-rate-too-low", "learning-rate-too-high", "unnormalized-inputs", "bad-initialization", "overfitting",
    "underfitting", "local-minimum", "non-finite", "healthy",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A run with a known fault.

    Attributes:
      cause: what is wrong with it, of `CAUSES`.
      also: what else is wrong.
      family: the kind of problem.
      severity: in [0, 1], from mild to severe.
      seed: what it was drawn by.
      problem: what is trained; its data are those that the seed drew.
      rule: how, a finished rule.
      params: where it stands; None for the problem's own start, which is then under suspicion too.
      steps: length of the run.
      batch_size: examples a step; None for all.
      cure: the fields that undo the fault, with their values.
    """

    cause: str
    also: tuple[str, ...]
    family: str
    severity: float
    seed: int
    problem: Problem
    rule: optax.GradientTransformation
    params: Any
    steps: int
    batch_size: int | None
    cure: Mapping[str, Any]

    def cured(self) -> "Case":
        """The same run without its fault."""
        return dataclasses.replace(self, **{"cause": "healthy", "also": (), "cure": {}, **self.cure})

    def losses(self) -> tuple[float, float, float, float]:
        """Loss on all training data before and after the run; loss on the validation data before and after it."""
        problem, start = self.problem, self.params
        start = problem.init(jax.random.key(self.seed)) if start is None else start
        end = trained(problem, self.rule, start, self.steps, self.batch_size, self.seed)
        found = [float(problem.full_loss(point)) for point in (start, end)]
        if problem.validation is None:
            return found[0], found[1], np.nan, np.nan
        held = [float(problem.evaluate(point, problem.validation)) for point in (start, end)]
        return found[0], found[1], held[0], held[1]


def trained(problem: Problem, rule: Any, params: Any, steps: int, batch_size: int | None, seed: int) -> Any:
    """Where a run ends that starts at `params`, or for None at the problem's own start."""
    trace = training.run(
        problem, rule, steps=steps, every=steps, seeds=seed, batch_size=batch_size, params=params,
        feasibility=training.Feasibility(blow_up=np.inf), execution=training.Execution(progress=False),
    )  # fmt: skip
    return trace.params_of()


@functools.cache
def descent(learning_rate: float, momentum: float | None = None, decay: float = 0.0) -> optax.GradientTransformation:
    """SGD, with momentum, with weight decay; the same object for the same numbers, so that programs are shared."""
    rule = optax.sgd(learning_rate, momentum)
    return optax.chain(optax.add_decayed_weights(decay), rule) if decay else rule


@functools.cache
def adam(learning_rate: float, decay: float = 0.0) -> optax.GradientTransformation:
    """Adam, with weight decay AdamW."""
    return optax.adamw(learning_rate, weight_decay=decay) if decay else optax.adam(learning_rate)


def between(severity: float, mild: float, severe: float) -> float:
    """A number that grows or shrinks by equal factors from the mild to the severe value."""
    return float(mild * (severe / mild) ** severity)


def level(severity: float, *values: Any) -> Any:
    """The value for a mild, a middle and a severe case."""
    return values[min(int(severity * len(values)), len(values) - 1)]


def real() -> str:
    """The name of the default float, which decides what a cached problem is made of."""
    return str(jnp.zeros(()).dtype)
