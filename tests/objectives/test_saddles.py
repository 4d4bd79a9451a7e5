import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab import objectives, rules, training
from jaxopt_lab.core import InputError, precision
from jaxopt_lab.objectives.saddles import planted_index


def test_descent_ends_in_a_minimum_of_the_confined_saddle():
    with precision():
        problem = objectives.quadratic_saddle([-2.0, -1.0, 1.0], confinement=0.5, radius=1e-3)
        trace = training.run(problem, rules.sgd, {"learning_rate": 0.1}, steps=400, every=400)
    np.testing.assert_allclose(trace["loss"][0, -1], problem.truth.minimum, rtol=1e-10)
    np.testing.assert_allclose(np.abs(trace.params[0]), problem.truth.minimizer, atol=1e-6)


def test_starts_are_uniform_in_the_ball():
    problem = objectives.quadratic_saddle(np.array([-1.0, 1.0, 1.0]), radius=0.1)
    radii = [float(jnp.linalg.norm(problem.init(jax.random.key(k)))) / 0.1 for k in range(300)]
    assert max(radii) <= 1 + 1e-6
    assert abs(np.mean(np.power(radii, 3)) - 0.5) < 4 / np.sqrt(12 * 300)  # r^d is uniform


def test_the_planted_index_is_the_share_of_negative_eigenvalues():
    for fraction in (0.0, 0.25, 1.0):
        assert float(jnp.mean(planted_index(8, fraction) < 0)) == fraction
    assert int(jnp.sum(planted_index(8, 1e-6) < 0)) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: planted_index(8, 1.5), r"fraction must be in \[0, 1\], got 1.5"),
        (lambda: objectives.quadratic_saddle([1.0]), "eigenvalues must hold a negative one"),
        (lambda: objectives.quadratic_saddle([-1.0], start=0.0), "start is the saddle itself"),
        (lambda: objectives.quadratic_saddle([-1.0], confinement=-1.0), "A negative one opens the saddle"),
        (lambda: objectives.quadratic_saddle([-1.0], radius=0.0), "radius must be in"),
        (lambda: objectives.degenerate_saddle(2), "degree must be a whole number of at least 3, got 2"),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
