import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import rates, transients

TUNINGS = [
    rates.optimal_gradient_descent,
    rates.standard_gradient_descent,
    rates.standard_nesterov,
    rates.optimal_nesterov,
    rates.optimal_triple_momentum,
    rates.optimal_heavy_ball,
]


def companion_radius(learning_rate, eigenvalue, rho, lookahead):
    matrix = np.array(
        [
            [1 + rho - learning_rate * eigenvalue * (1 + lookahead), -rho + learning_rate * eigenvalue * lookahead],
            [1.0, 0.0],
        ]
    )
    return np.abs(np.linalg.eigvals(matrix)).max()


@pytest.mark.parametrize("tune", TUNINGS)
@pytest.mark.parametrize("kappa", [1.0, 1.0001, 2.0, 100.0, 1e4, 1e6])
def test_contraction_is_the_largest_companion_radius_over_the_spectrum(tune, kappa):
    tuning = tune(3.0 * kappa, 3.0)
    spectrum = np.geomspace(3.0, 3.0 * kappa, 400)
    radii = [companion_radius(tuning.learning_rate, value, tuning.rho, tuning.lookahead) for value in spectrum]
    # The optimum is a double root: a rounding error e in the matrix moves a root by sqrt(e) ~ 3e-8.
    assert max(radii) == pytest.approx(tuning.contraction, abs=1e-7)


@pytest.mark.parametrize(
    ("tune", "contractions"),
    [
        (rates.optimal_gradient_descent, (0.980198020, 0.999800020, 0.999998000)),
        (rates.standard_gradient_descent, (0.99, 0.9999, 0.999999)),
        (rates.standard_nesterov, (0.9, 0.99, 0.999)),
        (rates.optimal_nesterov, (0.884721916, 0.988453187, 0.998845300)),
        (rates.optimal_triple_momentum, (0.9, 0.99, 0.999)),
        (rates.optimal_heavy_ball, (0.818181818, 0.980198020, 0.998001998)),
    ],
)
def test_contractions_are_those_of_the_table(tune, contractions):
    tuning = tune(np.array([1e2, 1e4, 1e6]), 1.0)
    np.testing.assert_allclose(tuning.contraction, contractions, atol=6e-10)  # the table has nine digits


@pytest.mark.parametrize(
    ("tune", "steps"),
    [
        (rates.optimal_gradient_descent, (691, 6.91e4, 6.91e6)),
        (rates.standard_gradient_descent, (1375, 1.38e5, 1.38e7)),
        (rates.standard_nesterov, (131, 1375, 1.38e4)),
        (rates.optimal_nesterov, (113, 1190, 1.20e4)),
        (rates.optimal_heavy_ball, (69, 691, 6908)),
    ],
)
def test_steps_to_a_millionth_are_those_of_the_table(tune, steps):
    np.testing.assert_allclose(tune(np.array([1e2, 1e4, 1e6]), 1.0).steps_to(1e-6), steps, rtol=5e-3)  # 3 digits


@pytest.mark.parametrize("tune", TUNINGS)
def test_a_perfectly_conditioned_problem_is_solved_in_one_step(tune):
    tuning = tune(7.0, 7.0)
    assert (tuning.contraction, tuning.rho, tuning.gap, tuning.steps_to(1e-6)) == (0, 0, 1, 0)
    assert tuning.learning_rate == pytest.approx(1 / 7, rel=1e-15)


@pytest.mark.parametrize("tune", TUNINGS)
def test_decay_keeps_its_digits_when_the_contraction_rounds_to_one(tune):
    near, far = tune(1e20, 1.0), tune(1e24, 1.0)
    ratio = 1e4 if "gradient_descent" in tune.__name__ else 1e2
    # The decay is c / kappa or c / sqrt(kappa) up to relative corrections of 1e-10.
    assert near.decay / far.decay == pytest.approx(ratio, rel=1e-9)


def test_contraction_keeps_its_digits_when_kappa_is_nearly_one():
    tuning = rates.optimal_heavy_ball(1 + 2.0**-40, 1.0)
    assert tuning.contraction == pytest.approx(2.0**-42, rel=1e-11)  # (kappa - 1) / 4 up to relative 2^-41


def test_ten_times_less_learning_rate_costs_ten_times_more_steps():
    steps = rates.steps_to_accuracy(1 - np.array([1, 0.1, 0.01]) * 2 / 101, 1e-6)
    np.testing.assert_allclose(steps, [691, 6970, 69761], atol=0.6)  # the table is rounded to whole steps


def test_wrong_arguments_are_named_with_a_remedy():
    with pytest.raises(InputError, match=r"^optimal_heavy_ball: strong_convexity must be at most smoothness, got 2.0"):
        rates.optimal_heavy_ball(1.0, 2.0)
    with pytest.raises(InputError, match=r"^steps_to_accuracy: contraction must be in \[0, 1\), got 1"):
        rates.steps_to_accuracy(1.0, 1e-6)
    with pytest.raises(InputError, match=r"^Tuning.steps_to: accuracy must be in \(0, 1\], got 0"):
        rates.optimal_heavy_ball(2.0, 1.0).steps_to(0.0)
    with pytest.raises(InputError, match=r"smoothness must be a number or an array of numbers, got 'big'"):
        rates.optimal_heavy_ball("big", 1.0)


def test_steps_that_suffice_for_heavy_ball_solve_their_equation():
    tuning = rates.optimal_heavy_ball(146.0, 1.0)
    steps = np.ceil(rates.sufficient_heavy_ball_steps(1e-6, tuning))
    size = np.abs(transients.heavy_ball_transient([steps - 1, steps], 146.0))
    assert size[1] <= 1e-6 < size[0]
