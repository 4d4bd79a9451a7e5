"""Prescriptions tried: short runs from the same point, seeds and batches as the run in use, one for each change.

The score is the loss at the end, the mean of the last quarter's records: of the validation data where there are any,
else of the training data; over that of one output for all where the change gives the loss other units. A rate is
searched in a bracket around the predicted one, and the prescription then names the one that did best.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jaxopt_lab import training
from jaxopt_lab.core import InputError, Problem
from jaxopt_lab.diagnosis.budget import LOSS, Budget, step_cost
from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import Finding, Prescription
from jaxopt_lab.diagnosis.gradient_noise import constant_output
from jaxopt_lab.diagnosis.output_search import search_outputs
from jaxopt_lab.diagnosis.prescriptions import scale_rate
from jaxopt_lab.diagnosis.probe_runs import ScaledRule

RAISED = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
LOWERED = (1 / 3, 1e-1, 1 / 30, 1e-2, 1e-3)
RATE_CAUSES = {"learning-rate-too-low": RAISED, "plateau": RAISED, "learning-rate-too-high": LOWERED}
_RECORDS = 20
_MOST_STEPS = 400
_LEAST_STEPS = 20
_HELPS, _VISIBLE = 0.05, 0.01


@dataclasses.dataclass(frozen=True)
class Trial:
    """One change, tried.

    Attributes:
      cause: that it removes.
      prescription: as it was tried.
      steps: of each run.
      before: score without the change: a loss, or where units change a share of the loss of one output for all.
      after: score with it; infinite where the run diverged.
      start: score of the point.
      scale: the size of the score that training is about.
      on_validation: whether the scores are of the validation data.
    """

    cause: str
    prescription: Prescription
    steps: int
    before: float
    after: float
    start: float
    scale: float
    on_validation: bool

    @property
    def helps(self) -> bool:
        """Whether the loss ends lower, by a twentieth of itself and by a hundredth of what training is about."""
        if not np.isfinite(self.before):
            return bool(np.isfinite(self.after))
        return self.before - self.after > max(_HELPS * abs(self.before), _VISIBLE * self.scale)

    @property
    def gain(self) -> float:
        """How many times less loss."""
        if not np.isfinite(self.before):
            return float("inf") if np.isfinite(self.after) else 1.0
        return self.before / max(self.after, 1e-3 * self.scale) if self.after > 0 or self.before > 0 else 1.0

    def __str__(self) -> str:
        what = "validation loss" if self.on_validation else "loss"
        before = f"{self.before:.3g}" if np.isfinite(self.before) else "no finite number"
        after = f"{self.after:.3g}" if np.isfinite(self.after) else "no finite number"
        return f"tried for {self.steps} steps: {what} {after} instead of {before}"


def try_prescriptions(
    evidence: Evidence, findings: Sequence[Finding], budget: Budget, log: Callable[[str], None]
) -> dict[str, Trial]:
    """Runs what the findings prescribe, where a program can.

    Args:
      evidence: with the run in use.
      findings: of it.
      budget: is charged.
      log: told what is tried.

    Returns:
      cause -> trial; without those that nothing could be run for.
    """
    setting, run = evidence.setting, evidence.run
    if setting.problem.data is None or run is None:
        return {}
    wanted = [each for each in findings if each.prescription.change is not None]
    if not wanted:
        return {}
    a_step = step_cost(setting.problem, setting.batch_size)
    num_runs = sum(len(RATE_CAUSES.get(each.cause, (1,))) for each in wanted)
    afford = int((0.5 * budget.total / num_runs - _RECORDS * LOSS) / a_step)
    steps = max(min(max(run.num_steps, 2), _MOST_STEPS, afford), min(_LEAST_STEPS, run.num_steps))
    base = _scores(setting.problem, setting.rule, [1.0], evidence, steps, restarts=False)
    found = {}
    for finding in wanted:
        if budget.elapsed > budget.seconds:
            budget.skip(f"the change against {finding.cause}", f"{budget.elapsed:.0f} s are over")
            continue
        log(f"Trying what is against {finding.cause} ...")
        trial = _try(evidence, finding, steps, base)
        if trial is not None:
            found[finding.cause] = trial
            budget.pay(len(RATE_CAUSES.get(finding.cause, (1,))) * (steps * a_step + _RECORDS * LOSS))
    return found


def _try(evidence: Evidence, finding: Finding, steps: int, base: "_Scores") -> Trial | None:
    setting = evidence.setting
    factors = RATE_CAUSES.get(finding.cause)
    prescription = finding.prescription
    try:
        if factors is not None:
            problem, rule = setting.problem, setting.rule
            after = _scores(problem, rule, list(factors), evidence, steps, restarts=False)
            ends = np.where(np.isfinite(after.ends), after.ends, np.inf)
            best = int(ends.argmin())
            prescription = dataclasses.replace(scale_rate(factors[best]), restarts=finding.prescription.restarts)
        else:
            problem, rule = prescription.apply(setting.problem, setting.rule)
            after = _scores(problem, rule, [1.0], evidence, steps, restarts=prescription.restarts)
            best = 0
    except InputError:
        return None
    units = (1.0, 1.0)
    if prescription.rescales:
        bases = (evidence.point.baseline, _baseline(problem, evidence))
        if not all(each is not None and each > 0 for each in bases):
            return None
        units = (float(bases[0] or 1.0), float(bases[1] or 1.0))
    end = float(after.ends[best])
    return Trial(
        finding.cause, prescription, steps, float(base.ends[0]) / units[0],
        end / units[1] if np.isfinite(end) else float("inf"), base.start / units[0], evidence.scale / units[0],
        base.on_validation,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Scores:
    ends: np.ndarray
    start: float
    on_validation: bool


def _scores(
    problem: Problem, rule: Any, factors: list[float], evidence: Evidence, steps: int, *, restarts: bool
) -> _Scores:
    """Where runs of the rule at its rate times each factor end."""
    setting = evidence.setting
    on_validation = problem.validation is not None
    probes = [training.loss(), *([training.validation_loss()] if on_validation else [])]
    size = setting.batch_size
    if size is not None and problem.num_examples is not None:
        size = min(size, problem.num_examples)
    params = setting.params
    if restarts:
        params = problem.init(jax.random.key(setting.seed))
    trace = training.run(
        problem, ScaledRule(rule), {"factor": np.array(factors)}, steps=steps, every=max(1, steps // _RECORDS),
        params=params, batch_size=size, seeds=setting.seed, probes=probes, execution=training.Execution(progress=False),
    )  # fmt: skip
    curves = trace["validation_loss" if on_validation else "loss"]
    tail = max(1, curves.shape[1] // 4)
    ends = np.where([status.feasible for status in trace.status], curves[:, -tail:].mean(1), np.nan)
    return _Scores(ends, float(curves[0, 0]), on_validation)


def _baseline(problem: Problem, evidence: Evidence) -> float | None:
    params = evidence.setting.params
    search = search_outputs(problem.freeze(), params, evidence.setting.seed)
    return constant_output(problem, params, search)[0]
