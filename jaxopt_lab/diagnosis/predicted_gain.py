"""What runs that begin at the point will do, and findings in the order of what their changes give.

A run is predicted by the short run as it went, and behind its end by the local model there.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxopt_lab import theory
from jaxopt_lab.diagnosis.evidence import NOTHING, Evidence
from jaxopt_lab.diagnosis.findings import CAUSES, MEANT, PROGRAM_CAUSES, Finding
from jaxopt_lab.diagnosis.judgements import goal_of, steps_to_reach
from jaxopt_lab.diagnosis.quadratic_model import Method, QuadraticModel

_DONE, _ALIKE = 0.01, 0.95
MOST_PROVED = 2000
_RAW = "unnormalized-inputs"
_STARTS = ("bad-initialization", "dead-units", "exploding-signal", "vanishing-signal")
_AS_GOOD, _LARGE = 1.5, 3.0  # gains measured in short runs are told apart from about here; they are large from there


def speed_up(
    evidence: Evidence,
    count: int,
    model: QuadraticModel,
    after: Method,
    *,
    own: Method | None = None,
    same: bool = True,
) -> float:
    """What `speed_up` will find in runs of `count` steps: the rule in use against another from the same point.

    Args:
      evidence: what was measured.
      count: steps of both runs.
      model: the loss around the point where the other one begins.
      after: the other one.
      own: the rule in use, where the evidence does not know it as a method.
      same: whether both go on the same loss, so that behind the run's end one model serves both.

    Returns:
      The ratio, at most `count`, which it is where the rule in use gains nothing; 1 where the other's model has less to
      give than the rule in use gains.
    """
    run, method = evidence.run, own or evidence.method
    if run is None or method is None:
        return 1.0
    end, there = float(run.losses[-1]), evidence.model_at_end if evidence.model_at_end is not None else model
    minimum = evidence.setting.problem.truth.minimum
    is_exact = minimum is not None and evidence.follows_model
    before = _Descent(there, method, end, evidence.lower_bound, is_exact)
    begin = min(run.start, evidence.point.baseline or np.inf)
    goal = goal_of(begin, before.loss(count - run.steps[-1]), minimum)
    if not goal < begin:
        return float(count)
    early = goal >= end
    slow = steps_to_reach(run.steps, run.losses, goal) if early else run.steps[-1] + before.steps_to(goal)
    if same and not early:
        model = _rewound(there, method, float(run.steps[-1]), end - before.gap)
    other = _Descent(model, after, model.loss, evidence.lower_bound)
    alike = same or other.gap >= _ALIKE * other.ceiling  # on another loss: one with the same minimum
    fast = dataclasses.replace(other, is_exact=is_exact and alike).steps_to(goal)
    return min(slow, count) / max(fast, 1.0) if np.isfinite(fast) else 1.0


@dataclasses.dataclass(frozen=True)
class _Descent:
    """A method on a local model, from a loss to one that is not below `lower`, or where `is_exact`, to that."""

    model: QuadraticModel
    method: Method
    start: float
    lower: float
    is_exact: bool = False

    @property
    def ceiling(self) -> float:
        return max(self.start - self.lower, 0.0)

    @property
    def gap(self) -> float:
        return self.ceiling if self.is_exact else self.model.gap(self.ceiling)

    def loss(self, steps: float) -> float:
        gone = 1 - self.model.remaining(steps, self.method, self.ceiling) if steps > 0 else 0.0
        return self.start - self.gap * gone

    def steps_to(self, goal: float) -> float:
        """0 where it begins below the goal, inf where the goal lies below the model's bottom."""
        if goal >= self.start:
            return 0.0
        share = 1 - (self.start - goal) / max(self.gap, 1e-300)
        return self.model.steps_to(share, self.method, self.ceiling) if share > 0 else float("inf")


def _rewound(model: QuadraticModel, method: Method, steps: float, bottom: float) -> QuadraticModel:
    """The model as it was so many steps before; without the directions that are done since, which are as fast then.

    Directions of negative curvature, in which there is no bottom, stay as they are.
    """
    curvatures = np.maximum(model.eigenvalues, 0.0)
    left = np.square(theory.modes.mode_value(steps, method.learning_rate, curvatures, method.rho, method.lookahead))
    weights = np.where(left > _DONE, model.weights / np.maximum(left, _DONE), 0.0)
    earlier = dataclasses.replace(model, weights=weights)
    return dataclasses.replace(earlier, loss=bottom + earlier.gap())


def horizon_for(evidence: Evidence, gain: float) -> int:
    """Steps of a proof in which a run that is `gain` times slower comes as far as the better one does in four."""
    return max(evidence.num_steps, int(min(4 * gain, MOST_PROVED)))


class _Most(NamedTuple):
    """The weight of the change that helps most, but for a higher rate; and without what follows from raw inputs."""

    weight: float
    besides_raw: float


def rank(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """What makes the program another than meant first, then by gain; what follows from another cause comes behind it.

    Unless both were tried and the change against what follows gave more. What may be so on purpose is told by its gain
    where another change, but for a higher rate, gives three times as much. Raw inputs come behind what helps more and
    does not follow from them, a rate at which the run goes nowhere before what follows from it. A cause whose change
    was tried and makes things worse, of whatever kind, comes last where another one's change helps much.

    Example:
      >>> from jaxopt_lab.diagnosis.findings import Prescription, make_finding
      >>> slow = make_finding("ill-conditioned", "", [], Prescription(""), 30.0, follows_from=("unnormalized-inputs",))
      >>> raw = make_finding("unnormalized-inputs", "", [], Prescription(""), 10.0)
      >>> [finding.cause for finding in rank([slow, raw])]
      ['unnormalized-inputs', 'ill-conditioned']
    """
    helping = {each.cause: each.trial.weight for each in findings if each.trial is not None and each.trial.helps}
    is_mended = max(helping.values(), default=1.0) >= _LARGE
    helping.pop("learning-rate-too-low", None)  # larger steps make up for what is lost or clipped
    rivals = [each for each in findings if each.cause in helping and _RAW not in each.follows_from]
    most = _Most(max(helping.values(), default=1.0), max((helping[each.cause] for each in rivals), default=1.0))
    waiting = sorted(
        findings, key=lambda found: (is_mended and found.trial is not None and found.trial.harms, *_order(found, most))
    )
    ranked: list[Finding] = []
    while waiting:
        free = [found for found in waiting if not any(_explains(other, found, most) for other in waiting)]
        chosen = (free or waiting)[0]
        waiting.remove(chosen)
        ranked.append(chosen)
    return tuple(ranked)


def _explains(cause: Finding, other: Finding, most: _Most) -> bool:
    """Whether the other finding follows from the cause, as far as trials do not say otherwise."""
    if other.cause == "underfitting" and other.trial is None and cause.cause in _STARTS and _mends(cause):
        return True
    if cause.cause not in other.follows_from or cause.cause == other.cause:
        return False
    if cause.trial is not None and not cause.trial.helps and cause.cause not in _STARTS:
        return False  # of a start only one other was tried
    if other.cause in cause.follows_from and cause.trial is None and other.trial is not None and other.trial.helps:
        return not _mends(other)  # each may follow from the other: what was seen to help decides
    if other.cause == "underfitting" and other.trial is None and cause.trial is not None and cause.trial.helps:
        return _mends(cause)
    if other.trial is None or not other.trial.helps or cause.trial is None:
        return True
    is_same = cause.prescription.change is not None and cause.prescription.text == other.prescription.text
    if is_same and other.cause not in cause.follows_from:
        return True  # one change against both: trials do not tell them apart
    if _order(cause, most) < _order(other, most):
        return True
    if cause.cause in ("learning-rate-too-high", "exploding-signal") and not np.isfinite(cause.trial.before):
        return True  # what changes the rate too makes the run finite as well, and so does a lower rate
    if cause.cause == "learning-rate-too-high" and other.cause in PROGRAM_CAUSES:
        return cause.trial.weight >= _LARGE
    comes_along = other.cause in (*_STARTS, "ill-conditioned") and cause.trial.helps  # another rule has another rate
    if comes_along and other.cause == "ill-conditioned" and cause.trial.weight >= other.trial.weight:
        return True
    return comes_along and cause.trial.weight >= max(_LARGE, other.trial.weight / _AS_GOOD)


def _mends(found: Finding) -> bool:
    """Whether the change against it was tried and gives more than short runs can miss, in loss or in steps.

    To learn anything, where nothing is learned without it, is more.
    """
    trial = found.trial
    if trial is None or not trial.helps:
        return False
    return max(trial.gain, trial.speed / _LARGE, trial.learned) >= _AS_GOOD or trial.before >= NOTHING * trial.scale


def _order(found: Finding, most: _Most) -> tuple[float, ...]:
    """What sorts findings."""
    place = CAUSES.index(found.cause)
    is_end = found.cause == "schedule" and found.prescription.change is None  # more steps are no other program
    trial = found.trial if found.cause in MEANT else None
    is_meant = trial is not None and (not trial.helps or _LARGE * trial.weight < most.weight)
    if found.cause == "non-finite" or (found.cause in PROGRAM_CAUSES and not is_end and not is_meant):
        return (0, place)
    if found.trial is None:
        return (1, -_in_steps(found.predicted_gain.value), -found.predicted_gain.value, place)
    if not found.trial.helps:
        return (2, found.cause not in _STARTS, -found.predicted_gain.value, place)
    is_outdone = found.cause == _RAW and found.trial.weight < most.besides_raw
    return (1, 0.5 * is_outdone - _in_steps(found.trial.weight), -found.predicted_gain.value, place)


def _in_steps(gain: float) -> float:
    """The gain on a scale whose steps can be told apart."""
    return float(np.round(np.log(gain) / np.log(_AS_GOOD))) if 0 < gain < np.inf else float(gain)
