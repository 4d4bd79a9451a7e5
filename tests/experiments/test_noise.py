import numpy as np
import pytest

from experiments.noise import batch_size_map, noise_floors, noise_scale
from jaxopt_lab import theory
from jaxopt_lab.core import InputError, precision


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
        (batch_size_map.Config, {"batch_sizes": (4, 1)}, "batch_sizes must be two or more, increasing"),
    ],
)
def test_a_wrong_config_is_a_clear_sentence(config, options, wording):
    with pytest.raises(InputError, match=wording):
        config(**options)


@pytest.mark.parametrize(("batch_size", "rho"), [(2, 0.0), (16, 0.9)])
def test_steps_by_blocks_of_the_second_moment_matrix_are_those_of_the_recursion(batch_size, rho):
    spectrum = np.geomspace(0.1, 1, 5)
    rate = 0.5 * theory.mean_square_edge(spectrum, batch_size, rho)
    with precision():
        steps = batch_size_map._exact_steps(spectrum, rate, batch_size, rho, 1e-3)
    risks = theory.regression_risks(spectrum, rate, 3000, batch_size, rho=rho)
    assert np.ceil(steps) == theory.steps_to_target(risks, 1e-3 * risks[0])


def test_a_crossing_lies_between_two_records_by_the_logarithm():
    assert batch_size_map._crossing(np.array([0, 10]), np.array([1.0, 0.01]), 0.1) == pytest.approx(5.0)
    assert batch_size_map._crossing(np.array([0, 10]), np.array([1.0, 0.5]), 0.1) == np.inf
