import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import velocities


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, 0.999, 1 - 1e-6, 1 - 1e-12])
def test_position_under_a_constant_gradient_is_the_direct_sum(rho):
    velocity = position = 0.0
    for step in range(1, 301):
        velocity = rho * velocity + 2.0
        position -= 0.1 * velocity
        assert velocities.speed_fraction(step, rho) * velocities.terminal_velocity(0.1, 2.0, rho) == pytest.approx(
            0.1 * velocity, rel=1e-12
        )
        # The closed form subtracts numbers 2 / (k (1 - rho)) larger than the result; below 1e-3 a series takes over.
        assert velocities.constant_gradient_position(step, 0.1, 2.0, rho) == pytest.approx(position, rel=2e-10)


def test_flat_ground_is_crossed_by_the_coasting_distance():
    velocity, travelled = 1.0, 0.0
    for _ in range(1000):
        velocity *= 0.9
        travelled += 0.1 * velocity
    assert velocities.coasting_distance(0.1, 0.9) == pytest.approx(travelled, rel=1e-12)
    assert velocities.initial_velocity_displacement(0.1, 1.0, 0.9) == pytest.approx(-travelled, rel=1e-12)


def test_no_momentum_reaches_full_speed_at_once():
    assert velocities.steps_to_speed(0.9, 0.0) == 0
    assert velocities.speed_fraction(np.array([0, 1, 5]), 0.0).tolist() == [0, 1, 1]


def test_ninety_percent_of_terminal_velocity_takes_the_published_time():
    assert velocities.steps_to_speed(0.9, 0.9) == pytest.approx(21.9, abs=0.05)
    assert velocities.speed_fraction(velocities.steps_to_speed(0.3, 0.99), 0.99) == pytest.approx(0.3, rel=1e-13)


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match=r"^steps_to_speed: fraction must be in \[0, 1\), got 1"):
        velocities.steps_to_speed(1.0, 0.9)
    with pytest.raises(InputError, match=r"^coasting_distance: rho must be in \[0, 1\), got 1. With rho >= 1 the velo"):
        velocities.coasting_distance(0.1, 1.0)
