import numpy as np
import pytest
from scipy.integrate import quad

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import random_matrices

RATIOS = [1e-6, 0.002, 0.0025, 0.25, 0.9, 1.0, 1.5, 50.0]


def test_the_spectrum_is_that_of_sampled_data():
    rng = np.random.default_rng(0)
    for n, d in ((1200, 300), (300, 300), (200, 300)):
        data = rng.standard_normal((n, d))
        sampled = np.linalg.eigvalsh(data.T @ data / n)
        # Eigenvalues are rigid in the bulk; the edge of scale 6 moves by 6 d^(-2/3) = .13.
        np.testing.assert_allclose(random_matrices.marchenko_pastur_spectrum(d, d / n), sampled, atol=0.25)


def test_condition_numbers_are_the_published_ones():
    found = random_matrices.marchenko_pastur_condition_number(np.array([0.25, 0.5, 0.45, 0.225, 0.9]))
    np.testing.assert_allclose(found, [9.00, 33.97, 25.8, 7.856, 1442], rtol=2e-2)
    assert random_matrices.marchenko_pastur_condition_number(1.0) == np.inf


@pytest.mark.parametrize("ratio", RATIOS)
def test_the_quantiles_integrate_the_density(ratio):
    spectrum = random_matrices.marchenko_pastur_spectrum(40, ratio)
    low, high = random_matrices.marchenko_pastur_edges(ratio)
    mass = min(1, 1 / ratio)
    assert np.all((spectrum == 0) | ((spectrum >= low) & (spectrum <= high * (1 + 1e-14))))
    for index in (38, 39):

        def density(angle):  # substituted, so that square-root edges are smooth
            x = low + (high - low) * np.sin(angle) ** 2
            return random_matrices.marchenko_pastur_density(x, ratio) * (high - low) * np.sin(2 * angle)

        if spectrum[index] == 0:
            continue
        upper = np.arcsin(np.sqrt(np.clip((spectrum[index] - low) / (high - low), 0, 1)))
        below = quad(density, 0, upper, epsabs=1e-12, epsrel=1e-12, limit=200)[0]
        assert 1 - mass + below == pytest.approx((index + 0.5) / 40, abs=1e-6 if ratio < 1e-3 else 1e-9)


@pytest.mark.parametrize("ratio", RATIOS)
def test_the_quadrature_has_the_moments_of_the_law(ratio):
    nodes, weights = random_matrices.marchenko_pastur_quadrature(ratio, 400)
    moments = [weights @ nodes**power for power in (1, 2, 3)]
    np.testing.assert_allclose(moments, [1, 1 + ratio, 1 + 3 * ratio + ratio**2], rtol=1e-12)
    # The mass itself has a pole at the distance |1 - sqrt(g)| from the interval, on it at g = 1.
    assert weights.sum() == pytest.approx(min(1, 1 / ratio), rel=3e-3)


def test_the_spectrum_has_the_moments_of_the_law():
    for ratio in RATIOS:
        spectrum = random_matrices.marchenko_pastur_spectrum(20000, ratio)
        assert spectrum.mean() == pytest.approx(1, abs=2e-3)
        assert np.mean(spectrum**2) == pytest.approx(1 + ratio, rel=3e-3)  # midpoint quantiles miss the tails


def test_the_distribution_is_continuous_where_its_formula_changes():
    below, above = (random_matrices.marchenko_pastur_spectrum(101, 0.0025 * factor) for factor in (1 - 1e-9, 1 + 1e-9))
    np.testing.assert_allclose(below, above, atol=1e-9)


def test_the_condition_number_law_of_square_matrices_is_the_sampled_one():
    rng = np.random.default_rng(0)
    conds = np.linalg.cond(rng.standard_normal((1500, 50, 50)))
    # Standard errors: .013 for the fraction, sd of ln kappa ~ 1 over sqrt(1500) = .026.
    assert np.mean(conds / 50 < 4) == pytest.approx(random_matrices.square_gaussian_condition_cdf(4.0), abs=4 * 0.013)
    assert np.log(conds).mean() == pytest.approx(
        random_matrices.square_gaussian_log_condition_number(50), abs=4 * 0.026
    )
    assert random_matrices.square_gaussian_condition_cdf(np.array([0.0, 1e-200, 1e300])).tolist() == [0, 0, 1]


def test_the_constant_of_edelman_is_the_mean_logarithm_under_the_law():
    def integrand(z):  # x = exp(z)
        return z * (2 * np.exp(-z) + 4 * np.exp(-2 * z)) * np.exp(-2 * np.exp(-z) - 2 * np.exp(-2 * z))

    mean = quad(integrand, -4, 60, epsabs=1e-12, limit=400)[0]
    assert random_matrices.square_gaussian_log_condition_number(1) == pytest.approx(mean, abs=1e-10)
    assert mean == pytest.approx(1.537, abs=5e-4)


def test_average_losses_agree_with_the_closed_form_and_the_published_values():
    published = {0: 0.5, 10: 0.011126, 100: 3.93764e-4, 1000: 1.259912e-5, 10000: 3.988899e-7}
    for steps, value in published.items():
        closed = random_matrices.square_data_loss(steps)
        assert closed == pytest.approx(value, rel=3e-5)  # the published digits
        assert random_matrices.average_gradient_descent_loss(steps, 1.0) == pytest.approx(closed, rel=1e-12)
    for steps in (10**6, 10**8):
        closed = random_matrices.square_data_loss(steps)
        assert closed == pytest.approx(steps**-1.5 / np.sqrt(2 * np.pi), rel=2 / steps)
        assert random_matrices.average_gradient_descent_loss(steps, 1.0) == pytest.approx(
            closed, rel=1e-7
        )  # log of 1 - tiny


@pytest.mark.parametrize("ratio", [0.25, 0.95, 4.0])
def test_average_losses_of_any_shape_are_the_mean_over_the_quantile_spectrum(ratio):
    spectrum = random_matrices.marchenko_pastur_spectrum(100000, ratio)
    for steps, rate in ((0, None), (7, None), (300, None), (20, 0.1)):
        eta = rate if rate is not None else 1 / (1 + np.sqrt(ratio)) ** 2
        expected = 0.5 * np.mean(spectrum * (1 - eta * spectrum) ** (2 * steps))
        found = random_matrices.average_gradient_descent_loss(steps, ratio, rate)
        assert found == pytest.approx(expected, rel=1e-3)  # 1e5 midpoint quantiles


def test_wrong_arguments_are_named():
    with pytest.raises(
        InputError, match=r"^marchenko_pastur_condition_number: aspect_ratio must be in \(0, inf\), got 0"
    ):
        random_matrices.marchenko_pastur_condition_number(0.0)
    with pytest.raises(InputError, match=r"^marchenko_pastur_spectrum: dim must be a whole number of at least 1"):
        random_matrices.marchenko_pastur_spectrum(0, 0.5)


def test_the_fluctuation_of_a_run_is_that_of_random_starts():
    # sqrt(2 / d) at step 0, where w = lambda has E w^2 / (E w)^2 = 2; then against 4000 starts on one spectrum, of which
    # the standard error is 1 / sqrt(8000); the spectrum of 400 quantiles errs by as much again.
    assert random_matrices.square_data_fluctuation([0], 50) == pytest.approx(0.2, rel=1e-9)
    spectrum = random_matrices.marchenko_pastur_spectrum(400, 1.0)
    starts = np.random.default_rng(0).normal(size=(4000, 400))
    starts /= np.linalg.norm(starts, axis=1, keepdims=True)
    losses = starts**2 @ (spectrum * (1 - spectrum / 4) ** 20)
    measured = losses.std() / losses.mean()
    assert random_matrices.square_data_fluctuation(10, 400) == pytest.approx(measured, rel=0.05)


def test_extreme_eigenvalues_lie_inside_of_the_edges():
    limit = np.log(random_matrices.marchenko_pastur_condition_number(0.5))
    gaps = [limit - random_matrices.log_condition_number(dim, 0.5) for dim in (100, 800, 6400)]
    # Towards the limit like d^(-2/3): a factor 4 for a factor 8.
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.05)
    assert gaps[1] / gaps[2] == pytest.approx(4, rel=0.02)


def test_pivots_of_tridiagonal_matrices_count_negative_eigenvalues():
    counts = random_matrices.sample_negative_counts(12, 20_000, np.random.default_rng(0))
    entries = np.random.default_rng(1).normal(size=(20_000, 12, 12))
    dense = (np.linalg.eigvalsh(entries + entries.transpose(0, 2, 1)) < 0).sum(axis=1)
    for power in (1, 2):
        ours, theirs = ((found - 6.0) ** power for found in (counts, dense))
        assert abs(ours.mean() - theirs.mean()) < 4 * np.hypot(ours.std(), theirs.std()) / np.sqrt(20_000)
