import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import minibatch, noise_scale


def test_the_isotropic_scale_is_that_of_sampled_gradients():
    rng = np.random.default_rng(0)
    dim, samples, error = 30, 200000, np.full(30, 0.2)
    inputs = rng.standard_normal((samples, dim))
    gradients = inputs * (inputs @ error - 0.5 * rng.standard_normal(samples))[:, None]
    trace = gradients.var(0).sum()
    expected = noise_scale.isotropic_noise_scale(dim, error @ error, 0.25)
    assert noise_scale.simple_noise_scale(trace, error @ error) == pytest.approx(expected, rel=0.02)  # ~4 s.e.


def test_the_published_traces_are_reproduced():
    assert noise_scale.isotropic_noise_scale(400) == 401
    assert noise_scale.isotropic_noise_scale(400, 1.0, 9.0) == 4001


def test_the_best_learning_rate_is_the_exact_isotropic_one():
    batch = np.array([1, 10, 1000, np.inf])
    scale = noise_scale.isotropic_noise_scale(500)
    np.testing.assert_allclose(
        noise_scale.optimal_learning_rate(batch, scale),
        minibatch.isotropic_optimal_learning_rate(500, batch),
        rtol=1e-15,
    )


def test_steps_and_examples_lie_on_the_hyperbola():
    batch = np.geomspace(1, 1e4, 9)
    scale = noise_scale.isotropic_noise_scale(1000)
    product = (noise_scale.relative_steps(batch, scale) - 1) * (noise_scale.relative_examples(batch, scale) - 1)
    np.testing.assert_allclose(product, 1, rtol=1e-12)  # subtracting 1 costs three digits at the ends
    examples = noise_scale.relative_steps(batch, scale) * batch / scale
    np.testing.assert_allclose(examples, noise_scale.relative_examples(batch, scale), rtol=1e-13)


def test_two_batches_recover_the_parts_that_their_norms_are_made_of():
    estimate = noise_scale.two_batch_estimate(2.0 + 7.0 / 64, 2.0 + 7.0 / 4096, 64, 4096)
    assert estimate.squared_gradient == pytest.approx(2.0, rel=1e-13)
    assert estimate.noise_trace == pytest.approx(7.0, rel=1e-12)


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match=r"^two_batch_estimate: small_batch must be below large_batch, got 8.0 and 8"):
        noise_scale.two_batch_estimate(1.0, 1.0, 8, 8)
    with pytest.raises(InputError, match=r"^simple_noise_scale: squared_gradient must be in \(0, inf\), got 0"):
        noise_scale.simple_noise_scale(1.0, 0.0)
