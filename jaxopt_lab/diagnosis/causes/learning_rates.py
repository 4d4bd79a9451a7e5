"""learning-rate-too-high and learning-rate-too-low: the rate against the stability edge of the rule in use.

    share of the edge = lr lambda_max / edge
    edge = 2 (descent), 2 (1 + rho) (heavy ball), 2 (1 + rho) / (1 + 2 rho) (Nesterov), 2 (1 + b1) / (1 - b1) (Adam)

Too high: the run diverged or climbed, or it stands past its edge and has learned nothing, or training goes badly and
a lower rate ends three times lower. Where nothing was learned a tenth lower is enough, and less than that shows that
the rate is not to blame. A share of the edge of 1 and more alone is no illness: networks train there (Cohen et al.
2021).
Too low: ten times the rate takes at least four times fewer steps to where this one ends. For a rule whose edge is known
the share must be below 0.2 too: from there a factor of four is left with room to the edge
(`theory.stability.two_step_edge`).
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from jaxopt_lab.core import Status
from jaxopt_lab.diagnosis import predicted_gain
from jaxopt_lab.diagnosis.causes import noise
from jaxopt_lab.diagnosis.evidence import Evidence, horizon_for
from jaxopt_lab.diagnosis.findings import Finding, Reading, make_finding, read
from jaxopt_lab.diagnosis.prescriptions import scale_rate
from jaxopt_lab.diagnosis.probe_runs import speed_up

EDGE = "Cohen et al. 2021, arXiv 2103.00065; theory.stability.two_step_edge"
CLIMBED = 0.05
LOWER, NOTHING_LEARNED = 3.0, 1.1
LEAST_GAIN = 4.0
MOST_SHARE = 0.2
_SHARE = 0.1
_VISIBLE = 10.0  # times the precision of the loss that runs must come down to be slow and not at rest
_BLAMED = ("non-finite", "unnormalized-inputs", "exploding-signal", "bad-initialization")


def examine_high(known: Evidence) -> Finding | None:
    """The finding, or None."""
    run = known.run
    if run is None or known.culprit is not None:
        return None
    share = _share_at_start(known)
    evidence = [read("learning rate times sharpness over the edge", share, 1.0, EDGE)]
    factor = _calmer(known, share)
    if run.diverged:
        how = "met a number that is not finite" if run.status is Status.NON_FINITE else "blew up"
        words = f"The run {how} within {int(run.steps[-1])} steps."
        return make_finding(
            "learning-rate-too-high", words, evidence, scale_rate(factor), float("inf"), horizon=known.steps,
            follows_from=_BLAMED,
        )  # fmt: skip
    climbed = run.end > known.loss + CLIMBED * known.scale and _uphill_beyond_noise(known)
    learned_nothing = known.baseline is not None and run.end > 0.95 * known.baseline
    better = float("nan") if known.done else _lower_at_less(known)
    stuck = share >= 1 and (known.progress < 0.05 or learned_nothing) and not (known.done or better < NOTHING_LEARNED)
    evidence += [
        read("climb of the loss, over its scale", (run.end - known.loss) / known.scale, CLIMBED),
        read("loss above the lowest known, over that at a lower rate", better, LOWER),
        read("median cosine of successive updates", run.cosine),
    ]
    noisy = not share >= 0.5 and noise.examine(known) is not None
    lower_is_better = known.suffers and better >= (NOTHING_LEARNED if learned_nothing else LOWER)
    if not (stuck or ((climbed or lower_is_better) and not noisy)):
        return None
    words = "The steps are longer than the curvature allows: the loss does not fall, and at a lower rate it does."
    gain = min(max(better, LOWER), 1e6) if np.isfinite(better) else float(known.steps)
    if run.losses[-1] >= run.losses[0]:  # it gains nothing, however long it runs
        gain = float(known.steps)
    return make_finding(
        "learning-rate-too-high", words, evidence, scale_rate(factor), gain, horizon=known.steps,
        follows_from=_BLAMED if known.decay == 0 else (*_BLAMED, "underfitting"),
    )  # fmt: skip


def examine_low(known: Evidence) -> Finding | None:
    """The finding, or None."""
    run = known.run
    if run is None or run.diverged or known.culprit is not None:
        return None
    if not run.losses[-1] < run.losses[0] or not _most_gained(known) > _VISIBLE * known.resolution:
        return None
    share = known.share_of_edge
    if share > MOST_SHARE or known.done or (known.progress > 0.9 and not known.exact):
        return None
    evidence = [read("learning rate times sharpness over the edge", share, MOST_SHARE, EDGE)]
    if known.rates is None and known.in_use.kind == "adaptive" and not known.exact:
        return None
    if known.rates is None:
        faster = _by_model(known)
        evidence.append(read("times fewer steps at the best rate, by the local model", faster, LEAST_GAIN))
        best = max(faster, 2.0)
    else:
        best, faster, readings = _by_runs(known)
        evidence += readings
    if not faster >= LEAST_GAIN:
        return None
    factor = float(np.clip(0.5 / share, 2.0, 1e4)) if share > 0 else best
    evidence.append(read("median cosine of successive updates", run.cosine))
    words = f"The rate is {factor:.3g} times below what the curvature allows; the run goes straight and slowly."
    causes = (*_BLAMED, "vanishing-signal", "dead-units", "plateau", "saddle", "underfitting")
    return make_finding(
        "learning-rate-too-low", words, evidence, scale_rate(factor), factor, horizon=horizon_for(known, factor),
        forecast=_forecast(known, factor), follows_from=causes,
    )  # fmt: skip


def _forecast(known: Evidence, factor: float) -> Callable[[int], float] | None:
    """Steps -> gain by the local model, where the run follows it; else None: the factor."""
    model, method = known.model, known.method
    if not known.exact or model is None or method is None:
        return None
    after = dataclasses.replace(method, learning_rate=factor * method.learning_rate)
    return lambda count: predicted_gain.speed_up(known, count, model, after)


def _most_gained(known: Evidence) -> float:
    """The largest fall of the run and of those at higher rates."""
    ends = [] if known.run is None else [known.run.losses[-1]]
    ends += [] if known.rates is None else [known.rates[factor][-1] for factor in (10.0, 100.0)]
    falls = [known.loss - end for end in ends if np.isfinite(end)]
    return float(max(falls, default=0.0))


def _by_model(known: Evidence) -> float:
    """Steps at the rate in use over those at the best rate of the same rule; NaN where the model does not say."""
    if known.method is None or known.here is None:
        return float("nan")
    best = known.here.best_rate(known.method)
    return known.here.steps_to(_SHARE, known.method) / max(known.here.steps_to(_SHARE, best), 1.0)


def _by_runs(known: Evidence) -> tuple[float, float, list[Reading]]:
    """The better of the two higher rates, how many times fewer steps it takes, and the readings."""
    if known.rates is None or known.rate_steps is None or known.run is None:
        return 1.0, float("nan"), []
    base = np.interp(known.rate_steps, known.run.steps, known.run.losses)
    faster = {factor: speed_up(known.rate_steps, base, known.rates[factor]) for factor in (10.0, 100.0)}
    best = max(faster, key=lambda factor: np.nan_to_num(faster[factor]))
    readings = [
        read("times fewer steps at 10 times the rate", faster[10.0], LEAST_GAIN),
        read("times fewer steps at 100 times the rate", faster[100.0]),
    ]
    return best, faster[best], readings


def _share_at_start(known: Evidence) -> float:
    """The larger of the shares of the edge at both ends of the run, where they are known."""
    shares = [known.share_of_edge]
    if known.model is not None and known.in_use.kind != "adaptive":
        shares.append(known.in_use.share_of_edge(known.model.largest))
    found = [share for share in shares if np.isfinite(share)]
    return max(found) if found else float("nan")


def _calmer(known: Evidence, share: float) -> float:
    """The factor for the rate: half of the edge, or the rate that ended lowest."""
    if share > 1:
        return min(0.5 / share, 0.5)
    ends = {} if known.rates is None else {c: curve[-1] for c, curve in known.rates.items() if c < 1}
    known_ends = {c: end for c, end in ends.items() if np.isfinite(end)}
    return min(known_ends, key=known_ends.__getitem__) if known_ends else 0.1


def _uphill_beyond_noise(known: Evidence) -> bool:
    """Whether the climb is more than a run at its noise floor shows: a lower rate does not climb half as much."""
    if known.run is None or known.rates is None:
        return True
    ends = [curve[-1] for factor, curve in known.rates.items() if factor < 1]
    return bool(np.nanmin(ends) < known.run.end)


def _lower_at_less(known: Evidence) -> float:
    """Loss above the lowest known over that at the better lower rate, after equal steps; NaN where not known."""
    if known.run is None or known.rates is None or known.rate_steps is None:
        return float("nan")
    here = float(np.interp(known.rate_steps[-1], known.run.steps, known.run.losses))
    ends = np.array([curve[-1] for factor, curve in known.rates.items() if factor < 1])
    if not np.isfinite(ends).any():
        return float("nan")
    lower = known.lower if np.isfinite(known.lower) else float(np.nanmin([*ends, here])) - 1e-3 * known.scale
    return (here - lower) / max(float(np.nanmin(ends)) - lower, 1e-3 * known.scale)
