import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import log_uniform, rates, trajectories


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 3.0])
def test_sums_of_powers_equal_the_geometric_series(power):
    dim, kappa = 100_000, 1e4
    nodes = log_uniform.log_uniform_quadrature(dim, kappa, 4096)
    ratio = kappa ** (power / (dim - 1))
    exact = dim if power == 0 else kappa**-power * (ratio**dim - 1) / (ratio - 1)
    assert nodes.weights @ nodes.eigenvalues**power == pytest.approx(exact, rel=1e-6)  # 4096 nodes: 1 / (24 n^2)


def test_small_spectra_are_summed_exactly():
    nodes = log_uniform.log_uniform_quadrature(5, 100.0)
    np.testing.assert_allclose(nodes.eigenvalues, np.geomspace(0.01, 1.0, 5))
    np.testing.assert_array_equal(nodes.weights, 1)


def test_losses_of_optimal_heavy_ball_equal_the_sum_over_the_spectrum():
    dim, kappa, steps = 2_000_000, 1e3, 60
    tuning = rates.optimal_heavy_ball(1.0, 1 / kappa)
    setting = (float(tuning.learning_rate), steps, float(tuning.rho))
    whole = np.geomspace(1 / kappa, 1, dim)
    nodes = log_uniform.log_uniform_quadrature(dim, kappa, 2048)
    *_, exact = trajectories.stream_mode_responses(whole, *setting)
    *_, sampled = trajectories.stream_mode_responses(nodes.eigenvalues, *setting)
    assert nodes.weights @ (nodes.eigenvalues * sampled**2) == pytest.approx(
        np.sum(whole * exact**2), rel=3e-5
    )  # the next order, f'(1) / (12 d), is 9e-6 of it


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 10.0), r"dim must be a whole number of at least 2, got 1"),
        ((10, 0.5), r"kappa must be"),
        ((10, 2.0, 1), r"num_nodes"),
    ],
)
def test_bad_arguments_get_a_clear_sentence(arguments, message):
    with pytest.raises(InputError, match=message):
        log_uniform.log_uniform_quadrature(*arguments)
