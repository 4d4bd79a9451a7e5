import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import minibatch, stability


def edge_by_bisection(rho, lookahead):
    low, high = 0.5, 5.0
    for _ in range(60):
        h = (low + high) / 2
        roots = np.roots([1, -(1 + rho - h * (1 + lookahead)), rho - h * lookahead])
        low, high = (h, high) if np.abs(roots).max() < 1 else (low, h)
    return low


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, 0.99])
def test_edges_are_where_the_companion_radius_reaches_one(rho):
    assert stability.heavy_ball_edge(rho) == pytest.approx(edge_by_bisection(rho, 0.0), rel=1e-13)
    assert stability.nesterov_edge(rho) == pytest.approx(edge_by_bisection(rho, rho), rel=1e-13)
    assert stability.two_step_edge(rho, rho / 2) == pytest.approx(edge_by_bisection(rho, rho / 2), rel=1e-13)
    averaged = stability.averaged_heavy_ball_edge(rho) * (1 - rho)
    assert averaged == pytest.approx(stability.heavy_ball_edge(rho), rel=1e-15)


def test_edges_are_those_of_the_table():
    rho = np.array([0.5, 0.9, 0.99])
    np.testing.assert_allclose(stability.heavy_ball_edge(rho), [3.0, 3.8, 3.98], rtol=1e-14)
    np.testing.assert_allclose(stability.nesterov_edge(rho), [1.5, 1.3571429, 1.3355705], atol=5e-8)
    np.testing.assert_allclose(stability.averaged_heavy_ball_edge(rho), [6, 38, 398], rtol=1e-13)
    assert stability.gradient_descent_edge() == stability.heavy_ball_edge(0.0) == 2


@pytest.mark.parametrize("radius", [0.0, 1e-9, 0.1, 5.0])
def test_sharpness_aware_edges_solve_their_equations(radius):
    edge = stability.sharpness_aware_edge(0.05, radius)
    assert 0.05 * edge * (1 + radius * edge) == pytest.approx(2, rel=1e-13)
    edge = stability.normalized_sharpness_aware_edge(0.05, radius, 0.3)
    assert edge == pytest.approx(stability.sharpness_aware_edge(0.05, radius / 0.3), rel=1e-13)


def test_normalized_sharpness_aware_descent_ends_in_its_cycle():
    x = 0.3
    for _ in range(2000):
        x -= 0.1 * 2.0 * (x + 0.15 * np.sign(x))
    assert abs(x) == pytest.approx(stability.sharpness_aware_cycle(0.1, 2.0, 0.15), rel=1e-12)
    assert abs(x) == pytest.approx(0.0166667, abs=5e-8)  # the published digits


def test_stochastic_limits_are_those_of_the_isotropic_edge():
    for rho in (0.0, 0.5, 0.9):
        large = minibatch.isotropic_edge(1000, 10**12, rho)
        small = minibatch.isotropic_edge(10**12, 1, rho) * (10**12 + 1)
        assert large == pytest.approx(stability.large_batch_edge(rho), rel=1e-7)  # corrections of order 19 d / B
        assert small == pytest.approx(stability.small_batch_edge(rho), rel=1e-8)


def test_wrong_arguments_are_named_with_a_remedy():
    with pytest.raises(InputError, match=r"^heavy_ball_edge: rho must be in \[0, 1\), got 1. With rho >= 1 the velo"):
        stability.heavy_ball_edge(1.0)
    with pytest.raises(InputError, match=r"^sharpness_aware_edge: radius must be in \[0, inf\), got -1. It is the len"):
        stability.sharpness_aware_edge(0.1, -1.0)
    with pytest.raises(InputError, match=r"^sharpness_aware_cycle: learning_rate \* eigenvalue must be in \(0, 2\)"):
        stability.sharpness_aware_cycle(1.0, 2.0, 0.1)
