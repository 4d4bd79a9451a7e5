import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import minibatch, second_moments, stability


def edge_of_matrix(eigenvalues, batch_size, rho, lookahead, guess):
    """Learning rate at which the full second-moment matrix has spectral radius one, bracketed round `guess`."""

    def radius(learning_rate):
        matrix = second_moments.second_moment_matrix(eigenvalues, learning_rate, batch_size, rho, lookahead)
        return np.abs(np.linalg.eigvals(matrix)).max()

    assert radius(guess * 0.999) < 1 < radius(guess * 1.001)
    low, high = guess * 0.999, guess * 1.001
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if radius(middle) < 1 else (low, middle)
    return low


@pytest.mark.parametrize(("rho", "lookahead"), [(0.0, 0.0), (0.5, 0.0), (0.9, 0.0), (0.9, 0.9), (0.7, 0.3)])
@pytest.mark.parametrize("batch_size", [1, 16, 256])
def test_the_edge_is_where_the_second_moment_matrix_reaches_one(rho, lookahead, batch_size):
    eigenvalues = np.arange(1, 11) ** -1.2
    edge = minibatch.mean_square_edge(eigenvalues, batch_size, rho, lookahead)
    expected = edge_of_matrix(eigenvalues, batch_size, rho, lookahead, edge)
    assert edge == pytest.approx(expected, rel=1e-10)  # 30 halvings of a bracket of .2 %


def test_edges_are_the_published_numbers():
    eigenvalues = np.arange(1, 41) ** -1.2
    published = {
        0.5: (0.2579295276, 2.0417435267, 2.9302012649),
        0.9: (0.0537755677, 0.7643969915, 3.2647676300),
    }
    for rho, edges in published.items():
        found = [minibatch.mean_square_edge(eigenvalues, batch, rho) for batch in (1, 16, 256)]
        np.testing.assert_allclose(found, edges, atol=6e-11)
    eigenvalues = 1 / np.arange(1, 301)
    found = [minibatch.mean_square_edge(eigenvalues, batch) for batch in (1, 4, 16, 64, 1024)]
    np.testing.assert_allclose(found, [0.290003, 0.965185, 1.729871, 1.936329, 1.996089], atol=6e-7)


@pytest.mark.parametrize(("rho", "lookahead"), [(0.0, 0.0), (0.9, 0.0), (0.9, 0.9), (0.5, 0.2), (0.999, 0.999)])
def test_the_isotropic_edge_is_the_root_for_equal_eigenvalues(rho, lookahead):
    for dim, batch_size in ((1, 1), (3, 7), (400, 1), (400, 10**6), (50, np.inf)):
        found = minibatch.isotropic_edge(dim, batch_size, rho, lookahead)
        expected = 2.0 * minibatch.mean_square_edge(np.full(dim, 2.0), batch_size, rho, lookahead)
        assert found == pytest.approx(expected, rel=1e-12)


def test_nesterov_diverges_at_the_best_learning_rate_of_sgd():
    batch = np.array([1, 10, 100, 1000])
    unit = 1 + 1001 / batch
    np.testing.assert_allclose(
        minibatch.isotropic_edge(1000, batch, 0.9, 0.9) * unit, [0.2005, 0.2048, 0.2533, 0.847], atol=5e-4
    )
    np.testing.assert_allclose(minibatch.isotropic_edge(1000, batch) * unit, 2, rtol=1e-14)
    np.testing.assert_allclose(minibatch.isotropic_optimal_learning_rate(1000, batch) * unit, 1, rtol=1e-14)


def test_the_floor_is_where_the_recursion_settles():
    eigenvalues = np.arange(1, 41) ** -1.2
    for rate, rho, lookahead in ((0.3, 0.0, 0.0), (0.05, 0.9, 0.0)):
        curve = second_moments.regression_risks(eigenvalues, rate, 6000, 4, 0.3, rho, lookahead, start=0.0)
        floor = minibatch.stationary_excess_risk(rate, eigenvalues, 4, 0.3, rho, lookahead)
        assert curve[-1] == pytest.approx(floor, rel=1e-9)  # the slowest mode has decayed by e^-40


def test_the_lookahead_floor_is_that_of_the_gradients_point():
    eigenvalues, noise, rho = np.array([1.0, 0.4, 0.1]), 0.3, 0.9
    matrix = second_moments.second_moment_matrix(eigenvalues, 0.05, 4, rho, rho)
    drive = 0.05**2 * eigenvalues * noise / 4
    moments = np.linalg.solve(np.eye(9) - matrix, np.concatenate([drive] * 3)).reshape(3, 3)
    at_y = 0.5 * np.sum(eigenvalues * (moments[0] + 2 * rho * moments[1] + rho**2 * moments[2]))
    found = minibatch.stationary_excess_risk(0.05, eigenvalues, 4, noise, rho, rho)
    assert found == pytest.approx(at_y, rel=1e-11)


def test_momentum_changes_the_floor_little_at_equal_effective_learning_rate():
    eigenvalues = np.arange(1, 101) / 100
    heavy = minibatch.stationary_excess_risk(1e-5, eigenvalues, 4, 1.0, 0.9)
    plain = minibatch.stationary_excess_risk(1e-4, eigenvalues, 4, 1.0)
    assert heavy == pytest.approx(plain, rel=1e-4)  # first order in the learning rate


def test_one_isotropic_step_multiplies_the_risk_by_its_factor():
    for learning_rate in (0.01, 0.2, 1.1):
        curve = second_moments.regression_risks(np.ones(30), learning_rate, 3, 8.0)
        factor = minibatch.isotropic_factor(learning_rate, 30, 8)
        np.testing.assert_allclose(curve[1:] / curve[:-1], factor, rtol=1e-13)
    best = minibatch.isotropic_optimal_learning_rate(30, 8)
    assert minibatch.isotropic_factor(best, 30, 8) == pytest.approx(1 - best, rel=1e-14)


def test_the_crossover_batch_is_where_both_limits_meet():
    batch = minibatch.crossover_batch(1000, 0.9)
    assert batch == pytest.approx(19 * 1001, rel=1e-13)
    small = stability.small_batch_edge(0.9) * batch / 1001
    assert small == pytest.approx(stability.large_batch_edge(0.9), rel=1e-13)


def test_the_full_gradient_has_the_deterministic_edge_and_no_floor():
    assert minibatch.mean_square_edge([0.1, 2.0], np.inf, 0.9) == pytest.approx(1.9, rel=1e-15)
    assert minibatch.stationary_excess_risk(0.5, [0.1, 2.0], np.inf, 1.0, 0.9) == 0
    assert minibatch.stationary_excess_risk(2.5, [0.1, 2.0], np.inf, 1.0, 0.9) == np.inf
    learning_rates = np.array([0.0, 0.1, 0.2, 3.0])
    assert np.isinf(minibatch.stationary_excess_risk(learning_rates, [0.1, 2.0], 2, 1.0)).tolist() == [0, 0, 0, 1]


def test_wrong_arguments_are_named_with_a_remedy():
    with pytest.raises(InputError, match=r"^mean_square_edge: eigenvalues must not all be zero. A flat loss has no"):
        minibatch.mean_square_edge([0.0, 0.0], 1)
    with pytest.raises(InputError, match=r"^noise_feedback: eigenvalues must be in \[0, inf\), got -1. They are tho"):
        minibatch.noise_feedback(0.1, [1.0, -1.0], 1)
    with pytest.raises(InputError, match=r"^noise_feedback: batch_size must be in \(0, inf\], got 0"):
        minibatch.noise_feedback(0.1, [1.0], 0)
