"""data-mismatch: validation examples that are not of the training data's kind, or are training examples.

Thresholds: means half a deviation apart (root mean square over the features), deviations a factor of two, class shares
three tenths apart in total variation, a tenth of the validation examples among the training examples; or probes that
tell the labels of held out training examples tell those of the validation data no better than chance.
"""

import numpy as np

from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import Finding, make_finding, measured
from jaxopt_lab.diagnosis.label_probes import SURE
from jaxopt_lab.diagnosis.prescriptions import advise

CHANCE = 0.01
OFFSET, SCALE, LABELS, DUPLICATES = 0.5, 2.0, 0.3, 0.1


def _other_labels(evidence: Evidence) -> bool:
    """Whether probes tell the labels of the training data, and those of the validation data no better than chance."""
    data = evidence.data
    return (
        data is not None
        and data.across is not None
        and data.probe is not None
        and (data.probe < SURE and data.across > CHANCE)
    )


def examine(evidence: Evidence) -> Finding | None:
    """A finding where training and validation data differ, or overlap."""
    split = None if evidence.data is None else evidence.data.split
    if split is None:
        return None
    apart = max(split.scale, 1 / max(split.scale, 1e-300))
    numbers = [
        measured("difference of the means, in deviations", split.offset, OFFSET),
        measured("ratio of the deviations", split.scale, SCALE),
        measured("validation examples that occur in the training data, share", split.duplicates, DUPLICATES),
        measured("distance between the shares of the classes", split.labels, LABELS),
    ]
    differs = split.offset > OFFSET or apart > SCALE
    if differs:
        text = (
            "Training and validation inputs differ in location or scale: what is learned on the ones misses the others."
        )
        cure = advise(
            "Transform both with the numbers of the training data: one mean, one scale, one order of channels."
        )
    elif split.labels > LABELS:
        text = "The classes have other shares in the validation data: the split is not drawn at random."
        cure = advise("Shuffle the examples before they are split, or split within each class.")
    elif _other_labels(evidence):
        text = "Training inputs tell training labels; what they tell of the validation labels is no better than chance."
        cure = advise("Number the classes of both with one encoder, and give both the same preprocessing.")
    elif split.duplicates > DUPLICATES:
        text = (
            f"{split.duplicates:.0%} of the validation examples are training examples: the validation loss is too low."
        )
        cure = advise("Split before examples are repeated or augmented.")
    else:
        return None
    gain = np.inf
    if evidence.validation is not None and np.isfinite(evidence.end):
        gain = max(evidence.validation.loss.value / max(evidence.end, 1e-2 * evidence.scale), 1.0)
    return make_finding(
        "data-mismatch", text, numbers, cure, gain, gain_in="validation loss", horizon=evidence.num_steps
    )
