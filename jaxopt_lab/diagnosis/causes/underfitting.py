"""underfitting: the model, as it is trained, cannot do better.

a probe predicts unseen examples with less than half of the model's errors once the planned steps are done, or 200 of
    which the last quarter gains less than a tenth of that, but where the training examples are memorized; or
weight decay changes the step where the run ended by at least half of what it is without it; or
the run goes badly and the loss's own penalty on the weights is at least half of what the best constant output costs; or
numbers of the data name no row of the table of parameters that they are looked up in: JAX clamps them to its end; or
no way leads down from where the run stands still, no lower loss is known, and half of that loss is left
"""

import numpy as np

from jaxopt_lab.diagnosis.causes import generalization, stationarity
from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import CAUSES, Finding, make_finding, measured
from jaxopt_lab.diagnosis.label_probes import Skill, numbers_for_classes
from jaxopt_lab.diagnosis.prescriptions import advise, lighten_penalty, stop_decay

HELD = 0.5
PULLED = 0.5
CRAWLS, MANY_STEPS = 0.1, 200
FITTED = 0.1
CLAMPED = 0.01
_STANDING = ("local-minimum", "saddle", "plateau", "gradient-noise")


def examine(evidence: Evidence) -> Finding | None:
    """A finding where the model, or weight decay, leaves half of a constant output's loss."""
    base, held = evidence.point.baseline, evidence.update.decay or 0.0
    if base is None or base <= 0 or not np.isfinite(evidence.end):
        return None
    left, clamped = evidence.end / base, evidence.part("program.clamped") or 0.0
    if clamped > CLAMPED and not evidence.is_converged:
        return _beyond_its_end(evidence, clamped)
    pulled = max(evidence.penalty) / max(base - evidence.penalty.start, 1e-300)
    if pulled >= PULLED and evidence.is_underperforming:
        return _penalized(evidence, pulled)
    is_held = held >= HELD and not evidence.is_converged
    skill = None if evidence.data is None else evidence.data.skill
    if skill is not None and not is_held and skill.is_outdone and _is_over(evidence, skill):
        memorized = evidence.is_converged and generalization.examine(evidence) is not None
        return None if memorized else _outdone(evidence, skill)
    if held < HELD and stationarity.fits_a_few(evidence):
        return None
    if not is_held and not (left >= stationarity.LEFT and stationarity.is_exhausted(evidence)):
        return None
    measurements = [
        measured("training loss over that of the best constant output", left, stationarity.LEFT),
        measured("what weight decay changes of a step, over the step without it", held, HELD),
        measured("gradient norm", evidence.point.gradient_norm),
        measured("weight decay of the rule in use, a step", evidence.setting.optimizer.weight_decay),
    ]
    text = "Training has come to its end and has learned little: the model cannot do better as it stands."
    cure = advise("Use a larger model, better features, or less regularization.")
    if held >= HELD:
        text = "Weight decay holds the loss up: it pulls the weights back as hard as the gradient pushes them."
        cure = stop_decay()
    horizon = max(evidence.num_steps, 200)
    gain = _freed(evidence, horizon) if held >= HELD else 1 / max(1 - left, 0.5)
    return make_finding(
        "underfitting", text, measurements, cure, gain, gain_in="loss", horizon=horizon,
        follows_from=() if held >= HELD else (*stationarity.BLAMED, *_STANDING),
    )  # fmt: skip


def _is_over(evidence: Evidence, skill: Skill) -> bool:
    """Whether the planned steps are done, or many, of which the last quarter gains little of what the probe shows."""
    if evidence.run is None or evidence.num_steps < min(MANY_STEPS, evidence.setting.total_steps or MANY_STEPS):
        return False
    third, last = evidence.run.late_losses
    return evidence.is_whole or third - last < CRAWLS * (skill.probe - skill.model) * evidence.scale


def _outdone(evidence: Evidence, skill: Skill) -> Finding:
    text = "Neighbours, a linear or a boosted model predict unseen examples far better than this model after its run."
    numbers = [
        measured("predicted of what the probes have not seen by the model, 0 by chance and 1 at best", skill.model),
        measured("the same by the best probe", skill.probe),
    ]
    cure = advise("Look at what the model makes of its inputs; use a larger model, better features, or train longer.")
    search = evidence.part("program.outputs")
    if search is not None and numbers_for_classes(search.place, evidence.setting.problem.data):
        text = "One output stands for several classes: neighbours, a linear or a boosted model name them far better."
        cure = advise(
            "Give the model an output for each class and use optax.softmax_cross_entropy_with_integer_labels: numbers"
            " of classes are names, and what lies between two of them is no third."
        )
    gain = (1 - skill.model) / max(1 - skill.probe, 0.01)
    blamed, few = set(CAUSES), evidence.part("program.memorization")
    if few is not None and few.least > FITTED * (evidence.point.baseline or np.inf):
        blamed.remove("bad-initialization")  # from there no rate fits sixteen examples either
    return make_finding(
        "underfitting", text, numbers, cure, gain, gain_in="loss", horizon=evidence.num_steps,
        follows_from=tuple(each for each in CAUSES if each in blamed),
    )  # fmt: skip


def _beyond_its_end(evidence: Evidence, clamped: float) -> Finding:
    text = (
        f"{clamped:.1%} of the numbers that are looked up in a table of parameters name no row of it: JAX clamps them"
        " to its end, and the model takes them for one."
    )
    cure = advise("Give the table as many rows as there are different numbers, or number these from 0.")
    numbers = [measured("share of the numbers that name no row", clamped, CLAMPED)]
    return make_finding(
        "underfitting", text, numbers, cure, 1 / max(1 - clamped, 1e-2), gain_in="loss", horizon=evidence.num_steps
    )


def _penalized(evidence: Evidence, pulled: float) -> Finding:
    text = "The loss asks more of the parameters than of the outputs: its penalty on the weights holds training back."
    numbers = [
        measured("penalty on the parameters over the loss of the best constant output", pulled, PULLED),
        measured("penalty at the point", evidence.penalty.start),
        measured("penalty at the end of the short run", evidence.penalty.end),
    ]
    gain = evidence.end / max(evidence.end - evidence.penalty.end, 1e-300)
    return make_finding(
        "underfitting", text, numbers, lighten_penalty(10 * pulled), gain, gain_in="loss", horizon=evidence.num_steps
    )


def _freed(evidence: Evidence, steps: int) -> float:
    """How many times less loss there is when so many steps go downhill from the end of the run without the decay."""
    model, method = evidence.model_at_end or evidence.model_at_point, evidence.method
    excess = max(evidence.end - max(evidence.lower_bound, 0.0), 1e-300)
    fall = 0.0 if evidence.point.steepest is None else evidence.point.steepest.drop
    if model is not None and method is not None:
        fall = max(fall, model.gap(excess) * (1 - model.remaining(steps, method, excess)))
    return excess / max(excess - fall, 1e-7 * excess)
