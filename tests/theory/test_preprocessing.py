from fractions import Fraction

import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import preprocessing


@pytest.mark.parametrize("deviation", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("mean_norm", [0.0, 0.5, 5.0, 30.0])
def test_condition_numbers_are_those_of_the_dense_matrices(mean_norm, deviation):
    mean = np.full(6, mean_norm / np.sqrt(6))
    second = deviation**2 * np.eye(6) + np.outer(mean, mean)
    found = preprocessing.condition_number_without_bias(mean_norm, deviation)
    assert found == pytest.approx(np.linalg.cond(second), rel=1e-12)
    full = np.block([[second, mean[:, None]], [mean[None], np.ones((1, 1))]])
    found = preprocessing.condition_number_with_bias(mean_norm, deviation)
    assert found == pytest.approx(np.linalg.cond(full), rel=1e-9)  # the dense one loses kappa eps


def test_condition_numbers_are_the_published_ones():
    found = preprocessing.condition_number_with_bias(np.sqrt([25, 100, 784, 1e4]))
    np.testing.assert_allclose(found, [726.9986, 10402.0, 617794, 1.0004e8], rtol=1e-6)  # the published digits
    with_digits = preprocessing.condition_number_with_bias(1e4)
    assert with_digits == pytest.approx(1e16, rel=5e-8)  # where the difference of T and the root gives 1.34e16


def test_the_large_mean_keeps_all_digits():
    m2 = Fraction(10) ** 8
    total = m2 + 2
    # top^2 = top T - s^2; with T^2 >> 4 the root is T - 2 / T - 2 / T^3 - ... to 1e-30.
    top = total - 1 / total - 1 / total**3
    assert preprocessing.condition_number_with_bias(1e4) == pytest.approx(float(top**2), rel=1e-15)


def test_the_spiked_eigenvalue_is_that_of_a_sample():
    assert preprocessing.spiked_top_eigenvalue(101.0, 0.005) == pytest.approx(101.005, abs=5e-4)
    rng = np.random.default_rng(0)
    data = rng.standard_normal((3000, 300))
    data[:, 0] *= np.sqrt(5.0)
    top = np.linalg.eigvalsh(data.T @ data / 3000)[-1]
    # The standard error of the top eigenvalue is 5 sqrt(2 / n) = .13.
    assert preprocessing.spiked_top_eigenvalue(5.0, 0.1) == pytest.approx(top, abs=4 * 0.13)


def test_a_small_spike_hides_in_the_bulk():
    assert preprocessing.spiked_top_eigenvalue(np.array([1.0, 1.2]), 0.25).tolist() == [2.25, 2.25]
    at = preprocessing.spiked_top_eigenvalue(1.5 + 1e-9, 0.25)
    assert at == pytest.approx(2.25, rel=1e-9)  # both branches meet with equal slope


def test_the_error_of_a_turned_line_is_the_published_one_and_that_of_a_sample():
    found = preprocessing.rotated_line_error(0.05, [0.0, 5.0, 50.0], 4.0)
    np.testing.assert_allclose(found, [0.0229, 0.0263, 0.3460], atol=5e-5)  # four digits are known
    rng = np.random.default_rng(0)
    side = np.where(rng.random(400_000) < 0.5, 1.0, -1.0)
    normal, along = 1.5 * side + 0.5 * rng.normal(size=side.size), 4.0 + 0.5 * rng.normal(size=side.size)
    wrong = np.mean(np.sign(np.cos(0.3) * normal + np.sin(0.3) * along) != side)
    # 4 standard errors of a share of 400,000
    assert preprocessing.rotated_line_error(0.3, 4.0, 3.0, 0.5) == pytest.approx(wrong, abs=4 * 0.5 / 632)


def test_at_the_limit_the_line_runs_through_a_cluster():
    angle = preprocessing.rotated_line_limit(50.0, 4.0)
    # one class is at a half, the other is 4 cos(angle) away
    assert preprocessing.rotated_line_error(angle, 50.0, 4.0) == pytest.approx(0.25, abs=4e-5)


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match=r"^condition_number_with_bias: standard_deviation must be in \(0, inf\)"):
        preprocessing.condition_number_with_bias(1.0, 0.0)
    with pytest.raises(InputError, match=r"^spiked_top_eigenvalue: spike must be in \[1, inf\), got 0.5"):
        preprocessing.spiked_top_eigenvalue(0.5, 0.5)


def test_dead_units_are_as_many_as_in_random_networks():
    rng, num, units, dim = np.random.default_rng(3), 5, 20_000, 400
    inputs = 1.0 + rng.normal(size=(num, dim))
    draws = rng.normal(size=(units, dim))
    dead = np.mean((draws @ inputs.T <= 0).all(1))
    # the inputs are one draw of five, whose lengths and angles vary by 1 / sqrt(dim)
    assert preprocessing.dead_unit_share(1.0, num) == pytest.approx(1 / 6, rel=1e-12)
    assert dead == pytest.approx(1 / 6, abs=0.03)


def test_dead_units_are_a_half_far_from_zero_and_rare_when_centred():
    np.testing.assert_allclose(preprocessing.dead_unit_share([0.0, 1e6], 10), [2.0**-10, 0.5], rtol=1e-3)
    with pytest.raises(InputError, match="num_examples must be a whole number of at least 1"):
        preprocessing.dead_unit_share(1.0, 0)
