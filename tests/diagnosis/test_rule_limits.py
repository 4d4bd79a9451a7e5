"""Each threshold of a cause that lies in the rule, from both sides."""

import dataclasses

import numpy as np
import pytest

from jaxopt_lab.diagnosis.causes import non_finite, rule_limits
from jaxopt_lab.diagnosis.rule_checks import RuleChecks, Schedule
from tests.diagnosis.pieces import evidence


def checks(**changes):
    return dataclasses.replace(RuleChecks(False, 1.0, 1.0, 0.0, "bfloat16", None), **changes)


@pytest.mark.parametrize(
    ("lost", "dtype", "found"), [(0.45, "bfloat16", False), (0.55, "bfloat16", True), (0.55, "float32", False)]
)
def test_half_of_the_entries_lose_their_update(lost, dtype, found):
    assert (rule_limits.examine_lost(evidence(rule=checks(lost=lost, dtype=dtype))) is not None) == found


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"shortened": 3.9, "elasticity": 0.0}, False), ({"shortened": 4.1, "elasticity": 0.0}, True),
        ({"shortened": 4.1, "elasticity": 0.6}, False), ({"is_adaptive": True, "elasticity": 0.45}, False),
        ({"is_adaptive": True, "elasticity": 0.55}, True),
    ],
)  # fmt: skip
def test_a_limit_on_the_gradient_decides_the_steps(changes, found):
    assert (rule_limits.examine_clipped(evidence(rule=checks(**changes))) is not None) == found
    assert rule_limits.examine_clipped(evidence(end=0.1, rule=checks(**changes))) is None


@pytest.mark.parametrize(
    ("ends", "peak", "halfway", "found"),
    [(61, 0, 1.0, False), (59, 0, 1.0, True), (100, 89, 0.7, False), (100, 91, 0.7, True), (100, 91, 0.8, False)],
)
def test_a_schedule_ends_early_or_never_rises(ends, peak, halfway, found):
    rates = np.ones(100)
    rates[50] = halfway
    made = evidence(rule=checks(schedule=Schedule(100, rates, ends, peak)))
    assert (rule_limits.examine_schedule(made) is not None) == found


@pytest.mark.parametrize(("ends", "peak", "found"), [(9, 0, True), (11, 0, False), (100, 95, False)])
def test_of_an_unplanned_run_the_schedule_is_gone_after_a_tenth(ends, peak, found):
    made = evidence(rule=checks(schedule=Schedule(100, np.full(100, 0.5), ends, peak, is_planned=False)))
    assert (rule_limits.examine_schedule(made) is not None) == found


@pytest.mark.parametrize(("idle", "found"), [(0.88, False), (0.92, True)])
def test_nine_of_ten_steps_have_no_update(idle, found):
    assert (rule_limits.examine_schedule(evidence(rule=checks(idle=idle))) is not None) == found
    assert rule_limits.examine_schedule(evidence(end=0.1, rule=checks(idle=idle))) is None


@pytest.mark.parametrize(("descent", "found"), [(-0.45, False), (-0.55, True)])
def test_updates_point_along_the_gradient(descent, found):
    assert (rule_limits.examine_ascent(evidence(rule=checks(descent=descent))) is not None) == found


def test_a_rule_makes_a_number_that_is_not_finite():
    assert non_finite.examine(evidence(rule=checks())) is None
    assert "float32" in non_finite.examine(evidence(rule=checks(is_finite=False))).explanation
