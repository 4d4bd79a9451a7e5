"""What the data say on their own, and where they say nothing."""

import dataclasses

import numpy as np
import pytest

from jaxopt_lab.core import from_loss
from jaxopt_lab.diagnosis.data_checks import _apart, _label_distance, _labels, compare_split
from tests.diagnosis.pieces import PLACE

NOTHING = np.empty(0, int)
ROWS = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)


def counted(labels, outputs=4):
    place = dataclasses.replace(PLACE, shape=(len(labels), outputs))
    return _labels(place, (np.zeros((len(labels), 3), np.float32), labels), NOTHING, NOTHING)


def test_classes_are_counted_and_those_that_name_no_output_told():
    found = counted(np.repeat([0, 3, 4], [20, 15, 5]))
    assert found.counts == {0: 20, 3: 15, 4: 5}
    assert (found.rarest, found.outside, found.leaf) == (0.125, 5, 1)


def test_one_hot_rows_are_no_class_numbers():
    assert counted(np.eye(4, dtype=np.float32)[np.arange(40) % 4]) is None


@pytest.mark.parametrize(("num", "known"), [(1000, True), (1001, False)])
def test_of_a_thousand_classes_none_are_counted(num, known):
    assert (counted(np.arange(num), num) is not None) == known


def test_a_class_is_silent_where_no_example_of_it_is_felt():
    labels = np.repeat([0, 1, 2], 10)
    data = (np.zeros((30, 3), np.float32), labels)
    silent, seen = np.r_[0:10, 10:15], np.arange(30)
    assert _labels(PLACE, data, silent, seen).silent == (0,)


def split(held, train=ROWS):
    targets = np.zeros(len(train), np.int32)
    return compare_split(from_loss(lambda w, batch, key: 0.0, 0.0, (train, targets), validation=held), None)


def test_a_split_is_told_in_deviations_of_the_training_data():
    held = (np.r_[3 * ROWS[32:] + 10 * ROWS.std(0)], np.zeros(32, np.int32))
    found = split(held)
    own = ROWS[32:].std(0) / ROWS.std(0)
    assert found.scale == pytest.approx(np.median(3 * own), rel=1e-5)
    moved = 10 + (3 * ROWS[32:].mean(0) - ROWS.mean(0)) / ROWS.std(0)
    assert found.offset == pytest.approx(np.sqrt(np.mean(moved**2) - 1 / 32 - 1 / 64), rel=1e-4)  # float32


def test_a_split_says_nothing_of_numbers_that_are_not_finite_of_few_examples_or_of_constants():
    labels = np.zeros(64, np.int32)
    broken = ROWS.copy()
    broken[3, 1] = np.nan
    assert split((ROWS, labels)) is not None
    assert split((broken, labels)) is None
    assert split((ROWS[:20], labels[:20])) is not None
    assert split((ROWS[:19], labels[:19])) is None
    assert split((np.ones_like(ROWS), labels)) is None
    assert split(None) is None


def test_features_that_are_constant_are_left_out_of_the_distance():
    train, held = np.array([[0.0, 1.0], [2.0, 1.0]]), np.array([[3.0, 5.0], [5.0, 7.0]])
    offset, scale = _apart(train, held)
    assert offset == pytest.approx(np.sqrt(9.0 - 1.0))  # 3 deviations of 1, less 1 / 2 + 1 / 2
    assert scale == 1.0


@pytest.mark.parametrize(
    ("held", "distance"),
    [(np.repeat([0, 1], [10, 30]), 0.25), (np.repeat([0, 2], [20, 20]), 0.5), (np.arange(40), None)],
)
def test_the_shares_of_the_classes_differ_by_their_total_variation(held, distance):
    problem = from_loss(lambda w, batch, key: 0.0, 0.0, (ROWS[:40], np.arange(40) % 2), validation=(ROWS[:40], held))
    if distance is None:
        many = dataclasses.replace(problem, validation=(ROWS[:40], 1000 * held), data=(ROWS[:40], 1000 * held + 1))
        assert np.isnan(_label_distance(PLACE, many))  # 80 of them
    else:
        assert _label_distance(PLACE, problem) == pytest.approx(distance)
    assert np.isnan(_label_distance(None, problem))
