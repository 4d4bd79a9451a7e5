"""cannot-memorize: the model does not fit sixteen of its own examples, or all of fewer, at any rate that was tried.

Threshold: at least half of the loss of the best constant output is left, both less what outputs that know every target
leave: soft targets and likelihoods do not end at zero. Networks of the usual size fit any labels (Zhang et al. 2017,
arXiv 1611.03530): one that does not is too small, or broken. With fewer parameters than outputs of these examples, of
which the classes' add up to one, and no probe ahead of it, it leaves noise. Nor where the smallest possible loss is
known, and lies below that: the model can, and does not get there.
"""

import numpy as np

from jaxopt_lab.core import vectors
from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import Finding, make_finding, measured
from jaxopt_lab.diagnosis.prescriptions import advise
from jaxopt_lab.diagnosis.program_checks import NUM_EXAMPLES

LEFT = 0.5
_BLAMED = (
    "non-finite", "unreachable-loss", "unbounded-loss", "no-gradient", "mixed-examples", "label-range", "dead-units",
    "exploding-signal", "vanishing-signal", "bad-initialization", "lost-updates", "saddle", "plateau", "local-minimum",
    "unnormalized-inputs", "learning-rate-too-high",
)  # fmt: skip


def examine(evidence: Evidence) -> Finding | None:
    """A finding where sixteen examples are not fitted."""
    found, base = evidence.part("program.memorization"), evidence.point.baseline
    if found is None or base is None or not base > 0:
        return None
    floor = _floor(evidence, base)
    left = (found.least - floor) / (base - floor)
    if not left > LEFT or _leaves_noise(evidence) or _can_do_better(evidence, base):
        return None
    above = ", both above that of free outputs" if floor else ""
    count = _count(evidence)
    few = "sixteen" if count == NUM_EXAMPLES else str(count)
    numbers = [
        measured(f"least loss of {few} examples", found.least),
        measured(f"the same over the loss of the best constant output{above}", left, LEFT),
        measured("Adam's rate of that run", found.rate),
    ]
    text = f"The model does not fit {few} of its own examples at any rate that was tried: it is too small, or broken."
    cure = advise(f"Give it a hidden layer more, or wider ones, and look whether it then fits {few} examples.")
    return make_finding(
        "cannot-memorize", text, numbers, cure, found.least / max(0.1 * base, 1e-30), gain_in="loss",
        horizon=evidence.num_steps, follows_from=_BLAMED,
    )  # fmt: skip


def _leaves_noise(evidence: Evidence) -> bool:
    """Whether the parameters are fewer than the outputs of these examples, and no probe shows more to be learned."""
    skill = None if evidence.data is None else evidence.data.skill
    search = None if evidence.program is None else evidence.program.outputs
    outputs = 1 if search is None else int(np.prod(search.place.shape[1:]))
    outputs -= outputs > 1 and evidence.point.num_classes is not None
    is_small = vectors.size(evidence.setting.params) < _count(evidence) * outputs
    return is_small and not (skill is not None and skill.is_outdone)


def _can_do_better(evidence: Evidence, base: float) -> bool:
    minimum = evidence.setting.problem.truth.minimum
    return minimum is not None and minimum < LEFT * base


def _count(evidence: Evidence) -> int:
    return min(NUM_EXAMPLES, evidence.setting.problem.num_examples or NUM_EXAMPLES)


def _floor(evidence: Evidence, base: float) -> float:
    """What outputs that know every target leave, where no output activation is to blame for it; 0 if not known."""
    search = None if evidence.program is None else evidence.program.outputs
    if search is None or search.bypassed is not None or not 0 < search.reachable.loss < base:
        return 0.0
    return search.reachable.loss
