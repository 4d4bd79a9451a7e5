import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import Status
from jaxopt_lab.diagnosis import judgements, prescriptions, probe_runs
from jaxopt_lab.diagnosis.evidence import Evidence, PointState, Setting
from jaxopt_lab.diagnosis.predicted_gain import _rewound, speed_up
from jaxopt_lab.diagnosis.quadratic_model import Curvature, Method, QuadraticModel
from jaxopt_lab.rules.identification import IdentifiedRule, identify

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
