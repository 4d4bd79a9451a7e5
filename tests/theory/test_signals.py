import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import signals

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
    assert reported_steps(np.ones(600), rho, lookahead)[-1] == pytest.approx(signals.constant_gain(rho), rel=1e-12)
    zigzag = np.abs(reported_steps((-1.0) ** k, rho, lookahead)[-1])
    assert zigzag == pytest.approx(signals.alternating_gain(rho, lookahead), rel=1e-12)
    impulse = reported_steps(np.eye(600)[0], rho, lookahead)
    assert np.sum(impulse**2) == pytest.approx(signals.noise_gain(rho, lookahead), rel=1e-12)
    for frequency in (0.0, 0.3, 2.0, np.pi):
        gain = np.abs(np.sum(impulse * np.exp(-1j * frequency * k)))
        assert signals.transfer_gain(frequency, rho, lookahead) == pytest.approx(gain, rel=1e-12)


def test_gains_at_nine_tenths_are_those_of_the_table():
    assert signals.constant_gain(0.9) == pytest.approx(10, rel=1e-14)
    assert signals.alternating_gain(0.9) == pytest.approx(0.5263, abs=5e-5)
    assert signals.alternating_gain(0.9, 0.9) == pytest.approx(1.4737, abs=5e-5)
    assert signals.noise_gain(0.9) == pytest.approx(5.263, abs=5e-4)
    assert signals.mean_gradient_age(0.9) == pytest.approx(9, rel=1e-14)
    assert signals.effective_number_averaged(0.9) == pytest.approx(19, rel=1e-14)


def test_momentum_of_one_or_more_is_refused():
    for function in (signals.constant_gain, signals.mean_gradient_age, signals.effective_number_averaged):
        with pytest.raises(InputError, match=rf"^{function.__name__}: rho must be in \[0, 1\), got 1. With rho >= 1"):
            function(1.0)
