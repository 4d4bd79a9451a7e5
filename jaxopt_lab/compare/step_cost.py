"""What a step of a rule costs in gradients, so that a budget buys each rule as many steps as it can pay for.

A gradient of a batch costs 1, a Hessian product 2, an evaluation of the loss 1/3. A rule that never asks for another
gradient, value or product costs 1, as its traced program shows; for others a short run is counted: by the counts that
the rule keeps in its state, or, for line searches, by the calls of the loss themselves.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab import training
from jaxopt_lab.core import Problem
from jaxopt_lab.core.problem import as_partial

PRODUCT = 2.0
EVALUATION = 1 / 3
_PILOT = 12
_TIMED_STEPS, _TIMED_SECONDS = 50, 0.05


@dataclasses.dataclass(frozen=True)
class StepCost:
    """What a step costs, on the average over a short run.

    Attributes:
      gradients: a step, the one that every rule gets included.
      products: Hessian products a step.
      evaluations: of the loss a step.
      source: "program" (it asks for nothing more), "state" (its own counts), "calls" (counted).
    """

    gradients: float = 1.0
    products: float = 0.0
    evaluations: float = 0.0
    source: str = "program"

    @property
    def total(self) -> float:
        """Gradients that the step is worth."""
        return self.gradients + PRODUCT * self.products + EVALUATION * self.evaluations

    def steps(self, budget: float) -> int:
        """Steps that a budget of gradients buys."""
        return int(budget / self.total + 1e-9)


def measure_step_cost(
    problem: Problem,
    factory: Callable[..., optax.GradientTransformation],
    hyperparameters: dict[str, Any],
    batch_size: int | None = None,
) -> StepCost:
    """What a step of a rule costs on a problem.

    Args:
      problem: what is minimized.
      factory: hyperparameters -> rule.
      hyperparameters: name -> number, at which it is measured.
      batch_size: examples a step, or None for all.

    Returns:
      The cost. Cost: nothing, or 12 steps for a rule that asks for more than its gradient.

    Example:
      >>> import optax
      >>> from jaxopt_lab import objectives, rules
      >>> bowl = objectives.quadratic([1.0, 0.1], start=1.0)
      >>> measure_step_cost(bowl, optax.adam, {"learning_rate": 0.1}).total
      1.0
      >>> measure_step_cost(bowl, rules.newton_cg, {"learning_rate": 0.5, "damping": 0.01}).products > 0
      True
    """
    if not _asks(problem, factory, hyperparameters):
        return StepCost()
    tally = {"evaluations": 0, "gradients": 0}
    counted = dataclasses.replace(problem, loss=jax.tree_util.Partial(_Counted(tally), as_partial(problem.loss)))
    trace = training.run(
        counted, factory, {name: [value] for name, value in hyperparameters.items()}, steps=_PILOT, every=_PILOT,
        batch_size=batch_size, execution=training.Execution(width=1, loop="vmap", progress=False),
    )  # fmt: skip
    jax.effects_barrier()
    gradients, products = (float(each[0]) / _PILOT for each in trace.cost())
    if gradients > 1 or products > 0:
        return StepCost(gradients, products, source="state")
    own = 0 if problem.stateful is not None else _PILOT  # a model with state takes its own gradient by another way
    probed = 2  # the records at the start and at the end
    return StepCost(
        1 + max(tally["gradients"] - own, 0) / _PILOT, 0.0, max(tally["evaluations"] - probed, 0) / _PILOT, "calls"
    )


def measure_seconds(
    problem: Problem,
    factory: Callable[..., optax.GradientTransformation],
    hyperparameters: dict[str, Any],
    batch_size: int | None,
    seed: int,
    loop: str,
) -> dict[str, float]:
    """Seconds of a "step", and to "compile", from runs of one configuration of their own.

    Args:
      problem: what is minimized.
      factory: hyperparameters -> rule.
      hyperparameters: name -> number, at which it is timed.
      batch_size: examples a step, or None for all.
      seed: of the runs.
      loop: as in `Execution`.
    """
    alone = training.Execution(loop, width=1, progress=False, keep_final=False)

    def took(count: int) -> float:
        trace = training.run(
            problem, factory, hyperparameters, steps=count, every=count, seeds=seed, batch_size=batch_size,
            execution=alone,
        )  # fmt: skip
        return trace.facts["seconds"]

    first, again = took(_TIMED_STEPS), took(_TIMED_STEPS)
    most = 1000 * _TIMED_STEPS
    steps = int(np.clip(_TIMED_STEPS * _TIMED_SECONDS / again, _TIMED_STEPS, most))
    while True:  # until the steps themselves, without what a run costs besides them, take long enough to be timed
        once, twice = (min(took(count) for _ in range(3)) for count in (steps, 2 * steps))
        if twice - once > _TIMED_SECONDS / 20 or steps == most:
            break
        steps = int(min(steps * np.clip(_TIMED_SECONDS / max(twice - once, 1e-9), 2, 16), most))
    step = (twice - once) / steps if twice > once else twice / (2 * steps)
    return {"step": step, "compile": max(first - again, 0.0)}


class _AskedError(Exception):
    """The rule asks for more than its gradient."""


def _asks(problem: Problem, factory: Any, hyperparameters: dict[str, Any]) -> bool:
    """Whether an update calls any of the functions that the engine hands to it; traced, not computed."""

    def spy(params: Any, grad_fn: Any = None, gauss_newton_fn: Any = None, inner_step: int = 0) -> Any:
        raise _AskedError  # optax's line searches look at which of the extra inputs their function takes

    def once(params: Any, hyper: Any) -> Any:
        rule = optax.with_extra_args_support(factory(**hyper))
        extra = {"value": jnp.zeros(()), "grad": params, "value_fn": spy, "grad_fn": spy, "gauss_newton_fn": spy}
        return rule.update(params, rule.init(params), params, **extra)

    try:
        jax.eval_shape(once, jax.eval_shape(problem.init, jax.random.key(0)), hyperparameters)
    except _AskedError:
        return True
    return False


class _Counted:
    """A loss that counts, when it runs, how often it is evaluated and how often differentiated."""

    def __init__(self, tally: dict[str, int]) -> None:
        def add(name: str) -> None:
            jax.debug.callback(lambda: tally.__setitem__(name, tally[name] + 1))

        @jax.custom_vjp
        def tick(value: jax.Array) -> jax.Array:
            add("evaluations")
            return value

        def forward(value: jax.Array) -> tuple[jax.Array, None]:
            add("gradients")
            return value, None

        tick.defvjp(forward, lambda _, cotangent: (cotangent,))
        self._tick = tick

    def __call__(self, loss: Any, params: Any, batch: Any, key: Any) -> jax.Array:
        return self._tick(loss(params, batch, key))
