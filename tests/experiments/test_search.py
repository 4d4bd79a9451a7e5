import numpy as np
import pytest

from experiments.search import (
    block_coordinate,
    coarse_to_fine,
    learning_rate_matters_most,
    random_against_grid,
    small_rate_cost,
)
from jaxopt_lab.core import InputError


@pytest.mark.parametrize(
    ("config", "options", "wording"),
    [
        (random_against_grid.Config, {"trials": 100}, "trials must be a power of two .* got 100. 64 serves"),
        (random_against_grid.Config, {"distance_trials": (8,)}, "distance_trials must be powers of 4"),
        (coarse_to_fine.Config, {"horizons": (1, 1000)}, "horizons must be multiples of 10"),
        (coarse_to_fine.Config, {"highest_rate": 3.0}, r"highest_rate must be in \(0, 2\), got 3.0. It diverges"),
        (block_coordinate.Config, {"rhos": (0.5, 0.8, 0.9)}, "rhos must be three or more that increase from 0"),
        (block_coordinate.Config, {"correlations": (1.0,)}, r"correlations must be in \(0, 1\), got 1.0"),
        (small_rate_cost.Config, {"rates": (0.3, 0.1, 0.02)}, "rates must hold ten times the last one, 0.2, got"),
        (small_rate_cost.Config, {"target": 3.0}, r"target must be in .* It starts near ln\(10\)"),
        (learning_rate_matters_most.Config, {"gains": (3.0, 0.3)}, "gains must be two positive numbers that increase"),
        (learning_rate_matters_most.Config, {"trials": 100}, "at least 128, got 100. Each pair of bins needs runs"),
    ],
)
def test_a_wrong_config_is_a_clear_sentence(config, options, wording):
    with pytest.raises(InputError, match=wording):
        config(**options)


def test_explained_shares_are_those_of_a_known_function():
    rng, draws = np.random.default_rng(0), []
    for _ in range(20):
        first, second, idle = rng.random((3, 4000))
        response = 3 * (first - 0.5) + 2 * (second - 0.5) + 6 * (first - 0.5) * (second - 0.5)
        bins = [learning_rate_matters_most._binned(each, 8) for each in (first, second, idle)]
        both = bins[0] * 8 + bins[1]
        draws.append([learning_rate_matters_most.explained_share(group, response) for group in (*bins, both)])
    variances = np.array([9, 4, 0, 0]) / 12
    variances[3] = 36 / 144  # of the product
    shares = variances / variances.sum()
    within = 1 - 1 / 8**2  # what bins of this width see of a straight line
    expected = [within * shares[0], within * shares[1], 0.0, within * (shares[0] + shares[1]) + within**2 * shares[3]]
    mean, spread = np.mean(draws, 0), np.std(draws, 0) / np.sqrt(20)
    assert (np.abs(mean - expected) < 4 * spread).all()


def test_the_first_step_of_the_study_s_rule_scales_the_parameters_and_nothing_else():
    rule = learning_rate_matters_most._rule(0.1, 0.9, 0.0, 3.0)
    params, gradient = np.array([2.0]), np.array([1.0])
    state = rule.init(params)
    moves = []
    for _ in range(3):
        update, state = rule.update(gradient, state, params)
        moves.append(float(update[0]))
    np.testing.assert_allclose(moves, [4.0, -0.1, -0.19], rtol=1e-6)  # float32


def test_an_arrival_lies_between_records_and_a_miss_is_infinite():
    steps, losses = np.array([0, 10, 20]), np.array([4.0, 2.0, 1.0])
    np.testing.assert_allclose(small_rate_cost._arrival(steps, losses, np.sqrt(2)), 15.0)
    assert small_rate_cost._arrival(steps, losses, 0.5) == np.inf
