import numpy as np
import pytest
from scipy.integrate import quad

from jaxopt_lab import theory
from jaxopt_lab.core import InputError


@pytest.mark.parametrize("depth", [2, 3, 4, 8])
def test_a_deep_mode_takes_the_integral_of_its_flow(depth):
    points = [2e-3, 1e-2, 1e-1]  # where the integrand is steep
    slow = quad(lambda a: 1 / (depth * a ** (2 - 2 / depth) * (2 - a)), 1e-3, 1.0, limit=500, points=points)[0]
    np.testing.assert_allclose(theory.deep_learning_time(depth, 1e-3, 2.0), slow, rtol=1e-10)


def test_the_plateau_is_the_leading_term_of_the_learning_time():
    starts = np.array([1e-6, 1e-8])
    for depth in (3, 4, 8):
        ratio = theory.deep_learning_time(depth, starts) / theory.deep_plateau_time(depth, starts)
        assert abs(ratio[1] - 1) < abs(ratio[0] - 1) < 0.03


def test_two_layers_learn_along_the_logistic_curve():
    time = theory.deep_learning_time(2, 1e-4, 3.0, 0.9)
    np.testing.assert_allclose(theory.mode_strength(time, 3.0, 1e-4), 2.7, rtol=1e-12)


def test_a_start_beyond_the_end_is_refused():
    with pytest.raises(InputError, match=r"start / \(share s\) must be in \(0, 1\), got 2"):
        theory.deep_learning_time(3, 1.0)
