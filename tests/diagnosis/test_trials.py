"""Changes that are tried: what is told of them, and those that cannot be tried."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import fail
from jaxopt_lab.diagnosis import trials
from jaxopt_lab.diagnosis.budget import LOSS, Budget, loss_size, step_cost
from jaxopt_lab.diagnosis.findings import Prescription, make_finding
from jaxopt_lab.diagnosis.gradient_noise import units_of_loss
from jaxopt_lab.diagnosis.output_search import search_outputs
from jaxopt_lab.diagnosis.prescriptions import average_iterates, enlarge_batch
from jaxopt_lab.diagnosis.probe_runs import RECORDS, Scores, score_runs
from jaxopt_lab.diagnosis.trials import Trial, _try, try_prescriptions
from tests.diagnosis.pieces import CLASSES, evidence

CURE = Prescription("Do it.", lambda problem, rule: (dataclasses.replace(problem), rule))
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


@pytest.mark.parametrize(
    ("cause", "planned", "steps"), [("dead-units", None, 40), ("gradient-noise", None, 900), ("gradient-noise", 60, 60)]
)
def test_what_is_against_noise_is_tried_for_the_steps_that_the_floor_takes(counted, cause, planned, steps):
    made = evidence(total_steps=planned, batch_size=4)
    wanted = make_finding(cause, "", [], CURE, 2.0, horizon=40 if cause == "dead-units" else 900)
    others = [make_finding("vanishing-signal", "", [], dataclasses.replace(CURE, text="In vain."), 2.0, horizon=40)]
    try_prescriptions(made, [wanted, *others], Budget(200, 60, gradient_seconds=1e-3), lambda text: None)
    assert counted[0] == (cause, "Do it.", steps)


@pytest.mark.parametrize(("cause", "tried"), [("dead-units", ["Or that."]), ("gradient-noise", ["Or that.", "Do it."])])
def test_all_that_is_against_noise_is_tried(counted, cause, tried):
    wanted = make_finding(cause, "", [], dataclasses.replace(CURE, text="Or that."), 2.0, alternatives=(CURE,))
    found = try_prescriptions(evidence(), [wanted], Budget(200, 60, gradient_seconds=1e-3), lambda text: None)
    assert [text for _, text, _ in counted] == tried
    assert found[cause].prescription.text == "Or that."


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


@pytest.mark.parametrize(
    ("cause", "before", "after", "learned", "helps"),
    [
        ("underfitting", 2.2, 2.05, 1.75, True), ("underfitting", 2.2, 2.12, 1.0, False),
        ("underfitting", 2.0, 1.81, 1.475, False), ("underfitting", 2.6, 1.9, np.inf, True),
        ("underfitting", 2.4, 1.99, 1.0, False), ("learning-rate-too-low", 2.9, 1.9, np.inf, True),
        ("learning-rate-too-low", 2.3, 1.99, 4.1, True), ("learning-rate-too-low", 2.3, 2.05, 3.5, False),
    ],
)  # fmt: skip
def test_of_a_loss_that_mostly_stays_half_as_much_again_must_be_learned(cause, before, after, learned, helps):
    """The best constant output has 2.4, the scale is 2.4 as well."""
    trial = Trial(cause, CURE, 100, before, after, None, 2.4, 1.0, True, baseline=2.4)
    assert trial.learned == pytest.approx(learned, rel=1e-6)
    assert trial.helps == helps
    assert Trial(cause, CURE, 100, before, after, None, 2.4, 1.0, True).learned == 1.0


@pytest.mark.parametrize(("predicted", "after", "helps"), [(1.0, 0.85, False), (1.25, 0.91, False), (1.25, 0.89, True)])
def test_against_noise_half_of_the_predicted_fall_of_the_training_loss_is_enough(predicted, after, helps):
    trial = Trial("gradient-noise", CURE, 100, 1.0, 1.1, (1.0, after), 1.0, 9.0, True, predicted=predicted)
    assert trial.helps == helps
    assert trial.gain == pytest.approx(1 / after)


@pytest.mark.parametrize(("known", "after", "helps"), [(False, 0.9, False), (True, 1.0, True), (True, 1.01, False)])
def test_where_the_minimum_is_known_a_higher_rate_helps_that_comes_there_sooner(known, after, helps):
    minimum = 0.0 if known else np.nan
    trial = Trial("learning-rate-too-low", CURE, 100, 1.0, after, None, 1.0, 5.0, True, minimum=minimum)
    assert trial.helps == helps


@pytest.mark.parametrize(("minimum", "helps"), [(np.nan, False), (0.8, True), (0.2, False)])
def test_against_noise_a_fifth_of_what_lies_above_a_known_minimum_is_enough(minimum, helps):
    trial = Trial("gradient-noise", CURE, 100, 1.0, 1.0, (1.0, 0.9), 1.0, 1.0, True, minimum=minimum)
    assert trial.helps == helps


@pytest.mark.parametrize(("ends", "best"), [((0.5, 0.4, 0.3), 2), ((0.3, 0.3005, 0.4), 1), ((0.3, 0.302, 0.4), 0)])
def test_of_rates_that_end_alike_the_fastest_is_taken(ends, best):
    curves = np.array([np.linspace(1.0, 0.3, 11), np.full(11, 0.3), np.linspace(1.0, 0.3, 11)])
    before = Scores(np.array([0.5]), None, np.arange(11), np.linspace(1.0, 0.5, 11)[None], None, None)
    after = dataclasses.replace(before, ends=np.array(ends), curves=curves)
    assert trials._best_rate(evidence(), before, after, gently=False) == best


@pytest.mark.parametrize(("ends", "best"), [((0.32, 0.3, 0.31), 0), ((0.33, 0.3, 0.31), 1)])
def test_of_rates_that_come_with_another_change_the_lowest_is_taken_that_ends_alike(ends, best):
    """What they are a fiftieth of is the scale, 1.1."""
    before = Scores(np.array([0.5]), None, np.arange(11), np.linspace(1.0, 0.5, 11)[None], None, None)
    after = dataclasses.replace(before, ends=np.array(ends), curves=np.full((3, 11), 0.3))
    assert trials._best_rate(evidence(), before, after, gently=True) == best


@pytest.mark.parametrize(("late", "best"), [(0.45, 1), (0.55, 0)])
def test_a_rate_whose_run_climbs_again_ends_as_much_higher(late, best):
    before = Scores(np.array([0.5]), None, np.arange(12), np.linspace(1.0, 0.5, 12)[None], None, None)
    climbing = np.r_[np.full(9, 0.2), 0.2, 0.2, late]
    after = dataclasses.replace(before, ends=np.array([0.5, 0.2]), curves=np.stack([np.full(12, 0.5), climbing]))
    assert trials._best_rate(evidence(), before, after, gently=False) == best


def test_averaged_iterates_are_judged_where_they_are_averaged():
    """Steps of 1.8 over a curvature of 1 swing around the minimum; their average stands still there."""
    data = np.zeros((8, 1), np.float32)
    problem = lab.from_loss(lambda w, batch, key: 0.5 * jnp.mean((w - batch) ** 2), jnp.ones(1), data)
    setting = dataclasses.replace(evidence(problem).setting, rule=optax.sgd(1.8), params=jnp.ones(1))
    plain = score_runs(problem, setting.rule, [1.0], setting, 20)
    cure = average_iterates()
    changed = cure.apply(problem, setting.rule)
    judged = score_runs(*changed, [1.0], setting, 20, evaluated=cure.evaluated)
    iterates = (-0.8) ** np.arange(1, 21)
    np.testing.assert_allclose(plain.curves[0, -1], iterates[-1] ** 2 / 2, rtol=1e-4)
    np.testing.assert_allclose(judged.curves[0, -1], iterates.mean() ** 2 / 2, rtol=1e-4)


@pytest.mark.parametrize("changes", [False, True])
def test_by_another_loss_nobody_knows_what_a_constant_output_costs(changes):
    data = (np.ones((8, 1), np.float32),)
    problem = lab.from_loss(lambda w, batch, key: jnp.mean((batch[0] * w - 2) ** 2), jnp.zeros(1), data)
    made = evidence(problem)
    made = dataclasses.replace(made, setting=dataclasses.replace(made.setting, params=jnp.zeros(1)))
    base = score_runs(problem, made.setting.rule, [1.0], made.setting, 4)
    trial = _try(made, finding(), dataclasses.replace(CURE, changes_loss=changes), 4, base)
    assert trial.baseline == (pytest.approx(np.nan, nan_ok=True) if changes else made.point.baseline)


@pytest.mark.parametrize(("after", "training", "helps"), [(0.79, 0.97, True), (0.81, 0.97, False), (0.79, 0.99, False)])
def test_against_noise_a_fifth_of_the_validation_loss_is_enough_where_the_training_loss_falls(after, training, helps):
    trial = Trial("gradient-noise", CURE, 100, 1.0, after, (1.0, training), 1.0, 1.0, True)
    assert trial.helps == helps


@pytest.mark.parametrize(("rates", "gently"), [((1.0, 2.0), True), ((), False)])
def test_rates_beside_another_change_are_chosen_gently(monkeypatch, rates, gently):
    asked = []
    monkeypatch.setattr(trials, "_best_rate", lambda *given, gently: asked.append(gently) or 0)
    monkeypatch.setattr(trials, "score_runs", lambda *given: SCORES)
    prescription = dataclasses.replace(CURE, rates=rates)
    finding = make_finding("learning-rate-too-low", "", [], prescription, 2.0)
    assert trials._try(evidence(), finding, prescription, 4, SCORES) is not None
    assert asked == [gently]


@pytest.mark.parametrize(("first", "tried"), [("Or that.", 1), ("In vain.", 2)])
def test_what_takes_longer_is_tried_where_nothing_else_helps(counted, first, tried):
    wanted = make_finding(
        "gradient-noise", "", [], dataclasses.replace(CURE, text=first), 2.0,
        alternatives=(dataclasses.replace(CURE, longer=10),),
    )  # fmt: skip
    made, budget = evidence(), Budget(200, 60, gradient_seconds=1e-3)
    try_prescriptions(made, [wanted], budget, lambda text: None)
    assert len(counted) == tried
    of_a_run = counted[0][2] * step_cost(made.setting.problem, None)
    assert budget.aside == pytest.approx(of_a_run * (1 if tried == 1 else 11) + tried * RECORDS * LOSS)


def test_a_change_that_takes_longer_runs_as_many_times_the_steps():
    problem = lab.from_loss(lambda w, batch, key: jnp.mean((w - batch) ** 2), jnp.ones(1), np.zeros((8, 1), np.float32))
    made = evidence(problem)
    made = dataclasses.replace(made, setting=dataclasses.replace(made.setting, params=jnp.ones(1)))
    once, longer = (trials._changed(made, "dead-units", enlarge_batch(2, longer=each), 10)[1] for each in (1, 2))
    assert once.steps[-1] == 10
    assert longer.steps[-1] == 20
