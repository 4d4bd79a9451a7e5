"""Where the smallest possible loss is known: what is left, what noise holds, how a quadratic is told and forecast."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import Estimate, Truth
from jaxopt_lab.diagnosis.causes import memorization, noise
from jaxopt_lab.diagnosis.gradient_noise import GradientNoise, is_quadratic
from jaxopt_lab.diagnosis.predicted_gain import _Descent
from jaxopt_lab.diagnosis.program_checks import Memorization, ProgramChecks
from jaxopt_lab.diagnosis.quadratic_model import Method
from tests.diagnosis.pieces import CLASSES, bowl, evidence


def known(minimum):
    return dataclasses.replace(CLASSES, truth=Truth(minimum=minimum))


@pytest.mark.parametrize(("end", "badly"), [(0.53, True), (0.52, False)])
def test_a_twentieth_above_a_known_minimum_is_trained_badly(end, badly):
    """The best constant output has 1.0, half of which lies above the minimum."""
    assert evidence(known(0.5), end).is_underperforming == badly
    assert not evidence(end=0.19).is_underperforming


@pytest.mark.parametrize(("minimum", "found"), [(None, True), (0.49, False), (0.51, True)])
def test_a_model_whose_known_minimum_is_low_can_fit(minimum, found):
    checks = ProgramChecks(memorization=Memorization(1.0, 0.9, 0.01))
    problem = CLASSES if minimum is None else known(minimum)
    assert (memorization.examine(evidence(problem, program=checks)) is not None) == found


@pytest.mark.parametrize(("minimum", "end", "found"), [(None, 0.08, False), (0.0, 0.08, True), (0.0, 0.04, False)])
def test_all_that_lies_above_a_known_minimum_is_left(minimum, end, found):
    """The model has 0.02 to give; of a constant output's loss a twentieth must be left."""
    problem = CLASSES if minimum is None else known(minimum)
    seen = GradientNoise(Estimate(4.0, 0.0), 0.04, 100)
    made = evidence(problem, end, batch_size=4, curvature=bowl(0.04), noise=seen)
    assert (noise.examine(made) is not None) == found


@pytest.mark.parametrize(("power", "expected"), [(2, True), (3, False), (4, False)])
def test_the_trapezoidal_rule_is_exact_on_quadratics(power, expected):
    data = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    problem = lab.from_loss(lambda w, batch, key: jnp.mean((batch @ w - 1) ** power), jnp.zeros(3), data)
    assert is_quadratic(problem, jnp.zeros(3), jnp.array([0.5, -0.2, 0.9])) == expected


def test_what_is_exact_comes_to_the_minimum():
    model = bowl(0.8).point  # 0.4 to give, from 0.9
    assert _Descent(model, Method(0.5), 0.9, 0.0).loss(1e6) == pytest.approx(0.5)
    assert _Descent(model, Method(0.5), 0.9, 0.0, is_exact=True).loss(1e6) == pytest.approx(0.0)


@pytest.fixture(scope="module")
def regression():
    """Least squares with a tenth of noise; correlated features on request."""

    def make(kappa):
        rng = np.random.default_rng(0)
        scores = np.linalg.qr(rng.normal(size=(300, 8)))[0] * np.sqrt(300)
        targets = scores.sum(1) / np.sqrt(8) + 0.3 * rng.normal(size=300)
        turned = scores * np.geomspace(1, kappa**-0.5, 8) @ np.linalg.qr(rng.normal(size=(8, 8)))[0].T
        return lab.objectives.linear_regression(turned / turned.std(0), targets)

    return make


@pytest.mark.parametrize(
    ("kappa", "share", "cause"),
    [(1.0, 0.5, "healthy"), (1.0, 1 / 120, "learning-rate-too-low"), (1e3, 0.5, "ill-conditioned")],
)
def test_mild_faults_of_a_regression_are_told(regression, kappa, share, cause):
    problem = regression(kappa)
    rule = optax.sgd(float(2 * share / problem.truth.smoothness))
    told = lab.diagnose(problem, rule, steps=150 if share == 0.5 else 60)
    assert told.causes[0] == cause
    assert told.evidence.curvature.is_quadratic


def test_standardized_inputs_are_predicted_to_come_to_the_minimum(regression):
    problem = regression(1.0)
    features, targets = problem.data
    scaled = lab.objectives.linear_regression(
        jnp.concatenate([features * jnp.geomspace(0.2, 5, 8), jnp.ones((300, 1))], 1), targets
    )
    told = lab.diagnose(scaled, optax.sgd(float(1 / scaled.truth.smoothness)), steps=150)
    assert told.causes[0] == "unnormalized-inputs"
    assert told.findings[0].predicted_gain.value > 10
    assert jax.tree.leaves(told.evidence.setting.params)[0].shape == (9,)
