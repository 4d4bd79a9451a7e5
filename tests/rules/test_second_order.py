import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab import objectives, rules, theory, training
from jaxopt_lab.core import InputError, precision
from jaxopt_lab.problems import load_problem
from jaxopt_lab.rules.krylov import krylov_space

DIM = 12
VALUES = np.concatenate([[-0.5, -0.2], np.linspace(0.3, 2, DIM - 2)])
BASIS = np.linalg.qr(np.random.default_rng(0).normal(size=(DIM, DIM)))[0]
POINT = np.random.default_rng(1).normal(size=DIM)


def dense(values=VALUES):
    return BASIS @ np.diag(values) @ BASIS.T


def first_step(rule, matrix, point=POINT):
    """The first update and the products that it took, on the quadratic with a given Hessian."""
    params, grad_fn = jnp.asarray(point), lambda x: jnp.asarray(matrix) @ x
    step, state = rule.update(grad_fn(params), rule.init(params), params, grad_fn=grad_fn)
    return np.asarray(step), int(state.num_products)


def test_saddle_free_newton_divides_by_the_magnitude_of_every_eigenvalue():
    with precision():
        step, products = first_step(rules.saddle_free_newton(1.0, 1e-3, 1e9, num_products=DIM), dense())
    expected = -dense(1 / (np.abs(VALUES) + 1e-3)) @ dense() @ POINT
    np.testing.assert_allclose(step, expected, atol=1e-12)
    assert products == DIM


def test_cubic_newton_meets_the_conditions_of_a_global_minimizer():
    lipschitz = 0.7
    with precision():
        step, _ = first_step(rules.cubic_newton(lipschitz, num_products=DIM), dense())
    shift = 0.5 * lipschitz * np.linalg.norm(step)
    np.testing.assert_allclose(dense() @ (POINT + step) + shift * step, 0, atol=1e-12)
    assert shift >= 0.5  # H + shift I is positive semidefinite


def test_newton_cg_solves_a_convex_problem_and_leaves_another_at_the_edge():
    with precision():
        convex = dense(np.abs(VALUES))
        step, _ = first_step(rules.newton_cg(1.0, 0.0, 1e9, 1e-12, num_products=2 * DIM), convex)
        np.testing.assert_allclose(convex @ step, -convex @ POINT, atol=1e-10)
        step, products = first_step(rules.newton_cg(1.0, 0.0, 2.0, 1e-12, num_products=DIM), dense())
    assert np.linalg.norm(step) == pytest.approx(2.0)
    assert step @ dense() @ (POINT + 0.5 * step) < 0  # the model falls
    assert products < DIM


def test_a_negative_curvature_step_goes_down_the_lowest_eigenvector_from_the_saddle_itself():
    rule = rules.negative_curvature_step(rules.sgd(0.1), distance=0.3, num_products=DIM)
    with precision():
        step, products = first_step(rule, dense(), np.zeros(DIM))
    np.testing.assert_allclose(np.abs(BASIS.T @ step)[:2], [0.3, 0.0], atol=1e-9)
    assert products == DIM


def test_no_step_is_added_where_no_curvature_is_negative():
    rule = rules.negative_curvature_step(rules.sgd(0.1), num_products=DIM)
    with precision():
        step, _ = first_step(rule, dense(np.abs(VALUES)), 1e-6 * POINT)
    np.testing.assert_allclose(step, -0.1 * dense(np.abs(VALUES)) @ (1e-6 * POINT), rtol=1e-9)


def test_an_invariant_space_stops_taking_products():
    with precision():
        matrix = jnp.asarray(dense(np.repeat([-1.0, 2.0, 5.0], 4)))
        space = krylov_space(lambda v: matrix @ v, jnp.asarray(POINT), 8)
    assert int(space.num_products) == 3
    np.testing.assert_allclose(np.linalg.eigvalsh(space.matrix), [-1, 0, 0, 0, 0, 0, 2, 5], atol=1e-12)


def test_saddle_free_newton_doubles_the_distance_from_a_saddle_at_each_step():
    with precision():
        problem = objectives.quadratic_saddle([-1.0, 0.5, 2.0], confinement=0.0, start=np.array([1e-6, 1.0, 1.0]))
        rule = rules.saddle_free_newton(1.0, 1e-12, 1e9, num_products=3)
        trace = training.run(problem, rule, steps=20, probes=[training.coordinates(0), training.cost()])
    np.testing.assert_allclose(trace["coordinates"][0, :, 0], 1e-6 * 2.0 ** np.arange(21), rtol=1e-5)
    assert trace["coordinates"][0, 20, 0] > 1 > 1e-6 * (1 + 0.1) ** theory.escapes.escape_steps(0.1, 1e-6, 0.9)
    assert trace["cost"][0, -1].tolist() == [0, trace.state.num_products[0]]
    gradients, products = trace.cost()
    assert (gradients.tolist(), products.tolist()) == ([20], [trace.state.num_products[0]])


def test_gauss_newton_is_the_newton_step_of_least_squares():
    with precision():
        problem = load_problem("diabetes-linear")
        rule = rules.newton_cg(1.0, 0.0, 1e9, 1e-12, num_products=30, curvature="gauss_newton")
        trace = training.run(problem, rule, steps=1)
        assert trace["loss"][0, 1] == pytest.approx(problem.truth.minimum, rel=1e-9)


def test_a_loss_without_composite_form_has_no_gauss_newton_matrix():
    problem = objectives.quadratic([1.0, 2.0])
    with pytest.raises(InputError, match="newton_cg: update needs gauss_newton_fn"):
        training.run(problem, rules.newton_cg(curvature="gauss_newton"), steps=1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rules.saddle_free_newton(-1.0), "learning_rate must be positive"),
        (lambda: rules.saddle_free_newton(damping=0.0), "damping must be in"),
        (lambda: rules.newton_cg(damping=-1.0), "damping must be in"),
        (lambda: rules.newton_cg(tolerance=1.0), "tolerance must be in"),
        (lambda: rules.newton_cg(curvature="fisher"), "curvature must be one of: hessian, gauss_newton"),
        (lambda: rules.cubic_newton(0.0), "hessian_lipschitz must be positive"),
        (lambda: rules.cubic_newton(num_products=0), "num_products must be a whole number of at least 1"),
        (lambda: rules.cubic_newton(num_products=2.5), "num_products must be a whole number"),
        (lambda: rules.negative_curvature_step(rules.sgd(0.1), distance=0.0), "distance must be positive"),
        (lambda: rules.negative_curvature_step(rules.sgd(0.1), wait=0), "wait must be a whole number"),
        (lambda: rules.cubic_newton().update(jnp.ones(2), None, jnp.ones(2)), "update needs grad_fn"),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
