import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import batch_norm


def test_the_growth_is_half_over_the_variance_of_a_rectified_gaussian():
    draws = np.maximum(np.random.default_rng(0).normal(size=1_000_000), 0)
    # 4 standard errors of a variance of a million draws are about 0.5 %
    assert batch_norm.gradient_growth() == pytest.approx(0.5 / draws.var(), rel=5e-3)


@pytest.mark.parametrize("decay", [1e-3, 0.05])
def test_the_angle_is_that_of_orthogonal_steps_that_have_settled(decay):
    length = 1.0
    for _ in range(round(20 / decay)):
        before, length = length, np.hypot((1 - decay) * length, 1 / length)
    angle = np.arctan2(1 / before, (1 - decay) * before)
    assert batch_norm.equilibrium_angle(decay) == pytest.approx(angle, rel=1e-9)
    assert batch_norm.equilibrium_angle(decay) == pytest.approx(np.sqrt(2 * decay), rel=decay)


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match=r"^equilibrium_angle: decay must be in \(0, 1\), got 1"):
        batch_norm.equilibrium_angle(1.0)


@pytest.mark.parametrize("batch_size", [2, 5, 40])
def test_a_batch_keeps_the_correlation_of_samples(batch_size):
    values = np.random.default_rng(batch_size).normal(size=(40_000, batch_size))
    normalized = (values - values.mean(1, keepdims=True)) / values.std(1, keepdims=True)
    measured = np.mean(values * normalized)
    assert batch_norm.kept_correlation(batch_size) == pytest.approx(measured, abs=4 / values.size**0.5)


def test_one_example_is_no_batch():
    with pytest.raises(InputError, match=r"batch_size must be in \[2, inf\), got 1.* One example has no variance"):
        batch_norm.kept_correlation(1)
