import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import noise_floors, second_moments, trajectories


@pytest.mark.parametrize(("rho", "lookahead"), [(0.0, 0.0), (0.9, 0.0), (0.8, 0.8)])
def test_the_curve_is_the_mean_of_direct_simulations(rho, lookahead):
    rng = np.random.default_rng(1)
    eigenvalues, batch_size, chains, steps, rate = np.array([1.0, 0.5, 0.1, 0.02]), 5, 20000, 30, 0.08
    error, move = np.full((chains, 4), 0.7), np.zeros((chains, 4))
    for _ in range(steps):
        ahead = error + lookahead * move
        inputs = rng.standard_normal((chains, batch_size, 4)) * np.sqrt(eigenvalues)
        residuals = np.einsum("cbd,cd->cb", inputs, ahead) - 0.5 * rng.standard_normal((chains, batch_size))
        move = rho * move - rate * np.einsum("cbd,cb->cd", inputs, residuals) / batch_size
        error = error + move
    risks = 0.5 * (error**2 @ eigenvalues)
    expected = second_moments.regression_risks(eigenvalues, rate, steps, batch_size, 0.25, rho, lookahead, start=0.7)
    score = (risks.mean() - expected[-1]) / (risks.std() / np.sqrt(chains))
    assert abs(score) < 4  # four standard errors, fixed seed


def test_the_curve_is_the_power_of_the_matrix():
    eigenvalues = np.array([1.0, 0.3, 0.05])
    matrix = second_moments.second_moment_matrix(eigenvalues, 0.2, 3, 0.8, 0.4)
    state = np.concatenate([np.array([1.0, 4.0, 9.0]), np.zeros(6)])
    curve = second_moments.regression_risks(eigenvalues, 0.2, 40, 3, 0.0, 0.8, 0.4, start=np.array([1.0, 2.0, 3.0]))
    for risk in curve:
        assert risk == pytest.approx(0.5 * eigenvalues @ state[:3], rel=1e-12)
        state = matrix @ state


def test_without_noise_the_curve_is_the_deterministic_one():
    eigenvalues = np.geomspace(1e-3, 1.0, 50)
    responses = trajectories.mode_responses(eigenvalues, 1.5, 200, 0.9, 0.2)
    expected = trajectories.expected_losses(responses, eigenvalues)
    for curve in (
        second_moments.regression_risks(eigenvalues, 1.5, 200, np.inf, 0.0, 0.9, 0.2),
        second_moments.noisy_quadratic_losses(eigenvalues, 1.5, 200, 0.0, 0.9, 0.2),
    ):
        np.testing.assert_allclose(curve, expected, rtol=1e-9)  # squares of a small difference of large terms


def test_additive_noise_settles_at_its_floor():
    eigenvalues = np.array([1.0, 0.3, 0.05])
    for rho, lookahead in ((0.0, 0.0), (0.9, 0.0), (0.9, 0.9)):
        curve = second_moments.noisy_quadratic_losses(eigenvalues, 0.3, 5000, eigenvalues, rho, lookahead)
        floor = noise_floors.loss_floor(0.3, eigenvalues, eigenvalues, rho, lookahead).sum()
        assert curve[-1] == pytest.approx(floor, rel=1e-11)


def test_schedules_are_taken_step_by_step():
    rates = np.array([0.5, 0.1, 0.2])
    curve = second_moments.regression_risks([1.0], rates, 3, np.inf)
    np.testing.assert_allclose(curve, 0.5 * np.cumprod(np.concatenate([[1.0], (1 - rates) ** 2])), rtol=1e-14)


def test_divergence_ends_in_infinity_without_a_warning():
    curve = second_moments.regression_risks(np.ones(5), 3.0, 2000, 1, 1.0, 0.9)
    assert np.isinf(curve[-1])
    assert not np.isnan(curve).any()


def test_steps_to_a_target_are_counted_from_the_start():
    assert second_moments.steps_to_target([3.0, 2.0, 1.0, 2.0], 2.0) == 1
    assert second_moments.steps_to_target([3.0, 2.0], 1.0) == np.inf


def test_wrong_arguments_are_named_with_a_remedy():
    with pytest.raises(InputError, match=r"^second_moment_matrix: eigenvalues must number at most 2000, got 2001. T"):
        second_moments.second_moment_matrix(np.ones(2001), 0.1, 1)
    with pytest.raises(InputError, match=r"^regression_risks: learning_rate must be a number or have one entry per st"):
        second_moments.regression_risks([1.0], [0.1, 0.2], 3, 1)
    with pytest.raises(InputError, match=r"^regression_risks: label_noise must be in \[0, inf\), got -1"):
        second_moments.regression_risks([1.0], 0.1, 3, 1, -1.0)
