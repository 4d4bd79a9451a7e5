"""Where a run stands still: the thresholds of a plateau and of a saddle, from both sides."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab.core import Estimate
from jaxopt_lab.curvature.directions import NegativeCurvature
from jaxopt_lab.diagnosis.causes import stationarity
from jaxopt_lab.diagnosis.stationary_point import LineScan, StationaryPoint
from tests.diagnosis.pieces import evidence


@pytest.mark.parametrize(("ratio", "found"), [(9.0, False), (11.0, True)])
def test_a_plateau_falls_ten_times_as_far_as_its_slope_says(ratio, found):
    scan = LineScan(0.5, 0.5 / ratio, 0.6)
    flat = NegativeCurvature(jnp.zeros(3), Estimate(0.0, 0.0), False, 0.0)
    around = StationaryPoint(flat, scan, 0.0, np.empty(0))
    made = evidence(end=1.1).with_part("point.stationary_point", around)
    assert (stationarity.examine_plateau(made) is not None) == found


@pytest.mark.parametrize(
    ("ratio", "share", "slope", "certified", "found"),
    [
        (11.0, 0.15, 0.1, True, True), (9.0, 0.15, 0.1, True, False),  # ten times as far as the slope says
        (11.0, 0.11, 0.1, True, True), (11.0, 0.09, 0.1, True, False),  # a tenth of it by the curvature
        (11.0, 0.15, 0.19, True, True), (11.0, 0.15, 0.21, True, False),  # and the slope all but gone on the way
        (11.0, 0.15, 0.1, False, False),
    ],
)  # fmt: skip
def test_a_saddle_is_certified_and_accounts_for_the_fall(ratio, share, slope, certified, found):
    scan = LineScan(0.5, 0.5 / ratio, 0.6)
    value = Estimate(-2 * share * scan.drop / scan.distance**2, 0.0)
    around = StationaryPoint(NegativeCurvature(jnp.ones(3), value, certified, 1e-3), scan, slope, np.empty(0))
    made = evidence(end=1.1).with_part("point.stationary_point", around)
    assert (stationarity.examine_saddle(made) is not None) == found
