"""A planned run that ends while its loss still falls, and what a monitor has seen of it."""

import dataclasses
import types

import numpy as np
import pytest

from jaxopt_lab.core import Estimate, Truth
from jaxopt_lab.curvature.directions import NegativeCurvature
from jaxopt_lab.diagnosis.causes import generalization, non_finite, rule_limits, stationarity
from jaxopt_lab.diagnosis.rule_checks import RuleChecks, Schedule
from jaxopt_lab.diagnosis.stationary_point import LineScan, StationaryPoint
from jaxopt_lab.diagnosis.validation import Validation
from tests.diagnosis.pieces import CLASSES, evidence


def planned(fall, steps=39, is_planned=True, num_records=40):
    """The loss falls by `fall` of its scale, 1, from the third quarter of the records to the last."""
    schedule = Schedule(steps, np.ones(steps), steps, 0, is_planned)
    made = evidence(end=0.5, rule=RuleChecks(False, 1.0, 1.0, 0.0, "float32", schedule))
    curve = np.repeat([1.1, 1.0, 0.5 + fall, 0.5], num_records // 4)
    run = dataclasses.replace(made.run, steps=np.linspace(0, 39, len(curve)), losses=curve)
    return dataclasses.replace(made, run=run)


@pytest.mark.parametrize(
    ("fall", "changes", "found"),
    [
        (0.19, {}, False), (0.21, {}, True),
        (0.21, {"steps": 40}, False),  # the run was cut short
        (0.21, {"is_planned": False}, False),
        (0.21, {"num_records": 4}, False),  # too few to tell a fall
    ],
)  # fmt: skip
def test_a_run_ends_while_a_fifth_of_its_loss_falls_in_the_last_quarter(fall, changes, found):
    told = rule_limits.examine_schedule(planned(fall, **changes))
    assert (told is not None) == found
    assert told is None or "ends after 39 steps while its loss still falls" in told.explanation
    assert told is None or told.prescription.text == "Plan more steps."
    assert told is None or "learning-rate-too-low" in told.follows_from


@pytest.mark.parametrize("first", [None, 7])
def test_the_training_loop_was_not_finite_where_the_point_is(first):
    made = evidence()
    seen = dataclasses.replace(
        made, setting=dataclasses.replace(made.setting, monitor=types.SimpleNamespace(first_wrong=first))
    )
    told = non_finite.examine(seen)
    assert (told is None) == (first is None)
    assert told is None or "from step 7 on" in told.explanation


@pytest.mark.parametrize(("gap", "found"), [(0.5, False), (1.1, True)])
def test_of_a_likelihood_a_gap_is_held_against_what_was_learned(gap, found):
    """From a constant output's 1.0 down to -3: a quarter of 4."""
    made = evidence(end=-3.0, validation=Validation(Estimate(-3.0 + gap, 1e-3), 0.8, 1.2, 0.0))
    assert (generalization.examine(made) is not None) == found


@pytest.mark.parametrize(
    ("kept", "bent", "decay"),
    [(0.8, 1.0, 0.025), (0.1, 9.0, 0.3), (0.8, 1e-5, 1e-4), (1.0, 1.0, 1e-3), (0.8, 0.0, 1e-3)],
)
def test_weight_decay_is_the_rate_times_ridge_regressions(kept, bent, decay):
    """Rate 0.1: a tenth of curvature (1 - kept) / kept, within its limits."""
    found = generalization._decay(evidence(), Validation(Estimate(0.9, 0.0), kept, 1.2, bent))
    assert found == pytest.approx(decay)


@pytest.mark.parametrize(("minimum", "exhausted"), [(1.08, True), (1.075, False)])
def test_a_run_at_two_percent_above_the_known_minimum_is_exhausted(minimum, exhausted):
    problem = dataclasses.replace(CLASSES, truth=Truth(minimum=minimum))
    assert stationarity.is_exhausted(evidence(problem, end=1.1)) == exhausted  # 0.022


@pytest.mark.parametrize(("count", "is_seen"), [(120, False), (140, True)])
def test_a_plateau_is_left_in_no_run_whose_fall_rounding_hides(count, is_seen):
    """A step brings 0.1 * 1e-8 and the loss of 1.1 is known to 1.3e-7."""
    flat = NegativeCurvature(None, Estimate(0.0, 0.0), False, 0.0)
    around = StationaryPoint(flat, LineScan(0.5, 0.04, 0.6), 0.0, np.empty(0))
    made = evidence(end=1.1).with_part("point.stationary_point", around)
    told = stationarity.examine_plateau(made.with_part("point.gradient_norm", 1e-4))
    assert told.predicted_gain.in_run_of(count) == (told.predicted_gain.value if is_seen else count)
