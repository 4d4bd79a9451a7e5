"""Prescriptions tried: short runs from the same point, seeds and batches as the run in use, one for each change.

The score is the lowest validation loss on the way, as a run would be stopped there; without validation data the loss
at the end, the mean of the last quarter's records. Where a change gives the loss other units, both are divided by the
loss of the best constant output. A rate is searched in a bracket of decades; the prescription names the best.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxopt_lab.core import InputError, Problem
from jaxopt_lab.core.problem import as_partial
from jaxopt_lab.diagnosis.budget import ASIDE, LOSS, Budget, loss_size, step_cost
from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import Finding, Prescription
from jaxopt_lab.diagnosis.gradient_noise import units_of_loss, value
from jaxopt_lab.diagnosis.judgements import speed_up
from jaxopt_lab.diagnosis.prescriptions import scale_rate, standardize_inputs
from jaxopt_lab.diagnosis.probe_runs import RECORDS, Scores, score_runs

RAISED = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
LOWERED = (1 / 3, 1e-1, 1 / 30, 1e-2, 1e-3)
RATE_CAUSES = {"learning-rate-too-low": RAISED, "plateau": RAISED, "learning-rate-too-high": LOWERED}
ALL_UNTRIED, UNTRIED = "what the changes give", "the change against "
_SHARE = 0.2  # of the seconds
_LEAST_BUDGET, _LEAST_STEPS, MOST_STEPS = 100.0, 20, 400
_HELPS, _VISIBLE, _HALVED, _FASTER = 0.2, 0.02, 0.01, 4.0
_AT_ALL = 1e6  # times the scale of the loss: a run that met no finite number
_HALF, _GAINED, _ALIKE = 0.5, 0.05, 1e-3
_LARGER, _SMALL = 8, 2**22  # times the largest value of the loss in use; numbers that cost nothing
_DRAWS, _LESS = 3, 1.25  # below it, of what helps, the steps count


@dataclasses.dataclass(frozen=True)
class Trial:
    """One change, tried.

    Attributes:
      cause: that it removes.
      prescription: as it was tried.
      steps: of each run.
      before: score without the change: a loss, or where units change a share of the loss of the best constant output.
      after: score with it; infinite where the run diverged.
      training: the two scores on the training data, where the others are of the validation data.
      scale: the size of the score that training is about.
      speed: how many times fewer steps it takes to what the run without the change gains.
      is_long: whether the runs are as long as the prediction asks for.
      baseline: the score of the best constant output, NaN where it is not known.
      minimum: the smallest possible training loss, NaN where it is not known: then it is the way to it that counts.
      predicted: how many times less loss was predicted, or 1.
    """

    cause: str
    prescription: Prescription
    steps: int
    before: float
    after: float
    training: tuple[float, float] | None
    scale: float
    speed: float
    is_long: bool
    baseline: float = float("nan")
    minimum: float = float("nan")
    predicted: float = 1.0

    @property
    def helps(self) -> bool:
        """Whether the score is lower, by a fifth of itself and by a fiftieth of what training is about.

        Or, if it ends no higher, whether it comes there in a quarter of the steps. A rate is too low where a higher one
        does both or halves the score; a factor of two or three is a matter of tuning. Where a lower rate halves the
        score, a hundredth of what training is about suffices. Of a loss most of which stays, as of text, half as much
        again above a constant output must be learned, by a twentieth of what training is about. Against noise half of
        the fall that was predicted is enough, and so is a fifth of the validation loss.
        Where there are validation data, their loss decides: what only fits more of the noise does not help.
        """
        if not np.isfinite(self.before):
            return bool(np.isfinite(self.after))
        fall = self.before - self.after
        if self.cause == "gradient-noise":
            before, after = (score - np.nan_to_num(self.minimum) for score in self._pair)
            share = min(_HELPS, _HALF * (1 - 1 / self.predicted)) if self.predicted > 1 else _HELPS
            less = before - after > share * abs(before) or fall > _HELPS * abs(self.before)
            return bool(less and before - after > _VISIBLE * self.scale) or self.learned > 1 + _HALF
        if self.cause == "learning-rate-too-low":
            if np.isfinite(self.minimum) and self.speed >= _FASTER:
                return bool(self.after <= self.before + _ALIKE * self.scale)
            wanted = _HALF if self.speed < _FASTER else 1 - _HELPS
            return bool(self.after < wanted * self.before) or self.learned >= _FASTER
        halved = self.cause == "learning-rate-too-high" and self.after < _HALF * self.before
        if fall > max(_HELPS * abs(self.before), (_HALVED if halved else _VISIBLE) * self.scale):
            return True
        if self.learned > 1 + _HALF:
            return True
        return self.speed >= _FASTER and fall > -_VISIBLE * self.scale

    @property
    def learned(self) -> float:
        """How many times as much is learned above a constant output; 1 where that is not known, or hardly differs.

        Infinite where nothing was, and then a fifth of what training is about.
        """
        before, after = self._pair
        if before >= self.baseline > after + _HELPS * self.scale:
            return float("inf")
        if not self.baseline > before or not before - after > _GAINED * self.scale:
            return 1.0
        return (self.baseline - after) / (self.baseline - before)

    @property
    def _pair(self) -> tuple[float, float]:
        """The scores that decide: the floor of noise is that of the training loss, at the end."""
        return self.training if self.cause == "gradient-noise" and self.training else (self.before, self.after)

    @property
    def harms(self) -> bool:
        """Whether the score is as much higher as it would have to be lower to help."""
        return not self.helps and self.after > self.before + max(_HELPS * abs(self.before), _VISIBLE * self.scale)

    @property
    def gain(self) -> float:
        """How many times less loss, or fewer steps; the floor of noise is no matter of steps."""
        if not np.isfinite(self.before):
            return float("inf") if np.isfinite(self.after) else 1.0
        is_sooner = self.helps and self._less < _LESS and self.cause != "gradient-noise"
        return max(self._less, self.speed) if is_sooner else self._less

    @property
    def weight(self) -> float:
        """The gain as it counts beside others: to end no lower, only sooner, is worth at most a factor of four.

        Of changes that let a run end at a finite number at all, that counts more which ends lower.
        """
        if not np.isfinite(self.before) and np.isfinite(self.after):
            return _AT_ALL * self.scale / max(self.after, 1e-3 * self.scale)
        return min(self.gain, _FASTER) if self._less < _LESS else self.gain

    @property
    def _less(self) -> float:
        before, after = self._pair
        return before / max(after, 1e-3 * self.scale) if after > 0 or before > 0 else 1.0

    def __str__(self) -> str:
        what = "loss" if self.training is None else "validation loss"
        before, after = (f"{x:.3g}" if np.isfinite(x) else "no finite number" for x in (self.before, self.after))
        return f"tried for {self.steps} steps: {what} {after} instead of {before}"

    def to_json(self) -> dict[str, Any]:
        """The scores as plain values."""
        return {
            "steps": self.steps, "before": self.before, "after": self.after, "training": self.training,
            "helps": self.helps, "gain": self.gain, "speed": self.speed, "is_long": self.is_long,
            "prescription": self.prescription.text,
        }  # fmt: skip


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
    can = lambda cure: cure.change and (setting.problem.validation is not None or not cure.needs_validation)  # noqa: E731
    wanted = [each for each in findings if can(each.prescription)]
    if setting.problem.data is None or run is None or not wanted:
        return {}
    a_step = step_cost(setting.problem, setting.batch_size)
    num_runs = sum(_num_rates(each) for each in wanted)
    planned = setting.total_steps or np.inf
    horizon = max(run.num_steps, *(int(min(each.predicted_gain.horizon, MOST_STEPS)) for each in wanted))
    if budget.total < _LEAST_BUDGET:
        budget.skip(ALL_UNTRIED, f"a budget of {_LEAST_BUDGET:.0f} tries them")
        return {}
    affords = min(_SHARE * budget.seconds / max(budget.gradient_seconds, 1e-6), ASIDE * budget.total - budget.aside)
    afford = int((affords / num_runs - RECORDS * LOSS) / a_step)
    usual = int(max(min(horizon, MOST_STEPS, planned, afford), min(_LEAST_STEPS, run.num_steps)))
    bases, found = {}, {}
    for finding in wanted:
        if budget.elapsed > budget.seconds:
            budget.skip(UNTRIED + finding.cause, f"{budget.elapsed:.0f} s are over")
            continue
        log(f"Trying what is against {finding.cause} ...")
        steps = usual
        if finding.cause == "gradient-noise":  # small batches cost little, and it takes steps to come to the floor
            steps = int(max(usual, min(finding.predicted_gain.horizon, planned, afford)))
        if steps not in bases:
            bases[steps] = score_runs(setting.problem, setting.rule, [1.0], setting, steps)
        for prescription in (finding.prescription, *finding.alternatives):
            is_found = finding.cause in found and found[finding.cause].helps
            if is_found and (finding.cause != "gradient-noise" or prescription.longer > 1):
                break
            trial = None if prescription.change is None else _try(evidence, finding, prescription, steps, bases[steps])
            if trial is not None and (finding.cause not in found or trial.gain > found[finding.cause].gain):
                found[finding.cause] = trial
            budget.aside += _num_rates(finding) * (prescription.longer * steps * a_step + RECORDS * LOSS)
    return found


def _num_rates(finding: Finding) -> int:
    return len(_rates(finding, finding.prescription) or (1.0,))


def _rates(finding: Finding, prescription: Prescription) -> tuple[float, ...] | None:
    """Factors of the rate among which a trial chooses; None where the rate stays."""
    return prescription.rates or RATE_CAUSES.get(finding.cause)


def _try(evidence: Evidence, finding: Finding, prescription: Prescription, steps: int, base: Scores) -> Trial | None:
    """The trial of one change; None where it cannot be made, or its units cannot be compared."""
    setting, factors, best = evidence.setting, _rates(finding, prescription), 0
    try:
        if factors is None:
            found = _changed(evidence, finding.cause, prescription, steps)
            if found is None:
                return None
            problem, after = found
        else:
            has_rates, problem = bool(prescription.rates), setting.problem
            if has_rates:
                problem, _ = standardize_inputs(1.0, setting.optimizer).apply(problem, setting.rule)
            after = score_runs(problem, setting.rule, list(factors), setting, steps)
            best = _best_rate(evidence, base, after, gently=has_rates)
            prescription = (standardize_inputs if has_rates else scale_rate)(factors[best], setting.optimizer)
    except InputError:
        return None
    baseline, units = evidence.point.baseline, (1.0, 1.0)
    if prescription.rescales:
        units = units_of_loss(baseline, problem, setting.params, setting.seed)
    if units is None:
        return None
    if prescription.changes_loss:
        baseline, base = None, dataclasses.replace(_judged_by(problem, base), curves=after.curves)
    pair = None
    if base.training is not None and after.training is not None:
        pair = _finite(base.training[0] / units[0]), _finite(after.training[best] / units[1])
    minimum = setting.problem.truth.minimum
    speed = _speed(evidence, base, after.curves[best] * units[0] / units[1])
    asked = min(finding.predicted_gain.horizon, MOST_STEPS, setting.total_steps or MOST_STEPS)
    return Trial(
        finding.cause, prescription, steps, _finite(base.ends[0] / units[0]), _finite(after.ends[best] / units[1]),
        pair, evidence.scale / units[0], speed, steps >= asked,
        np.nan if baseline is None else baseline / units[0], np.nan if minimum is None else minimum / units[0],
        finding.predicted_gain.value if finding.predicted_gain.unit == "loss" else 1.0,
    )  # fmt: skip


def _changed(evidence: Evidence, cause: str, prescription: Prescription, steps: int) -> tuple[Problem, Scores] | None:
    """The changed problem and its runs; None where neither is another, or other targets may make pairs of examples."""
    setting = evidence.setting
    problem, rule = prescription.apply(setting.problem, setting.rule)
    known, size = (loss_size(each, setting.params) for each in (setting.problem, problem))
    if (problem is setting.problem and rule is setting.rule) or size > max(_LARGER * known, _SMALL):
        return None
    restarts, evaluated, steps = prescription.restarts, prescription.evaluated, steps * prescription.longer
    draws = range(_DRAWS if cause == "local-minimum" else 1)
    several = [score_runs(problem, rule, [1.0], setting, steps, restarts, draw, evaluated) for draw in draws]
    return problem, min(several, key=lambda each: _finite(each.ends[0]))


def _best_rate(evidence: Evidence, base: Scores, after: Scores, gently: bool) -> int:
    """Which rate ends lowest, climbs from its least loss added; of those alike the fastest, or `gently` the lowest."""
    climbs = [np.max(curve[np.argmin(curve) :]) - np.min(curve) for curve in after.curves]
    ends = np.array([_finite(end + climb) for end, climb in zip(after.ends, climbs, strict=True)])
    alike = np.flatnonzero(ends <= ends.min() + (_VISIBLE if gently else _ALIKE) * evidence.scale)
    return int(alike[0] if gently else max(alike, key=lambda place: _speed(evidence, base, after.curves[place])))


def _speed(evidence: Evidence, base: Scores, curve: np.ndarray) -> float:
    """How many times fewer steps a curve takes; 1 where next to nothing is gained without the change."""
    baseline, losses = evidence.point.baseline, base.curves[0]
    known = losses[0] if baseline is None else min(baseline, losses[0])
    if not known - losses[-1] > _GAINED * evidence.scale:
        return 1.0
    faster = speed_up(base.steps, losses, curve, baseline, evidence.setting.problem.truth.minimum)
    return float(np.nan_to_num(faster, nan=1.0))


def _judged_by(problem: Problem, base: Scores) -> Scores:
    """The run in use, by the loss of another problem where it ended."""
    loss = as_partial(problem.freeze(base.model_state).loss)
    on = lambda data: np.array([float(value(loss, base.params, data))])  # noqa: E731
    if problem.validation is None:
        return dataclasses.replace(base, ends=on(problem.data), training=None)
    return dataclasses.replace(base, ends=on(problem.validation), training=on(problem.data))


def _finite(score: float) -> float:
    return float(score) if np.isfinite(score) else float("inf")
