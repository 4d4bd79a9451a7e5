import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxopt_lab import curvature
from jaxopt_lab.core import Composite, InputError, Problem, precision
from jaxopt_lab.curvature import journals
from jaxopt_lab.curvature.quadratures import gauss_quadratures

DTYPES = ("float32", "float64")


def of(values, dtype="float64"):
    return curvature.from_diagonal(jnp.asarray(np.asarray(values, dtype)))


def check(ends, truth):
    """Every pair lies within its error of the true eigenvalue of its rank, counted with multiplicity."""
    truth = np.sort(truth)
    for side, expected in ((ends.largest, truth[::-1]), (ends.smallest, truth)):
        assert side.converged.all()
        np.testing.assert_array_less(np.abs(side.values - expected[: len(side.values)]), side.errors + 1e-300)


@pytest.fixture(params=DTYPES)
def dtype(request):
    with precision(request.param):
        yield request.param


@pytest.mark.parametrize("value", [2.0, -3.0])
def test_a_multiple_of_the_identity_has_as_many_copies_as_are_asked_for(value, dtype):
    ends = curvature.eigenpairs(of(np.full(50, value), dtype), 5, 2)
    check(ends, np.full(50, value))
    assert ends.verified


def test_the_zero_operator_is_exact(dtype):
    ends = curvature.eigenpairs(of(np.zeros(50), dtype), 5, 2)
    assert ends.largest.values.tolist() == [0.0] * 5
    assert ends.smallest.errors.tolist() == [0.0] * 2


@pytest.mark.parametrize("size", [1, 2, 3])
def test_fewer_rows_than_krylov_steps_are_exact(size, dtype):
    truth = np.linspace(-1, 2, size) if size > 1 else np.array([3.0])
    ends = curvature.eigenpairs(of(truth, dtype), size)
    check(ends, truth)
    assert ends.exact


def test_a_matrix_of_rank_27_has_27_eigenvalues_and_no_ghost(dtype):
    truth = np.zeros(500)
    truth[:27] = np.linspace(1, 10, 27)
    ends = curvature.eigenpairs(of(truth, dtype), 40, 1)
    check(ends, truth)
    assert np.abs(ends.largest.values[27:]).max() <= ends.largest.errors.max()


def test_a_gauss_newton_matrix_of_rank_27_has_no_ghost():
    examples, classes = 9, 4  # each example adds one direction a class, but for the sum of the probabilities
    rng = np.random.default_rng(0)
    data = (jnp.asarray(rng.normal(size=(examples, 20)), jnp.float32), jnp.asarray(rng.integers(0, classes, examples)))
    outputs = lambda params, batch: jnp.tanh(batch[0] @ params["in"]) @ params["out"]  # noqa: E731
    criterion = lambda logits, batch: jnp.mean(  # noqa: E731
        optax.softmax_cross_entropy_with_integer_labels(logits, batch[1])
    )
    params = {
        "in": jnp.asarray(rng.normal(size=(20, 16)), jnp.float32),
        "out": jnp.asarray(0.1 * rng.normal(size=(16, 4)), jnp.float32),
    }
    loss = lambda params, batch, key: criterion(outputs(params, batch), batch)  # noqa: E731
    problem = Problem(loss, lambda key: params, data, composite=Composite(outputs, criterion, "categorical"))
    ends = curvature.eigenpairs(curvature.gauss_newton(problem, params), 40, 1)
    values = ends.largest.values
    assert (values[:27] > 1e-3 * values[0]).all()
    assert np.abs(values[27:]).max() <= ends.largest.errors.max()
    assert abs(ends.smallest.values[0]) <= ends.smallest.errors[0]


def test_copies_that_one_krylov_space_cannot_see_are_found():
    truth = np.concatenate([np.linspace(-1, 1, 496), [5.0, 5.0, 5.0, 4.9999]])
    with precision():
        check(curvature.eigenpairs(of(truth), 5, 1), truth)
        unverified = curvature.eigenpairs(of(truth), 5, verify=False)
    assert not unverified.verified  # without the search it says that copies may be missing


def test_a_cluster_narrower_than_the_tolerance_is_counted_in_full():
    truth = np.concatenate([np.linspace(-1, 1, 496), 5 + 1e-6 * np.arange(4)])
    with precision():
        check(curvature.eigenpairs(of(truth), 4), truth)


def test_a_condition_number_of_1e6_is_resolved_at_both_ends():
    truth = np.geomspace(1e-6, 1, 400)
    with precision():
        ends = curvature.eigenpairs(of(truth), 3, 3)
    check(ends, truth)


def test_restarts_within_few_vectors_reach_the_same_values():
    truth = np.geomspace(1e-3, 1, 500)
    with precision():
        roomy, tight = (curvature.eigenpairs(of(truth), 3, max_vectors=m, verify=False) for m in (200, 32))
    np.testing.assert_allclose(tight.largest.values, truth[::-1][:3], rtol=1e-5)  # the tolerance
    assert tight.products >= roomy.products


def test_each_end_is_stopped_by_its_own_residual():
    truth = np.concatenate([np.linspace(0.01, 1, 499), [10.0]])
    with precision():
        ends = curvature.eigenpairs(of(truth), 1, 1, verify=False)
    assert ends.largest.products < ends.smallest.products == ends.products


def test_eigenvectors_are_orthonormal_and_have_their_residuals():
    truth = np.linspace(0, 1, 500) ** 3
    with precision():
        operator = of(truth)
        ends = curvature.eigenpairs(operator, 4, tolerance=1e-8, accuracy_of="vectors")
        rows = np.asarray(ends.largest.vectors)
        np.testing.assert_allclose(rows @ rows.T, np.eye(4), atol=1e-12)
        for value, row, error in zip(ends.largest.values, rows, ends.largest.errors, strict=True):
            assert np.linalg.norm(truth * row - value * row) <= 1.01 * error + 1e-14


def test_what_does_not_converge_comes_back_as_a_bound():
    truth = np.geomspace(1e-6, 1, 500)
    with precision():
        ends = curvature.eigenpairs(of(truth), 1, 1, max_products=40)
    assert not ends.smallest.converged[0]
    assert not ends.verified
    assert abs(ends.smallest.values[0] - truth[0]) <= ends.smallest.errors[0]


def test_the_error_is_never_below_the_rounding_of_the_products():
    ends = curvature.eigenpairs(of(np.geomspace(1e-8, 1, 500), "float32"), 1, 1)
    assert ends.smallest.errors[0] >= 2.0**-23


def test_a_search_continues_from_its_file_with_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "_SECONDS", 0)
    operator = of(np.geomspace(1e-4, 1, 500), "float32")

    class StoppedError(Exception):
        pass

    def stop(progress):
        if progress.products >= 20:
            raise StoppedError

    file = tmp_path / "search.npz"
    with pytest.raises(StoppedError):
        curvature.eigenpairs(operator, 2, max_products=60, checkpoint=file, progress=stop)
    resumed = curvature.eigenpairs(operator, 2, max_products=60, checkpoint=file)
    unbroken = curvature.eigenpairs(operator, 2, max_products=60)
    np.testing.assert_array_equal(resumed.largest.values, unbroken.largest.values)
    with pytest.raises(InputError, match="belongs to another operator"):
        curvature.eigenpairs(of(np.geomspace(1e-4, 2, 500), "float32"), 2, max_products=60, checkpoint=file)
    with pytest.raises(InputError, match="it holds 500 vectors, 39 are allowed"):
        curvature.eigenpairs(operator, 2, max_products=60, checkpoint=file, max_vectors=64)


def test_a_search_of_another_operator_is_told_where_the_pair_found_is_the_same(tmp_path):
    file, diagonal = tmp_path / "search.npz", jnp.geomspace(1e-4, 1, 500)
    curvature.eigenpairs(curvature.from_diagonal(diagonal), 1, checkpoint=file)
    with pytest.raises(InputError, match="belongs to another operator"):
        curvature.eigenpairs(curvature.from_diagonal(diagonal.at[0].set(-0.5)), 1, 1, checkpoint=file)


def test_examples_that_are_read_anew_are_part_of_what_a_stored_search_belongs_to(tmp_path):
    examples = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")

    def operator(order, examples):
        problem = Problem(lambda w, batch, key: jnp.mean(jnp.sum(batch * w, -1) ** 2), jnp.ones(3), name="rows")
        return curvature.hessian(problem, jnp.ones(3), data=lambda: (examples[rows] for rows in order))

    file, order = tmp_path / "search.npz", np.arange(12).reshape(3, 4)
    first = curvature.eigenpairs(operator(order, examples), 1, checkpoint=file)
    again = curvature.eigenpairs(operator(order[::-1], examples), 1, checkpoint=file)
    assert again.products - first.products <= 3  # the search itself was at its end
    examples[7, 1] += 1
    with pytest.raises(InputError, match="belongs to another operator"):
        curvature.eigenpairs(operator(order, examples), 1, checkpoint=file)


def test_a_product_that_cannot_be_traced_is_not_stored(tmp_path):
    operator = curvature.operator(lambda v: jnp.asarray(2 * np.asarray(v)), jnp.zeros(3))
    with pytest.raises(InputError, match="Leave out `checkpoint`, or write the product in JAX"):
        curvature.eigenpairs(operator, 1, checkpoint=tmp_path / "search.npz")
    assert not list(tmp_path.iterdir())


def test_progress_forecasts_the_products():
    seen = []
    curvature.eigenpairs(of(np.linspace(0, 1, 1000) ** 2, "float32"), 2, verify=False, progress=seen.append)
    assert seen[-1].residual <= 1
    forecasts = [progress.forecast for progress in seen[len(seen) // 2 :]]
    assert all(forecast is not None for forecast in forecasts)
    assert seen[len(seen) // 2].forecast < 10 * seen[-1].products


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_largest": 300}, r"num_largest \+ num_smallest must be in \[1, 200\], got 300"),
        ({"num_largest": 0}, r"must be in \[1, 200\], got 0"),
        ({"num_largest": -1}, "num_largest must be a whole number of at least 0"),
        ({"tolerance": 0.0}, "tolerance must be positive"),
        ({"accuracy_of": "pairs"}, "accuracy_of must be one of: values, vectors"),
        ({"max_products": 0}, "max_products must be a whole number"),
        ({"max_vectors": 5}, "1 pairs need 9 vectors of .* MiB at once, 5 are allowed"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        curvature.eigenpairs(of(np.ones(200), "float32"), **arguments)


def test_too_little_memory_is_said_before_anything_is_allocated(monkeypatch):
    monkeypatch.setattr("jaxopt_lab.curvature.lanczos.available_memory", lambda: 5 * 800)
    with pytest.raises(InputError, match="5 fit in memory"):
        curvature.eigenpairs(of(np.ones(200), "float32"), 3)


@pytest.mark.parametrize("kind", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit])
def test_a_vector_takes_on_each_device_its_part_alone(monkeypatch, kind):
    place = NamedSharding(jax.make_mesh((4,), ("x",), axis_types=(kind,)), PartitionSpec("x"))
    spread = curvature.from_diagonal(jax.device_put(jnp.linspace(1.0, 2.0, 200), place))
    assert (of(np.ones(200), "float32").vector_bytes, spread.vector_bytes) == (800, 200)
    for module, vectors in (("lanczos", 20), ("quadratures", 8), ("traces", 8)):
        monkeypatch.setattr(f"jaxopt_lab.curvature.{module}.available_memory", lambda room=200 * vectors: room)
    for search in (
        lambda operator: curvature.eigenpairs(operator, 3, max_products=20),
        lambda operator: gauss_quadratures(operator, 1, 5),
        lambda operator: curvature.trace(operator, num_products=12),
    ):
        search(spread)
        with pytest.raises(InputError, match=r"fit in memory|are available"):
            search(of(np.ones(200), "float32"))


def test_vectors_may_be_any_pytree():
    tree = {"matrix": jnp.arange(6.0).reshape(2, 3), "scalar": jnp.asarray(9.0), "empty": jnp.zeros((0, 2))}
    ends = curvature.eigenpairs(curvature.from_diagonal(tree), 2)
    np.testing.assert_allclose(ends.largest.values, [9.0, 5.0], rtol=1e-6)  # exact space; float32 inner products
    assert ends.largest.vectors["matrix"].shape == (2, 2, 3)


def test_a_warm_start_is_used_and_a_zero_one_replaced():
    truth = np.linspace(0, 1, 500) ** 4
    with precision():
        operator = of(truth)
        cold = curvature.eigenpairs(operator, 1, verify=False)
        warm = curvature.eigenpairs(operator, 1, start=cold.largest.vectors[0], verify=False)
        zero = curvature.eigenpairs(operator, 1, start=jax.tree.map(jnp.zeros_like, cold.largest.vectors[0]))
    assert warm.products < cold.products
    np.testing.assert_allclose(zero.largest.values, [1.0], rtol=1e-5)
