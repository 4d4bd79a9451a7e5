import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab import objectives, rules, theory, training
from jaxopt_lab.core import InputError, precision
from jaxopt_lab.objectives.phase_retrieval import PHASE_SADDLE_LOSS, PHASE_SADDLE_RADIUS


def test_saddles_and_minimizers_have_the_eigenvalues_of_theory():
    with precision():
        problem = objectives.phase_retrieval(5)
        hessian = jax.jit(jax.hessian(problem.full_loss))
        saddle = jnp.zeros(5).at[2].set(PHASE_SADDLE_RADIUS)
        np.testing.assert_allclose(np.linalg.eigvalsh(hessian(saddle)), [-2, 0, 0, 0, 2], atol=1e-12)
        np.testing.assert_allclose(np.linalg.eigvalsh(hessian(problem.truth.minimizer)), problem.truth.eigenvalues)
        np.testing.assert_allclose(np.linalg.eigvalsh(hessian(jnp.zeros(5))), [-3, -1, -1, -1, -1], atol=1e-12)
        assert float(problem.full_loss(saddle)) == pytest.approx(PHASE_SADDLE_LOSS, rel=1e-14)


def test_the_population_is_the_mean_of_samples():
    with precision():
        point = jnp.array([0.3, 0.5, -0.2])
        sample = objectives.phase_retrieval(3, num_examples=200_000)
        population = objectives.phase_retrieval(3).full_loss(point)
        # The loss of one example has a deviation of about 2.5.
        assert float(sample.full_loss(point)) == pytest.approx(float(population), abs=4 * 2.5 / np.sqrt(200_000))


def test_descent_leaves_the_saddles_when_the_law_says():
    rate, dim = 0.1, 1000
    with precision():
        trace = training.run(
            objectives.phase_retrieval(dim), rules.sgd, {"learning_rate": rate}, steps=80, seeds=np.arange(60),
            probes=[training.coordinates(0)],
        )  # fmt: skip
    steps = np.argmax(np.abs(trace["coordinates"][:, :, 0]) > 0.5, axis=1)
    law = theory.escapes.random_escape_time(2 * rate, PHASE_SADDLE_RADIUS / np.sqrt(dim), 0.5)
    # The curvature along the way out weakens as |x.x*| grows: the law of the saddle is a few steps early.
    assert 0 < np.mean(steps) - law.mean < 3
    assert np.std(steps) == pytest.approx(law.deviation, rel=0.35)  # 60 draws of a skewed law


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: objectives.phase_retrieval(1), "dim must be a whole number of at least 2"),
        (lambda: objectives.phase_retrieval(4, num_examples=3), "With fewer, other vectors have the same squares"),
        (lambda: objectives.phase_retrieval(10**6, num_examples=10**9), "Take fewer"),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
