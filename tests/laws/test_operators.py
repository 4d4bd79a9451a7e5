"""What holds for every operator: the dense float64 matrix, symmetry, linearity, chunks, blocks, dtypes, sharding."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxopt_lab import curvature
from jaxopt_lab.core import Composite, Problem, precision

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


def make_problem():
    rng = np.random.default_rng(0)
    data = {"x": jnp.asarray(rng.normal(size=(NUM, 6))), "y": jnp.asarray(rng.integers(0, CLASSES, NUM))}
    return Problem(loss, init, data, composite=Composite(outputs, criterion, "categorical"), name="small")


def adam_preconditioned(problem, params, **options):
    state = optax.adam(0.1).update(jax.grad(problem.full_loss)(params), optax.adam(0.1).init(params), params)[1]
    return curvature.preconditioned(curvature.hessian(problem, params, **options), curvature.preconditioner_of(state))


def single_gradients(params, data):
    """Flat gradients of the examples [n, d], one at a time."""
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    rows = [jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], data) for i in range(NUM)]
    return np.stack([np.asarray(jax.grad(lambda w, row=row: loss(unravel(w), row, None))(flat)) for row in rows])


def dense_hessian(params, data):
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    return np.asarray(jax.hessian(lambda w: loss(unravel(w), data, None))(flat))


def dense_gauss_newton(params, data):
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    model = lambda w: outputs(unravel(w), data)  # noqa: E731
    jacobian = np.asarray(jax.jacobian(model)(flat))
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
        u, v = (curvature.random_vector(jax.random.key(k), operator.like) for k in (2, 3))
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
    vector = curvature.random_vector(jax.random.key(4), whole.like)
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
    vector = curvature.random_vector(jax.random.key(4), operator.like)
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


@pytest.mark.skipif(jax.device_count() < 2, reason="needs two devices")
def test_sharded_parameters_give_the_same_products_in_their_own_sharding(pair):
    factory, _ = pair
    problem = make_problem()
    params = problem.init(jax.random.key(0))
    mesh = jax.make_mesh((2,), ("shard",), axis_types=(jax.sharding.AxisType.Auto,))
    place = NamedSharding(mesh, PartitionSpec("shard"))
    sharded = jax.tree.map(lambda leaf: jax.device_put(leaf, place), params)
    operator, whole = factory(problem, sharded), factory(problem, params)
    vector = curvature.random_vector(jax.random.key(4), operator.like)
    assert all(leaf.sharding.is_equivalent_to(place, leaf.ndim) for leaf in jax.tree.leaves(vector))
    local = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), vector)
    apart, together = (jax.flatten_util.ravel_pytree(op(v))[0] for op, v in ((operator, vector), (whole, local)))
    np.testing.assert_allclose(apart, together, atol=1e-5 * np.abs(together).max())  # float32, sums in another order
    if factory is not curvature.hessian:
        return
    ends = curvature.eigenpairs(operator, 2, 1)
    assert all(not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(ends.largest.vectors))
    np.testing.assert_allclose(ends.largest.values, curvature.eigenpairs(whole, 2, 1).largest.values, rtol=1e-5)
