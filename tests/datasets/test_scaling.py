import numpy as np
import pytest

from jaxopt_lab import datasets
from jaxopt_lab.core import InputError
from jaxopt_lab.datasets.scaling import SCALINGS


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return rng.normal(3.0, [0.01, 1.0, 1e4], (50, 3)) @ np.array([[1.0, 0.0, 0.3], [0.0, 1.0, 0.0], [0.2, 0.0, 1.0]])


def test_raw_changes_nothing(features):
    assert np.array_equal(datasets.fit_scaling("raw", features)(features), features)


def test_centre_and_standardize_give_mean_zero_and_variance_one(features):
    centred = datasets.fit_scaling("centre", features)(features)
    # A mean of numbers of size s is exact to about eps s.
    assert np.abs(centred.mean(0)).max() < 1e-15 * np.abs(features).max() * 10
    assert np.allclose(centred.std(0), features.std(0), rtol=1e-12)
    standard = datasets.fit_scaling("standardize", features)(features)
    assert np.allclose(standard.mean(0), 0, atol=1e-13)
    assert np.allclose(standard.std(0), 1, rtol=1e-13)


def test_scale_divides_and_does_not_centre(features):
    assert np.allclose(datasets.fit_scaling("scale", features)(features), features / features.std(0), rtol=1e-15)


def test_whiten_gives_the_identity_covariance(features):
    white = datasets.fit_scaling("whiten", features)(features)
    # The correlation matrix has condition number about 1e8 here, of which a square root's digits are lost.
    assert np.allclose(white.T @ white / len(white), np.eye(3), atol=1e-9)
    assert np.allclose(white.mean(0), 0, atol=1e-9)


def test_whiten_is_symmetric_in_standardized_coordinates(features):
    scaling = datasets.fit_scaling("whiten", features)
    inner = scaling.factor * features.std(0)[:, None]
    assert np.allclose(inner, inner.T, rtol=1e-9)


@pytest.mark.parametrize("kind", SCALINGS)
def test_the_fit_is_that_of_the_training_part_wherever_it_is_applied(kind, features):
    scaling = datasets.fit_scaling(kind, features[:30])
    assert np.allclose(scaling(features)[:30], scaling(features[:30]), rtol=1e-12)
    steps = [scaling(rows + 1.0) - scaling(rows) for rows in (features[:1], features[30:])]
    # An affine map moves every example alike, up to the digits that the difference loses.
    assert np.allclose(steps[0], steps[1], rtol=1e-6)


@pytest.mark.parametrize("kind", SCALINGS)
def test_constant_features_are_left_out_with_a_note(kind):
    table = datasets.load_table("digits")
    scaling = datasets.fit_scaling(kind, table.features, table.feature_names)
    assert scaling(table.features).shape == (1797, 61)
    assert scaling.note == "3 features are constant and left out: pixel_0_0, pixel_4_0, pixel_4_7."
    assert datasets.fit_scaling(kind, table.features[:, 1:3]).note == ""


@pytest.mark.parametrize(
    ("kind", "training", "wording"),
    [
        ("standardise", np.eye(3), "Did you mean 'standardize'?"),
        ("raw", np.ones((3, 2)), "every feature is constant"),
        ("raw", np.ones(3), r"training must be \[n, d\] and not empty, got \(3,\)"),
        ("raw", np.array([[np.nan], [1.0]]), "training must be finite"),
        ("whiten", np.array([[1.0, 2.0], [2.0, 4.0], [4.0, 8.0]]), "whiten needs 2 independent features, got 1"),
        ("whiten", np.eye(2, 4) + np.eye(2, 4, 2), "whiten needs 4 independent features, got 1"),
    ],
)
def test_what_cannot_be_fitted_is_refused(kind, training, wording):
    with pytest.raises(InputError, match=wording):
        datasets.fit_scaling(kind, training)


def test_names_and_features_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="names must name 2 features, got 1"):
        datasets.fit_scaling("raw", np.eye(2), ["a"])
    with pytest.raises(InputError, match=r"features must be \[n, 2\] as those of the fit, got \(1, 3\)"):
        datasets.fit_scaling("raw", np.eye(2))(np.ones((1, 3)))


@pytest.mark.parametrize("kind", SCALINGS)
def test_constant_features_can_keep_their_places(kind):
    features = np.random.default_rng(0).normal(size=(20, 4)) * [1.0, 0.0, 2.0, 3.0] + 5.0
    dropped, kept = datasets.fit_scaling(kind, features), datasets.fit_scaling(kind, features, constant="keep")
    np.testing.assert_allclose(kept(features)[:, [0, 2, 3]], dropped(features), rtol=1e-12)
    expected = 5.0 if kind in ("raw", "scale") else 0.0
    np.testing.assert_allclose(kept(features)[:, 1], expected, atol=1e-12)
    assert kept.note == ""
