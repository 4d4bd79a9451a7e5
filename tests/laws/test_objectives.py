"""What holds for every objective of the registry."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxopt_lab.core import precision
from jaxopt_lab.objectives import REGISTRY


@pytest.fixture(params=sorted(REGISTRY))
def spec(request):
    return REGISTRY[request.param]


@pytest.fixture
def problem(spec):
    with precision("float64"):
        yield with_vector(spec.example())


def with_vector(problem):
    """The problem itself, or with its tree of parameters laid out as one vector."""
    tree = problem.init(jax.random.key(0))
    if isinstance(tree, jax.Array):
        return problem
    _, unravel = ravel_pytree(tree)
    return dataclasses.replace(
        problem,
        loss=lambda params, batch, key: problem.loss(unravel(params), batch, key),
        init=lambda key: ravel_pytree(problem.init(key))[0],
    )


def start(problem):
    return problem.init(jax.random.key(0)) + 0.1


def test_the_gradient_is_the_slope_of_the_loss(problem):
    point = start(problem)
    direction = jnp.asarray(np.random.default_rng(0).normal(size=point.shape))
    for key in (None, jax.random.key(3)):
        loss = lambda x, key=key: problem.loss(x, problem.data, key)  # noqa: E731

        @jax.jit
        def both(point, direction, loss=loss):
            ends = [loss(point + sign * 1e-5 * direction) for sign in (1, -1)]
            return jnp.sum(jax.grad(loss)(point) * direction), (ends[0] - ends[1]) / 2e-5

        slope, difference = both(point, direction)
        assert float(slope) == pytest.approx(float(difference), rel=1e-6, abs=1e-8)  # step 1e-5: error 1e-10 f'''


def test_the_truth_bounds_the_dense_hessian(spec, problem):
    if problem.truth.smoothness is None:
        pytest.skip("no eigenvalue is known")
    point = jnp.zeros_like(start(problem)) if spec.at_origin else start(problem)
    values = np.linalg.eigvalsh(jax.jit(jax.hessian(problem.full_loss))(point))
    truth = problem.truth
    assert values[-1] <= truth.smoothness * (1 + 1e-10)
    if truth.strong_convexity is not None:
        assert values[0] >= truth.strong_convexity * (1 - 1e-10)
    if truth.eigenvalues is not None:
        np.testing.assert_allclose(np.sort(truth.eigenvalues), values, atol=1e-10)


def test_nothing_lies_below_the_minimum(problem):
    truth = problem.truth
    if truth.minimum is None:
        pytest.skip("no minimum is known")
    assert float(problem.full_loss(start(problem))) >= truth.minimum
    if truth.minimizer is None:
        return
    at_minimizer = jnp.broadcast_to(truth.minimizer, start(problem).shape)
    assert float(problem.full_loss(at_minimizer)) == pytest.approx(truth.minimum, abs=1e-12)


def test_equal_keys_give_equal_losses(problem):
    losses = [problem.loss(start(problem), problem.data, jax.random.key(5)) for _ in range(2)]
    assert losses[0] == losses[1]


def test_the_separable_form_is_the_loss(problem):
    if problem.separable is None:
        pytest.skip("not separable")
    point = start(problem)
    assert float(problem.separable.loss(point, problem.separable.constants)) == float(problem.full_loss(point))


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_in_float32_everything_is_float32(name):
    problem = with_vector(REGISTRY[name].example())
    params = jax.eval_shape(problem.init, jax.random.key(0))
    assert params.dtype == jnp.float32
    loss = jax.eval_shape(lambda point: problem.loss(point, problem.data, jax.random.key(0)), params)
    assert loss.dtype == jnp.float32
