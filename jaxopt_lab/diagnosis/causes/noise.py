"""gradient-noise: the run stands where its own noise holds it.

    floor = lr tr S_B / (4 (1 - rho)),      over what is left to gain at the end of the run

What is left: what lies above the smallest possible loss, where that is known; else what the local model has to give, or
what a lower rate has gained, whichever is more.

Threshold: the floor of the rule in use accounts for at least half of what is left, the noise of one step exceeds the
gradient (tr S_B > |G|^2), and what is left is at least a tenth of the loss that training is about. Where the run no
longer gains, or the smallest possible loss is known, a quarter and a twentieth do: what is left is then read at one
place of a path that scatters by such factors; a quarter of what was learned over a constant output does too, if it is a
hundredth. A quarter is also enough where a tenth of the rate, well below the edge, comes two thirds as far in as many
steps: the rest goes into noise.
It is the rate, and not the noise, where the run climbs on its way above where it began, by more than twice the floor
and the loss that training is about, and a tenth of the rate is ahead from the first third on; and where a lower rate
brings two and a half times as much as the floor is high.
Below the edge the floor is a sum of lr sigma_i^2 / (2 (2 - lr lambda_i)) over the modes, at least lr tr S_B / 4
(`theory.noise_floors.loss_floor`).
"""

import numpy as np

from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import Finding, make_finding, measured
from jaxopt_lab.diagnosis.prescriptions import average_iterates, enlarge_batch, scale_rate

SOURCE = "theory.noise_floors.loss_floor; McCandlish et al. 2018, equation 2.6"
FLOOR_SHARE = 0.5
NOISE_OVER_SIGNAL = 1.0
LEFT, STANDING = 0.1, 0.05
VISIBLE, TINY = 0.01, 4  # examples a batch, ten times which take next to no longer
AS_FAR, WASTED_SHARE = 2 / 3, 0.25
_FACTOR, _MORE_THAN_NOISE, _OFTEN = 0.1, 2.5, 0.9


def examine(evidence: Evidence) -> Finding | None:
    """A finding where the rule's noise floor accounts for what is left of the loss."""
    run, noise, model = evidence.run, evidence.update.noise, evidence.current_model
    if run is None or run.diverged or noise is None or model is None:
        return None
    rate = evidence.setting.optimizer.effective_rate
    if not np.isfinite(rate):
        return None
    floor = rate * noise.trace.value / 4
    ceiling = evidence.end - evidence.lower_bound if np.isfinite(evidence.lower_bound) else np.inf
    is_known = evidence.setting.problem.truth.minimum is not None
    left = max(ceiling if is_known else model.gap(max(ceiling, 0.0)), _gained_at_less(evidence))
    share = floor / max(left, 1e-300)
    stands = evidence.progress <= LEFT or is_known
    least, part = (STANDING, FLOOR_SHARE / 2) if stands else (LEFT, FLOOR_SHARE)
    small = left < least * evidence.scale and not _as_much_as_was_learned(evidence, left)
    if noise.ratio < NOISE_OVER_SIGNAL or small or not (share >= part or _wasted(evidence, share, AS_FAR)):
        return None
    if _climbs_and_is_overtaken(evidence, floor) or _gained_at_less(evidence) > _MORE_THAN_NOISE * floor:
        return None
    if _falling(run.losses, evidence) and not _wasted(evidence, share, 1.0):
        return None
    measurements = [
        measured("noise floor of the rule in use, of loss", floor),
        measured("what is left to gain", left),
        measured("floor over what is left", share, FLOOR_SHARE, SOURCE),
        measured("noise over signal of one step, B_simple / B", noise.ratio, NOISE_OVER_SIGNAL, SOURCE),
        measured("median cosine of successive updates", run.cosine),
    ]
    text = (
        f"One step's gradient is {np.sqrt(noise.ratio):.3g} times more noise than signal, and at this rate the noise"
        f" holds the loss {floor:.3g} above the bottom. Lower the rate, enlarge the batch or average the iterates."
    )
    excess = evidence.end - evidence.lower_bound if np.isfinite(evidence.lower_bound) else left
    gain = excess / max(excess - (1 - _FACTOR) * min(left, excess), _FACTOR * excess)
    if is_known:  # all that is above the minimum is the floor
        gain = excess / _lower_floor(evidence, floor)
    size, factor = evidence.setting.batch_size, round(1 / _FACTOR)
    others = (enlarge_batch(factor), average_iterates())
    if size is not None and size <= TINY:
        others = (*others, enlarge_batch(factor, longer=factor))
    return make_finding(
        "gradient-noise", text, measurements, scale_rate(_FACTOR, evidence.setting.optimizer), gain, gain_in="loss",
        horizon=max(evidence.num_steps, 1000), alternatives=others,
        follows_from=("learning-rate-too-high", "unnormalized-inputs", "non-finite"),
    )  # fmt: skip


def _ends(evidence: Evidence, factor: float) -> tuple[float, float]:
    """Mean losses of the last quarter, of the run and of the same run at `factor` times its rate; NaN if not known."""
    run, rates = evidence.run, evidence.rates
    if run is None or rates is None:
        return float("nan"), float("nan")
    steps = rates.steps
    last = max(1, len(steps) // 4)
    here = np.interp(steps[-last:], run.steps, run.losses)
    return float(here.mean()), float(rates.losses[factor][-last:].mean())


def _gained_at_less(evidence: Evidence) -> float:
    """How much lower the same run ends at a lower rate, 0 where it does not or it is not evidence."""
    falls = [here - there for here, there in (_ends(evidence, factor) for factor in (0.01, 0.1))]
    return max([fall for fall in falls if np.isfinite(fall)], default=0.0)


def _climbs_and_is_overtaken(evidence: Evidence, floor: float) -> bool:
    """Whether the run climbs by more than noise does, and a tenth of its rate is ahead from the first third on.

    At a tenth of its records at least: one example with a wrong label makes a spike.
    """
    run, rates = evidence.run, evidence.rates
    if run is None or rates is None:
        return False
    climb = float(np.nanquantile(run.losses, _OFTEN)) - evidence.point.loss
    here, there = np.interp(rates.steps, run.steps, run.losses), rates.losses[_FACTOR]
    late = len(rates.steps) // 3
    return climb > 2 * floor + evidence.scale and bool((there[late:] < here[late:]).all())


def _wasted(evidence: Evidence, share: float, part: float) -> bool:
    """Whether a tenth of the rate, with a tenth of the floor, comes `part` as far; well below the edge."""
    here, there = _ends(evidence, 0.1)
    return (
        share >= WASTED_SHARE
        and evidence.relative_sharpness < 0.5
        and evidence.point.loss - there >= part * (evidence.point.loss - here)
    )


def _lower_floor(evidence: Evidence, floor: float) -> float:
    """The floor at the lower rate; noise of minibatches falls with the loss (Mori et al. 2022), a loss's own stays."""
    lower = _FACTOR * floor
    return (
        lower
        if evidence.point.is_random
        else lower * max(evidence.lower_bound, 1e-2 * evidence.end) / max(evidence.end - lower, lower)
    )


def _falling(losses: np.ndarray, evidence: Evidence) -> bool:
    """Whether the last quarter lies below the one before, by a tenth of what training is about and by its scatter."""
    if len(losses) < 8:
        return False
    before, last = np.array_split(losses, 4)[2:]
    fall = before.mean() - last.mean()
    return bool(fall > 0.1 * evidence.scale and fall > 2 * max(before.std(), last.std()))


def _as_much_as_was_learned(evidence: Evidence, left: float) -> bool:
    """Whether what is left is a quarter of what the model does better than a constant output, which is little."""
    if evidence.point.baseline is None or not evidence.is_underperforming or left < VISIBLE * evidence.scale:
        return False
    return left > 0.25 * max(evidence.point.baseline - evidence.end, 0.0)
