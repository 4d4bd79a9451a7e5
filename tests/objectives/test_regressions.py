import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab import objectives
from jaxopt_lab.core import InputError, precision


@pytest.fixture(autouse=True)
def in_float64():
    with precision("float64"):
        yield


def features(num=30, dim=4):
    return np.random.default_rng(2).normal(size=(num, dim))


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_linear_regression_knows_its_minimizer_minimum_and_spectrum(ridge):
    matrix = features()
    targets = matrix @ [1.0, -2.0, 0.5, 3.0] + np.random.default_rng(3).normal(size=30)
    problem = objectives.linear_regression(matrix, targets, ridge=ridge)
    truth = problem.truth
    np.testing.assert_allclose(jax.grad(problem.full_loss)(truth.minimizer), 0, atol=1e-12)
    assert float(problem.full_loss(truth.minimizer)) == pytest.approx(truth.minimum, rel=1e-12)
    hessian = jax.jit(jax.hessian(problem.full_loss))(jnp.zeros(4))
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian), truth.eigenvalues, rtol=1e-10)


def test_more_parameters_than_examples_give_zero_eigenvalues_and_the_least_norm_solution():
    problem = objectives.linear_regression(features(3, 5), [1.0, 2.0, 3.0])
    assert np.sum(np.asarray(problem.truth.eigenvalues) == 0) == 2
    assert problem.truth.strong_convexity is None
    np.testing.assert_allclose(problem.truth.minimizer, np.linalg.pinv(features(3, 5)) @ [1.0, 2.0, 3.0], atol=1e-12)


def test_the_streaming_loss_has_the_expected_loss_as_its_mean():
    problem = objectives.streaming_regression([0.5, 2.0, 4.0], batch_size=8, label_noise=0.7)
    point = jnp.array([1.0, -0.5, 0.3])
    losses = jax.vmap(lambda key: problem.loss(point, None, key))(jax.random.split(jax.random.key(0), 20_000))
    error = losses.std(ddof=1) / np.sqrt(len(losses))
    assert abs(float(losses.mean() - problem.full_loss(point))) < 4 * float(error)


def test_streams_of_one_batch_size_share_a_program():
    losses = [objectives.streaming_regression([1.0, 0.5], batch_size=size).loss.func for size in (4, 4, 8)]
    assert losses[0] == losses[1] != losses[2]
    assert len(set(losses)) == 2
    assert losses[0] != 4


def test_the_streaming_gradient_noise_is_that_of_gaussian_regression():
    # batch 1, residual r = x.w - e: covariance of r x is (w'Hw + s^2) H + H w w' H, here its trace
    eigenvalues, point = np.array([0.5, 2.0]), np.array([1.0, -0.5])
    problem = objectives.streaming_regression(eigenvalues, label_noise=0.7)
    keys = jax.random.split(jax.random.key(1), 100_000)
    grads = jax.vmap(lambda key: jax.grad(problem.loss)(jnp.asarray(point), None, key))(keys)
    expected = (point @ (eigenvalues * point) + 0.49) * eigenvalues.sum() + np.sum((eigenvalues * point) ** 2)
    assert float(jnp.trace(jnp.cov(grads.T))) == pytest.approx(expected, rel=0.04)  # heavy tails, 1e5 draws: 1 %


def test_logistic_regression_starts_at_ln_2_with_a_quarter_of_the_covariance():
    matrix = features()
    problem = objectives.logistic_regression(matrix, matrix[:, 0] > 0)
    start = problem.init(jax.random.key(0))
    assert float(problem.full_loss(start)) == pytest.approx(np.log(2), rel=1e-14)
    hessian = jax.jit(jax.hessian(problem.full_loss))(start)
    np.testing.assert_allclose(hessian, matrix.T @ matrix / 120, atol=1e-14)
    assert problem.truth.smoothness == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=1e-12)


@pytest.mark.parametrize(
    ("kind", "scale", "degrees", "variance"),
    [("uniform", 0.6, 3.0, 0.12), ("gaussian", 0.5, 3.0, 0.25), ("heavy-tailed", 0.5, 5.0, 0.25 * 5 / 3)],
)
def test_noise_has_its_variance_and_no_mean(kind, scale, degrees, variance):
    noisy = objectives.with_noise(objectives.quadratic(np.ones(50_000), start=0.0), kind, scale, degrees)
    noise = np.asarray(jax.grad(noisy.loss)(jnp.zeros(50_000), None, jax.random.key(0)))
    assert noisy.truth.noise_variance == pytest.approx(variance)
    assert noise.var() == pytest.approx(variance, rel=0.05)  # 5e4 draws, kurtosis 9 at worst: 1.3 %
    assert abs(noise.mean()) < 4 * np.sqrt(variance / 50_000)


def test_noise_leaves_the_expected_loss_alone():
    plain = objectives.quadratic([1.0, 2.0])
    noisy = objectives.with_noise(plain, "uniform", 1.0)
    assert float(noisy.full_loss(jnp.ones(2))) == float(plain.full_loss(jnp.ones(2)))
    assert objectives.with_noise(plain, "heavy-tailed", 1.0, 1.5).truth.noise_variance == np.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: objectives.linear_regression(np.ones((3, 2)), np.ones(4)), r"features must be \[n, d\] and targets \[n\]"),
        (lambda: objectives.linear_regression([[np.inf]], [1.0]), r"linear_regression: features must be finite, got inf"),
        (lambda: objectives.linear_regression([[1.0]], [1.0], ridge=-1.0), r"ridge must be in \[0, inf\), got -1\.0"),
        (lambda: objectives.logistic_regression([[1.0]], [2.0]), r"labels must be 0 or 1, got \[2\.\]"),
        (lambda: objectives.streaming_regression([0.0, 1.0]), r"eigenvalues must be positive, got 0\.0\. They are variances"),
        (lambda: objectives.streaming_regression([1.0], batch_size=0), r"batch_size must be a whole number of at least 1"),
        (lambda: objectives.streaming_regression([1.0], label_noise=-1), r"label_noise must be in \[0, inf\), got -1"),
        (lambda: objectives.streaming_regression(np.ones(9), batch_size=10**12), r"a batch of 1000000000000 x 9 entries needs"),
        (lambda: objectives.with_noise(objectives.laplacian(2), "pink"), r"kind must be one of: uniform, gaussian, heavy"),
        (lambda: objectives.with_noise(objectives.laplacian(2), scale=0.0), r"with_noise: scale must be positive"),
        (lambda: objectives.with_noise(objectives.laplacian(2), degrees=1.0), r"degrees must be in \(1, inf\], got 1\.0"),
    ],
)  # fmt: skip
def test_bad_input_gets_a_clear_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()
