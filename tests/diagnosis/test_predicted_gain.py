import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import Status
from jaxopt_lab.diagnosis import judgements, prescriptions, probe_runs
from jaxopt_lab.diagnosis.evidence import Evidence, PointState, Setting
from jaxopt_lab.diagnosis.findings import Prescription, make_finding
from jaxopt_lab.diagnosis.predicted_gain import _Descent, _rewound, rank, speed_up
from jaxopt_lab.diagnosis.quadratic_model import Curvature, Method, QuadraticModel
from jaxopt_lab.diagnosis.trials import Trial
from jaxopt_lab.rules.identification import IdentifiedRule, identify

CURE = Prescription("Do it.", lambda problem, rule: (problem, rule))

VALUES, START = np.geomspace(1e-3, 1.0, 12), np.ones(12)
PROBLEM = lab.from_loss(lambda w, batch, key: jnp.sum(w**2), jnp.zeros(12))
RATE = 0.02


def losses(steps, rate, rho=0.0):
    """The losses of heavy ball on the quadratic, one a step from 0 on, and where it ends."""
    point, velocity, found = START.copy(), np.zeros(12), []
    for _ in range(steps + 1):
        found.append(0.5 * float(VALUES @ point**2))
        velocity = rho * velocity - rate * VALUES * point
        point = point + velocity
    return np.array(found), point - velocity


def model_at(point):
    weights, loss = (VALUES * point) ** 2, 0.5 * float(VALUES @ point**2)
    return QuadraticModel(VALUES, weights, 1.0, VALUES[0], 0.0, 1e-15, loss, 0)


def evidence(steps=50, baseline=None):
    curve, end = losses(steps, RATE)
    run = probe_runs.ProbeRun(np.arange(steps + 1), curve, curve, None, Status.COMPLETED, end, None, None)
    descent = IdentifiedRule("gradient descent", RATE, effective_rate=RATE)
    setting = Setting(PROBLEM, optax.sgd(RATE), START, False, steps, None, 0, None, None, descent)
    models = Curvature(model_at(START), model_at(end))
    return Evidence(setting, PointState(curve[0], 1.0, baseline=baseline), run=run, curvature=models)


@pytest.mark.parametrize(("factor", "count"), [(10.0, 400), (40.0, 400), (40.0, 2000), (10.0, 40)])
def test_the_gain_of_a_higher_rate_is_what_two_runs_show(factor, count):
    measured = judgements.speed_up(np.arange(count + 1), losses(count, RATE)[0], losses(count, factor * RATE)[0])
    made = evidence()
    assert speed_up(made, count, made.model_at_point, Method(factor * RATE)) == pytest.approx(measured, rel=0.1)


def test_the_gain_on_another_loss_is_counted_to_the_same_height():
    made = evidence()
    other = dataclasses.replace(made.model_at_point, eigenvalues=np.ones(12), weights=np.full(12, VALUES.mean()))
    measured = judgements.speed_up(
        np.arange(401), losses(400, RATE)[0], 0.5 * VALUES.sum() * 0.5 ** (2 * np.arange(401))
    )
    assert speed_up(made, 400, other, Method(0.5), same=False) == pytest.approx(measured, rel=0.4)


def test_a_run_that_only_comes_to_a_constant_output_gains_nothing():
    steps, before, after = np.arange(5), np.array([4.0, 2.0, 2.0, 2.0, 2.0]), np.array([4.0, 3.0, 2.0, 1.0, 0.0])
    assert judgements.speed_up(steps, before, after) < 1
    assert judgements.speed_up(steps, before, after, known_by_none=2.0) == 4.0
    assert speed_up(evidence(baseline=1e-9), 400, evidence().model_at_point, Method(0.2)) == 400


def test_inputs_are_standardized_and_the_rate_goes_with_them():
    rows = np.random.default_rng(0).normal(5.0, 3.0, size=(20, 2))
    problem = lab.from_loss(lambda w, batch, key: jnp.mean(batch @ w), jnp.zeros(2), jnp.asarray(rows))
    descent = IdentifiedRule("gradient descent", 0.1, effective_rate=0.1)
    cure = prescriptions.standardize_inputs(4.0, descent)
    assert "Increase the learning rate 4x, to 0.4, as" in cure.text
    assert "Increase the learning rate 4x, as" in prescriptions.standardize_inputs(4.0, IdentifiedRule("unknown")).text
    plain, faster = cure.apply(problem, optax.sgd(0.1))
    np.testing.assert_allclose(
        np.asarray(plain.data).std(0), 1.0, rtol=1e-5
    )  # float32 rows with a mean of 1.7 deviations
    assert identify(faster, jnp.ones(3)).learning_rate == pytest.approx(0.4)
    assert "rate" not in prescriptions.standardize_inputs(1.01, descent).text


def test_a_direction_of_negative_curvature_has_no_past():
    model = QuadraticModel(np.array([-0.7, 0.01, 1.0]), np.full(3, 0.2), 1.0, -0.7, 0.0, 1e-15, 1.0, 0)
    earlier = _rewound(model, Method(0.1), 10.0, 0.0)
    np.testing.assert_allclose(earlier.weights[:2], [0.2, 0.2 / 0.999**20])


def test_where_no_rule_or_no_run_is_known_no_gain_is_predicted():
    made = evidence()
    model = made.model_at_point
    assert speed_up(dataclasses.replace(made, run=None), 400, model, Method(0.2)) == 1.0
    unknown = dataclasses.replace(made.setting, optimizer=IdentifiedRule("unknown"))
    made = dataclasses.replace(made, setting=unknown)
    assert speed_up(made, 400, model, Method(0.2)) == 1.0
    assert speed_up(made, 400, model, Method(0.2), own=Method(RATE)) > 5


def test_a_descent_takes_no_step_to_where_it_begins_and_never_comes_below_its_bottom():
    model = model_at(START)
    descent = _Descent(model, Method(0.5), model.loss, 0.0)
    assert descent.loss(0) == model.loss
    assert descent.loss(7) == pytest.approx(losses(7, 0.5)[0][-1])
    assert descent.steps_to(model.loss) == 0.0
    assert 0 < descent.steps_to(0.5 * model.loss) < 10
    assert descent.steps_to(model.loss - 1.01 * model.gap()) == np.inf


@pytest.mark.parametrize(("after", "first"), [(0.6, "plateau"), (0.8, "learning-rate-too-high")])
def test_of_two_causes_that_each_explain_the_other_what_was_seen_to_help_comes_first(after, first):
    """Where it helps half as much again."""
    rate = make_finding("learning-rate-too-high", "", [], Prescription(""), 900.0, follows_from=("plateau",))
    flat = make_finding("plateau", "", [], Prescription(""), 2.0, follows_from=("learning-rate-too-high",))
    trial = Trial("plateau", Prescription(""), 100, 1.0, after, None, 2.0, 1.0, True)
    flat = dataclasses.replace(flat, trial=dataclasses.replace(trial, speed=4.0 if after > 0.75 else 1.0))
    assert rank([rate, flat])[0].cause == first


@pytest.mark.parametrize(("gain", "first"), [(1.8, "learning-rate-too-high"), (1.5, "ill-conditioned")])
def test_heavy_ball_has_a_rate_of_its_own_and_a_lower_one_that_gives_as_much_comes_first(gain, first):
    curved = make_finding("ill-conditioned", "", [], CURE, 900.0, follows_from=("learning-rate-too-high",))
    rate = make_finding("learning-rate-too-high", "", [], dataclasses.replace(CURE, text="Lower it."), 9.0)
    tried = lambda each, gain: Trial(each.cause, each.prescription, 100, gain, 1.0, None, 1.0, 1.0, True)  # noqa: E731
    found = [dataclasses.replace(each, trial=tried(each, times)) for each, times in ((curved, 1.6), (rate, gain))]
    assert rank(found)[0].cause == first


@pytest.mark.parametrize(("baseline", "first"), [(1.1, "gradient-noise"), (np.nan, "underfitting")])
def test_where_much_more_is_learned_the_model_does_not_underfit(baseline, first):
    """The loss falls from 1.0 to 0.9, where a constant output has 1.1."""
    small = make_finding("underfitting", "", [], Prescription(""), 9.0, follows_from=("gradient-noise",))
    trial = Trial("gradient-noise", CURE, 100, 1.0, 0.9, None, 1.1, 1.0, True, baseline=baseline, predicted=1.1)
    noisy = dataclasses.replace(make_finding("gradient-noise", "", [], CURE, 2.0), trial=trial)
    assert trial.helps
    assert rank([small, noisy])[0].cause == first


@pytest.mark.parametrize(("other", "first"), [("raise it", "plateau"), ("lower it", "learning-rate-too-low")])
def test_of_two_causes_with_one_change_the_one_that_explains_the_other_comes_first(other, first):
    cures = [Prescription(text, lambda problem, rule: (problem, rule)) for text in (other, "raise it")]
    slow = make_finding("learning-rate-too-low", "", [], cures[0], 100.0, follows_from=("plateau",))
    flat = make_finding("plateau", "", [], cures[1], 5.0)
    trial = Trial("plateau", cures[1], 100, 1.0, 0.1, None, 1.0, 1.0, True)
    assert rank([dataclasses.replace(each, trial=trial) for each in (slow, flat)])[0].cause == first


def test_two_causes_with_one_change_that_follow_from_each_other_stand_before_what_comes_along():
    slow = make_finding("learning-rate-too-low", "", [], CURE, 100.0, follows_from=("plateau",))
    flat = make_finding("plateau", "", [], CURE, 5.0, follows_from=("learning-rate-too-low",))
    other = dataclasses.replace(CURE, text="Use momentum.")
    curved = make_finding("ill-conditioned", "", [], other, 900.0, follows_from=("learning-rate-too-low", "plateau"))
    tried = lambda each, gain: Trial(each.cause, each.prescription, 100, gain, 1.0, None, 1.0, 1.0, True)  # noqa: E731
    found = [dataclasses.replace(each, trial=tried(each, gain)) for each, gain in ((slow, 4), (flat, 4), (curved, 5))]
    causes = [each.cause for each in rank(found)]
    assert causes == ["learning-rate-too-low", "plateau", "ill-conditioned"]
