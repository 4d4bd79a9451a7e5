"""Traces and Frobenius norms against known spectra: exact where they must be, covered where they are sampled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab.core import InputError, precision
from jaxopt_lab.curvature import from_diagonal, from_matrix, operator
from jaxopt_lab.curvature.traces import frobenius, trace

DIM = 48
REPETITIONS = 200


def rotated(eigenvalues, seed: int = 0) -> np.ndarray:
    """A dense matrix with these eigenvalues in a random basis."""
    noise = np.random.default_rng(seed).normal(size=(len(eigenvalues), len(eigenvalues)))
    basis = np.linalg.qr(noise)[0]
    matrix = (basis * eigenvalues) @ basis.T
    return (matrix + matrix.T) / 2


DECAYING = np.concatenate([[30.0, -20.0], np.linspace(-1, 2, DIM - 2)])


def holds(estimate, truth) -> bool:
    return estimate.interval[0] <= truth <= estimate.interval[1]


@pytest.mark.parametrize(
    ("estimator", "num_products", "truth"), [(trace, 12, DECAYING.sum()), (frobenius, 24, np.linalg.norm(DECAYING))]
)
def test_the_nominal_interval_covers_the_truth_as_often_as_it_says(estimator, num_products, truth):
    matrix = from_matrix(jnp.asarray(rotated(DECAYING), jnp.float32))
    keys = jax.random.split(jax.random.key(1), REPETITIONS)
    found = [estimator(matrix, num_products=num_products, key=key) for key in keys]
    coverage = np.mean([holds(estimate, truth) for estimate in found])
    assert 0.90 <= coverage <= 0.99  # three standard deviations of 200 trials of .95 are .046
    mean, spread = np.mean([e.value for e in found]), np.std([e.value for e in found], ddof=1)
    if estimator is trace:  # the root of an unbiased square is biased
        assert abs(mean - truth) < 4 * spread / np.sqrt(REPETITIONS)
    assert {e.cost for e in found} == {num_products}
    assert {e.level for e in found} == {0.95}


def test_the_sketch_takes_the_variance_of_the_large_eigenvalues():
    matrix = from_matrix(jnp.asarray(rotated(np.concatenate([[1e4], np.full(DIM - 1, 1e-2)])), jnp.float32))
    estimate = trace(matrix, num_products=12, key=jax.random.key(0))
    assert estimate.standard_error < 0.1  # Hutchinson's would be near 1e4
    assert holds(estimate, 1e4 + 1e-2 * (DIM - 1))


def test_an_operator_of_low_rank_comes_out_up_to_rounding():
    eigenvalues = np.concatenate([[3.0, -1.0, 0.5], np.zeros(DIM - 3)])
    with precision("float64"):
        matrix = from_matrix(jnp.asarray(rotated(eigenvalues)))
        found, norm = trace(matrix, num_products=18), frobenius(matrix, num_products=18)
    assert found.value == pytest.approx(2.5, rel=1e-13)
    assert norm.value == pytest.approx(np.sqrt(10.25), rel=1e-13)
    assert found.interval[1] - found.interval[0] < 1e-13 * DIM
    assert found.cost == 4 + 3 + 6  # one image too many for the sketch, its three rows, and the probes


@pytest.mark.parametrize(("entry", "size"), [(2.0, 1), (0.0, 1), (2.0, 5), (-2.0, 5)])
def test_a_small_operator_is_exact_from_d_products(entry, size):
    diagonal = from_diagonal({"a": jnp.full(size, entry), "b": jnp.zeros((0, 2))})
    found, norm = trace(diagonal, num_products=6), frobenius(diagonal, num_products=6)
    assert found.value == pytest.approx(entry * size, rel=1e-6)
    assert norm.value == pytest.approx(abs(entry) * np.sqrt(size), rel=1e-6)
    assert (found.level, found.cost, found.standard_error) == (1.0, size, 0.0)
    assert holds(found, entry * size)


def test_the_zero_operator_has_no_width():
    zero = from_diagonal(jnp.zeros(DIM))
    assert trace(zero, num_products=12).interval == (0.0, 0.0)
    assert frobenius(zero, num_products=12).interval == (0.0, 0.0)


def test_a_semidefinite_operator_never_has_a_lower_bound_below_what_was_seen():
    matrix = from_matrix(jnp.asarray(rotated(np.abs(DECAYING)), jnp.float32), semidefinite=True)
    estimate = trace(matrix, num_products=4, key=jax.random.key(3))
    assert estimate.interval[0] > 0
    assert holds(estimate, np.abs(DECAYING).sum())


def test_the_same_key_gives_the_same_number_and_another_key_another():
    matrix = from_matrix(jnp.asarray(rotated(DECAYING), jnp.float32))
    first, again, other = (trace(matrix, num_products=12, key=jax.random.key(k)).value for k in (1, 1, 2))
    assert first == again != other


def test_a_sharded_pytree_gives_the_same_number_and_is_never_gathered():
    mesh = jax.make_mesh((4,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    diagonal = {"a": jnp.linspace(-1, 3, 64).reshape(16, 4), "b": jnp.full(8, 20.0)}
    seen = []

    def product(vector):
        seen.append(vector["a"].sharding)
        return jax.tree.map(jnp.multiply, sharded, vector)

    sharded = jax.tree.map(lambda leaf: jax.device_put(leaf, place), diagonal)
    found = trace(operator(product, sharded), num_products=8)
    assert all(sharding.is_equivalent_to(place, 2) for sharding in seen)
    assert found.value == pytest.approx(trace(from_diagonal(diagonal), num_products=8).value, rel=1e-5)


def test_a_half_precision_tree_is_measured_in_float32():
    params = {"w": jnp.zeros(40, jnp.bfloat16)}
    tripled = operator(jax.tree_util.Partial(lambda v: jax.tree.map(lambda leaf: 3 * leaf, v)), params)
    estimate = trace(tripled, num_products=12)
    assert holds(estimate, 120)
    assert estimate.interval[1] - estimate.interval[0] > 0
    assert trace(tripled, num_products=40).value == pytest.approx(120, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_products": 3}, "trace: num_products must be a whole number of at least 4, got 3."),
        ({"level": 1.0}, r"trace: level must be in \(0, 1\), got 1.0."),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        trace(from_diagonal(jnp.ones(3)), **options)


def test_too_little_memory_is_said_before_any_product():
    huge = operator(jax.tree_util.Partial(lambda v: v), jax.ShapeDtypeStruct((2**40,), jnp.float32))
    with pytest.raises(InputError, match=r"trace: a basis of 21 vectors needs .* Ask for fewer products"):
        trace(huge)


def test_a_product_that_is_not_finite_is_refused():
    with pytest.raises(InputError, match=r"matrix: a product is not finite. The loss is not twice differentiable"):
        trace(from_diagonal(jnp.full(DIM, jnp.inf), name="matrix"), num_products=12)
