import numpy as np
import pytest

from jaxopt_lab.diagnosis.judgements import Curves, judge_runs, steps_to_reach

STEPS = np.arange(201)
SEEDS = np.array([[1.0], [1.1], [0.9]])


def falling(rate, floor=0.0):
    return SEEDS * np.exp(-rate * STEPS) + floor


def judged(before, after, **more):
    return {each.name: each for each in judge_runs(STEPS, Curves(before, None), Curves(after, None), **more)}


def test_a_rate_four_times_as_fast_takes_a_quarter_of_the_steps():
    found = judged(falling(0.01), falling(0.04))
    assert found["steps"].ratio.value == pytest.approx(4.0, rel=0.05)
    assert found["steps"].is_better
    assert found["loss at the end"].is_better
    assert not any(each.is_worse for each in found.values())


def test_faster_and_ending_worse_is_worse():
    found = judged(falling(0.02), falling(0.2, floor=0.5))
    assert found["steps"].is_better or found["steps"].is_worse
    assert found["loss at the end"].is_worse
    assert found["loss at the end"].after == pytest.approx(0.5, rel=0.01)


def test_a_peak_on_the_way_is_told():
    after = falling(0.04)
    after[:, 60] = 30.0
    found = judged(falling(0.04), after)
    assert found["worst loss on the way"].is_worse
    assert not found["loss at the end"].is_worse


def test_equal_runs_are_neither_better_nor_worse():
    found = judged(falling(0.02), falling(0.02))
    assert not any(each.is_better or each.is_worse for each in found.values())


def test_a_run_that_does_not_stay_finite_is_worse_and_one_that_becomes_finite_better():
    broken = falling(0.02)
    broken[:, 100:] = np.nan
    assert judged(falling(0.02), broken)["loss at the end"].is_worse
    assert judged(broken, falling(0.02))["loss at the end"].is_better


def test_the_validation_loss_is_judged_where_there_is_one():
    pair = Curves(falling(0.02), falling(0.02)), Curves(falling(0.04), falling(0.001))
    *_, held = judge_runs(STEPS, *pair)
    assert held.name == "validation loss at the end"
    assert held.is_worse


def test_steps_to_a_known_minimum_are_counted_on_a_logarithmic_scale():
    steps = np.arange(401)
    slow = 9.0 * 0.01 ** np.minimum(steps, 1) * 0.99**steps  # falls at once by a factor of 100, then slowly
    fast = 9.0 * 0.9**steps
    for minimum, unit in ((0.0, 1.0), (2.0, 1.0), (2.0, 4.0)):
        before, after = (Curves(unit * (curve + minimum)[None], None, unit) for curve in (slow, fast))
        known = judge_runs(steps, before, after, minimum=unit * minimum)[0]
        to_goal = 0.9 * (np.log(100) - 400 * np.log(0.99))
        at = (to_goal - np.log(100)) / -np.log(0.99), to_goal / -np.log(0.9)
        assert known.ratio.value == pytest.approx(at[0] / at[1], rel=0.01)
    assert judge_runs(steps, before, after)[0].is_worse  # 90 % of the fall itself are gained by the first step


def test_a_run_of_one_seed_that_does_not_stay_finite_has_no_ratio_but_one_that_becomes_finite():
    broken = np.where(STEPS < 100, falling(0.02), np.nan)
    assert (
        judged(broken, broken)["loss at the end"].ratio.value != judged(broken, broken)["loss at the end"].ratio.value
    )
    assert judged(falling(0.02), broken)["loss at the end"].ratio.value == 0.0
    assert judged(broken, falling(0.02))["loss at the end"].ratio.value == pytest.approx(1e6)


@pytest.mark.parametrize(
    ("losses", "target", "step"),
    [
        ([4.0, 2.0, 0.0], 1.0, 15.0), ([4.0, 2.0, 0.0], 5.0, 0.0), ([4.0, 2.0, 1.0], 0.5, np.inf),
        ([4.0, np.nan, 0.0], 1.0, 20.0), ([4.0, np.inf, 1.0], 1.0, 20.0),
    ],
)  # fmt: skip
def test_steps_to_a_loss_lie_on_the_line_between_two_records(losses, target, step):
    assert steps_to_reach(np.array([0.0, 10.0, 20.0]), np.array(losses), target) == step
