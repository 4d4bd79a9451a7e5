import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import noise_floors

SETTINGS = [
    (0.1, 1.0, 0.0, 0.0),
    (0.1, 1.0, 0.9, 0.0),
    (0.1, 1.0, 0.9, 0.9),
    (3.0, 1.0, 0.9, 0.0),
    (1.0, 1.0, 0.9, 0.9),
    (1e-3, 2.0, 0.99, 0.99),
    (0.4, 3.0, 0.5, 0.2),
    (0.5, 0.7, 0.0, 0.3),
]


def covariance(learning_rate, eigenvalue, rho, lookahead):
    """Stationary covariance of (x, x_before) under unit noise, from the Lyapunov equation."""
    h = learning_rate * eigenvalue
    matrix = np.array([[1 + rho - h * (1 + lookahead), -(rho - h * lookahead)], [1.0, 0.0]])
    return matrix, solve_discrete_lyapunov(matrix, np.diag([learning_rate**2, 0.0]))


@pytest.mark.parametrize("setting", SETTINGS)
def test_variances_solve_the_lyapunov_equation(setting):
    learning_rate, eigenvalue, rho, lookahead = setting
    matrix, moments = covariance(*setting)
    found = noise_floors.stationary_variance(learning_rate, eigenvalue, 2.5, rho, lookahead)
    assert found == pytest.approx(2.5 * moments[0, 0], rel=1e-9)  # the solver's own accuracy near rho = 1
    assert noise_floors.loss_floor(learning_rate, eigenvalue, 2.5, rho, lookahead) == pytest.approx(
        1.25 * eigenvalue * moments[0, 0], rel=1e-9
    )
    ahead = np.array([1 + lookahead, -lookahead])
    found = noise_floors.lookahead_variance(learning_rate, eigenvalue, 1.0, rho, lookahead)
    assert found == pytest.approx(ahead @ moments @ ahead, rel=1e-9)
    step = np.array([1.0, -1.0])
    found = noise_floors.step_variance(learning_rate, eigenvalue, 1.0, rho, lookahead)
    assert found == pytest.approx(step @ moments @ step, rel=1e-7)  # the step is a small difference here
    lags = 2 * np.linalg.solve(np.eye(2) - matrix, matrix @ moments)[0, 0] / moments[0, 0] + 1
    assert noise_floors.autocorrelation_time(*setting) == pytest.approx(lags, rel=1e-7)


def test_variances_are_the_published_numbers():
    assert noise_floors.stationary_variance(0.1, 1.0, 1.0, 0.9) == pytest.approx(0.51351, abs=5e-6)
    assert noise_floors.stationary_variance(3.0, 1.0, 1.0, 0.9) == pytest.approx(71.250, abs=5e-4)
    assert noise_floors.stationary_variance(0.1, 1.0, 1.0, 0.9, 0.9) == pytest.approx(0.27063, abs=5e-6)
    assert noise_floors.lookahead_variance(0.1, 1.0, 1.0, 0.9, 0.9) == pytest.approx(0.32177, abs=5e-6)
    assert noise_floors.stationary_variance(1.0, 1.0, 1.0, 0.9, 0.9) == pytest.approx(1.0, rel=1e-13)
    assert noise_floors.lookahead_variance(1.0, 1.0, 1.0, 0.9, 0.9) == pytest.approx(4.42, rel=1e-13)
    uniform = noise_floors.uniform_noise_variance(0.36)
    assert noise_floors.loss_floor(0.1, 1.0, uniform) == pytest.approx(0.1 * 0.36**2 / (6 * 1.9), rel=1e-14)


def test_momentum_raises_the_floor_at_equal_learning_rate_and_not_at_equal_effective_one():
    h = np.array([1e-3, 0.01, 0.1])
    plain = noise_floors.loss_floor(h, 1.0, 1.0)
    same = noise_floors.loss_floor(h, 1.0, 1.0, 0.9) / plain
    effective = noise_floors.loss_floor(h * 0.1, 1.0, 1.0, 0.9) / plain
    assert same[0] == pytest.approx(9.998, abs=3e-3)
    assert same[2] == pytest.approx(9.76, abs=5e-3)
    np.testing.assert_allclose(effective, [0.9995, 0.995, 0.953], atol=5e-4)  # the published digits


def test_averaged_iterates_have_the_polyak_ruppert_variance():
    rng = np.random.default_rng(0)
    x, total, steps, chains = np.zeros(4000), np.zeros(4000), 1000, 4000
    for step in range(steps + 200):
        x = x - 0.4 * (x + rng.standard_normal(chains))
        total += x if step >= 200 else 0.0
    measured = np.var(total / steps)
    # Standard error of a variance over 4000 chains: sqrt(2 / 4000) = 2.2 %; bias -tau / steps = .4 %.
    assert measured == pytest.approx(noise_floors.averaged_variance(1.0, 1.0, steps), rel=4 * 0.0224)


def test_there_is_no_floor_at_or_beyond_the_edge():
    h = np.array([1.9, 2.0, 2.1, 40.0])
    assert np.isinf(noise_floors.stationary_variance(h, 1.0, 1.0)).tolist() == [False, True, True, True]
    for function in (noise_floors.lookahead_variance, noise_floors.step_variance, noise_floors.loss_floor):
        assert np.isinf(function(h[1:], 1.0, 1.0, 0.9, 0.9)).all()


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match=r"^stationary_variance: noise_variance must be in \[0, inf\), got -1"):
        noise_floors.stationary_variance(0.1, 1.0, -1.0)
    with pytest.raises(InputError, match=r"^loss_floor: eigenvalue must be in \(0, inf\), got 0"):
        noise_floors.loss_floor(0.1, 0.0, 1.0)
