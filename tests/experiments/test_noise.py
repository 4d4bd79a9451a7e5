import jax
import numpy as np
import pytest

from experiments.noise import batch_size_map, network_noise_scale, noise_floors, noise_scale
from jaxopt_lab import problems, theory
from jaxopt_lab.core import InputError, precision
from jaxopt_lab.problems.flattening import flattened


@pytest.mark.parametrize(
    ("config", "options", "wording"),
    [
        (noise_floors.Config, {"rho": 1.5}, r"rho must be in \(0, 1\), got 1.5"),
        (noise_floors.Config, {"effective_rates": (2.5,)}, "effective_rates must be in"),
        (noise_floors.Config, {"kind": "gausian"}, "Did you mean 'gaussian'"),
        (noise_floors.Config, {"num_chains": 50}, "num_chains must be a multiple of 40, got 50"),
        (batch_size_map.Config, {"rhos": (0.9,)}, "rhos must start with 0 and go on with another"),
        (batch_size_map.Config, {"kappa": 0.5}, "kappa must be in"),
        (batch_size_map.Config, {"simulated": (3,)}, "simulated must be among batch_sizes"),
        (noise_scale.Config, {"label_noises": (1.0,)}, "label_noises must start with 0"),
        (noise_scale.Config, {"num_examples": 1000}, "num_examples must be a multiple of 64"),
        (network_noise_scale.Config, {"times": (10, 20)}, "times must be two or more, increasing, from 0"),
        (network_noise_scale.Config, {"num_drawn": 1000}, "num_drawn must be a multiple of 2048, got 1000"),
        (batch_size_map.Config, {"batch_sizes": (4, 1)}, "batch_sizes must be two or more, increasing"),
    ],
)
def test_a_wrong_config_is_a_clear_sentence(config, options, wording):
    with pytest.raises(InputError, match=wording):
        config(**options)


@pytest.mark.parametrize(("batch_size", "rho"), [(2, 0.0), (16, 0.9)])
def test_steps_by_blocks_of_the_second_moment_matrix_are_those_of_the_recursion(batch_size, rho):
    spectrum = np.geomspace(0.1, 1, 5)
    rate = 0.5 * theory.minibatch.mean_square_edge(spectrum, batch_size, rho)
    with precision():
        steps = batch_size_map._exact_steps(spectrum, rate, batch_size, rho, 1e-3)
    risks = theory.second_moments.regression_risks(spectrum, rate, 3000, batch_size, rho=rho)
    assert np.ceil(steps) == theory.second_moments.steps_to_target(risks, 1e-3 * risks[0])


@pytest.mark.slow
def test_noise_scales_of_a_network_are_those_of_the_dense_matrices():
    config = network_noise_scale.Config(num_batches=20, num_drawn=2048, num_products=600)
    with precision():
        problem = problems.load_problem("digits-mlp", width=3, depth=1, num_examples=50)
        params = problem.init(jax.random.key(0))
        row, _ = network_noise_scale._measure(config, problem, params)
        flat, vector = flattened(problem), jax.flatten_util.ravel_pytree(params)[0]
        each = np.asarray(network_noise_scale._gradients(flat, vector))
        hessian = np.asarray(jax.hessian(flat.full_loss)(vector))
    mean, covariance = each.mean(0), np.cov(each.T, bias=True)
    assert row["simple"] == pytest.approx(np.trace(covariance) / (mean @ mean), rel=1e-10)
    # All 50 products of the n x n operator are made: exact up to rounding.
    assert row["curved"] == pytest.approx(np.trace(hessian @ covariance) / (mean @ hessian @ mean), rel=1e-8)
