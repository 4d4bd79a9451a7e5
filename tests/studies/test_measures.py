import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.studies import measures
from jaxopt_lab.studies.measures import contraction_per_step, lowest_point


@pytest.mark.parametrize("slope", [0.0, 0.01, 1.0, 50.0])
@pytest.mark.parametrize("rate", [0.5, 0.9, 0.9999])
def test_a_polynomial_prefactor_does_not_bias_the_rate(slope, rate):
    steps = np.arange(0, 401, 4)
    found = contraction_per_step(steps, (1 + slope * steps) * rate**steps * (-1.0) ** steps)
    assert np.log(found) == pytest.approx(np.log(rate), rel=1e-5)  # the root of a difference of nearly equal numbers


def test_too_short_a_curve_is_refused():
    with pytest.raises(InputError, match=r"values must hold at least 5 entries, got 4"):
        contraction_per_step(np.arange(4), np.ones(4))


def test_the_lowest_point_of_a_parabola_is_found_between_the_places():
    places = np.log(np.geomspace(0.01, 1, 9))
    np.testing.assert_allclose(lowest_point(places, np.square(places - np.log(0.07))), np.log(0.07))


def test_a_curve_that_falls_to_its_end_is_lowest_there_and_a_flat_one_in_the_middle():
    places = np.arange(5.0)
    assert lowest_point(places, -places + 0.01 * places**2) == 4.0  # the parabola's own lowest point lies at 50
    assert lowest_point(places, np.ones(5)) == 1.0


def test_too_few_places_are_refused():
    with pytest.raises(InputError, match=r"there must be 3 or more places and values, got \(2,\) and \(2,\)"):
        lowest_point([0.0, 1.0], [1.0, 2.0])


def test_explained_shares_are_those_of_a_known_function():
    rng, draws = np.random.default_rng(0), []
    for _ in range(20):
        first, second, idle = rng.random((3, 4000))
        response = 3 * (first - 0.5) + 2 * (second - 0.5) + 6 * (first - 0.5) * (second - 0.5)
        bins = [measures.equal_bins(each, 8) for each in (first, second, idle)]
        both = bins[0] * 8 + bins[1]
        draws.append([measures.explained_share(group, response) for group in (*bins, both)])
    variances = np.array([9, 4, 0, 0]) / 12
    variances[3] = 36 / 144  # of the product
    shares = variances / variances.sum()
    within = 1 - 1 / 8**2  # what bins of this width see of a straight line
    expected = [within * shares[0], within * shares[1], 0.0, within * (shares[0] + shares[1]) + within**2 * shares[3]]
    mean, spread = np.mean(draws, 0), np.std(draws, 0) / np.sqrt(20)
    assert (np.abs(mean - expected) < 4 * spread).all()


def test_a_crossing_lies_between_two_records():
    steps, losses = np.array([0, 10, 20]), np.array([4.0, 2.0, 1.0])
    np.testing.assert_allclose(measures.crossing(steps, losses, np.sqrt(2), log=True), 15.0)
    assert measures.crossing(steps, losses, 1.5) == 15.0
    assert measures.crossing(steps, losses, 4.0) == 0.0
    assert measures.crossing(steps, losses, 0.5) == np.inf


def test_a_rate_is_read_off_before_the_numbers_leave_float64():
    steps = np.arange(2000)
    with np.errstate(under="ignore"):
        assert measures.log_slope(steps, np.exp(-1.0 * steps)) == pytest.approx(-1.0, rel=1e-9)
    assert measures.log_slope(steps, np.exp(0.3 * steps)) == pytest.approx(0.3, rel=1e-9)
    assert measures.log_slope(steps, np.where(steps < 2, 1.0, 0.0)) == -np.inf


def test_errors_of_a_weighted_line_are_those_of_lines_drawn_again():
    rng, x, errors = np.random.default_rng(0), np.arange(5.0), np.array([0.1, 0.2, 0.1, 0.4, 0.1])
    lines = [measures.weighted_line(x, 1 + 2 * x + errors * rng.normal(size=5), errors)[0] for _ in range(4000)]
    covariance = measures.weighted_line(x, x, errors)[1]
    # Four standard errors of 4000 draws; a variance has the relative error sqrt(2 / 4000).
    assert np.mean(lines, 0) == pytest.approx([1, 2], abs=4 * np.sqrt(covariance.max() / 4000))
    assert np.cov(np.array(lines).T) == pytest.approx(covariance, rel=4 * np.sqrt(2 / 4000))


def test_a_rank_correlation_has_an_interval_that_holds_its_own_value():
    found = measures.rank_correlation(np.arange(20.0), np.arange(20.0) ** 3)
    assert found.value == pytest.approx(1.0)
    low, high = measures.rank_correlation(np.arange(8.0), [1, 0, 3, 2, 5, 4, 7, 6]).interval
    assert low < 19 / 21 < high  # 1 - 6 x 8 / (8 x 63)
