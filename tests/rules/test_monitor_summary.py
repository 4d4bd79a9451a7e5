"""What a short record says, and what it leaves open; of records made by hand."""

import numpy as np
import pytest

from jaxopt_lab.rules.monitor_summary import MonitorSummary


def summary_of(num, losses=None, cosines=None, squares=None, batch_size=None):
    """A record of `num` steps; two gradients of squared norm 7 whose mean has 5, unless others are given."""
    ones, none = np.ones(num), np.full(num, np.nan)
    return MonitorSummary(
        np.arange(1, num + 1), none if losses is None else np.asarray(losses), ones, ones, ones,
        ones if cosines is None else np.asarray(cosines), none, none,
        np.tile([7.0, 5.0], (num, 1)) if squares is None else np.asarray(squares), True, batch_size, None,
    )  # fmt: skip


def test_before_the_first_record_nothing_is_said():
    none = summary_of(0)
    assert str(none) == "No record yet."
    assert np.isnan(none.update_cosine.value)
    assert none.update_cosine.standard_error == np.inf


@pytest.mark.parametrize(("num", "known"), [(3, False), (4, True)])
def test_a_noise_scale_takes_four_pairs(num, known):
    for batch_size, unit, size in ((None, "batches", 1.0), (6, "examples", 6.0)):
        found = summary_of(num, batch_size=batch_size).noise_scale
        assert found.unit == unit
        if known:  # of halves: |G|^2 = 2 * 5 - 7, tr S = (7 - 5) size
            assert found.value == pytest.approx(2 * size / 3)
        else:
            assert (np.isnan(found.value), found.standard_error) == (True, np.inf)


def test_pairs_that_are_not_finite_do_not_count():
    squares = np.tile([7.0, 5.0], (5, 1))
    squares[-1] = np.nan
    assert np.isnan(summary_of(5, squares=squares).noise_scale.value)  # of the last four three are left


@pytest.mark.parametrize(("positive", "known"), [(3, False), (4, True)])
def test_a_trend_takes_four_positive_losses_in_the_last_half(positive, known):
    losses = np.exp(-0.5 * np.arange(12.0))
    losses[-1 : -1 - (6 - positive) : -1] = 0.0
    found = summary_of(12, losses=losses).loss_trend
    assert found.unit == "1/step"
    if known:
        assert found.value == pytest.approx(-0.5)
    else:
        assert (np.isnan(found.value), found.standard_error) == (True, np.inf)


def test_a_median_is_that_of_the_last_quarter_but_of_four_records_at_least():
    cosines = [9.0, 9.0, 1.0, 2.0, 3.0, np.nan]
    assert summary_of(6, cosines=cosines).update_cosine.value == 2.0
    assert np.isnan(summary_of(6, cosines=[9.0, 9.0, *[np.nan] * 4]).update_cosine.value)
    assert summary_of(20, cosines=[0.0] * 15 + [1.0] * 5).update_cosine.value == 1.0
    assert summary_of(24, cosines=[0.0] * 20 + [1.0, 2.0, 3.0, 4.0]).update_cosine.value == 1.5  # of six
