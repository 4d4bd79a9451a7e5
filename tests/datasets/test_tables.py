import numpy as np
import pytest

from jaxopt_lab import datasets
from jaxopt_lab.core import InputError
from jaxopt_lab.datasets.tables import TABLES

SHAPES = {"digits": (1797, 64, 10), "breast_cancer": (569, 30, 2), "diabetes": (442, 10, 0), "wine": (178, 13, 3)}


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_its_known_shape_and_names(name):
    table = datasets.load_table(name)
    num, dim, num_classes = SHAPES[name]
    assert table.features.shape == (num, dim)
    assert table.features.dtype == np.float64
    assert table.targets.shape == (num,)
    assert len(table.feature_names) == dim
    assert len(table.class_names) == num_classes
    if num_classes:
        assert np.array_equal(np.unique(table.targets), np.arange(num_classes))


def test_diabetes_comes_in_its_own_units():
    ages = datasets.load_table("diabetes").features[:, 0]
    assert ages.min() == 19
    assert ages.max() == 79


def test_an_unknown_table_gets_the_nearest_name():
    with pytest.raises(InputError, match=r"load_table: name must be one of: .*; got 'digit'. Did you mean 'digits'\?"):
        datasets.load_table("digit")


def test_a_split_shares_no_example_and_loses_none():
    table = datasets.load_table("breast_cancer")
    training, validation = datasets.split_table(table, 0.8, seed=3)
    rows = np.concatenate([training.features, validation.features])
    assert np.array_equal(np.unique(rows, axis=0), np.unique(table.features, axis=0))
    assert (len(training), len(validation)) == (455, 114)
    again, _ = datasets.split_table(table, 0.8, seed=3)
    assert np.array_equal(training.targets, again.targets)


@pytest.mark.parametrize(
    ("fraction", "wording"), [(1.0, r"fraction must be in \(0, 1\)"), (0.001, "leaves a part empty")]
)
def test_a_split_without_examples_is_refused(fraction, wording):
    with pytest.raises(InputError, match=wording):
        datasets.split_table(datasets.load_table("wine"), fraction)
