import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import stability, wells


@pytest.mark.parametrize("rate", [0.5, 1.9, 2.5, 3.5])
def test_all_weights_of_two_layers_follow_two_numbers(rate):
    first, second = np.random.default_rng(0).normal(size=(2, 30))
    output, sharpness = first @ second / np.sqrt(30), (first @ first + second @ second) / 30
    scaled = rate / sharpness
    for _ in range(100):
        error = first @ second / np.sqrt(30)
        first, second = first - scaled * error * second / np.sqrt(30), second - scaled * error * first / np.sqrt(30)
    predicted = wells.two_layers_sharpness(output, sharpness, 30, scaled, 100)
    # A catapult doubles rounding for a few dozen steps.
    assert (first @ first + second @ second) / 30 == pytest.approx(predicted, rel=1e-6)


def test_two_layers_diverge_beyond_four_over_their_sharpness():
    assert np.isnan(wells.two_layers_sharpness(1.0, 2.0, 100, 2.2, 500))
    assert np.isfinite(wells.two_layers_sharpness(1.0, 2.0, 100, 1.8, 500))


@pytest.mark.parametrize(("rho", "lookahead"), [(0.0, 0.0), (0.9, 0.0), (0.9, 0.9)])
def test_the_share_that_stays_is_that_of_runs_from_random_starts(rho, lookahead):
    rate, starts = 1.2 / 25, 0.3 * np.random.default_rng(1).normal(size=1000)
    stays = 0
    for x in starts:
        v = 0.0
        for _ in range(200 if rho == 0 else 600):
            gradient = 25 * x if 25 * x**2 < (x - 2) ** 2 else x - 2
            v = rho * v + gradient
            x -= rate * (gradient + rho * v if lookahead else v)
        stays += abs(x) < 1e-3
    share = wells.share_that_stays(rate, 25.0, 1.0, 0.3, 200 if rho == 0 else 600, rho, lookahead)
    # Four standard errors of 1000 runs, and the quadrature's own: 4000 starts over many pieces.
    assert stays / 1000 == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 1000) + 0.005)


def test_nothing_stays_beyond_the_edge():
    edge = float(stability.heavy_ball_edge(0.9)) / 25
    assert wells.share_that_stays(0.99 * edge, 25.0, 1.0, 0.3, 2000, 0.9) > 0.1
    assert wells.share_that_stays(1.01 * edge, 25.0, 1.0, 0.3, 2000, 0.9) == 0


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match=r"share_that_stays: spread must be in \(0, inf\), got 0"):
        wells.share_that_stays(0.1, 25.0, 1.0, 0.0, 10)
    with pytest.raises(InputError, match="two_layers_sharpness: width must be a whole number of at least 1, got 0"):
        wells.two_layers_sharpness(1.0, 1.0, 0, 0.1, 10)
