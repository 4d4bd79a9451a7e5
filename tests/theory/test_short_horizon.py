import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import second_moments, short_horizon


def test_the_loss_at_a_horizon_is_that_of_the_whole_curve():
    spectrum, start, noise = [1.0, 0.1, 1e-3], [1.0, 2.0, 30.0], [1.0, 0.5, 0.1]
    for rho in (0.0, 0.9):
        fast = short_horizon.noisy_quadratic_loss(spectrum, [0.01, 0.3], 57, noise, rho, start)
        slow = [
            second_moments.noisy_quadratic_losses(spectrum, rate, 57, noise, rho, start=start)[-1]
            for rate in (0.01, 0.3)
        ]
        np.testing.assert_allclose(fast, slow, rtol=1e-11)  # sums of rounding over 57 steps
    assert np.isinf(short_horizon.noisy_quadratic_loss([1.0], 3.0, 10**4, 0.0))


def test_best_rates_of_short_horizons_are_those_of_the_record():
    horizons = (1, 3, 10, 100, 1000, 10_000)
    found = [
        short_horizon.best_constant_learning_rate([1.0, 1e-3], steps, 1.0, start=[1.0, 1000**0.5]) for steps in horizons
    ]
    np.testing.assert_allclose(found, [0.500, 0.330, 0.167, 0.032, 0.305, 0.144], atol=1e-3)  # its digits


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: short_horizon.noisy_quadratic_loss([1.0], 0.0, 5, 1.0), "learning_rate must be in"),
        (
            lambda: short_horizon.best_constant_learning_rate([1.0], 5, 1.0, between=(1.0, 0.1)),
            "between must be two rates that incr",
        ),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
