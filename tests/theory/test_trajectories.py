import chex
import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import modes, rates, trajectories


def test_responses_are_a_direct_run_on_a_dense_rotated_quadratic():
    rng = np.random.default_rng(0)
    eigenvalues = np.geomspace(0.01, 1.0, 12)
    basis, _ = np.linalg.qr(rng.standard_normal((12, 12)))
    hessian = basis @ np.diag(eigenvalues) @ basis.T
    start = rng.standard_normal(12)
    before = now = start
    responses = trajectories.mode_responses(eigenvalues, 0.7, 200, 0.8, 0.5)
    for step in range(1, 201):
        ahead = now + 0.5 * (now - before)
        before, now = now, now + 0.8 * (now - before) - 0.7 * hessian @ ahead
        expected = basis @ (responses[step] * (basis.T @ start))
        np.testing.assert_allclose(now, expected, atol=2e-14 * step)  # rounding grows with the steps
    losses = trajectories.expected_losses(responses, eigenvalues, basis.T @ start)
    assert losses[-1] == pytest.approx(0.5 * now @ hessian @ now, rel=1e-10)


def test_responses_are_the_closed_form():
    eigenvalues = np.array([1e-4, 0.03, 0.5, 1.0, 1.9])
    steps = np.arange(301)[:, None]
    for rho, lookahead in ((0.0, 0.0), (0.9, 0.0), (0.5, 0.5), (0.9, 0.4)):
        np.testing.assert_allclose(
            trajectories.mode_responses(eigenvalues, 1.0, 300, rho, lookahead),
            modes.mode_value(steps, 1.0, eigenvalues, rho, lookahead),
            rtol=1e-11,
            atol=1e-12,  # 300 steps of rounding, amplified near the NAG edge
        )


def test_chebyshev_responses_are_scaled_chebyshev_polynomials():
    eigenvalues = np.linspace(0.5, 80.0, 57)
    responses = trajectories.chebyshev_responses(eigenvalues, 80.0, 0.5, 30)
    inner = np.polynomial.chebyshev.chebval((80.5 - 2 * eigenvalues) / 79.5, np.eye(31))
    outer = np.polynomial.chebyshev.chebval(80.5 / 79.5, np.eye(31))
    np.testing.assert_allclose(responses, inner / outer[:, None], atol=1e-13)  # 30 steps of rounding


def test_the_chebyshev_schedule_tends_to_the_optimal_heavy_ball():
    schedule = trajectories.chebyshev_schedule(100.0, 1.0, 200)
    tuning = rates.optimal_heavy_ball(100.0, 1.0)
    assert schedule.learning_rates[-1] == pytest.approx(tuning.learning_rate, rel=1e-14)
    assert schedule.rhos[-1] == pytest.approx(tuning.rho, rel=1e-14)


def test_a_perfectly_conditioned_problem_ends_after_one_step():
    np.testing.assert_array_equal(trajectories.chebyshev_responses([2.0], 2.0, 2.0, 3)[:, 0], [1, 0, 0, 0])


def test_no_step_gives_the_start():
    np.testing.assert_array_equal(trajectories.mode_responses([1.0, 2.0], 0.1, 0), [[1, 1]])
    chex.assert_shape(trajectories.chebyshev_schedule(2.0, 1.0, 0), (0,))


def test_wrong_arguments_are_named_at_the_call():
    with pytest.raises(InputError, match=r"^stream_mode_responses: rho must be a number or have one entry .* \(3\)"):
        trajectories.stream_mode_responses([1.0], 0.1, 3, [0.5, 0.5])
    with pytest.raises(InputError, match=r"^mode_responses: steps must be a whole number of at least 0, got -1"):
        trajectories.mode_responses([1.0], 0.1, -1)


def test_the_gap_after_a_drop_is_that_of_a_plain_loop():
    rate, factor, drop, rho = 0.05, 10.0, 10, 0.9
    x = y = 1.0
    v = b = 0.0
    gaps = []
    for step in range(60):
        own = rate / (factor if step >= drop else 1)
        new = rho * v - own * x
        x, v = x + new + rho * (new - v), new
        b = rho * b + y
        y -= own * (y + rho * b)
        gaps.append(x - y)
    assert trajectories.gap_after_drop(rate, factor, drop, 150, rho)[1:61] == pytest.approx(gaps, abs=1e-13)
