import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab import curvature
from jaxopt_lab.core import InputError, from_loss, precision


def problem_of(loss):
    return from_loss(lambda w, batch, key: loss(*w), jnp.zeros(2))


def test_a_saddle_and_a_minimum_are_found_and_accepted():
    with precision():
        # A saddle at y = 0 and minima at y = +-1.
        problem = problem_of(lambda x, y: x**2 + y**4 / 4 - y**2 / 2)
        ends = curvature.find_critical_points(problem, [[0.5, 0.1], [0.5, 0.9]], iterations=40)
        saddle, minimum = (curvature.examine_point(problem, end) for end in ends)
    np.testing.assert_allclose(ends, [[0, 0], [0, 1]], atol=1e-8)
    assert (saddle.outcome, minimum.outcome) == ("accepted", "accepted")
    np.testing.assert_allclose([saddle.eigenvalues, minimum.eigenvalues], [[-1, 2], [2, 2]], atol=1e-8)
    assert minimum.loss == pytest.approx(-0.25)


def test_a_gradient_flat_point_is_rejected():
    with precision():
        # |gradient| is least at the origin, where it is (0, 1) and the curvature along y is zero.
        problem = problem_of(lambda x, y: x**2 + y + y**3)
        (end,) = curvature.find_critical_points(problem, [[0.5, 0.3]], iterations=200)
        point = curvature.examine_point(problem, end)
    assert point.outcome == "gradient-flat"
    assert point.gradient_norm == pytest.approx(1.0, rel=1e-3)


def test_a_degenerate_point_is_rejected_however_small_its_gradient():
    with precision():
        # y^4 / 4 is critical only at 0; at y = 1e-3 the gradient is 1e-9 and a Newton step goes y / 3.
        point = curvature.examine_point(problem_of(lambda x, y: x**2 + y**4 / 4), np.array([0.0, 1e-3]))
    assert point.outcome == "degenerate"
    assert point.step_norm == pytest.approx(1e-3 / 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"starts": [0.0, 1.0]}, r"starts must have the shape \[s, d\], got \(2,\)"),
        ({"iterations": 0}, "iterations must be a whole number of at least 1, got 0"),
        ({"stop": -1.0}, "stop must be positive and finite, got -1.0"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        curvature.find_critical_points(problem_of(lambda x, y: x * y), **({"starts": [[0.0, 1.0]]} | options))
