import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.studies import contraction_per_step


@pytest.mark.parametrize("slope", [0.0, 0.01, 1.0, 50.0])
@pytest.mark.parametrize("rate", [0.5, 0.9, 0.9999])
def test_a_polynomial_prefactor_does_not_bias_the_rate(slope, rate):
    steps = np.arange(0, 401, 4)
    found = contraction_per_step(steps, (1 + slope * steps) * rate**steps * (-1.0) ** steps)
    assert np.log(found) == pytest.approx(np.log(rate), rel=1e-5)  # the root of a difference of nearly equal numbers


def test_too_short_a_curve_is_refused():
    with pytest.raises(InputError, match=r"values must hold at least 5 entries, got 4"):
        contraction_per_step(np.arange(4), np.ones(4))
