"""Each threshold of a cause that lies in the rule, from both sides."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import Estimate
from jaxopt_lab.diagnosis.causes import non_finite, rule_limits
from jaxopt_lab.diagnosis.program_checks import GradientFlow, Memorization, ProgramChecks
from jaxopt_lab.diagnosis.rule_checks import RuleChecks, Schedule
from jaxopt_lab.diagnosis.stationary_point import LineScan, StillLeaf, find_still_leaf
from jaxopt_lab.diagnosis.validation import MetricChange, Modes, Validation
from tests.diagnosis.pieces import evidence, search


def checks(**changes):
    return dataclasses.replace(RuleChecks(False, 1.0, 1.0, 0.0, "bfloat16", None), **changes)


@pytest.mark.parametrize(
    ("lost", "dtype", "found"), [(0.45, "bfloat16", False), (0.55, "bfloat16", True), (0.55, "float32", False)]
)
def test_half_of_the_entries_lose_their_update(lost, dtype, found):
    assert (rule_limits.examine_lost(evidence(rule=checks(lost=lost, dtype=dtype))) is not None) == found


@pytest.mark.parametrize(("drop", "found"), [(0.17, False), (0.19, True)])
def test_a_leaf_that_no_step_moves_and_with_which_the_loss_falls_is_told(drop, found):
    still = StillLeaf("f", "float32", 4e5, 0.9, LineScan(drop, 1e4, 0.9 - drop))
    told = rule_limits.examine_lost(evidence(rule=checks(still=still)))
    assert (told is not None) == found
    assert not found or "2.5 % of it" in told.explanation


@pytest.mark.parametrize(
    ("moved", "steps", "found"), [(("b",), 20, "w"), (("b",), 19, None), ((), 20, None), (("w", "b"), 20, None)]
)
def test_a_leaf_stands_still_where_another_moves(moved, steps, found):
    start = {"w": jnp.full(2, 3.0), "b": jnp.ones(2)}
    problem = lab.from_loss(lambda p, batch, key: jnp.sum(p["w"] ** 2) + jnp.sum(p["b"] ** 2), start)
    end = {name: leaf + 1 if name in moved else leaf for name, leaf in start.items()}
    run = types.SimpleNamespace(params=end, num_steps=steps, model_state=None)
    still = find_still_leaf(problem, start, run)
    assert (still and still.path) == found
    assert still is None or still.downhill.drop > 17  # of the 18 that the leaf costs


def test_a_value_in_hertz_stands_still_and_one_in_megahertz_moves():
    x = np.linspace(3.5e5, 4.7e5, 200)

    def causes(unit):
        def loss(params, batch, key):
            shape = 1 / (1 + ((batch[0] - params["f"]) / params["w"]) ** 2)
            return jnp.mean((params["a"] * shape - batch[1]) ** 2)

        start = {"f": jnp.float32(4e5 / unit), "w": jnp.float32(1.5e4 / unit), "a": jnp.float32(1.0)}
        data = (np.float32(x / unit), np.float32(2 / (1 + ((x - 4.1e5) / 1.5e4) ** 2)))
        problem = lab.from_loss(loss, start, data)
        return lab.diagnose(problem, optax.adam(0.01), steps=200, batch_size=20, budget=60).causes

    assert causes(1.0)[0] == "lost-updates"
    assert "lost-updates" not in causes(1e5)


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
    assert rule_limits.examine_schedule(evidence(rule=checks(idle=idle, is_inert=True))) is None  # no-gradient tells
    assert rule_limits.examine_schedule(evidence(end=0.1, rule=checks(idle=idle))) is None


@pytest.mark.parametrize(("descent", "found"), [(-0.45, False), (-0.55, True)])
def test_updates_point_along_the_gradient(descent, found):
    assert (rule_limits.examine_ascent(evidence(rule=checks(descent=descent))) is not None) == found


@pytest.mark.parametrize(("held", "found"), [(0.45, True), (0.55, False)])
def test_a_metric_that_falls_where_little_carries_over_may_be_of_other_data(held, found):
    program = ProgramChecks(metrics=(MetricChange("score", 0.5, 0.1),))
    held = Validation(Estimate(held, 1e-3), 0.8, 1.2, 0.0)
    made = evidence(end=0.3, rule=checks(), program=program, validation=held)
    assert (rule_limits.examine_ascent(made) is not None) == found


@pytest.mark.parametrize(("descent", "cure"), [(1.0, "Give the weight decay its sign"), (-1.0, "Negate the updates")])
def test_where_all_goes_uphill_the_decay_has_the_sign_of_the_rest(descent, cure):
    made = evidence(rule=checks(descent=descent))
    rule = dataclasses.replace(made.setting.optimizer, weight_decay=-1e-3)
    told = rule_limits.examine_ascent(
        dataclasses.replace(made, setting=dataclasses.replace(made.setting, optimizer=rule))
    )
    assert told.prescription.text.startswith(cure)


@pytest.mark.parametrize(("opposed", "end", "found"), [(("w",), 0.9, True), ((), 0.9, False), (("w",), 0.1, False)])
def test_a_gradient_along_which_the_loss_falls_is_told_where_training_suffers(opposed, end, found):
    flow = GradientFlow((), (), 0.0, (), opposed=opposed)
    made = evidence(end=end, rule=checks(), program=dataclasses.replace(search(), gradients=flow))
    assert (rule_limits.examine_ascent(made) is not None) == found


@pytest.mark.parametrize(("decay", "found"), [(-2e-8, True), (-5e-9, False), (1e-2, False)])
@pytest.mark.parametrize("grouped", [False, True])
def test_parameters_grow_without_a_gradient(decay, found, grouped):
    made = evidence(rule=checks())
    rule = dataclasses.replace(made.setting.optimizer, weight_decay=decay)
    if grouped:
        rule = dataclasses.replace(rule, weight_decay=0.0, groups=((("a",), rule),))
    made = dataclasses.replace(made, setting=dataclasses.replace(made.setting, optimizer=rule))
    assert (rule_limits.examine_ascent(made) is not None) == found


def test_a_rule_makes_a_number_that_is_not_finite():
    assert non_finite.examine(evidence(rule=checks())) is None
    assert "float32" in non_finite.examine(evidence(rule=checks(is_finite=False))).explanation


@pytest.mark.parametrize(
    ("start", "last", "end", "found"),
    [(0.5, 0.41, 0.8, False), (0.5, 0.39, 0.8, True), (0.1, 0.06, 0.8, False), (0.1, 0.04, 0.8, True),
     (0.5, 0.3, 0.95, False), (0.3, 0.5, 0.8, False)],
)  # fmt: skip
def test_a_metric_that_falls_with_the_loss_is_told(start, last, end, found):
    made = evidence(end=end, rule=checks(), program=ProgramChecks(metrics=(MetricChange("score", start, last),)))
    assert (rule_limits.examine_ascent(made) is not None) == found


@pytest.mark.parametrize(("memorized", "found"), [(0.4, True), (0.6, False)])
def test_a_metric_that_rises_where_examples_are_memorized_only_lost_its_chance_hits(memorized, found):
    alone = Memorization(1.0, 0.01, 0.1, (MetricChange("score", 0.5, memorized),))
    program = ProgramChecks(metrics=(MetricChange("score", 0.5, 0.1),), memorization=alone)
    assert (rule_limits.examine_ascent(evidence(end=0.8, rule=checks(), program=program)) is not None) == found


@pytest.mark.parametrize(("evaluation", "found"), [(1.05, True), (1.15, False)])
def test_a_metric_falls_with_the_loss_of_its_own_mode(evaluation, found):
    program = ProgramChecks(metrics=(MetricChange("score", 0.5, 0.1),), modes=Modes(0.8, evaluation, 0.0))
    assert (rule_limits.examine_ascent(evidence(end=0.8, rule=checks(), program=program)) is not None) == found


def test_a_similarity_that_is_minimized_is_told_by_its_score():
    inputs = np.random.default_rng(0).normal(size=(120, 4)).astype(np.float32)
    cosine = lambda a, b: jnp.sum(a * b, -1) / jnp.linalg.norm(a, axis=-1) / jnp.linalg.norm(b, axis=-1)  # noqa: E731

    def problem(sign):
        return lab.from_loss(
            lambda w, batch, key: sign * jnp.mean(cosine(batch[0] @ w, batch[1])) + 1,
            lambda key: 0.5 * jax.random.normal(key, (4, 3)), (inputs, inputs[:, :3]),
            metrics={"mean_similarity": lambda w, batch: jnp.mean(cosine(batch[0] @ w, batch[1])), "broken": lambda w: w},
        )  # fmt: skip

    wrong, right = (
        lab.diagnose(problem(sign), optax.adam(0.03), steps=100, batch_size=20, budget=60) for sign in (1, -1)
    )
    assert wrong.causes[0] == "gradient-ascent"
    assert "mean_similarity" in wrong.findings[0].explanation
    assert "gradient-ascent" not in right.causes
