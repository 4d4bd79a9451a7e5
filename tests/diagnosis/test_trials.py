"""Changes that are tried: what is told of them, and those that cannot be tried."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import fail
from jaxopt_lab.diagnosis import trials
from jaxopt_lab.diagnosis.budget import Budget, loss_size
from jaxopt_lab.diagnosis.findings import Prescription, make_finding
from jaxopt_lab.diagnosis.gradient_noise import units_of_loss
from jaxopt_lab.diagnosis.output_search import search_outputs
from jaxopt_lab.diagnosis.probe_runs import Scores
from jaxopt_lab.diagnosis.trials import Trial, _try, try_prescriptions
from tests.diagnosis.pieces import CLASSES, evidence

CURE = Prescription("Do it.", lambda problem, rule: (problem, rule))
SCORES = Scores(np.ones(1), None, np.arange(5), np.ones((1, 5)), jnp.zeros(3), None)


def finding(cause="dead-units", cure=CURE, **more):
    return make_finding(cause, "", [], cure, 2.0, horizon=10, **more)


def test_a_trial_is_stored_with_its_scores_and_what_follows_from_them():
    trial = Trial("dead-units", CURE, 100, 1.0, 0.25, (1.0, 0.5), 1.0, 2.0, True)
    assert json.loads(json.dumps(trial.to_json())) == {
        "steps": 100, "before": 1.0, "after": 0.25, "training": [1.0, 0.5], "helps": True, "gain": 4.0, "speed": 2.0,
        "is_long": True, "prescription": "Do it.",
    }  # fmt: skip
    tried = dataclasses.replace(finding(), trial=trial)
    assert tried.to_json()["trial"] == trial.to_json()
    assert (tried.measured_gain, finding().measured_gain) == (4.0, None)


@pytest.mark.parametrize(
    ("before", "after", "training", "text"),
    [
        (1.0, 0.25, None, "tried for 100 steps: loss 0.25 instead of 1"),
        (1.0, 0.25, (1.0, 0.5), "tried for 100 steps: validation loss 0.25 instead of 1"),
        (np.inf, np.inf, None, "tried for 100 steps: loss no finite number instead of no finite number"),
    ],
)
def test_a_trial_says_which_loss_it_compares(before, after, training, text):
    assert str(Trial("dead-units", CURE, 100, before, after, training, 1.0, 1.0, True)) == text


@pytest.mark.parametrize(
    ("speed", "after", "helps"), [(3.9, 0.6, False), (3.9, 0.49, True), (4.1, 0.79, True), (4.1, 0.81, False)]
)
def test_a_higher_rate_helps_where_it_halves_the_loss_or_takes_a_fifth_four_times_sooner(speed, after, helps):
    assert Trial("learning-rate-too-low", CURE, 100, 1.0, after, None, 1.0, speed, True).helps == helps


@pytest.mark.parametrize(
    ("cause", "before", "after", "helps"),
    [
        ("learning-rate-too-high", 0.02, 0.0099, True), ("learning-rate-too-high", 0.02, 0.0101, False),
        ("dead-units", 0.02, 0.0099, False), ("dead-units", 0.03, 0.0099, True), ("dead-units", 1.0, 0.81, False),
        ("dead-units", 1.0, 0.79, True),
    ],
)  # fmt: skip
def test_a_lower_rate_that_halves_a_small_loss_helps(cause, before, after, helps):
    """A hundredth of the scale, 1, is enough there; elsewhere a fiftieth, and a fifth of the loss."""
    assert Trial(cause, CURE, 100, before, after, None, 1.0, 1.0, True).helps == helps


def test_a_change_that_cannot_be_made_is_no_trial():
    def refused(problem, rule):
        raise fail("somewhere", "it cannot be made here")

    assert _try(evidence(), finding(), Prescription("Do it.", refused), 4, SCORES) is None


def test_a_change_of_units_is_no_trial_where_a_constant_output_has_no_positive_loss():
    made = evidence(end=0.9)
    assert units_of_loss(-1.0, CLASSES, made.setting.params, 0) is None
    assert units_of_loss(None, CLASSES, made.setting.params, 0) is None


def test_units_are_the_losses_of_the_best_constant_output_before_and_after():
    inputs = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    data = (inputs, np.where(np.arange(40) % 2, 1.0, -1.0).astype(np.float32)[:, None])
    tripled = lab.from_loss(lambda w, batch, key: 3 * jnp.mean((batch[0] @ w - batch[1]) ** 2), jnp.zeros((2, 1)), data)
    made = evidence(tripled)
    made = dataclasses.replace(made, setting=dataclasses.replace(made.setting, params=jnp.zeros((2, 1))))
    assert search_outputs(tripled, jnp.zeros((2, 1))) is not None
    assert units_of_loss(made.point.baseline, tripled, made.setting.params, 0) == pytest.approx((1.0, 3.0), rel=1e-4)


def test_of_a_loss_that_cannot_be_traced_nobody_knows_the_size():
    def refusing(params, batch, key):
        raise ValueError("no")

    assert loss_size(dataclasses.replace(CLASSES, loss=refusing), jnp.zeros(3)) == 0


@pytest.fixture
def counted(monkeypatch):
    """What is tried, without a run: the cure's text, and the gain that it would give."""
    tried = []

    def trial(evidence, finding, prescription, steps, base):
        tried.append((finding.cause, prescription.text, steps))
        after = {"Do it.": 0.9, "Or that.": 0.25}.get(prescription.text)
        return after and Trial(finding.cause, prescription, steps, 1.0, after, None, 1.0, 1.0, True)

    monkeypatch.setattr(trials, "score_runs", lambda *given, **more: SCORES)
    monkeypatch.setattr(trials, "_try", trial)
    return tried


def test_alternatives_are_tried_until_one_helps_and_the_best_is_kept(counted):
    others = tuple(dataclasses.replace(CURE, text=text) for text in ("In vain.", "Or that.", "Or more."))
    wanted = finding(alternatives=(Prescription("By hand."), *others))
    found = try_prescriptions(evidence(), [wanted], Budget(200, 60, gradient_seconds=1e-3), lambda text: None)
    assert [text for _, text, _ in counted] == ["Do it.", "In vain.", "Or that."]
    assert found["dead-units"].prescription.text == "Or that."


def test_once_the_seconds_are_over_the_changes_that_are_left_are_named(counted):
    budget = Budget(200, 60, gradient_seconds=1e-3)
    causes = ["dead-units", "vanishing-signal"]

    def late(text):
        budget.began -= 61

    found = try_prescriptions(evidence(), [finding(cause) for cause in causes], budget, late)
    assert list(found) == causes[:1]
    assert "s are over" in budget.skipped["the change against vanishing-signal"].reason


@pytest.mark.parametrize(("total", "tries"), [(99.0, False), (100.0, True)])
def test_a_budget_of_a_hundred_tries_the_changes(counted, total, tries):
    budget = Budget(total, 60, gradient_seconds=1e-3)
    assert bool(try_prescriptions(evidence(), [finding()], budget, print)) == tries
    assert (trials.ALL_UNTRIED in budget.skipped) != tries


def test_what_only_a_person_can_change_and_a_problem_without_data_are_not_tried(counted):
    budget = Budget(200, 60, gradient_seconds=1e-3)
    assert try_prescriptions(evidence(), [finding(cure=Prescription("By hand."))], budget, print) == {}
    without = dataclasses.replace(CLASSES, data=None)
    assert try_prescriptions(evidence(without), [finding()], budget, print) == {}
    assert not counted
