import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import chebyshev, trajectories


@pytest.mark.parametrize("kappa", [1.0, 1.5, 100.0, 1e4])
def test_the_smallest_residual_is_what_the_semi_iteration_reaches(kappa):
    responses = trajectories.chebyshev_responses(np.geomspace(1, kappa, 501), kappa, 1.0, 40)
    found = chebyshev.smallest_residual(np.arange(41), kappa)
    np.testing.assert_allclose(found, np.abs(responses).max(1), rtol=1e-11, atol=1e-14)  # 40 steps of rounding


def test_the_smallest_residual_is_the_published_one():
    found = chebyshev.smallest_residual(np.array([10, 20, 40]), 100.0)
    np.testing.assert_allclose(found, [0.26408876, 0.03613139, 6.5317e-4], rtol=1e-5)  # the published digits


def test_the_smallest_residual_survives_the_ends_of_its_range():
    assert chebyshev.smallest_residual(np.array([0, 1, 50]), 1.0).tolist() == [1, 0, 0]
    assert chebyshev.smallest_residual(10**6, 1e12) == pytest.approx(1 / np.cosh(2.0), rel=1e-6)
    assert chebyshev.smallest_residual(10**9, 2.0) == 0
    assert chebyshev.smallest_residual(1, 1 + 1e-12) == pytest.approx(5e-13, rel=1e-3)  # kappa itself is rounded


def test_conjugate_gradients_and_fista_respect_the_bounds_on_the_published_function():
    d, k = 41, 20
    hessian = (2 * np.eye(d) - np.eye(d, k=1) - np.eye(d, k=-1)) / 4
    minimizer = np.linalg.solve(hessian, np.eye(d)[0] / 4)

    def gap(x):
        return 0.5 * (x - minimizer) @ hessian @ (x - minimizer)

    x, residual = np.zeros(d), np.eye(d)[0] / 4
    direction = residual
    for _ in range(k):
        step = residual @ residual / (direction @ hessian @ direction)
        x, following = x + step * direction, residual - step * hessian @ direction
        direction = following + (following @ following) / (residual @ residual) * direction
        residual = following
    distance = np.linalg.norm(minimizer)
    lower = chebyshev.convex_lower_bound(1.0, distance, k)
    point, before, time = np.zeros(d), np.zeros(d), 1.0
    for _ in range(k):
        after = point - (hessian @ point - np.eye(d)[0] / 4)
        time, last = (1 + np.sqrt(1 + 4 * time**2)) / 2, time
        point, before = after + (last - 1) / time * (after - before), after
    upper = chebyshev.accelerated_upper_bound(1.0, distance, k)
    assert lower <= gap(x) <= gap(before) <= upper
    published = np.array([0.0028707, 0.0029762, 0.0087713, 0.06124])
    np.testing.assert_allclose([lower, gap(x), gap(before), upper], published, rtol=2e-4)  # the published digits


@pytest.mark.parametrize("steps", [1, 5, 20])
def test_a_huber_function_attains_the_worst_case_of_gradient_descent(steps):
    width = 1 / (2 * steps + 1)
    x = 1.0
    for _ in range(steps):
        x -= np.clip(x, -width, width)
    loss = x**2 / 2 if abs(x) <= width else width * abs(x) - width**2 / 2
    assert chebyshev.gradient_descent_worst_case(1.0, 1.0, steps) == pytest.approx(loss, rel=1e-13)


def test_no_krylov_method_beats_the_strongly_convex_bound_on_the_chain():
    d, kappa = 400, 100.0
    chain = 2 * np.eye(d) - np.eye(d, k=1) - np.eye(d, k=-1)
    hessian = (kappa - 1) / 4 * chain + np.eye(d)
    target = (kappa - 1) / 4 * np.eye(d)[0]
    minimizer = np.linalg.solve(hessian, target)
    x, residual = np.zeros(d), target
    direction = residual
    for k in range(1, 40):
        step = residual @ residual / (direction @ hessian @ direction)
        x, following = x + step * direction, residual - step * hessian @ direction
        direction = following + (following @ following) / (residual @ residual) * direction
        residual = following
        gap = 0.5 * (x - minimizer) @ hessian @ (x - minimizer)
        bound = chebyshev.strongly_convex_lower_bound(1.0, kappa, np.linalg.norm(minimizer), k)
        assert bound <= gap <= 200 * bound  # the bound is tight up to a factor of about kappa


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match=r"^smallest_residual: kappa must be in \[1, inf\), got 0.9. It is the l"):
        chebyshev.smallest_residual(3, 0.9)
    with pytest.raises(InputError, match=r"^convex_lower_bound: steps must be in \[0, inf\), got -1"):
        chebyshev.convex_lower_bound(1.0, 1.0, -1)
