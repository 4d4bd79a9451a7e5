import numpy as np
import pytest

from jaxopt_lab import datasets
from jaxopt_lab.core import InputError
from jaxopt_lab.datasets import signals


def test_without_noise_the_best_matching_template_names_the_class():
    table = datasets.digit_signals(200, noise=0.0, seed=3)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(table.features, ((0, 0), (1, 1))), 12, axis=1)
    scores = np.einsum("nwk,ck->ncw", windows, signals.templates()).max(2)
    assert np.mean(scores.argmax(1) == table.targets) >= 0.95  # a start between two samples blurs the pattern


def test_equal_seeds_give_equal_signals_and_others_do_not():
    one, again, other = (datasets.digit_signals(30, seed=seed).features for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_templates_are_ten_different_curves_of_mean_square_one_that_end_at_zero():
    curves = signals.templates()
    np.testing.assert_allclose(curves[:, [0, -1]], 0, atol=1e-12)
    np.testing.assert_allclose(np.mean(curves**2, axis=1), 1, rtol=1e-12)
    alike = np.corrcoef(curves) - 2 * np.eye(10)
    assert alike.max() < 0.98


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_examples": 0}, r"num_examples must be a whole number of at least 1, got 0"),
        ({"length": 10}, r"length must be a whole number of at least 24, got 10"),
        ({"noise": -1.0}, r"noise must be in \[0, inf\), got -1.0"),
    ],
)
def test_an_argument_out_of_its_range_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        datasets.digit_signals(**options)
