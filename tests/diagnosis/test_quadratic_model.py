import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab import curvature, theory
from jaxopt_lab.core import precision
from jaxopt_lab.diagnosis.quadratic_model import Method, QuadraticModel, measure_model


def model_of(eigenvalues, weights, **facts):
    values = np.asarray(eigenvalues, float)
    known = {"largest": values.max(), "smallest": values.min(), "error": 0.0, "rounding": 1e-15, "loss": 0.0}
    return QuadraticModel(values, np.asarray(weights, float), **(known | {"products": 0} | facts))


def measured(num_products, rho=0.0, steps=8):
    """The model of a diagonal quadratic from its gradient, and by how much a run brings its loss down."""
    with precision("float64"):
        eigenvalues = jnp.geomspace(0.01, 1.0, 40)
        start = jnp.linspace(1.0, 2.0, 40)
        found = measure_model(
            curvature.from_diagonal(eigenvalues), eigenvalues * start, 1.0, num_products=num_products, num_random=2,
            seed=0,
        )  # fmt: skip
        values, x = np.asarray(eigenvalues), np.asarray(start)
    velocity, point = np.zeros(40), x.copy()
    for _ in range(steps):
        velocity = rho * velocity - 0.9 * values * point
        point = point + velocity
    return found, 0.5 * float(values @ (x**2 - point**2))


@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_as_many_products_as_steps_predict_a_linear_method_exactly(rho):
    found, fall = measured(num_products=10, rho=rho)
    assert found.decrease(8, Method(0.9, rho)) == pytest.approx(fall, rel=1e-9)


def test_a_few_products_predict_many_more_steps_to_a_percent():
    found, fall = measured(num_products=10, steps=60)
    assert found.decrease(60, Method(0.9)) == pytest.approx(fall, rel=0.01)


def test_the_gap_is_what_the_quadratic_has_to_give():
    assert model_of([1.0, 4.0], [2.0, 8.0]).gap() == pytest.approx(1.0 + 1.0)
    assert model_of([1.0, 4.0], [2.0, 8.0]).gap(ceiling=0.5) == 0.5


def test_negative_curvature_has_nothing_in_the_bowl_and_is_certified():
    found = model_of([-1.0, 2.0], [5.0, 4.0])
    assert found.has_negative
    assert found.gap() == pytest.approx(1.0)


def test_steps_to_a_share_follow_the_rate_of_one_mode():
    found = model_of([1.0], [1.0])
    exact = np.log(1e-4) / (2 * np.log(1 - 0.05))
    assert found.steps_to(1e-4, Method(0.05)) == pytest.approx(exact, rel=0.02)


def test_a_method_past_its_edge_takes_for_ever():
    assert model_of([1.0], [1.0]).steps_to(0.1, Method(2.01)) == np.inf


def test_the_best_heavy_ball_of_two_curvatures_beats_descent_by_the_root_of_kappa():
    found = model_of([1e-4, 1.0], [1e-8, 1.0])  # both modes start at 1
    heavy = found.steps_to(1e-6, found.best_heavy_ball(1e-6))
    plain = found.steps_to(1e-6, found.best_learning_rate(Method(1.0), 1e-6))
    tuned = theory.rates.optimal_heavy_ball(1.0, 1e-4)
    assert heavy < 2 * np.log(1e6) / 2 / tuned.decay
    assert plain / heavy > 20


def test_in_few_steps_less_momentum_leaves_less():
    eigenvalues = np.geomspace(1e-5, 1.0, 30)
    found = model_of(eigenvalues, eigenvalues**2)  # all modes start at 1
    soon, late = (found.best_heavy_ball(steps=count) for count in (30, 1000))
    assert soon.rho < late.rho
    between = found.best_heavy_ball(steps=90)
    for count, best, other in ((30, soon, between), (30, soon, late), (1000, late, soon)):
        assert found.remaining(count, best) < found.remaining(count, other)


def test_the_interval_of_the_condition_number_is_open_where_nothing_is_certified():
    low, high = model_of([0.5, 10.0], [1.0, 1.0], smallest=0.1, error=0.2).condition_interval
    assert (low, high) == (20.0, np.inf)


def test_where_nothing_curves_a_rule_keeps_its_rate():
    flat = model_of([0.0, 0.0], [1.0, 1.0])
    assert flat.best_learning_rate(Method(0.05, 0.9)) == Method(0.05, 0.9)
    assert flat.steps_to(0.1, Method(0.05)) == 1.0


def test_advised_rates_stand_below_the_edge_of_an_eigenvalue_that_was_not_reached():
    eigenvalues, error = np.array([0.01, 0.1, 0.9]), 0.1  # the largest may be 1
    found = model_of(eigenvalues, np.ones(3), error=error)
    ball, descent = found.best_heavy_ball(), found.best_learning_rate(Method(1.0))
    assert ball.learning_rate < theory.stability.two_step_edge(ball.rho, 0.0)
    assert ball.learning_rate > 0.9 * theory.stability.two_step_edge(ball.rho, 0.0)
    assert 1.0 < descent.learning_rate < 2.0


def test_a_rate_that_takes_a_trillion_steps_takes_for_ever():
    found = model_of([1.0], [1.0])
    assert found.steps_to(0.5, Method(1e-11)) == pytest.approx(np.log(0.5) / (2 * np.log1p(-1e-11)), rel=0.02)
    assert found.steps_to(0.5, Method(1e-13)) == np.inf
