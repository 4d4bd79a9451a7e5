"""Short probe runs: the rule in use from the point, at its own learning rate and at others, on the same batches."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab import training
from jaxopt_lab.core import Problem, Status, vectors
from jaxopt_lab.tracing import find_non_finite
from jaxopt_lab.tracing.non_finite import GUARDED, NonFiniteOrigin
from jaxopt_lab.training.evaluation_params import Evaluated, evaluated_at
from jaxopt_lab.training.groups import batch_of_step

if TYPE_CHECKING:
    from jaxopt_lab.diagnosis.evidence import Setting

RATES = (0.01, 0.1, 10.0, 100.0)
RECORDS = 20
_GROWN, _LEAP = 2.0, 10.0


@dataclasses.dataclass(frozen=True)
class ScaledRule:
    """The rule with its steps multiplied by a factor, as a factory that is equal for equal rules."""

    rule: optax.GradientTransformation

    def __call__(self, factor: Any = 1.0) -> optax.GradientTransformation:
        """The rule whose every step is `factor` times as long."""
        return optax.chain(self.rule, optax.scale(factor))

    def state_of(self, state: Any) -> Any:
        """The state of that rule, where the rule itself has `state`."""
        return state, optax.EmptyState()


def without_decay(rule: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """The rule, told that all parameters are zero: a decay of the weights then decays nothing."""
    inner = optax.with_extra_args_support(rule)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        zeros = None if params is None else jax.tree.map(jnp.zeros_like, params)
        return inner.update(updates, state, zeros, **extra)

    return optax.GradientTransformationExtraArgs(inner.init, update)


def with_wide_copy(rule: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """The rule on a float32 copy of the parameters that it keeps; its updates lead to the rounded copy."""
    inner = optax.with_extra_args_support(rule)
    wide = lambda tree: jax.tree.map(vectors.widened, tree)  # noqa: E731

    def init(params: Any) -> tuple[Any, Any]:
        return wide(params), inner.init(wide(params))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        copy, own = state
        steps, own = inner.update(wide(updates), own, copy, **extra)
        copy = optax.apply_updates(copy, steps)
        return jax.tree.map(lambda new, old: new.astype(old.dtype) - old, copy, params), (copy, own)

    return optax.GradientTransformationExtraArgs(init, update)


@dataclasses.dataclass(frozen=True)
class ProbeRun:
    """One run.

    Attributes:
      steps: steps at each record, [R].
      losses: expected loss over all data, [R]; NaN behind the record at which it diverged.
      cosines: cosine of the last two updates, [R].
      validation: loss on the validation data, [R], or None.
      status: how it ended.
      params: where it ended.
      state: of the rule, there.
      model_state: of the model, there.
      non_finite: what ended a run that had not grown, or None.
      non_finite_step: and at which step.
    """

    steps: np.ndarray
    losses: np.ndarray
    cosines: np.ndarray
    validation: np.ndarray | None
    status: Status
    params: Any
    state: Any
    model_state: Any
    non_finite: NonFiniteOrigin | None = None
    non_finite_step: int | None = None

    @property
    def num_steps(self) -> int:
        """Steps that it was to take."""
        return int(self.steps[-1])

    @property
    def diverged(self) -> bool:
        """Whether it blew up or met a number that is not finite."""
        return not self.status.feasible

    @property
    def start(self) -> float:
        """The loss before the first step."""
        return float(self.losses[0])

    @property
    def end(self) -> float:
        """The loss at the end: the mean of the last quarter's records, which a noisy run needs."""
        quarter = max(1, len(self.losses) // 4)
        return float(np.mean(self.losses[-quarter:]))

    @property
    def late_losses(self) -> tuple[float, float]:
        """The means of the third and of the last quarter's records; NaN for fewer than eight."""
        if len(self.losses) < 8:
            return float("nan"), float("nan")
        _, _, third, last = np.array_split(self.losses, 4)
        return float(third.mean()), float(last.mean())

    @property
    def cosine(self) -> float:
        """Median cosine of successive updates in the last half."""
        half = self.cosines[len(self.cosines) // 2 :]
        finite = half[np.isfinite(half)]
        return float(np.median(finite)) if finite.size else float("nan")


@dataclasses.dataclass(frozen=True)
class OtherRates:
    """The same run at other learning rates.

    Attributes:
      steps: steps at each record, [R].
      losses: factor -> losses [R], NaN behind the record at which it diverged.
    """

    steps: np.ndarray
    losses: Mapping[float, np.ndarray]


def probe_run(
    problem: Problem, rule: optax.GradientTransformation, params: Any, *, steps: int, every: int,
    batch_size: int | None, seed: int,
) -> ProbeRun:  # fmt: skip
    """Runs the rule from the point.

    Args:
      problem: what it is run on.
      rule: the rule, whose state begins anew.
      params: the point.
      steps: number of steps.
      every: steps between records.
      batch_size: examples a step; None for all.
      seed: seeds the order of the data.

    Returns:
      The run. Cost: steps batch_size / n gradients and a loss a record.
    """
    probes = [training.loss(), training.update_cosine()]
    if problem.validation is not None:
        probes.append(training.validation_loss())
    trace = training.run(
        problem, rule, steps=steps, every=every, params=params, batch_size=batch_size, seeds=seed,
        probes=probes, execution=training.Execution(progress=False),
    )  # fmt: skip
    return ProbeRun(
        steps=trace.steps,
        losses=trace["loss"][0],
        cosines=trace["update_cosine"][0],
        validation=trace["validation_loss"][0] if problem.validation is not None else None,
        status=trace.status[0],
        params=trace.params_of(),
        state=jax.tree.map(lambda leaf: leaf[0], trace.state),
        model_state=None if trace.model_state is None else trace.model_state_of(),
    )


def rate_runs(
    problem: Problem, rule: optax.GradientTransformation, params: Any, *, steps: int, every: int,
    batch_size: int | None, seed: int,
) -> OtherRates:  # fmt: skip
    """The same run at the rates times `RATES`."""
    trace = training.run(
        problem, ScaledRule(rule), {"factor": np.array(RATES)}, steps=steps, every=every, params=params,
        batch_size=batch_size, seeds=seed, execution=training.Execution(progress=False),
    )  # fmt: skip
    return OtherRates(trace.steps, dict(zip(RATES, trace["loss"], strict=True)))


def find_on_the_way(
    problem: Problem, rule: optax.GradientTransformation, params: Any, run: ProbeRun, batch_size: int | None, seed: int
) -> ProbeRun:
    """The run with the operation that ended it, if it had not grown to more than twice its first loss before.

    A run that climbs before it ends, or overflows after a step ten times as long as the parameters, has a learning rate
    that is too high. One that does not met something else, and that is looked for one step further; and on the batch of
    that step, such as one without a label.

    Args:
      problem: as it was run.
      rule: as it was run.
      params: where it began.
      run: a run that ended with a number that is not finite.
      batch_size: examples a step.
      seed: of the data order.

    Returns:
      The run. Cost: the run again, about log2(steps between records) times.
    """
    step = lambda count: _params_after(problem, rule, params, count, batch_size, seed)  # noqa: E731
    finite = np.flatnonzero(np.isfinite(run.losses))
    if not finite.size:
        return dataclasses.replace(run, non_finite=find_non_finite(problem, params), non_finite_step=0)
    frozen, last = problem.freeze(), int(finite[-1])
    low, high = int(run.steps[last]), int(run.steps[min(last + 1, len(run.steps) - 1)])
    before = params if low == 0 else _finite_or_none(frozen, step(low))
    while high - low > 1:
        middle = (low + high) // 2
        there = _finite_or_none(frozen, step(middle))
        low, high, before = (low, middle, before) if there is None else (middle, high, there)
    if before is None or float(frozen.full_loss(before)) > _GROWN * abs(float(run.losses[0])):
        return run
    after = step(high)
    origin = find_non_finite(frozen, after if bool(vectors.all_finite(after)) else before)
    if origin is None:
        origin = find_non_finite(frozen, before, *batch_of_step(problem, batch_size, seed, high - 1))
    leap = float(vectors.norm(vectors.subtract(after, before))) / max(float(vectors.norm(before)), 1.0)
    if origin is None or (leap > _LEAP and origin.name not in GUARDED):
        return run
    return dataclasses.replace(run, non_finite=origin, non_finite_step=high)


def _params_after(problem: Problem, rule: Any, params: Any, steps: int, batch_size: int | None, seed: int) -> Any:
    """Parameters after so many steps, finite or not."""
    trace = training.run(
        problem, rule, steps=steps, every=max(steps, 1), params=params, batch_size=batch_size,
        seeds=seed, probes=[training.update_cosine()], execution=training.Execution(progress=False),
    )  # fmt: skip
    return trace.params_of()


def _finite_or_none(frozen: Problem, params: Any) -> Any:
    """The parameters where they and the loss there are finite, else None."""
    return params if bool(vectors.all_finite(params)) and np.isfinite(float(frozen.full_loss(params))) else None


@dataclasses.dataclass(frozen=True)
class Scores:
    """Losses at the end of runs, NaN where one diverged: what decides; on the training data where that is another."""

    ends: np.ndarray
    training: np.ndarray | None
    steps: np.ndarray
    curves: np.ndarray
    params: Any
    model_state: Any


def score_runs(
    problem: Problem, rule: Any, factors: list[float], setting: "Setting", steps: int, restarts: bool = False,
    draw: int = 0, evaluated: Evaluated | None = None,
) -> Scores:  # fmt: skip
    """Where runs of the rule at its rate times each factor end, or what is `evaluated` of it."""
    on_validation = problem.validation is not None
    probes = [training.loss(), *([training.validation_loss()] if on_validation else [])]
    size = setting.batch_size
    if size is not None and problem.num_examples is not None:
        size = min(size, problem.num_examples)
    params = problem.init(jax.random.key(setting.seed + draw)) if restarts else setting.params
    problem, rule, params = evaluated_at(problem, rule, params, evaluated)
    scaled: tuple[Any, ...] = (rule,) if factors == [1.0] else (ScaledRule(rule), {"factor": np.array(factors)})
    trace = training.run(
        problem, *scaled, steps=steps, every=max(1, steps // RECORDS),
        params=params, batch_size=size, seeds=setting.seed, probes=probes, execution=training.Execution(progress=False),
    )  # fmt: skip
    finite = [status.feasible for status in trace.status]
    ends = {}
    for probe in probes:
        curves = trace[probe.name]
        tail = curves[:, -max(1, curves.shape[1] // 4) :].mean(1)
        ends[probe.name] = np.where(finite, tail if probe.name == "loss" else curves.min(1), np.nan)
    name, also = ("validation_loss", ends["loss"]) if on_validation else ("loss", None)
    return Scores(ends[name], also, trace.steps, trace[name], trace.params_of(), trace.model_state_of())
