import jax
import numpy as np

from jaxopt_lab import curvature, problems
from jaxopt_lab.core import precision
from jaxopt_lab.problems.flattening import flattened


def test_a_flattened_problem_has_the_same_loss_gradient_and_curvature():
    with precision():
        network = problems.load_problem("digits-mlp", width=3, depth=1, num_examples=20)
        flat = flattened(network)
        params = network.init(jax.random.key(1))
        vector, rebuild = jax.flatten_util.ravel_pytree(params)
        np.testing.assert_array_equal(flat.init(jax.random.key(1)), vector)
        assert float(flat.full_loss(vector)) == float(network.full_loss(params))
        gradient = jax.flatten_util.ravel_pytree(jax.jit(jax.grad(network.full_loss))(params))[0]
        np.testing.assert_allclose(jax.jit(jax.grad(flat.full_loss))(vector), gradient, rtol=1e-12, atol=1e-14)
        along = np.random.default_rng(0).normal(size=vector.shape)
        for operator in (curvature.hessian, curvature.gauss_newton):
            whole = jax.flatten_util.ravel_pytree(operator(network, params)(rebuild(along)))[0]
            # float64, sums in another order.
            np.testing.assert_allclose(operator(flat, vector)(along), whole, rtol=1e-9, atol=1e-12)
