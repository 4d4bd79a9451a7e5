import numpy as np
import pytest

from experiments.search import (
    block_coordinate,
    coarse_to_fine,
    how_many_at_once,
    learning_rate_matters_most,
    random_against_grid,
    small_rate_cost,
)
from jaxopt_lab.core import InputError


@pytest.mark.parametrize(
    ("config", "options", "wording"),
    [
        (random_against_grid.Config, {"num_trials": 100}, "num_trials must be a power of two .* got 100. 64 serves"),
        (random_against_grid.Config, {"distance_trials": (8,)}, "distance_trials must be powers of 4"),
        (coarse_to_fine.Config, {"horizons": (1, 1000)}, "horizons must be multiples of 10"),
        (coarse_to_fine.Config, {"highest_rate": 3.0}, r"highest_rate must be in \(0, 2\), got 3.0. It diverges"),
        (block_coordinate.Config, {"rhos": (0.5, 0.8, 0.9)}, "rhos must be three or more that increase from 0"),
        (block_coordinate.Config, {"correlations": (1.0,)}, r"correlations must be in \(0, 1\), got 1.0"),
        (how_many_at_once.Config, {"dims": (2, 3)}, "dims must start with 1 and increase"),
        (how_many_at_once.Config, {"dims": (1, 40)}, r"tolerance sqrt\(dim\) must be at most 0.25, got 0.632"),
        (small_rate_cost.Config, {"rates": (0.3, 0.1, 0.02)}, "rates must hold ten times the last one, 0.2, got"),
        (small_rate_cost.Config, {"target": 3.0}, r"target must be in .* It starts near ln\(10\)"),
        (learning_rate_matters_most.Config, {"gains": (3.0, 0.3)}, "gains must be two positive numbers that increase"),
        (learning_rate_matters_most.Config, {"num_trials": 100}, "at least 128, got 100. Each pair of bins needs runs"),
    ],
)
def test_a_wrong_config_is_a_clear_sentence(config, options, wording):
    with pytest.raises(InputError, match=wording):
        config(**options)


def test_the_first_step_of_the_study_s_rule_scales_the_parameters_and_nothing_else():
    rule = learning_rate_matters_most._rule(0.1, 0.9, 0.0, 3.0)
    params, gradient = np.array([2.0]), np.array([1.0])
    state = rule.init(params)
    moves = []
    for _ in range(3):
        update, state = rule.update(gradient, state, params)
        moves.append(float(update[0]))
    np.testing.assert_allclose(moves, [4.0, -0.1, -0.19], rtol=1e-6)  # float32
