import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab import objectives
from jaxopt_lab.core import InputError, precision


@pytest.fixture(scope="module")
def learned():
    """A student of four neurons for three, with its loss, gradient and Hessian compiled once."""
    with precision():
        problem = objectives.student_teacher(4, 3)
        yield (
            problem,
            jax.jit(lambda w: (*jax.value_and_grad(problem.full_loss)(w), jax.hessian(problem.full_loss)(w))),
        )


def random_weights(seed):
    return np.random.default_rng(seed).normal(size=12)


def test_the_closed_form_is_the_expectation_over_inputs(learned):
    _, derivatives = learned
    weights = random_weights(0)
    inputs = np.random.default_rng(1).normal(size=(200_000, 3))
    errors = np.maximum(inputs @ weights.reshape(4, 3).T, 0).sum(1) - np.maximum(inputs, 0).sum(1)
    samples = 0.5 * errors**2
    loss = float(derivatives(weights)[0])
    assert abs(samples.mean() - loss) < 4 * samples.std() / np.sqrt(len(samples))


def test_gradient_and_hessian_are_the_differences_of_the_loss(learned):
    _, derivatives = learned
    weights, steps = random_weights(2), 1e-5 * np.eye(12)
    _, gradient, hessian = derivatives(weights)
    beside = [(derivatives(weights + step), derivatives(weights - step)) for step in steps]
    np.testing.assert_allclose(gradient, [(a[0] - b[0]) / 2e-5 for a, b in beside], atol=1e-9)  # error 1e-10 f'''
    np.testing.assert_allclose(hessian, [(a[1] - b[1]) / 2e-5 for a, b in beside], atol=1e-8)


def test_at_parallel_neurons_everything_is_finite_and_right(learned):
    # Two neurons along the teacher's first, one against another, one free.
    weights = np.array([0.7, 0, 0, 1.3, 0, 0, 0, -0.4, 0, 0.1, 0.5, -0.2])
    _, derivatives = learned
    _, gradient, hessian = derivatives(weights)
    near, far = (derivatives(weights + sign * 1e-6 * random_weights(3)) for sign in (1, -1))
    assert np.isfinite(hessian).all()
    np.testing.assert_allclose(gradient, (near[1] + far[1]) / 2, atol=1e-9)
    np.testing.assert_allclose(hessian @ random_weights(3), (near[1] - far[1]) / 2e-6, atol=1e-5)


def test_the_teacher_has_the_loss_zero_and_no_gradient(learned):
    problem, derivatives = learned
    loss, gradient, _ = derivatives(problem.truth.minimizer)
    assert abs(float(loss)) < 1e-15
    np.testing.assert_allclose(gradient, 0, atol=1e-15)


def test_the_start_has_the_stated_variance():
    weights = objectives.student_teacher(100).init(jax.random.key(0))
    assert float(jnp.mean(weights**2)) == pytest.approx(0.01, rel=4 * np.sqrt(2 / 10_000))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 4), "width must be at least num_teachers, got 3 for 4. With fewer neurons than the teacher"),
        ((3, 1), "num_teachers must be a whole number of at least 2, got 1"),
        ((2.5, 2), "width must be a whole number of at least 1, got 2.5"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        objectives.student_teacher(*arguments)
