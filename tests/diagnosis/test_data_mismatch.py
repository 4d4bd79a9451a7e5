"""Validation data beside training data, just below and above the thresholds."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import Estimate
from jaxopt_lab.diagnosis.causes import data_mismatch
from jaxopt_lab.diagnosis.data_checks import DataChecks, Split, compare_split
from jaxopt_lab.diagnosis.validation import Validation
from tests.diagnosis.pieces import evidence


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"offset": 0.45}, False), ({"offset": 0.55}, True), ({"scale": 1.9}, False), ({"scale": 2.1}, True),
        ({"scale": 0.45}, True), ({"scale": 0.55}, False), ({"labels": 0.25}, False), ({"labels": 0.35}, True),
        ({"duplicates": 0.05}, False), ({"duplicates": 0.15}, True),
    ],
)  # fmt: skip
def test_validation_data_are_of_another_kind(changes, found):
    split = DataChecks(None, None, dataclasses.replace(Split(0.0, 1.0, 0.0, 0.0), **changes))
    assert (data_mismatch.examine(evidence(end=0.15, data=split)) is not None) == found
    is_badly_learned = data_mismatch.examine(evidence(end=0.25, data=split)) is not None
    assert is_badly_learned == (found and "duplicates" not in changes)


@pytest.mark.parametrize(
    ("offset", "labels", "cures"),
    [(0.6, 0.0, ["Transform both", "Shuffle the examples"]), (0.0, 0.4, ["Shuffle the examples"]), (0.6, 0.4, ["Shuffle the examples", "Transform both"])],
)  # fmt: skip
def test_a_split_that_is_sorted_is_drawn_again_before_its_inputs_are_matched(offset, labels, cures):
    told = data_mismatch.examine(evidence(data=DataChecks(split=Split(offset, 1.0, 0.0, labels))))
    found = [cure.text for cure in (told.prescription, *told.alternatives)]
    assert [text[: len(cure)] for text, cure in zip(found, cures, strict=True)] == cures


@pytest.mark.parametrize(("distinct", "held", "found"), [(0.19, 0.21, True), (0.21, 0.21, False), (0.19, 0.19, False)])
def test_a_fifth_of_the_training_examples_is_distinct(distinct, held, found):
    split = DataChecks(split=Split(0.0, 1.0, 0.0, 0.0, distinct))
    validation = Validation(Estimate(held, 1e-3), 1.0, 1.0, 0.0)
    assert (data_mismatch.examine(evidence(end=0.15, data=split, validation=validation)) is not None) == found


@pytest.mark.parametrize(
    ("probe", "across", "found"),
    [(9e-5, 0.011, True), (1.1e-4, 0.011, False), (9e-5, 0.009, False), (None, 0.5, False), (9e-5, None, False)],
)
@pytest.mark.parametrize("split", [None, Split(0.0, 1.0, 0.0, 0.0)])  # of tokens there is none
def test_validation_labels_mean_something_else(probe, across, found, split):
    made = evidence(data=DataChecks(None, probe, split, across))
    assert (data_mismatch.examine(made) is not None) == found


@pytest.mark.parametrize(("held", "found"), [(0.45, False), (0.55, True)])
def test_a_model_that_predicts_the_validation_labels_was_given_the_same_ones(held, found):
    validation = Validation(Estimate(held, 1e-3), 1.0, 1.0, 0.0)
    made = evidence(data=DataChecks(None, 1e-9, None, 0.5), validation=validation)
    assert (data_mismatch.examine(made) is not None) == found


@pytest.mark.parametrize(("copied", "distinct"), [(False, 0.1), (True, 1.0)])
def test_copies_count_where_the_validation_data_have_none(copied, distinct):
    rows = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
    train, held = np.tile(rows[:40], (10, 1)), np.tile(rows[40:], (10, 1)) if copied else rows[40:]
    problem = lab.from_loss(lambda w, batch, key: jnp.mean(batch @ w), jnp.zeros(3), train, validation=held)
    assert compare_split(problem, None).distinct == pytest.approx(distinct)
