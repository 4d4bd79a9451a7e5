"""saddle, plateau, local-minimum, underfitting: why a run that does not diverge makes no progress.

A convex loss never falls by more than slope times distance along a line. Where it falls ten times as much, the way down
is not the gradient's:

    saddle          curvature along it is certified negative and accounts for at least a tenth of the fall, and the
                    slope falls to a fifth where the quadratic has its critical point
    plateau         it is not so: the loss is flat here and falls farther off
    local-minimum   no way down within twice the size of the parameters, and a lower loss is known
    underfitting    the same, no lower loss is known, and half of the best constant output's loss is left; or
                    weight decay takes at least half as much from the weights as the gradient gives

Sources: the convexity inequality; Dauphin et al. 2014 (saddles); Safran and Shamir 2018 (local minima exist).
"""

import numpy as np

from jaxopt_lab.core import vectors
from jaxopt_lab.diagnosis.evidence import Evidence, horizon_for
from jaxopt_lab.diagnosis.findings import Finding, make_finding, read
from jaxopt_lab.diagnosis.lines import Fall
from jaxopt_lab.diagnosis.prescriptions import advise, begin_elsewhere, leave_saddle, scale_rate, stop_decay
from jaxopt_lab.diagnosis.stationary_point import Surroundings

CONVEX = "convexity: f(x) - f(x + s) <= |g| |s|"
SUPERLINEAR = 10.0
QUADRATIC_PART = 0.1
NEGLIGIBLE = 0.02
NEAR = 0.2
LOWER_ELSEWHERE = 0.05
LEFT = 0.5
HELD = 0.5
_FOLDS = 3.0
_NEXT = 0.01  # of the slope on the way: so small it is at the next saddle too
_BLAMED = ("non-finite", "vanishing-signal", "dead-units", "bad-initialization", "learning-rate-too-high")


def examine_saddle(known: Evidence) -> Finding | None:
    """The finding, or None."""
    around = _stands(known)
    if around is None or not _falls(known, around.along.drop):
        return None
    negative, distance = around.negative, around.along.distance
    ratio = _superlinear(known, around.along)
    share = 0.5 * abs(negative.value.value) * distance**2 / around.along.drop
    near = around.slope_at_saddle
    if not negative.certified or ratio < SUPERLINEAR or share < QUADRATIC_PART or near > NEAR:
        return None
    rate = known.in_use.learning_rate
    steps = (
        [negative.escape_steps(rate, distance, rho) for rho in (known.in_use.rho, 0.9)] if rate > 0 else [np.nan] * 2
    )
    evidence = [
        read("gradient norm", known.gradient_norm),
        read("most negative curvature, certified", negative.value, 0.0),
        read("fall of the loss along it, over slope times distance", ratio, SUPERLINEAR, CONVEX),
        read("slope along it where the saddle should be, over the slope here", near, NEAR),
        read("predicted escape of the rule in use", steps[0], unit="steps"),
        read("predicted escape with momentum .9", steps[1], unit="steps"),
    ]
    words = (
        f"The gradient is small and the curvature is negative along one direction: {around.along.drop:.3g} of loss lie"
        f" {distance:.3g} away along it."
    )
    settling = _FOLDS / max(known.in_use.effective_rate * abs(negative.value.value), 1e-12)
    gain = (steps[0] + settling) / (1 + settling) if np.isfinite(steps[0]) else float(known.steps)
    slope = abs(negative.value.value) * distance
    cure = leave_saddle(max(2 * known.gradient_norm, _NEXT * slope), abs(negative.value.value) / 2, distance / 2)
    return make_finding(
        "saddle", words, evidence, cure, max(gain, 1.0), horizon=horizon_for(known, settling * gain / 2),
        follows_from=_BLAMED,
    )  # fmt: skip


def examine_plateau(known: Evidence) -> Finding | None:
    """The finding, or None."""
    around = _stands(known)
    if around is None or examine_saddle(known) is not None:
        return None
    fall = max(known.falls, key=lambda each: each.drop)
    ratio = _superlinear(known, fall)
    if not _falls(known, fall.drop) or ratio < SUPERLINEAR:
        return None
    step = known.in_use.effective_rate * fall.drop / fall.distance  # at the mean slope of the way down
    reach = 0.1 * fall.distance / step if step > 0 else 10.0  # ten such steps lead to the bottom
    factor = float(np.clip(min(0.5 / _bent_share(known), reach), 2.0, 1e4))
    evidence = [
        read("gradient norm", known.gradient_norm),
        read("fall of the loss over slope times distance", ratio, SUPERLINEAR, CONVEX),
        read("smallest curvature", around.negative.value),
    ]
    words = f"The loss is flat here and falls by {fall.drop:.3g} at a distance of {fall.distance:.3g}."
    return make_finding(
        "plateau", words, evidence, scale_rate(factor), factor, horizon=horizon_for(known, factor),
        forecast=lambda count: count if _unseen(known, count) else factor, follows_from=(*_BLAMED, "saddle"),
    )  # fmt: skip


def _unseen(known: Evidence, count: int) -> bool:
    """Whether what the gradient gives in so many steps is below the precision of the loss."""
    return known.in_use.effective_rate * known.gradient_norm**2 * count < known.resolution


def examine_local_minimum(known: Evidence) -> Finding | None:
    """The finding, or None."""
    around = _stands(known)
    if around is None or not _at_bottom(known, around):
        return None
    lowest = _lowest_elsewhere(known, around)
    excess = known.loss - lowest
    if not excess > LOWER_ELSEWHERE * known.scale:
        return None
    evidence = [
        read("gradient norm", known.gradient_norm),
        read("smallest curvature", around.negative.value, 0.0),
        read("lowest loss that is known", lowest),
        read("loss above it, over the scale of the loss", excess / known.scale, LOWER_ELSEWHERE),
    ]
    words = "The gradient is zero, no curvature is negative, and a lower loss is known: a local minimum, not a saddle."
    bottom = known.lower if np.isfinite(known.lower) else lowest
    others = np.mean(around.elsewhere) - bottom if around.elsewhere.size else excess
    gain = float(max((known.loss - bottom) / max(others, 1e-2 * (known.loss - bottom), 1e-300), 1.5))
    return make_finding(
        "local-minimum", words, evidence, begin_elsewhere(), gain, gain_in="loss", horizon=known.steps,
        follows_from=_BLAMED,
    )  # fmt: skip


def examine_underfitting(known: Evidence) -> Finding | None:
    """The finding, or None."""
    base, held = known.baseline, _held_by_decay(known)
    if base is None or base <= 0 or not np.isfinite(known.end):
        return None
    left = known.end / base
    if not (held >= HELD and not known.done) and not (left >= LEFT and _exhausted(known)):
        return None
    evidence = [
        read("training loss over that of the best constant output", left, LEFT),
        read("weight decay over gradient in the rule's step", held, HELD),
        read("gradient norm", known.gradient_norm),
        read("weight decay of the rule in use, a step", known.decay),
    ]
    words = "Training has come to its end and has learned little: the model cannot do better as it stands."
    cure = advise("Use a larger model, better features, or less regularization.")
    if held >= HELD:
        words = "Weight decay holds the loss up: it pulls the weights back as hard as the gradient pushes them."
        cure = stop_decay()
    horizon = max(known.steps, 200)
    gain = _freed(known, horizon) if held >= HELD else 1 / max(1 - left, 0.5)
    return make_finding(
        "underfitting", words, evidence, cure, gain, gain_in="loss", horizon=horizon,
        follows_from=() if held >= HELD else (*_BLAMED, "local-minimum", "saddle", "plateau", "gradient-noise"),
    )  # fmt: skip


def _exhausted(known: Evidence) -> bool:
    """Whether the model is as good as it gets: at its known minimum, or at a bottom that others do not undercut."""
    if known.problem.truth.minimum is not None and known.still:
        return known.end - known.lower < NEGLIGIBLE * known.end
    around = _stands(known)
    if around is None or not _at_bottom(known, around, strict=False):
        return False
    return known.loss - _lowest_elsewhere(known, around, data_only=True) <= LOWER_ELSEWHERE * known.scale


def _held_by_decay(known: Evidence) -> float:
    """What weight decay takes from the parameters in a step, over what the gradient gives; at the end of the run."""
    model, rate = known.model_end or known.model, known.in_use.effective_rate
    if known.decay <= 0 or known.run is None or known.run.diverged or model is None or not rate > 0:
        return 0.0
    pulled = known.decay * float(vectors.norm(known.run.params))
    return pulled / max(rate * np.sqrt(model.gradient_square), 1e-300)


def _freed(known: Evidence, steps: int) -> float:
    """How many times less loss there is when so many steps go downhill from the end of the run without the decay."""
    model, method = known.model_end or known.model, known.method
    excess = max(known.end - max(known.lower, 0.0), 1e-300)
    fall = 0.0 if known.downhill is None else known.downhill.drop
    if model is not None and method is not None:
        fall = max(fall, model.gap(excess) * (1 - model.remaining(steps, method, excess)))
    return excess / max(excess - fall, 1e-7 * excess)


def _bent_share(known: Evidence) -> float:
    """Learning rate times the largest curvature, up or down, over the edge of the rule in use; 1 where not known."""
    model, use = known.model, known.in_use
    if model is None or not np.isfinite(use.edge):
        return 1.0
    return max(use.share_of_edge(max(abs(model.largest), abs(model.smallest))), 1e-12)


def _stands(known: Evidence) -> Surroundings | None:
    """What lies around a point where the run stood still, unless the loss there is as low as it can be."""
    if known.surroundings is None or known.culprit is not None:
        return None
    low = np.isfinite(known.lower) and known.loss - known.lower < NEGLIGIBLE * known.scale
    return None if low or known.done else known.surroundings


def _falls(known: Evidence, drop: float) -> bool:
    return drop > NEGLIGIBLE * known.scale


def _superlinear(known: Evidence, fall: Fall) -> float:
    """Fall over slope times distance; infinite at a gradient of zero."""
    reach = known.gradient_norm * fall.distance
    return float("inf") if reach == 0 else fall.drop / reach


def _at_bottom(known: Evidence, around: Surroundings, *, strict: bool = True) -> bool:
    """Whether nothing near leads down: no negative curvature to speak of, and no fall along the gradient."""
    model = known.model
    largest = abs(model.largest) if model is not None else 0.0
    bent = around.negative.certified and around.negative.value.value < -1e-2 * largest
    if bent and (strict or _falls(known, around.along.drop)):
        return False
    return known.downhill is None or not _falls(known, known.downhill.drop)


def _lowest_elsewhere(known: Evidence, around: Surroundings, *, data_only: bool = False) -> float:
    """The lowest loss that is known from elsewhere: the known minimum, or where other beginnings came to."""
    lows = [*around.elsewhere, *(fall.lowest for fall in known.falls)]
    if known.problem.truth.minimum is not None and not (data_only and known.problem.data is None):
        lows.append(float(known.problem.truth.minimum))
    return float(min(lows)) if lows else float("inf")
