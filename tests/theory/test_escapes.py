import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import escapes


def steps_to_leave(h, offset, distance, rho=0.0, lookahead=0.0):
    """Steps of the two-step method on f = -y^2 / 2 until |y| reaches the distance, from rest."""
    before, y, steps = offset, offset, 0
    while abs(y) < distance:
        move = rho * (y - before)
        before, y = y, y + move + h * (y + (lookahead / rho * move if rho else 0.0))
        steps += 1
    return steps


@pytest.mark.parametrize(("rho", "lookahead"), [(0.0, 0.0), (0.9, 0.0), (0.9, 0.9), (0.5, 0.0), (0.99, 0.99)])
@pytest.mark.parametrize("h", [1e-3, 0.05, 1.0])
def test_a_known_start_leaves_when_the_law_says(h, rho, lookahead):
    predicted = escapes.escape_steps(h, 1e-8, 1.0, rho, lookahead)
    assert abs(steps_to_leave(h, 1e-8, 1.0, rho, lookahead) - predicted) <= 1.001  # it leaves at a whole step


def test_more_negative_directions_leave_earlier():
    rng = np.random.default_rng(0)
    for num in (1, 10, 100):
        law = escapes.random_escape_time(0.01, 1e-6, 1.0, num_negative=num)
        radius = np.linalg.norm(rng.normal(scale=1e-6, size=(4000, num)), axis=1)
        steps = np.log(1 / radius) / np.log(1.01)
        error = law.deviation / np.sqrt(4000)
        assert abs(steps.mean() - law.mean) < 4 * error
        np.testing.assert_allclose(steps.std(), law.deviation, rtol=0.1)  # scatter of 4000 samples, with a long tail


def test_noise_drives_a_saddle_as_predicted():
    rng, h, rate, noise = np.random.default_rng(0), 0.02, 0.02, 1e-6
    y, left = np.zeros(4000), np.zeros(4000)
    for step in range(1, 4000):
        y = np.where(left > 0, y, (1 + h) * y + rate * noise * rng.normal(size=4000))
        left = np.where((np.abs(y) >= 1) & (left == 0), step, left)
    law = escapes.noisy_escape_time(h, rate, noise)
    assert abs(left.mean() - 0.5 - law.mean) < 4 * law.deviation / np.sqrt(
        4000
    )  # half a step: it leaves at whole steps
    np.testing.assert_allclose(left.std(), law.deviation, rtol=0.1)


def test_a_degenerate_saddle_takes_a_power_of_its_offset():
    rate, y, steps = 1e-3, 0.05, 0
    while y < 10:
        y, steps = y + rate * y**3, steps + 1
    np.testing.assert_allclose(steps, escapes.degenerate_escape_steps(rate, 0.05, 4.0), rtol=0.01)  # a finite rate


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: escapes.escape_steps(0.1, 0.0), "offset must be in .* An exact saddle is never left"),
        (lambda: escapes.growth_factor(-1.0), "h must be in"),
        (lambda: escapes.growth_factor(0.1, 1.5), "rho must be in"),
        (lambda: escapes.degenerate_escape_steps(0.1, 0.1, 2.0), "A strict saddle has p = 2"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
