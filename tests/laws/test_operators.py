"""What holds for every operator: the dense float64 matrix, symmetry, linearity, chunks, blocks, dtypes, sharding."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxopt_lab import curvature
from jaxopt_lab.core import Composite, Problem, precision
from jaxopt_lab.curvature.operators import random_vector
from jaxopt_lab.curvature.points import locate

NUM, WIDTH, CLASSES = 23, 4, 3


def outputs(params, batch):
    hidden = jnp.tanh(batch["x"] @ params["first"]["kernel"] + params["first"]["bias"])
    return hidden @ params["last"]["kernel"]


def criterion(logits, batch):
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]))


def loss(params, batch, key):
    return criterion(outputs(params, batch), batch)


def init(key):
    keys = jax.random.split(key, 3)
    return {
        "first": {"bias": jax.random.normal(keys[0], (WIDTH,)), "kernel": jax.random.normal(keys[1], (6, WIDTH))},
        "last": {"kernel": jax.random.normal(keys[2], (WIDTH, CLASSES))},
    }


def make_problem(num=NUM):
    rng = np.random.default_rng(0)
    data = {"x": jnp.asarray(rng.normal(size=(num, 6))), "y": jnp.asarray(rng.integers(0, CLASSES, num))}
    return Problem(loss, init, data, composite=Composite(outputs, criterion, "categorical"), name="small")


def adam_preconditioned(problem, params, **options):
    gradient = locate(problem, params).gradient
    state = optax.adam(0.1).update(gradient, optax.adam(0.1).init(gradient), gradient)[1]
    return curvature.preconditioned(curvature.hessian(problem, params, **options), curvature.preconditioner_of(state))


def single_gradients(params, data):
    """Flat gradients of the examples [n, d], one at a time."""
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    rows = [jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], data) for i in range(NUM)]
    gradient = jax.jit(jax.grad(lambda w, row: loss(unravel(w), row, None)))
    return np.stack([np.asarray(gradient(flat, row)) for row in rows])


def dense_hessian(params, data):
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    return np.asarray(jax.jit(jax.hessian(lambda w: loss(unravel(w), data, None)))(flat))


def dense_gauss_newton(params, data):
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    model = lambda w: outputs(unravel(w), data)  # noqa: E731
    jacobian = np.asarray(jax.jit(jax.jacobian(model))(flat))
    shares = np.asarray(jax.nn.softmax(model(flat)))
    middle = np.einsum("nc,cd->ncd", shares, np.eye(CLASSES)) - shares[:, :, None] * shares[:, None]
    return np.einsum("nci,ncd,ndj->ij", jacobian, middle, jacobian) / NUM


def dense_covariance(params, data):
    gradients = single_gradients(params, data)
    centred = gradients - gradients.mean(0)
    return centred.T @ centred / NUM


def dense_second_moment(params, data):
    gradients = single_gradients(params, data)
    return gradients.T @ gradients / NUM


def dense_preconditioned(params, data):
    gradient = jax.flatten_util.ravel_pytree(jax.grad(lambda w: loss(w, data, None))(params))[0]
    scale = 1 / np.sqrt(np.abs(np.asarray(gradient)) + 1e-8)  # after one step Adam's second moment is the square
    return scale[:, None] * dense_hessian(params, data) * scale


OPERATORS = {
    "hessian": (curvature.hessian, dense_hessian),
    "gauss_newton": (curvature.gauss_newton, dense_gauss_newton),
    "fisher": (curvature.fisher, dense_gauss_newton),
    "empirical_fisher": (curvature.empirical_fisher, dense_second_moment),
    "gradient_covariance": (curvature.gradient_covariance, dense_covariance),
    "preconditioned": (adam_preconditioned, dense_preconditioned),
}


@pytest.fixture(params=OPERATORS)
def pair(request):
    return OPERATORS[request.param]


def dense(operator):
    """The operator's matrix, column by column."""
    zero = jax.tree.map(lambda like: jnp.zeros(like.shape, like.dtype), operator.like)
    flat, unravel = jax.flatten_util.ravel_pytree(zero)
    columns = [jax.flatten_util.ravel_pytree(operator(unravel(row)))[0] for row in np.eye(flat.size, dtype=flat.dtype)]
    return np.stack(columns, axis=1)


def test_is_the_dense_matrix_in_float64(pair):
    factory, reference = pair
    with precision():
        problem = make_problem()
        params = problem.init(jax.random.key(0))
        expected = reference(params, problem.data)
        # Rounding of float64 in sums of 23 examples.
        np.testing.assert_allclose(dense(factory(problem, params)), expected, atol=1e-12 * np.abs(expected).max())


def test_is_symmetric_linear_and_semidefinite_where_it_says_so(pair):
    factory, _ = pair
    with precision():
        problem = make_problem()
        operator = factory(problem, problem.init(jax.random.key(1)))
        matrix = dense(operator)
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-13 * np.abs(matrix).max())
        u, v = (random_vector(jax.random.key(k), operator.like) for k in (2, 3))
        both = operator(jax.tree.map(lambda a, b: 2 * a - b, u, v))
        apart = jax.tree.map(lambda a, b: 2 * a - b, operator(u), operator(v))
        for left, right in zip(jax.tree.leaves(both), jax.tree.leaves(apart), strict=True):
            np.testing.assert_allclose(left, right, atol=1e-12 * np.abs(matrix).max())
        if operator.semidefinite:
            assert np.linalg.eigvalsh(matrix).min() > -1e-12 * np.abs(matrix).max()


def test_a_ragged_last_chunk_counts_each_example_once(pair):
    factory, _ = pair
    with precision():
        problem = make_problem()
        params = problem.init(jax.random.key(0))
        whole = dense(factory(problem, params))
        np.testing.assert_allclose(dense(factory(problem, params, chunk_size=9)), whole, atol=1e-12)


def test_data_may_come_as_an_iteration_over_batches(pair):
    factory, _ = pair
    problem = make_problem()
    params = problem.init(jax.random.key(0))

    def batches():
        for low in range(0, NUM, 10):
            yield jax.tree.map(lambda leaf, low=low: leaf[low : low + 10], problem.data)

    streamed, whole = factory(problem, params, data=batches), factory(problem, params)
    vector = random_vector(jax.random.key(4), whole.like)
    for left, right in zip(jax.tree.leaves(streamed(vector)), jax.tree.leaves(whole(vector)), strict=True):
        np.testing.assert_allclose(left, right, rtol=2e-5, atol=2e-5)  # float32, another order of sums


def test_a_block_is_the_block_of_the_matrix(pair):
    factory, reference = pair
    if reference is dense_preconditioned:
        pytest.skip("a preconditioner is of all parameters")
    with precision():
        problem = make_problem()
        params = problem.init(jax.random.key(0))
        whole = dense(factory(problem, params))
        first = WIDTH + 6 * WIDTH
        np.testing.assert_allclose(dense(factory(problem, params, block="last")), whole[first:, first:], atol=1e-12)
        np.testing.assert_allclose(
            dense(factory(problem, params, block="first/bias")), whole[:WIDTH, :WIDTH], atol=1e-12
        )


def test_runs_inside_of_compiled_functions_with_the_same_result(pair):
    factory, _ = pair
    problem = make_problem()
    operator = factory(problem, problem.init(jax.random.key(0)))
    vector = random_vector(jax.random.key(4), operator.like)
    compiled = jax.jit(lambda product, v: product(v))(operator.product, vector)
    for left, right in zip(jax.tree.leaves(compiled), jax.tree.leaves(operator(vector)), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5)  # one program, inlined in another: 84 eps


def test_bfloat16_parameters_give_the_float32_operator_at_the_same_point(pair):
    factory, _ = pair
    problem = make_problem()
    coarse = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), problem.init(jax.random.key(0)))
    fine = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), coarse)
    if factory is adam_preconditioned:
        coarse_moments = dense(curvature.hessian(problem, coarse))
        np.testing.assert_array_equal(coarse_moments, dense(curvature.hessian(problem, fine)))
        return
    np.testing.assert_array_equal(dense(factory(problem, coarse)), dense(factory(problem, fine)))


KINDS = [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit]
needs_two = pytest.mark.skipif(jax.device_count() < 2, reason="needs two devices")


def spread(tree, kind):
    """The tree on two devices, on a mesh of the given kind: what `jax.make_mesh` gives by itself is Explicit."""
    mesh = jax.make_mesh((2,), ("shard",), axis_types=(kind,))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec("shard")))


@needs_two
@pytest.mark.parametrize("kind", KINDS)
def test_sharded_parameters_give_the_same_products_in_their_own_sharding(pair, kind):
    factory, _ = pair
    with precision():
        problem = make_problem()
        params = problem.init(jax.random.key(0))
        sharded = spread(params, kind)
        operator, whole = factory(problem, sharded), factory(problem, params)
        vector = random_vector(jax.random.key(4), operator.like)
        for leaf, given in zip(jax.tree.leaves(vector), jax.tree.leaves(sharded), strict=True):
            assert leaf.sharding.is_equivalent_to(given.sharding, leaf.ndim)
        product = operator(vector)
        assert jax.tree.map(jax.typeof, product) == jax.tree.map(jax.typeof, sharded)  # on Explicit axes, how it lies
        local = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), vector)
        apart, together = (jax.flatten_util.ravel_pytree(tree)[0] for tree in (product, whole(local)))
        # Sums in another order. Adam's preconditioner is |g|, of whose entries the smallest is 1/716 of the largest: its
        # rounding, relative to it, is 716 eps, 1.6e-13 in float64 (and 8.5e-5 in float32, which varies by processor).
        np.testing.assert_allclose(apart, together, atol=1e-11 * np.abs(together).max())


@needs_two
@pytest.mark.parametrize("kind", KINDS)
def test_sharded_data_give_the_same_products(pair, kind):
    factory, _ = pair
    with precision():
        problem = make_problem(24)
        params = problem.init(jax.random.key(0))
        expected = dense(factory(problem, params))
        sharded = dataclasses.replace(problem, data=spread(problem.data, kind))
        # Sums in another order, amplified by at most 716: see above.
        np.testing.assert_allclose(dense(factory(sharded, params)), expected, atol=1e-11 * np.abs(expected).max())
        chunked = factory(sharded, params, chunk_size=9)
        np.testing.assert_allclose(dense(chunked), expected, atol=1e-11 * np.abs(expected).max())
