import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab import objectives
from jaxopt_lab.core import InputError, precision
from jaxopt_lab.objectives import spectra
from jaxopt_lab.objectives.quadratics import laplacian_eigenvector


@pytest.fixture(autouse=True)
def in_float64():
    with precision("float64"):
        yield


def dense_hessian(problem, dim):
    return np.asarray(jax.jit(jax.hessian(problem.full_loss))(jnp.zeros(dim)))


@pytest.mark.parametrize("rotation", [None, "householder", "hadamard"])
def test_the_dense_hessian_has_the_given_eigenvalues(rotation):
    eigenvalues = np.array([0.1, 0.5, 2.0, 2.0, 3.0, 5.0, 8.0, 9.0])
    problem = objectives.quadratic(eigenvalues, rotation=rotation)
    hessian = dense_hessian(problem, 8)
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian), eigenvalues, atol=1e-12)
    if rotation:
        assert np.abs(hessian - np.diag(np.diag(hessian))).max() > 0.1


@pytest.mark.parametrize("rotation", [None, "householder", "hadamard"])
def test_the_minimizer_is_where_the_loss_is_zero(rotation):
    target = np.linspace(-1, 1, 8)
    problem = objectives.quadratic(np.arange(1.0, 9.0), rotation=rotation, minimizer=target)
    assert float(problem.full_loss(jnp.asarray(target))) == pytest.approx(0, abs=1e-25)
    np.testing.assert_allclose(jax.grad(problem.full_loss)(jnp.asarray(target)), 0, atol=1e-12)


def test_truth_counts_negative_directions():
    truth = objectives.quadratic([-1.0, 2.0, -3.0]).truth
    assert (truth.index, truth.minimum, truth.strong_convexity, truth.smoothness) == (2, None, None, 2.0)


def test_laplacian_eigenpairs_are_exact():
    problem = objectives.laplacian(9)
    hessian = dense_hessian(problem, 9)
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian), problem.truth.eigenvalues, atol=1e-13)
    assert problem.truth.condition_number == pytest.approx(np.linalg.cond(hessian), rel=1e-12)
    for order in (1, 4, 9):
        vector = laplacian_eigenvector(9, order)
        np.testing.assert_allclose(hessian @ vector, float(problem.truth.eigenvalues[order - 1]) * vector, atol=1e-13)


@pytest.mark.parametrize("dim", [1, 2, 7, 1000])
@pytest.mark.parametrize("name", ["log-uniform", "linear", "two-point"])
def test_named_spectra_have_their_ends(name, dim):
    found = np.asarray(spectra.SPECTRA[name](dim, 100.0, 3.0))
    assert found.shape == (dim,)
    assert (np.diff(found) >= 0).all()
    assert found[-1] == pytest.approx(3.0, rel=1e-15)
    assert dim == 1 or found[0] == pytest.approx(0.03, rel=1e-13)


def test_power_law_is_its_formula():
    np.testing.assert_allclose(spectra.power_law(4, 2.0, 1.0), [1 / 16, 1 / 9, 1 / 4, 1.0], rtol=1e-14)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0])
def test_marchenko_pastur_has_its_edges_and_moments(ratio):
    found = np.asarray(spectra.marchenko_pastur(20_000, ratio))
    assert found[0] >= (1 - np.sqrt(ratio)) ** 2 - 1e-9
    assert found[-1] <= (1 + np.sqrt(ratio)) ** 2
    assert found.mean() == pytest.approx(1.0, rel=1e-4)  # quantile sum with 20,000 points
    assert (found**2).mean() == pytest.approx(1 + ratio, rel=1e-3)


def test_marchenko_pastur_is_the_spectrum_of_white_data():
    data = np.random.default_rng(0).normal(size=(1200, 400))
    sampled = np.linalg.eigvalsh(data.T @ data / 1200)
    np.testing.assert_allclose(sampled, spectra.marchenko_pastur(400, 400 / 1200), atol=0.05)  # edge width d^(-2/3)


def test_a_large_float32_spectrum_keeps_its_ends():
    with precision("float32"):
        found = spectra.log_uniform(3_000_000, 1e6)
    assert float(found[-1]) == 1.0
    assert float(found[0]) == pytest.approx(1e-6, rel=1e-5)  # exp of ln(1e6) in float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: objectives.quadratic([1.0, np.nan]), r"quadratic: eigenvalues must be finite, got nan at position 1"),
        (lambda: objectives.quadratic([[1.0]]), r"eigenvalues must be a vector of real numbers, got shape \(1, 1\)"),
        (lambda: objectives.quadratic([]), r"eigenvalues must be a vector"),
        (
            lambda: objectives.quadratic([1.0], rotation="givens"),
            r"rotation must be one of: None, householder, hadamard",
        ),
        (
            lambda: objectives.quadratic([1.0, 2.0, 3.0], rotation="hadamard"),
            r"needs a power of two as dimension, got 3",
        ),
        (
            lambda: objectives.quadratic([1.0, 2.0], minimizer=[1.0]),
            r"minimizer must have the shape .* \(2,\), got \(1,\)",
        ),
        (lambda: objectives.quadratic([1.0, 2.0], start=[1.0]), r"start must have the shape"),
        (lambda: spectra.log_uniform(10, 0.5), r"log_uniform: kappa must be in \[1, inf\), got 0\.5"),
        (lambda: spectra.log_uniform(0, 2.0), r"log_uniform: dim must be a whole number of at least 1, got 0"),
        (
            lambda: spectra.linear(10**13, 2.0),
            r"a spectrum of 1e\+13 eigenvalues needs .* GiB and .* GiB are available",
        ),
        (lambda: spectra.two_point(10, 2.0, fraction=1.0), r"fraction must be in \(0, 1\), got 1\.0"),
        (lambda: spectra.marchenko_pastur(10, 1.5), r"ratio must be in \(0, 1\], got 1\.5\. Above 1 some eigenvalues"),
        (lambda: objectives.quadratic(jnp.array([1.0, jnp.inf, jnp.nan])), r"must be finite, got inf at position 1"),
        (lambda: objectives.laplacian(10**13), r"laplacian: a spectrum of 1e\+13 eigenvalues needs"),
    ],
)
def test_bad_input_gets_a_clear_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()
