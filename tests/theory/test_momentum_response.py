import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import momentum_response

SETTINGS = [(0.0, 0.0), (0.5, 0.0), (0.9, 0.0), (0.5, 0.5), (0.9, 0.9), (0.9, 0.3)]


def reported_steps(gradients, rho, lookahead):
    """Steps of y = x + lookahead (x - x_before) for learning rate 1, minus sign dropped."""
    moves, velocity = [], 0.0
    for gradient in gradients:
        velocity = rho * velocity + gradient
        moves.append(velocity)
    moves = np.array(moves)
    return moves + lookahead * np.diff(moves, prepend=0.0)


@pytest.mark.parametrize(("rho", "lookahead"), SETTINGS)
def test_gains_are_those_of_the_filtered_sequence(rho, lookahead):
    k = np.arange(600)
    assert reported_steps(np.ones(600), rho, lookahead)[-1] == pytest.approx(
        momentum_response.constant_gain(rho), rel=1e-12
    )
    zigzag = np.abs(reported_steps((-1.0) ** k, rho, lookahead)[-1])
    assert zigzag == pytest.approx(momentum_response.alternating_gain(rho, lookahead), rel=1e-12)
    impulse = reported_steps(np.eye(600)[0], rho, lookahead)
    assert np.sum(impulse**2) == pytest.approx(momentum_response.noise_gain(rho, lookahead), rel=1e-12)
    for frequency in (0.0, 0.3, 2.0, np.pi):
        gain = np.abs(np.sum(impulse * np.exp(-1j * frequency * k)))
        assert momentum_response.transfer_gain(frequency, rho, lookahead) == pytest.approx(gain, rel=1e-12)


def test_gains_at_nine_tenths_are_those_of_the_table():
    assert momentum_response.constant_gain(0.9) == pytest.approx(10, rel=1e-14)
    assert momentum_response.alternating_gain(0.9) == pytest.approx(0.5263, abs=5e-5)
    assert momentum_response.alternating_gain(0.9, 0.9) == pytest.approx(1.4737, abs=5e-5)
    assert momentum_response.noise_gain(0.9) == pytest.approx(5.263, abs=5e-4)
    assert momentum_response.mean_gradient_age(0.9) == pytest.approx(9, rel=1e-14)
    assert momentum_response.effective_number_averaged(0.9) == pytest.approx(19, rel=1e-14)


def test_momentum_of_one_or_more_is_refused():
    for function in (
        momentum_response.constant_gain,
        momentum_response.mean_gradient_age,
        momentum_response.effective_number_averaged,
    ):
        with pytest.raises(InputError, match=rf"^{function.__name__}: rho must be in \[0, 1\), got 1. With rho >= 1"):
            function(1.0)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, 0.999, 1 - 1e-6, 1 - 1e-12])
def test_position_under_a_constant_gradient_is_the_direct_sum(rho):
    velocity = position = 0.0
    for step in range(1, 301):
        velocity = rho * velocity + 2.0
        position -= 0.1 * velocity
        assert momentum_response.speed_fraction(step, rho) * momentum_response.terminal_velocity(
            0.1, 2.0, rho
        ) == pytest.approx(0.1 * velocity, rel=1e-12)
        # The closed form subtracts numbers 2 / (k (1 - rho)) larger than the result; below 1e-3 a series takes over.
        assert momentum_response.constant_gradient_position(step, 0.1, 2.0, rho) == pytest.approx(position, rel=2e-10)


def test_flat_ground_is_crossed_by_the_coasting_distance():
    velocity, travelled = 1.0, 0.0
    for _ in range(1000):
        velocity *= 0.9
        travelled += 0.1 * velocity
    assert momentum_response.coasting_distance(0.1, 0.9) == pytest.approx(travelled, rel=1e-12)
    assert momentum_response.initial_velocity_displacement(0.1, 1.0, 0.9) == pytest.approx(-travelled, rel=1e-12)


def test_no_momentum_reaches_full_speed_at_once():
    assert momentum_response.steps_to_speed(0.9, 0.0) == 0
    assert momentum_response.speed_fraction(np.array([0, 1, 5]), 0.0).tolist() == [0, 1, 1]


def test_ninety_percent_of_terminal_velocity_takes_the_published_time():
    assert momentum_response.steps_to_speed(0.9, 0.9) == pytest.approx(21.9, abs=0.05)
    assert momentum_response.speed_fraction(momentum_response.steps_to_speed(0.3, 0.99), 0.99) == pytest.approx(
        0.3, rel=1e-13
    )


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match=r"^steps_to_speed: fraction must be in \[0, 1\), got 1"):
        momentum_response.steps_to_speed(1.0, 0.9)
    with pytest.raises(InputError, match=r"^coasting_distance: rho must be in \[0, 1\), got 1. With rho >= 1 the velo"):
        momentum_response.coasting_distance(0.1, 1.0)
