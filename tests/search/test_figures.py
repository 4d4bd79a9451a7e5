"""What the figures of a sweep show, of trials made by hand."""

import numpy as np
import pytest

from jaxopt_lab import search
from jaxopt_lab.core import Status
from jaxopt_lab.reporting.figures import house_style
from jaxopt_lab.search.figures import _thinned, draw_curves, draw_slices
from jaxopt_lab.search.report import lines_of
from jaxopt_lab.search.results import Sweep
from jaxopt_lab.search.trials import NOT_RUN, Trials

RATES = search.Space(learning_rate=search.log_uniform(0.1, 10.0))


def trials_of(ends, space=RATES, columns=None, *, rule="sgd", finished=True):
    """Trials of one seed and two records, of which the first is twice the last."""
    ends = np.asarray(ends, float)[:, None]
    columns = {"learning_rate": np.full(len(ends), 0.5)} if columns is None else columns
    status = np.full(ends.shape, Status.COMPLETED if finished else NOT_RUN)
    curves = {"loss": np.stack([2 * ends, ends], -1)}
    return Trials(rule, space, columns, ends if finished else np.full_like(ends, np.nan), status, curves)


def swept(*trials):
    each = {one.rule: one for one in trials}
    return Sweep("bowl", "loss", each, np.array([0, 10]), np.array([0]), {"num_trials": 1}, {})


@pytest.mark.parametrize(("num", "shown"), [(1000, 1000), (1001, 100 + 451), (2800, 100 + 900)])
def test_of_many_trials_the_best_hundred_and_evenly_spaced_others_are_drawn(num, shown):
    places = _thinned(trials_of(np.arange(num, 0, -1)))  # the last is best
    assert len(places) == shown
    np.testing.assert_array_equal(places[:100], np.arange(num - 1, num - 101, -1))
    assert len(set(np.diff(places[100:]).tolist())) == 1


def test_an_effective_rate_and_a_momentum_are_drawn_on_the_axes_on_which_they_were_searched():
    space = search.Space(learning_rate=search.effective_rate(0.1, 10.0), rho=search.one_minus_log_uniform(0.0, 0.99))
    columns = {"learning_rate": np.array([0.3, 0.4, 0.2]), "rho": np.array([0.0, 0.5, 0.9])}
    found = trials_of([3.0, 1.1, 1.0], space, columns)
    with house_style() as maker:
        first, second = draw_slices(swept(found), found, maker)[0].axes
    assert (first.get_xlabel(), first.get_xscale()) == ("learning rate / (1 − rho)", "log")
    assert (second.get_xlabel(), second.get_xscale()) == ("1 − rho", "log")
    assert first.lines[-1].get_xdata() == pytest.approx([2.0])  # the best one's 0.2 / (1 - 0.9)
    assert second.lines[-1].get_xdata() == pytest.approx([0.1])


@pytest.mark.parametrize("dimension", [search.one_minus_log_uniform(0.0, 0.99), search.log_uniform(0.1, 1.0)])
def test_a_single_trial_lies_in_the_middle_of_its_axis(dimension):
    found = trials_of([1.0], search.Space(rho=dimension), {"rho": np.array([0.9])})
    with house_style() as maker:
        (axes,) = draw_slices(swept(found), found, maker)[0].axes
    low, high = axes.get_xlim()
    (place,) = axes.lines[-1].get_xdata()
    assert low * high == pytest.approx(place**2)


def test_a_rule_without_a_finished_trial_has_no_curve_and_says_so():
    found = swept(trials_of([1.0], rule="heavy ball", finished=False), trials_of([1.0]))
    with house_style() as maker:
        figure, told = draw_curves(found, maker)
    assert len(figure.axes[0].collections) == 1  # one band
    assert told.startswith("The best trial ends at 1 (loss, median of 1 seeds")
    assert "heavy ball: no trial is finished" in lines_of(found)


@pytest.mark.parametrize(("level", "ends"), [(3.0, (1.5 - 0.27, 6.0 + 0.27)), (0.0, (-0.5, 0.5))])
def test_a_curve_that_does_not_move_lies_within_the_frame(level, ends):
    still = trials_of([level])
    still.curves["loss"][:] = level
    with house_style() as maker:
        (axes,) = draw_curves(swept(still), maker)[0].axes
    assert axes.get_ylim() == pytest.approx(ends)  # a margin of 6 %, or a half
