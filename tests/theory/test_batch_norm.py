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
