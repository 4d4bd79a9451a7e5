import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import adaptive


@pytest.mark.parametrize(("decay", "b1"), [(0.9, 0.0), (0.999, 0.9), (0.0, 0.5)])
def test_the_step_without_correction_is_that_of_a_loop(decay, b1):
    gradient, mean, square, found = -3.0, 0.0, 0.0, []
    for _ in range(20):
        mean, square = b1 * mean + (1 - b1) * gradient, decay * square + (1 - decay) * gradient**2
        found.append(-mean / np.sqrt(square))
    np.testing.assert_allclose(adaptive.uncorrected_step(np.arange(1, 21), decay, b1), found, rtol=1e-12)


def test_adagrad_goes_as_far_as_a_loop():
    square, place = 0.0, 0.0
    for _ in range(100):
        square += 4.0
        place += 2.0 / np.sqrt(square)
    assert adaptive.adagrad_distance(100) == pytest.approx(place, rel=1e-13)
    # The sum is 2 sqrt(t) + zeta(1/2) + 1 / (2 sqrt(t)) up to t^(-3/2).
    assert adaptive.adagrad_distance(10_000) == pytest.approx(200 - 1.4603545088095868 + 0.005, abs=1e-7)


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match=r"^uncorrected_step: decay must be in \[0, 1\), got 1"):
        adaptive.uncorrected_step(1, 1.0)
    with pytest.raises(InputError, match="steps must be a whole number of at least 1"):
        adaptive.adagrad_distance(0)
