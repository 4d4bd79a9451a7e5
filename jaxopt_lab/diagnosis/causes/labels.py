"""label-range and uninformative-labels: class numbers that name no output, and labels that the inputs do not tell.

JAX clamps or drops an index outside of an array without a word. A class on whose examples' outputs the loss does not
depend has a label that the criterion takes for nothing. One of at most twenty classes, ten times below an even share,
is not learned where training goes badly and it is below one in a hundred, or the model names none of it. Labels are
uninformative where no probe predicts them on examples that it has not seen with a chance below one in a hundred, or
less than a twentieth of what there is to tell with one above one in a million; and the model's validation loss, where
there is one, is no better than a constant's by two of its standard errors.
"""

import jax
import numpy as np

from jaxopt_lab.diagnosis.data_checks import Labels
from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import Finding, Measurement, Prescription, make_finding, measured
from jaxopt_lab.diagnosis.label_probes import NO_CHANCE
from jaxopt_lab.diagnosis.prescriptions import advise, draw_classes_alike, renumber_classes

CHANCE = 0.01 / 3  # three probes
SLIGHT = 0.05
FITTED = 0.05
RARE = 0.01
POOR, TOLD = 0.2, 0.1
NO_BETTER = 0.95


def examine_range(evidence: Evidence) -> Finding | None:
    """A finding where labels name no output, or are all the same."""
    labels = None if evidence.data is None else evidence.data.labels
    if labels is None:
        return None
    classes, total, numbers, is_known = sorted(labels.counts), sum(labels.counts.values()), _numbers(labels), False
    if len(classes) == 1 and total > 1:
        text = f"All {total} labels are {classes[0]}: there is nothing to tell apart."
        cure = advise("Look at how the labels are made: an argmax over one column, or a cast, gives one class.")
    elif labels.outside and _are_classes(evidence, labels):
        text = (
            f"{labels.outside} of {total} labels name no output: they run from {classes[0]} to {classes[-1]}, and the"
            f" model has {labels.num_outputs}. JAX clamps or drops such an index silently."
        )
        cure = advise(f"Number the classes from 0, or give the model {classes[-1] + 1} outputs.")
        if len(classes) <= max(labels.num_outputs, 2):
            cure = _renumbered(labels, tuple(range(len(classes)))) or cure
    elif labels.silent and len(labels.silent) < len(classes):
        names = ", ".join(map(str, labels.silent))
        text = f"The loss is the same whatever the outputs for the examples of class {names}: it is not learned."
        numbers.append(measured("classes on which the loss does not depend", len(labels.silent), 0.0))
        cure = advise("Number the classes as the criterion expects: a hinge loss takes -1 and 1, not 0 and 1.")
        if classes == [0, 1]:
            cure = _renumbered(labels, (-1, 1)) or cure
    elif _is_rare(evidence, labels):
        few = labels.counts[labels.rare]
        text = f"Class {labels.rare} has {few} of {total} examples: the mean loss hardly depends on it."
        if labels.is_unnamed:
            text += " At the end of the run the model names none of them."
        numbers.append(measured("share of the rarest class", labels.rarest, RARE))
        weigh = advise("Weigh the examples by one over their class's share.")
        cure = weigh if labels.leaf is None else draw_classes_alike(labels.leaf)
        is_known = cure is not weigh and _is_told(evidence)
    else:
        return None
    blamed = ("unbounded-loss",) if labels.silent else ()
    return make_finding(
        "label-range", text, numbers, cure, float("inf"), horizon=evidence.num_steps, follows_from=blamed,
        is_tentative=is_known,
    )  # fmt: skip


def _numbers(labels: Labels) -> list[Measurement]:
    classes = sorted(labels.counts)
    return [
        measured("classes that occur", len(classes)),
        measured("lowest label", classes[0]),
        measured("highest label", classes[-1]),
        measured("outputs an example", labels.num_outputs),
        measured("labels that name no output", labels.outside, 0.0),
    ]


def _is_told(evidence: Evidence) -> bool:
    """Whether the model predicts as much as the best probe, and more than next to nothing."""
    skill = None if evidence.data is None else evidence.data.skill
    return skill is not None and skill.model > max(TOLD, skill.probe - skill.error)


def _is_rare(evidence: Evidence, labels: Labels) -> bool:
    """Whether one of few classes, of which each example has one, is rare and badly learned; rare words are no fault.

    Of two classes behind one output only where the model predicts next to nothing: the rare one may be weighed already.
    """
    num, leaf, skill = len(labels.counts), None, None if evidence.data is None else evidence.data.skill
    if labels.leaf is not None:
        leaf = jax.tree.leaves(evidence.setting.problem.data)[labels.leaf]
    is_poor = labels.is_unnamed or (skill is not None and skill.model < TOLD)
    is_told = num <= labels.num_outputs or (num == 2 and is_poor)
    is_one_each = is_told and (leaf is None or np.size(leaf) == len(leaf))
    is_rare = labels.is_uneven and (labels.rarest < RARE or labels.is_unnamed)
    return is_rare and is_one_each and _is_poor(evidence)


def _renumbered(labels: Labels, numbers: tuple[int, ...]) -> Prescription | None:
    return None if labels.leaf is None else renumber_classes(labels.leaf, numbers)


def _is_poor(evidence: Evidence) -> bool:
    """Whether training goes badly, or what is learned does not carry over to the validation data."""
    held = evidence.validation
    return evidence.is_underperforming or (held is not None and held.loss.value > POOR * evidence.scale)


def _are_classes(evidence: Evidence, labels: Labels) -> bool:
    """Whether the labels are to name outputs.

    Those of a single output are where it is a probability, or where the loss takes other labels for none: it falls
    without end, with the other sign too, or does not feel the output. Ratings and counts are numbers.
    """
    search = None if evidence.program is None else evidence.program.outputs
    if labels.num_outputs > 1 or search is None:
        return labels.num_outputs > 1
    if search.bypassed is not None and search.bypassed.loss < FITTED * search.scale:
        return False
    is_binary = any(name in ("sigmoid", "logistic") for _, name in search.place.activations)
    falls = (search.runs_away or search.constant_runs_away) and not evidence.part("program.is_negated")
    return is_binary or falls or not search.slope > 0


def examine_uninformative(evidence: Evidence) -> Finding | None:
    """A finding where nothing predicts the labels of unseen examples."""
    chance, examples = evidence.part("data.probe"), evidence.part("program.examples")
    if chance is None or (chance < CHANCE and not _is_slight(evidence, chance)):
        return None
    validation, base = evidence.validation, evidence.point.baseline
    if validation is not None and base is not None and not (examples and examples.is_unpaired):
        error = validation.loss.standard_error or 0.0
        if validation.loss.value + 2 * error < NO_BETTER * base:
            return None
    numbers = [
        measured("chance of what the best probe predicts, if labels were drawn at random", chance, CHANCE),
        measured("validation loss", validation.loss if validation is not None else np.nan),
        measured("loss of the best constant output", base if base is not None else np.nan),
    ]
    if examples and np.isfinite(examples.paired):
        numbers.append(measured("rise of the loss on other examples' targets, over its scale", examples.paired))
    text = "Neither neighbours nor a linear nor a boosted model predict the labels of unseen examples from the inputs."
    cure = advise("Look whether inputs and labels are still in the same order: shuffle and split them together.")
    return make_finding("uninformative-labels", text, numbers, cure, float("inf"), horizon=evidence.num_steps)


def _is_slight(evidence: Evidence, chance: float) -> bool:
    """Whether what the probes predict is next to nothing, of validation data too, and may still be chance."""
    skill = None if evidence.data is None else evidence.data.skill
    return skill is not None and chance > NO_CHANCE and max(skill.probe, skill.model) < SLIGHT
