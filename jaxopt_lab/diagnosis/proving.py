"""The proof of a prescription: the run before and after, from paired seeds and on the same batches.

gain in steps   steps of the run before to 90 % of what it gains over a constant output, over those of the run after;
                of the logarithm of its loss, where the minimum is known
gain in loss    loss above the lowest known at the end, before over after

A change is proven where of four judgements (steps to the old end, loss at the end, worst loss on the way, validation
loss at the end) none is worse and one is better.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import optax

from jaxopt_lab import training
from jaxopt_lab.core import Estimate, Problem, fail
from jaxopt_lab.core.errors import require_count
from jaxopt_lab.diagnosis.findings import UNITS, Finding
from jaxopt_lab.diagnosis.gradient_noise import constant_output
from jaxopt_lab.diagnosis.judgements import Curves, Judgement, geometric, judge_runs, speed_up
from jaxopt_lab.diagnosis.output_search import search_outputs
from jaxopt_lab.training.evaluation_params import evaluated_at
from jaxopt_lab.training.feeding import on_a_sample

_LEAST, _MOST = 20, 2000
_RECORDS = 400  # of a run on minibatches, where a loss over all data costs more than a step


@dataclasses.dataclass(frozen=True)
class Proof:
    """What the re-run showed.

    Attributes:
      cause: that was removed.
      measured: the gain, geometric mean over the seeds with its 95 % interval.
      predicted: the gain that was predicted, at most the number of steps.
      unit: "steps", "loss" or "validation loss".
      steps: steps at each record, [R].
      before: losses [seeds, R]; of the validation data where the unit says so.
      after: the same with the prescription applied.
      judgements: of the runs after against those before.
    """

    cause: str
    measured: Estimate
    predicted: Estimate
    unit: str
    steps: np.ndarray
    before: np.ndarray
    after: np.ndarray
    judgements: tuple[Judgement, ...] = ()

    @property
    def shown(self) -> bool:
        """Whether the change is proven: no judgement is worse, and one is better."""
        return not self.worse and any(each.is_better for each in self.judgements)

    @property
    def worse(self) -> tuple[Judgement, ...]:
        """What the change makes worse."""
        return tuple(each for each in self.judgements if each.is_worse)

    @property
    def outcome(self) -> str:
        """In a few words: proven with its gain, or what is not shown."""
        if not np.isfinite(self.measured.value):
            return "no result"
        if self.worse:
            return "not proven"
        return f"{'proven' if self.shown else 'no gain shown'}: {self.measured.value:.3g} {UNITS[self.unit]}"

    def __str__(self) -> str:
        low, high = self.measured.interval or (np.nan, np.nan)
        told = f"{self.cause}: {self.outcome}"
        if not np.isfinite(self.measured.value):
            return f"{told}, the run with the prescription did not stay finite either."
        if self.worse:
            better = [each.name for each in self.judgements if each.is_better]
            gained = f"better in {', '.join(better)}, but worse" if better else "worse"
            return f"{told}, {gained}: {'; '.join(map(str, self.worse))}."
        told += "" if np.isnan(low) else f", in [{low:.3g}, {high:.3g}]"
        if not self.shown:
            return f"{told}."
        return f"{told}; predicted {self.predicted.value:.3g}; {'; '.join(map(str, self.judgements[1:]))}."

    def to_json(self) -> dict[str, Any]:
        """The numbers, as plain lists and dictionaries."""
        return {
            "cause": self.cause, "unit": self.unit, "shown": self.shown,
            "measured": dataclasses.asdict(self.measured), "predicted": dataclasses.asdict(self.predicted),
            "judgements": [dataclasses.asdict(each) for each in self.judgements],
        }  # fmt: skip


def prove(
    problem: Problem,
    rule: optax.GradientTransformation,
    finding: Finding,
    *,
    params: Any = None,
    steps: int | None = None,
    batch_size: int | None = None,
    seeds: Sequence[int] = (0, 1, 2),
) -> Proof:
    """Runs before and after the finding's prescription, paired.

    Args:
      problem: as it was diagnosed; of data in batches the same sample.
      rule: as it was diagnosed.
      finding: one of the diagnosis.
      params: where both runs begin; None for the initialization of each seed. A prescription that changes the initial
        parameters begins anew.
      steps: of each run; None for the horizon of the prediction, at least 20 and at most 2000.
      batch_size: examples a step; None for all.
      seeds: of initialization and data order; two or more give an interval.

    Returns:
      The proof. Cost: 2 len(seeds) steps steps.

    Raises:
      InputError: no seed, or a prescription that only a person can carry out.
    """
    if not len(seeds):
        raise fail("prove", "at least one seed is needed")
    problem, batch_size, _ = on_a_sample("prove", problem, batch_size)
    count = int(np.clip(finding.predicted_gain.horizon, _LEAST, _MOST)) if steps is None else steps
    require_count("prove", "steps", count, 2)
    other_problem, other_rule = finding.prescription.apply(problem, rule)
    gain, size = finding.predicted_gain, batch_size
    taken, before = _curves(problem, rule, params, count, size, seeds)
    if size is not None and other_problem.num_examples is not None:
        size = min(size, other_problem.num_examples)
    start = params if params is not None else problem.init(jax.random.key(seeds[0]))
    begin = None if finding.prescription.restarts else params
    changed = evaluated_at(other_problem, other_rule, begin, finding.prescription.evaluated)
    _, after = _curves(*changed, count, size, seeds)
    base = _baseline(problem, start)
    if finding.prescription.rescales:
        before, after = (
            dataclasses.replace(each, unit=_baseline(of, start) or 1.0)
            for each, of in ((before, problem), (after, other_problem))
        )
    minimum = problem.truth.minimum
    judged = judge_runs(taken, before, after, minimum=minimum, baseline=base)
    ours = [_by_unit(gain.unit, each) for each in (before, after)]
    pairs = zip(ours[0] / before.unit, ours[1] / after.unit, strict=True)
    known, least = (None if each is None else each / before.unit for each in (base, minimum))
    gains = np.array([_gain(taken, *pair, gain.unit, known, least) for pair in pairs])
    expected = gain.value if gain.in_run_of is None else gain.in_run_of(count)
    predicted = min(expected, float(count)) if gain.unit == "steps" else expected
    return Proof(finding.cause, geometric(gains), Estimate(predicted), gain.unit, taken, ours[0], ours[1], judged)


def _by_unit(unit: str, curves: Curves) -> np.ndarray:
    return curves.validation if unit == "validation loss" and curves.validation is not None else curves.training


def _baseline(problem: Problem, params: Any) -> float | None:
    search = None if problem.data is None else search_outputs(problem.freeze(), params)
    return constant_output(problem, params, search)[0]


def _curves(
    problem: Problem, rule: Any, params: Any, steps: int, batch_size: int | None, seeds: Sequence[int]
) -> tuple[np.ndarray, Curves]:
    every = 1 if batch_size is None else max(1, steps // _RECORDS)
    held = problem.validation is not None
    probes = [training.loss(), *([training.validation_loss()] if held else [])]
    trace = training.run(
        problem, rule, steps=steps, every=every, params=params,
        batch_size=batch_size, seeds=list(seeds), probes=probes, execution=training.Execution(progress=False),
    )  # fmt: skip
    return trace.steps, Curves(trace["loss"], trace["validation_loss"] if held else None)


def _gain(
    steps: np.ndarray, before: np.ndarray, after: np.ndarray, unit: str, base: float | None, minimum: float | None
) -> float:  # fmt: skip
    if unit == "steps":
        return speed_up(steps, before, after, base, minimum)
    tail = max(1, len(steps) // 4)
    ends = [float(np.mean(curve[-tail:])) - (minimum or 0.0) for curve in (before, after)]
    if not np.isfinite(ends[1]):
        return float("nan")
    return ends[0] / max(ends[1], 1e-300) if np.isfinite(ends[0]) else float(steps[-1])
