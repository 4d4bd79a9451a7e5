"""learning-rate-too-high and learning-rate-too-low: the rate against the stability edge of the rule in use.

    share of the edge = lr lambda_max / edge
    edge = 2 (descent), 2 (1 + rho) (heavy ball), 2 (1 + rho) / (1 + 2 rho) (Nesterov), 2 (1 + b1) / (1 - b1) (Adam)

Too high: the run diverged or climbed, or it stands past its edge and has learned nothing, or a lower rate ends three
times lower, or the validation loss is three times that of the best constant output and of the training, or the rule
forgets no gradient.
Where less than a fifth was learned of what the best constant output leaves, one and a half times lower is enough; where
nothing was, a tenth, and less than that shows that the rate is not to blame. A share of the edge of 1 and more alone is
no fault: networks train there (Cohen et al. 2021). Nor is the climb of a loss that is a surrogate.
Too low: ten times the rate takes at least four times fewer steps to where this one ends, or ends at half of its loss.
For a rule whose edge is known the share must be below 0.2 too: from there a factor of four is left with room to the
edge (`theory.stability.two_step_edge`). With data, training must suffer: a fifth of a constant output's loss is left.
Not where the run is at rest: its last quarter brings half a percent of its fall, and no higher rate comes lower.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from jaxopt_lab.core import Status
from jaxopt_lab.diagnosis import predicted_gain
from jaxopt_lab.diagnosis.causes import noise
from jaxopt_lab.diagnosis.evidence import LITTLE, Evidence
from jaxopt_lab.diagnosis.findings import Finding, Measurement, Prescription, make_finding, measured
from jaxopt_lab.diagnosis.judgements import speed_up
from jaxopt_lab.diagnosis.predicted_gain import horizon_for
from jaxopt_lab.diagnosis.prescriptions import advise, scale_rate
from jaxopt_lab.diagnosis.probe_runs import ProbeRun

EDGE = "Cohen et al. 2021, arXiv 2103.00065; theory.stability.two_step_edge"
CLIMBED = 0.05
LOWER, LITTLE_LEARNED, NOTHING_LEARNED, NOTHING = 3.0, 1.5, 1.1, 0.95
LEAST_GAIN = 4.0
MOST_SHARE = 0.2
AT_REST = 0.005
HALF = 0.5
_SHARE = 0.1
_VISIBLE = 10.0  # times the precision of the loss that runs must come down to be slow and not at rest
_BLAMED = ("non-finite", "unnormalized-inputs", "exploding-signal", "bad-initialization")


def examine_high(evidence: Evidence) -> Finding | None:
    """A finding where the run diverged, climbed, or does better at a lower rate."""
    run = evidence.run
    if run is None or evidence.non_finite is not None:
        return None
    if evidence.setting.optimizer.kind == "accumulating":
        return _accumulating(evidence)
    share = _share_at_start(evidence)
    measurements = [measured("learning rate times sharpness over the edge", share, 1.0, EDGE)]
    cure = scale_rate(_calmer(evidence, share), evidence.setting.optimizer)
    if run.diverged:
        return _diverged(run, measurements, cure)
    if evidence.part("program.is_surrogate"):
        return None
    climbed = run.end > evidence.point.loss + CLIMBED * evidence.scale and _uphill_beyond_noise(evidence)
    better = _lower_at_less(evidence)
    goes_nowhere = evidence.progress < 0.05 or share_left(evidence) > NOTHING
    stuck = share >= 1 and goes_nowhere and not (evidence.is_converged or better < NOTHING_LEARNED)
    held = _validation_over_baseline(evidence)
    measurements += [
        measured("climb of the loss, over its scale", (run.end - evidence.point.loss) / evidence.scale, CLIMBED),
        measured("loss above the lowest known, over that at a lower rate", better, LOWER),
        measured("validation loss over that of the best constant output", held, LOWER),
        measured("median cosine of successive updates", run.cosine),
    ]
    astray = held >= LOWER * max(share_left(evidence), 1.0)  # whether a lower rate helps is tried
    noisy = not share >= 0.5 and noise.examine(evidence) is not None
    if not (stuck or astray or ((climbed or _lower_is_better(evidence, better)) and not noisy)):
        return None
    text = "The steps are longer than the curvature allows: the loss does not fall, and at a lower rate it does."
    if astray and not stuck:
        text = "The steps are too long: the validation loss is far above that of the best constant output."
    falls = run.losses[-1] < run.losses[0]  # if not, it gains nothing, however long it runs
    gain = min(max(better, LOWER), 1e6) if np.isfinite(better) and falls else float(evidence.num_steps)
    return make_finding(
        "learning-rate-too-high", text, measurements, cure, gain, horizon=evidence.num_steps,
        follows_from=_BLAMED if evidence.setting.optimizer.weight_decay == 0 else (*_BLAMED, "underfitting"),
    )  # fmt: skip


def _diverged(run: ProbeRun, measurements: list[Measurement], cure: Prescription) -> Finding:
    how = "met a number that is not finite" if run.status is Status.NON_FINITE else "blew up"
    text = f"The run {how} within {int(run.steps[-1])} steps."
    return make_finding(
        "learning-rate-too-high", text, measurements, cure, float("inf"), horizon=run.num_steps, follows_from=_BLAMED
    )  # fmt: skip


def _accumulating(evidence: Evidence) -> Finding:
    """What is wrong with a rule that forgets no gradient: at any rate its steps oscillate undamped."""
    text = "The rule sums all gradients and forgets none: its momentum is 1 or more, or nothing resets them."
    cure = advise("Take a momentum below 1, such as 0.9; set accumulated gradients to zero after each step.")
    return make_finding(
        "learning-rate-too-high", text, [measured("loss at the end of the short run", evidence.end)], cure,
        float("inf"), horizon=evidence.num_steps,
    )  # fmt: skip


def share_left(evidence: Evidence) -> float:
    """The loss at the end of the run over that of the best constant output; NaN where that is not known."""
    base = evidence.point.baseline
    return float("nan") if base is None else evidence.end / max(base, 1e-300)


def _lower_is_better(evidence: Evidence, better: float) -> bool:
    """Whether a lower rate ends so many times lower as the little that was learned asks for."""
    wanted, left = LOWER, share_left(evidence)
    if evidence.is_underperforming and left > 1 - LITTLE:
        wanted = NOTHING_LEARNED if left > NOTHING else LITTLE_LEARNED
    return better >= wanted


def examine_low(evidence: Evidence) -> Finding | None:
    """A finding where a higher rate comes as far in at least four times fewer steps."""
    run = evidence.run
    if run is None or run.diverged or evidence.non_finite is not None:
        return None
    if not run.losses[-1] < run.losses[0] or not _most_gained(evidence) > _VISIBLE * evidence.resolution:
        return None
    if evidence.setting.problem.data is not None and not evidence.is_underperforming:
        return None
    share = evidence.relative_sharpness
    if (
        _is_at_rest(evidence)
        or share > MOST_SHARE
        or evidence.is_converged
        or (_progress(evidence) > 0.9 and not evidence.follows_model)
    ):
        return None
    measurements = [measured("learning rate times sharpness over the edge", share, MOST_SHARE, EDGE)]
    if evidence.rates is None and evidence.setting.optimizer.kind == "adaptive" and not evidence.follows_model:
        return None
    if evidence.rates is None:
        faster = _by_model(evidence)
        measurements.append(measured("times fewer steps at the best rate, by the local model", faster, LEAST_GAIN))
        best = max(faster, 2.0)
    else:
        best, faster, more = _by_runs(evidence)
        measurements += more
    if not (faster >= LEAST_GAIN or _ends_at_half(evidence, measurements)):
        return None
    factor = float(np.clip(0.5 / share, 2.0, 1e4)) if share > 0 else best
    measurements.append(measured("median cosine of successive updates", run.cosine))
    text = f"The rate is {factor:.3g} times below what the curvature allows; the loss falls slowly."
    causes = (*_BLAMED, "vanishing-signal", "dead-units", "plateau", "saddle", "underfitting")
    cure = scale_rate(factor, evidence.setting.optimizer)
    return make_finding(
        "learning-rate-too-low", text, measurements, cure, factor, horizon=horizon_for(evidence, factor),
        forecast=_forecast(evidence, factor), follows_from=causes,
    )  # fmt: skip


def _progress(evidence: Evidence) -> float:
    """The share of the loss that the run removed, without what of it lay above that of the best constant output."""
    end, base, least = evidence.end, evidence.point.baseline, evidence.lower_bound
    if base is None or not np.isfinite(least) or not least < base < evidence.point.loss:
        return evidence.progress
    return (base - end) / (base - least)


def _is_at_rest(evidence: Evidence) -> bool:
    """Whether the run hardly falls any more, and no higher rate is known to come lower."""
    assert evidence.run is not None
    third, last = evidence.run.late_losses
    least = AT_REST * (evidence.point.loss - last)
    ends = [] if evidence.rates is None else [evidence.rates.losses[factor][-1] for factor in (10.0, 100.0)]
    return bool(third - last < least and not any(end < last - least for end in ends))


def _forecast(evidence: Evidence, factor: float) -> Callable[[int], float] | None:
    """Steps -> gain by the local model, where the run follows it; else None: the factor."""
    model, method = evidence.model_at_point, evidence.method
    if not evidence.follows_model or model is None or method is None:
        return None
    after = dataclasses.replace(method, learning_rate=factor * method.learning_rate)
    return lambda count: predicted_gain.speed_up(evidence, count, model, after)


def _most_gained(evidence: Evidence) -> float:
    """The largest fall of the run and of those at higher rates."""
    ends = [] if evidence.run is None else [evidence.run.losses[-1]]
    ends += [] if evidence.rates is None else [evidence.rates.losses[factor][-1] for factor in (10.0, 100.0)]
    falls = [evidence.point.loss - end for end in ends if np.isfinite(end)]
    return float(max(falls, default=0.0))


def _by_model(evidence: Evidence) -> float:
    """Steps at the rate in use over those at the best rate of the same rule; NaN where the model does not say."""
    if evidence.method is None or evidence.current_model is None:
        return float("nan")
    best = evidence.current_model.best_learning_rate(evidence.method)
    return evidence.current_model.steps_to(_SHARE, evidence.method) / max(
        evidence.current_model.steps_to(_SHARE, best), 1.0
    )


def _by_runs(evidence: Evidence) -> tuple[float, float, list[Measurement]]:
    """The better of the two higher rates, how many times fewer steps it takes, and the measurements."""
    if evidence.rates is None or evidence.run is None:
        return 1.0, float("nan"), []
    base = np.interp(evidence.rates.steps, evidence.run.steps, evidence.run.losses)
    faster = {factor: speed_up(evidence.rates.steps, base, evidence.rates.losses[factor]) for factor in (10.0, 100.0)}
    best = max(faster, key=lambda factor: np.nan_to_num(faster[factor]))
    measurements = [
        measured("times fewer steps at 10 times the rate", faster[10.0], LEAST_GAIN),
        measured("times fewer steps at 100 times the rate", faster[100.0]),
    ]
    return best, faster[best], measurements


def _ends_at_half(evidence: Evidence, measurements: list[Measurement]) -> bool:
    """Whether ten times the rate leaves less than half of the loss in as many steps; tells the measurements."""
    if evidence.rates is None or evidence.run is None or not np.isfinite(evidence.lower_bound):
        return False
    here = np.interp(evidence.rates.steps[-1], evidence.run.steps, evidence.run.losses) - evidence.lower_bound
    there = evidence.rates.losses[10.0][-1] - evidence.lower_bound
    share = float(there / max(here, 1e-300))
    measurements.append(measured("loss at 10 times the rate over that of the run", share, HALF))
    return share < HALF


def _share_at_start(evidence: Evidence) -> float:
    """The larger of the shares of the edge at both ends of the run, where they are evidence."""
    shares = [evidence.relative_sharpness]
    if evidence.model_at_point is not None and evidence.setting.optimizer.kind != "adaptive":
        shares.append(evidence.setting.optimizer.relative_sharpness(evidence.model_at_point.largest))
    found = [share for share in shares if np.isfinite(share)]
    return max(found) if found else float("nan")


def _calmer(evidence: Evidence, share: float) -> float:
    """The factor for the rate: half of the edge, or the rate that ended lowest."""
    if share > 1:
        return min(0.5 / share, 0.5)
    ends = {} if evidence.rates is None else {c: curve[-1] for c, curve in evidence.rates.losses.items() if c < 1}
    known_ends = {c: end for c, end in ends.items() if np.isfinite(end)}
    return min(known_ends, key=known_ends.__getitem__) if known_ends else 0.1


def _uphill_beyond_noise(evidence: Evidence) -> bool:
    """Whether the climb is more than a run at its noise floor shows: a lower rate ends lower."""
    if evidence.run is None or evidence.rates is None:
        return True
    ends = [curve[-1] for factor, curve in evidence.rates.losses.items() if factor < 1]
    return bool(np.nanmin(ends) < evidence.run.end)


def _validation_over_baseline(evidence: Evidence) -> float:
    """Validation loss at the end of the run over that of the best constant output; NaN where either is not known.

    Of a loss that depends on the number of its examples, over the training loss on as many.
    """
    base, found = evidence.point.baseline, evidence.validation
    if base is None or found is None or not base > 0:
        return float("nan")
    return found.loss.value / np.nanmax([base, base * found.alike / max(evidence.end, 1e-300)])


def _lower_at_less(evidence: Evidence) -> float:
    """Loss above the lowest known over that at the better lower rate, after equal steps; NaN where it is not known.

    Nor does it count where a loss without validation data is as low as training makes it.
    """
    at_rest = evidence.is_converged and evidence.validation is None
    if evidence.run is None or evidence.rates is None or evidence.rates.steps is None or at_rest:
        return float("nan")
    here = float(np.interp(evidence.rates.steps[-1], evidence.run.steps, evidence.run.losses))
    ends = np.array([curve[-1] for factor, curve in evidence.rates.losses.items() if factor < 1])
    if not np.isfinite(ends).any():
        return float("nan")
    lower = (
        evidence.lower_bound
        if np.isfinite(evidence.lower_bound)
        else float(np.nanmin([*ends, here])) - 1e-3 * evidence.scale
    )
    return (here - lower) / max(float(np.nanmin(ends)) - lower, 1e-3 * evidence.scale)
