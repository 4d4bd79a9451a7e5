import jax
import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.networks.activations import resolve_activation
from jaxopt_lab.theory import mean_field


@pytest.mark.parametrize(
    ("activation", "weights", "biases", "variance", "factor"),
    [
        ("sigmoid", 1.0, 0.0, 0.264687, 0.055721),
        ("tanh", 2.25, 0.0, 0.79335, 1.13932),
        ("tanh", 1.76, 0.05, 0.5695, 0.99980),  # the critical line of tanh
        ("relu", 1.0, 0.1, 0.2, 0.5),  # q = (q + .2) / 2
        ("identity", 0.5, 0.0, 0.0, 0.5),
    ],
)
def test_the_fixed_point_is_the_published_one(activation, weights, biases, variance, factor):
    point = mean_field.mean_field_factor(activation, weights, biases)
    np.testing.assert_allclose([point.variance, point.factor], [variance, factor], rtol=1e-4)  # 4 or 5 digits are known


def test_xavier_with_tanh_decays_as_one_over_twice_the_depth():
    variance, found = 1.0, {}
    for depth in range(1, 1001):
        variance = mean_field.mean_field_step("tanh", variance, 1.0).variance
        found[depth] = 2 * depth * variance
    np.testing.assert_allclose([found[10], found[100], found[1000]], [1.044, 1.0138, 1.0023], rtol=1e-4)


def test_a_step_is_the_mean_over_gaussian_inputs():
    rng = np.random.default_rng(0)
    draws = np.tanh(3.0 * rng.normal(size=400_000))
    step = mean_field.mean_field_step("tanh", 9.0, 2.0, 0.1)
    assert step.variance == pytest.approx(2.0 * np.mean(draws**2) + 0.1, rel=4e-3)  # 4 standard errors
    assert step.factor == pytest.approx(2.0 * np.mean((1 - draws**2) ** 2), rel=2e-2)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu", "silu", "elu"])
def test_a_step_of_every_activation_is_the_mean_of_its_squares(activation):
    function = resolve_activation(activation)
    draws = np.asarray(np.random.default_rng(1).normal(size=200_000), np.float32)
    value, slope = jax.vmap(jax.value_and_grad(function))(1.5 * draws)
    step = mean_field.mean_field_step(activation, 2.25, 1.7, 0.2)
    # 4 standard errors of a mean of squares, whose deviation is at most 3 times the mean
    assert step.variance == pytest.approx(1.7 * np.mean(np.square(value)) + 0.2, rel=0.027)
    assert step.factor == pytest.approx(1.7 * np.mean(np.square(slope)), rel=0.027)


def test_a_steep_activation_is_resolved():
    # E a'(s z)^2 -> (integral of sech^4) / (s sqrt(2 pi)), 4 / 3 over it, up to 1 / s^2.
    slope = mean_field.mean_field_step("tanh", 900.0, 1.0).factor
    assert slope == pytest.approx(4 / 3 / (30 * np.sqrt(2 * np.pi)), rel=1e-3)


def test_a_map_that_only_grows_has_its_fixed_point_at_infinity():
    assert mean_field.mean_field_factor("relu", 3.0).variance == np.inf
    assert mean_field.depth_scale(1.0) == np.inf
    assert mean_field.depth_scale(1.1) < 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mean_field.mean_field_factor("rleu", 2.0), "Did you mean 'relu'"),
        (lambda: mean_field.mean_field_factor("gelu", 2.0), "activation must be one of: .*got 'gelu'"),
        (lambda: mean_field.mean_field_factor("relu", 2.0), "relu at weight_variance 2 keeps every q: no fixed point"),
        (lambda: mean_field.mean_field_step("tanh", -1.0, 1.0), "variance must be in"),
        (lambda: mean_field.depth_scale(0.0), "factor must be in"),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
