"""data-mismatch: validation examples, or batches as the loop feeds them, that are not of the training data's kind.

Thresholds of a split: means half a deviation apart (root mean square over the features), deviations a factor of two,
class shares three tenths apart in total variation, a tenth of the validation examples among the training examples; or
probes that tell the labels of held out training examples tell those of the validation data no better than chance.
Examples in both are told where the training data themselves are learned, and a fifth or less of distinct ones among
those for training, as no validation data have them, where the validation data are not.
Of batches: classes that stick together (Cramer's V of three tenths, less than one chance in 10,000), a tenth of the
examples again within one pass, or inputs of another location or scale as above.
"""

import numpy as np

from jaxopt_lab.diagnosis.evidence import LITTLE, Evidence
from jaxopt_lab.diagnosis.findings import Finding, Measurement, make_finding, measured
from jaxopt_lab.diagnosis.label_probes import SURE
from jaxopt_lab.diagnosis.prescriptions import (
    advise,
    leave_out_duplicates,
    match_validation,
    shuffle_batches,
    split_again,
)

CHANCE = 0.01
OFFSET, SCALE, LABELS, DUPLICATES, DISTINCT = 0.5, 2.0, 0.3, 0.1, 0.2
GROUPED, REPEATS = 0.3, 0.1


def _examine_batches(evidence: Evidence) -> Finding | None:
    """A finding where the batches that the loop feeds are no random part of the data."""
    fed = None if evidence.data is None else evidence.data.batches
    if fed is None:
        return None
    numbers = [
        measured("association of class and batch, Cramer's V", fed.grouping, GROUPED),
        measured("chance of that in shuffled batches", fed.chance, SURE),
        measured("share of the examples repeated within one pass", fed.repeats, REPEATS),
        measured("difference of the means from the data's, in standard deviations", fed.offset, OFFSET),
        measured("ratio of the deviations", fed.scale, SCALE),
    ]
    if fed.grouping > GROUPED and fed.chance < SURE:
        text = "The batches are sorted: each holds few of the classes."
        cure = shuffle_batches()
    elif fed.offset > OFFSET or max(fed.scale, 1 / max(fed.scale, 1e-300)) > SCALE:
        text = "The batches' inputs differ from the data's in location or scale."
        cure = advise("Compare the loop's batches with the data: both need the same preprocessing.")
    elif fed.repeats > REPEATS:
        text = f"{fed.repeats:.0%} of the examples are repeated before every example has been seen once."
        cure = advise("Draw each epoch's batches without replacement, from all of the data.")
    else:
        return None
    return make_finding("data-mismatch", text, numbers, cure, np.inf, horizon=evidence.num_steps)


def _is_poor(evidence: Evidence) -> bool:
    """Whether more than a fifth of what the best constant output costs is left on the validation data."""
    held, base = evidence.validation, evidence.point.baseline
    return held is None or base is None or held.loss.value > LITTLE * base


def _other_labels(evidence: Evidence) -> bool:
    """Whether probes tell the labels of the training data, and those of the validation data no better than chance.

    A model that halves the loss of the best constant output on the validation data tells them.
    """
    data, held = evidence.data, evidence.validation
    return (
        data is not None
        and (held is None or evidence.point.baseline is None or evidence.generalizes_badly)
        and data.across is not None
        and data.probe is not None
        and (data.probe < SURE and data.across > CHANCE)
    )


def _chances(evidence: Evidence) -> list[Measurement]:
    data = evidence.data
    assert data is not None
    probe, across = data.probe, data.across
    assert probe is not None
    assert across is not None
    return [
        measured("chance of what a probe predicts of training labels, if they were drawn at random", probe, SURE),
        measured("the same of the validation labels", across, CHANCE),
    ]


def examine(evidence: Evidence) -> Finding | None:
    """A finding where training and validation data differ or overlap, or where batches are no part of the data."""
    in_batches = _examine_batches(evidence)
    if in_batches is not None:
        return in_batches
    split, numbers = None if evidence.data is None else evidence.data.split, []
    alternatives = ()
    if split is not None:
        numbers = [
            measured("difference of the means, in standard deviations", split.offset, OFFSET),
            measured("ratio of the deviations", split.scale, SCALE),
            measured("validation examples that occur in the training data, share", split.duplicates, DUPLICATES),
            measured("distance between the shares of the classes", split.labels, LABELS),
            measured("distinct training examples, share, over that of the validation data", split.distinct, DISTINCT),
        ]
    apart = split is not None and (split.offset > OFFSET or max(split.scale, 1 / max(split.scale, 1e-300)) > SCALE)
    if split is not None and split.labels > LABELS:  # other classes have other inputs
        text = "The classes have other shares in the validation data: the split is not drawn at random."
        cure, alternatives = split_again(), (match_validation(),) if apart else ()
    elif apart:
        text = (
            "Training and validation inputs differ in location or scale: what is learned on one does not carry over to"
            " the other."
        )
        cure, alternatives = match_validation(), (split_again(),)
    elif split is not None and split.distinct < DISTINCT and _is_poor(evidence):
        text = f"Of the training examples {split.distinct:.1%} are distinct: the others are copies."
        cure = advise("Look at what makes the data: a generator or iterator may give its first batch again and again.")
    elif _other_labels(evidence):
        text = "Training inputs tell training labels; what they tell of the validation labels is no better than chance."
        cure = advise("Number the classes of both with one encoder, and give both the same preprocessing.")
        numbers += _chances(evidence)
    elif split is not None and split.duplicates > DUPLICATES and not evidence.is_underperforming:
        text = (
            f"{split.duplicates:.0%} of the validation examples are training examples: the validation loss is too low."
        )
        cure = leave_out_duplicates()
    else:
        return None
    gain = np.inf
    if evidence.validation is not None and np.isfinite(evidence.end):
        gain = max(evidence.validation.loss.value / max(evidence.end, 1e-2 * evidence.scale), 1.0)
    return make_finding(
        "data-mismatch", text, numbers, cure, gain, gain_in="validation loss", horizon=evidence.num_steps,
        alternatives=alternatives,
    )  # fmt: skip
