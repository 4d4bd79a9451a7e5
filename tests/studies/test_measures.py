import numpy as np
import pytest

from jaxopt_lab.core import InputError
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
