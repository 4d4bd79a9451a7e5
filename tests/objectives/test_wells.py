import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab import objectives, rules, training
from jaxopt_lab.core import InputError, precision


def test_the_valleys_spectrum_is_that_of_the_dense_hessian():
    with precision():
        problem = objectives.rosenbrock(5)
        values = np.linalg.eigvalsh(jax.hessian(problem.full_loss)(problem.truth.minimizer))
    np.testing.assert_allclose(problem.truth.eigenvalues, values, rtol=1e-9)
    assert objectives.rosenbrock(3000).truth.eigenvalues is None


def test_the_sharpness_of_two_layers_is_that_of_their_minimum():
    with precision():
        problem = objectives.two_layers(2)
        values = np.linalg.eigvalsh(jax.hessian(problem.full_loss)(jnp.array([1.0, 2.0, -2.0, 1.0])))
    np.testing.assert_allclose(values, [0, 0, 0, 5], atol=1e-12)  # u.v = 0 and (5 + 5) / 2


def test_a_catapult_lands_where_it_is_stable():
    with precision():
        problem = objectives.two_layers(512, sharpness=1.0)
        trace = training.run(problem, rules.sgd, {"learning_rate": [1.0, 3.0, 5.0]}, steps=300, every=10)
    sharpness = np.sum(np.square(trace.params), axis=1) / 512
    assert sharpness[0] == pytest.approx(1.0, rel=0.02)  # lazy: kept up to the initial loss over the width
    assert 3.0 * sharpness[1] < 2
    assert not np.isfinite(sharpness[2])


def test_the_lower_well_counts():
    problem = objectives.two_wells((4.0, 1.0), (0.0, 3.0), dim=2)
    assert float(problem.full_loss(jnp.array([1.0, 0.0]))) == 2.0
    assert float(problem.full_loss(jnp.array([2.0, 1.0]))) == 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: objectives.two_wells((1.0,)), "needs two eigenvalues"),
        (lambda: objectives.two_wells(centers=(1.0, 1.0)), "two different centers"),
        (lambda: objectives.two_wells((1.0, -1.0)), "sharpness must be positive"),
        (lambda: objectives.two_layers(0), "width must be a whole number"),
        (lambda: objectives.two_layers(2, sharpness=0.0), "sharpness must be positive"),
        (lambda: objectives.rosenbrock(1), "dim must be a whole number of at least 2"),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
