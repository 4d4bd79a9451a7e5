import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import finite_width


@pytest.mark.parametrize("activation", ["relu", "identity"])
@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
def test_a_step_of_the_log_length_has_the_moments_of_random_layers(activation, weights):
    rng, width, num = np.random.default_rng(0), 8, 20_000
    matrices = rng.normal(size=(num, width, width)) / width**0.5
    if weights == "orthogonal":
        matrices = np.linalg.qr(matrices)[0] * np.sign(rng.normal(size=(num, 1, width)))
    values = matrices @ np.full(width, width**-0.5)
    if activation == "relu":
        values = np.sqrt(2) * np.maximum(values, 0)
    lengths = np.square(values).sum(1)
    steps = np.log(lengths[lengths > 0])
    law = finite_width.log_length_step(activation, width, weights)
    assert law.mean == pytest.approx(steps.mean(), abs=4 * steps.std() / num**0.5 + 1e-9)
    assert law.variance == pytest.approx(steps.var(), rel=0.08, abs=1e-9)  # four errors of a variance, kurtosis 6


def test_wide_layers_lose_five_and_three_halves_of_it_to_the_mean():
    for activation, weights, constant in (
        ("relu", "gaussian", 5),
        ("relu", "orthogonal", 3),
        ("identity", "gaussian", 2),
    ):
        step = finite_width.log_length_step(activation, 10_000, weights)
        np.testing.assert_allclose(
            [1e4 * step.variance, 1e4 * step.mean], [constant, -constant / 2], rtol=2e-3
        )  # 1 / N


def test_inputs_become_parallel_as_one_over_the_depth_squared():
    correlation, found = 0.0, {}
    for depth in range(1, 10_001):
        correlation = finite_width.relu_correlation(correlation)
        found[depth] = (1 - correlation) * 2 * depth**2 / (9 * np.pi**2)
    np.testing.assert_allclose([found[100], found[1000], found[10_000]], [0.805, 0.971, 0.9964], atol=6e-4)


def test_the_correlation_is_that_of_a_wide_random_layer():
    rng, cosine = np.random.default_rng(1), 0.3
    first, other = rng.normal(size=(2, 1_000_000))
    second = cosine * first + (1 - cosine**2) ** 0.5 * other
    measured = 2 * np.mean(np.maximum(first, 0) * np.maximum(second, 0))
    assert finite_width.relu_correlation(cosine) == pytest.approx(measured, abs=6e-3)  # 4 standard errors


def test_networks_are_born_dead_as_often_as_the_law_says():
    rng, width, depth, num = np.random.default_rng(2), 3, 9, 4000
    values = np.ones((num, width, 1))
    for _ in range(depth):
        values = np.maximum(rng.normal(size=(num, width, width)) @ values, 0)
    dead = np.mean(values.sum((1, 2)) == 0)
    law = finite_width.born_dead_probability(width, depth)
    assert law == pytest.approx(dead, abs=4 * (law * (1 - law) / num) ** 0.5)


def test_wrong_arguments_are_named():
    with pytest.raises(
        InputError, match=r"activation must be one of: relu, identity; got 'rellu'\. Did you mean 'relu'"
    ):
        finite_width.log_length_step("rellu", 10)
    with pytest.raises(InputError, match="initializer must be one of"):
        finite_width.log_length_step("relu", 10, "he")
    with pytest.raises(InputError, match=r"relu_correlation: correlation must be in \[-1, 1\], got 1.5"):
        finite_width.relu_correlation(1.5)
    with pytest.raises(InputError, match="width must be a whole number of at least 1"):
        finite_width.born_dead_probability(0, 3)
