"""saddle, plateau, local-minimum: why a run that does not diverge makes no progress.

A convex loss never falls by more than slope times distance along a line. Where it falls ten times as much, the way down
is not the gradient's:

    saddle          curvature along it is certified negative and accounts for at least a tenth of the fall, and the
                    slope falls to a fifth where the quadratic has its critical point
    plateau         it is not so: the loss is flat here and falls farther off
    local-minimum   no way down within twice the size of the parameters, and a lower loss is known

Sources: the convexity inequality; Dauphin et al. 2014 (saddles); Safran and Shamir 2018 (local minima exist).
"""

import numpy as np

from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import Finding, make_finding, measured
from jaxopt_lab.diagnosis.predicted_gain import horizon_for
from jaxopt_lab.diagnosis.prescriptions import begin_elsewhere, leave_saddle, scale_rate, use_adam
from jaxopt_lab.diagnosis.stationary_point import LineScan, StationaryPoint

CONVEX = "convexity: f(x) - f(x + s) <= |g| |s|"
SUPERLINEAR = 10.0
QUADRATIC_PART = 0.1
NEGLIGIBLE = 0.02
NEAR = 0.2
LOWER_ELSEWHERE = 0.05
LEFT = 0.5
_FOLDS = 3.0
_NEXT = 0.01  # of the slope on the way: so small it is at the next saddle too
BLAMED = (
    "non-finite",
    "vanishing-signal",
    "dead-units",
    "bad-initialization",
    "learning-rate-too-high",
    "unnormalized-inputs",
    "unreachable-loss",
    "no-gradient",
    "mixed-examples",
)


def examine_saddle(evidence: Evidence) -> Finding | None:
    """A finding where negative curvature leads down from a point at which the run stands still."""
    around = _stands(evidence)
    if around is None or not _falls(evidence, around.along.drop):
        return None
    negative, distance = around.negative, around.along.distance
    ratio = _superlinear(evidence, around.along)
    share = 0.5 * abs(negative.value.value) * distance**2 / around.along.drop
    near = around.slope_at_saddle
    if not negative.certified or ratio < SUPERLINEAR or share < QUADRATIC_PART or near > NEAR:
        return None
    rate = evidence.setting.optimizer.learning_rate
    steps = (
        [negative.escape_steps(rate, distance, rho) for rho in (evidence.setting.optimizer.rho, 0.9)]
        if rate > 0
        else [np.nan] * 2
    )
    measurements = [
        measured("gradient norm", evidence.point.gradient_norm),
        measured("most negative curvature, certified", negative.value, 0.0),
        measured("fall of the loss along it, over slope times distance", ratio, SUPERLINEAR, CONVEX),
        measured("slope along it where the saddle should be, over the slope here", near, NEAR),
        measured("predicted escape of the rule in use", steps[0], unit="steps"),
        measured("predicted escape with momentum .9", steps[1], unit="steps"),
    ]
    text = (
        f"The gradient is small and the curvature is negative along one direction: {around.along.drop:.3g} of loss lie"
        f" {distance:.3g} away along it."
    )
    settling = _FOLDS / max(evidence.setting.optimizer.effective_rate * abs(negative.value.value), 1e-12)
    gain = (steps[0] + settling) / (1 + settling) if np.isfinite(steps[0]) else float(evidence.num_steps)
    slope = abs(negative.value.value) * distance
    cure = leave_saddle(
        max(2 * evidence.point.gradient_norm, _NEXT * slope), abs(negative.value.value) / 2, distance / 2
    )
    return make_finding(
        "saddle", text, measurements, cure, max(gain, 1.0), horizon=horizon_for(evidence, settling * gain / 2),
        follows_from=BLAMED,
    )  # fmt: skip


def examine_plateau(evidence: Evidence) -> Finding | None:
    """A finding where the loss is flat at the point and falls farther off."""
    around = _stands(evidence)
    if around is None or examine_saddle(evidence) is not None:
        return None
    if fits_a_few(evidence):
        return _left_by_another_rule(evidence)
    fall = max(evidence.line_scans, key=lambda each: each.drop)
    ratio = _superlinear(evidence, fall)
    if not _falls(evidence, fall.drop) or ratio < SUPERLINEAR:
        return None
    step = evidence.setting.optimizer.effective_rate * fall.drop / fall.distance  # at the mean slope of the way down
    reach = 0.1 * fall.distance / step if step > 0 else 10.0  # ten such steps lead to the bottom
    factor = float(np.clip(min(0.5 / _bent_share(evidence), reach), 2.0, 1e4))
    measurements = [
        measured("gradient norm", evidence.point.gradient_norm),
        measured("fall of the loss over slope times distance", ratio, SUPERLINEAR, CONVEX),
        measured("smallest curvature", around.negative.value),
    ]
    text = f"The loss is flat here and falls by {fall.drop:.3g} at a distance of {fall.distance:.3g}."
    cure = scale_rate(factor, evidence.setting.optimizer)
    return make_finding(
        "plateau", text, measurements, cure, factor, horizon=horizon_for(evidence, factor),
        forecast=lambda count: count if _unseen(evidence, count) else factor, follows_from=(*BLAMED, "saddle"),
    )  # fmt: skip


def fits_a_few(evidence: Evidence) -> bool:
    """Whether sixteen examples are fitted from the point at which the run learns nothing."""
    few, base = evidence.part("program.memorization"), evidence.point.baseline
    if few is None or base is None or not evidence.setting.from_init:
        return False
    return few.least < LEFT * base <= evidence.end


def _left_by_another_rule(evidence: Evidence) -> Finding:
    few, base = evidence.part("program.memorization"), evidence.point.baseline
    assert few is not None
    assert base is not None
    measurements = [
        measured("gradient norm", evidence.point.gradient_norm),
        measured("loss at the end of the run over that of the best constant output", evidence.end / base, LEFT),
        measured("least loss of sixteen examples over it, by Adam from the same point", few.least / base, LEFT),
    ]
    text = "The run stands still where Adam fits sixteen examples from the same point: the way is flat, not barred."
    return make_finding(
        "plateau", text, measurements, use_adam(few.rate), float(max(evidence.num_steps, 2)),
        horizon=horizon_for(evidence, 10.0), follows_from=(*BLAMED, "saddle", "learning-rate-too-low"),
    )  # fmt: skip


def _unseen(evidence: Evidence, count: int) -> bool:
    """Whether what the gradient gives in so many steps is below the precision of the loss."""
    return evidence.setting.optimizer.effective_rate * evidence.point.gradient_norm**2 * count < evidence.resolution


def examine_local_minimum(evidence: Evidence) -> Finding | None:
    """A finding where nothing near leads down and a lower loss is known."""
    around = _stands(evidence)
    if around is None or not _at_bottom(evidence, around):
        return None
    lowest = _lowest_elsewhere(evidence, around)
    excess = evidence.point.loss - lowest
    if not excess > LOWER_ELSEWHERE * evidence.scale:
        return None
    measurements = [
        measured("gradient norm", evidence.point.gradient_norm),
        measured("smallest curvature", around.negative.value, 0.0),
        measured("lowest loss that is known", lowest),
        measured("loss above it, over the scale of the loss", excess / evidence.scale, LOWER_ELSEWHERE),
    ]
    text = "The gradient is zero, no curvature is negative, and a lower loss is known: a local minimum, not a saddle."
    bottom = evidence.lower_bound if np.isfinite(evidence.lower_bound) else lowest
    others = np.mean(around.elsewhere) - bottom if around.elsewhere.size else excess
    gain = float(max((evidence.point.loss - bottom) / max(others, 1e-2 * (evidence.point.loss - bottom), 1e-300), 1.5))
    return make_finding(
        "local-minimum", text, measurements, begin_elsewhere(), gain, gain_in="loss", horizon=evidence.num_steps,
        follows_from=BLAMED,
    )  # fmt: skip


def is_exhausted(evidence: Evidence) -> bool:
    """Whether the model is as good as it gets: at its known minimum, or at a bottom that others do not undercut."""
    if evidence.setting.problem.truth.minimum is not None and evidence.is_stationary:
        return evidence.end - evidence.lower_bound < NEGLIGIBLE * evidence.end
    around = _stands(evidence)
    if around is None or not _at_bottom(evidence, around, strict=False):
        return False
    return evidence.point.loss - _lowest_elsewhere(evidence, around, data_only=True) <= LOWER_ELSEWHERE * evidence.scale


def _bent_share(evidence: Evidence) -> float:
    """Learning rate times the largest curvature, up or down, over the rule's edge; 1 where it is not known."""
    model, use = evidence.model_at_point, evidence.setting.optimizer
    if model is None or not np.isfinite(use.edge):
        return 1.0
    return max(use.relative_sharpness(max(abs(model.largest), abs(model.smallest))), 1e-12)


def _stands(evidence: Evidence) -> StationaryPoint | None:
    """What lies around a point where the run stood still, unless the loss there is as low as it can be."""
    if evidence.point.stationary_point is None or evidence.non_finite is not None:
        return None
    low = np.isfinite(evidence.lower_bound) and evidence.point.loss - evidence.lower_bound < NEGLIGIBLE * evidence.scale
    return None if low or evidence.is_converged else evidence.point.stationary_point


def _falls(evidence: Evidence, drop: float) -> bool:
    return drop > NEGLIGIBLE * evidence.scale


def _superlinear(evidence: Evidence, fall: LineScan) -> float:
    """LineScan over slope times distance; infinite at a gradient of zero."""
    reach = evidence.point.gradient_norm * fall.distance
    return float("inf") if reach == 0 else fall.drop / reach


def _at_bottom(evidence: Evidence, around: StationaryPoint, *, strict: bool = True) -> bool:
    """Whether nothing near leads down: no negative curvature to speak of, and no fall along the gradient."""
    model = evidence.model_at_point
    largest = abs(model.largest) if model is not None else 0.0
    bent = around.negative.certified and around.negative.value.value < -1e-2 * largest
    if bent and (strict or _falls(evidence, around.along.drop)):
        return False
    return evidence.point.steepest is None or not _falls(evidence, evidence.point.steepest.drop)


def _lowest_elsewhere(evidence: Evidence, around: StationaryPoint, *, data_only: bool = False) -> float:
    """The lowest loss that is known from elsewhere: the known minimum, or where other beginnings came to."""
    lows = [*around.elsewhere, *(fall.lowest for fall in evidence.line_scans)]
    if evidence.setting.problem.truth.minimum is not None and not (data_only and evidence.setting.problem.data is None):
        lows.append(float(evidence.setting.problem.truth.minimum))
    return float(min(lows)) if lows else float("inf")
