import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab.core import vectors


def test_float32_sums_over_many_terms_lose_little():
    entries = np.random.default_rng(0).uniform(size=5_000_000).astype(np.float32)
    exact = np.sum(entries.astype(np.float64) ** 2)
    for found in (vectors.sum_of_squares(entries), jax.jit(vectors.sum_of_squares)(jnp.asarray(entries))):
        assert abs(float(found) - exact) / exact < 1e-6  # the promise of the module, at a size a test can afford


@pytest.mark.slow
def test_float32_sums_over_1e8_terms_lose_at_most_a_millionth():
    leaf = jnp.full(100_000_000, 0.1, jnp.float32)
    exact = 1e8 * float(np.float32(0.1)) ** 2
    assert abs(float(jax.jit(vectors.sum_of_squares)(leaf)) - exact) / exact < 1e-6


def test_bfloat16_leaves_are_summed_in_float32():
    tree = [jnp.ones(100, jnp.bfloat16) for _ in range(1000)]
    assert float(vectors.sum_of_squares(tree)) == 100_000.0
    assert vectors.dot(tree, tree).dtype == jnp.float32


def test_dot_is_the_real_part_for_complex_leaves():
    left, right = jnp.array([1 + 2j, 3j]), jnp.array([2 - 1j, 1 + 1j])
    assert float(vectors.dot(left, right)) == pytest.approx(np.vdot(left, right).real)


def test_combination_takes_the_dtypes_of_the_first_tree():
    first = {"half": jnp.ones(2, jnp.bfloat16), "full": jnp.ones(2)}
    second = {"half": jnp.ones(2), "full": jnp.ones(2, jnp.bfloat16)}
    found = vectors.combination((jnp.float32(0.1), first), (2.0, second))
    assert (found["half"].dtype, found["full"].dtype) == (jnp.bfloat16, jnp.float32)
    np.testing.assert_allclose(found["full"], 2.1, rtol=1e-6)  # three roundings of 6e-8


def test_axpy_scale_and_subtract_are_their_formulas():
    x, y = jnp.array([1.0, 2.0]), jnp.array([3.0, 5.0])
    np.testing.assert_allclose(vectors.axpy(2.0, x, y), [5.0, 9.0])
    np.testing.assert_allclose(vectors.scale(-1.0, x), [-1.0, -2.0])
    np.testing.assert_allclose(vectors.subtract(x, y), [-2.0, -3.0])


def test_cosine_of_a_zero_vector_is_zero():
    assert float(vectors.cosine(jnp.zeros(3), jnp.ones(3))) == 0.0
    assert float(vectors.cosine(jnp.ones(3), -jnp.ones(3))) == pytest.approx(-1.0)


def test_empty_trees_have_norm_zero_and_size_zero():
    assert float(vectors.norm({})) == 0.0
    assert vectors.size({"a": jnp.zeros((0, 4))}) == 0
    assert bool(vectors.all_finite({}))


def test_copies_share_no_buffer():
    original = jnp.ones(3)
    copied = vectors.copy(original)
    assert copied.unsafe_buffer_pointer() != original.unsafe_buffer_pointer()


def test_works_under_explicit_sharding():
    mesh = jax.make_mesh((4,), ("x",), axis_types=(jax.sharding.AxisType.Explicit,))
    with jax.set_mesh(mesh):
        leaf = jax.device_put(jnp.arange(8.0), jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x")))
        assert float(vectors.dot(leaf, leaf)) == 140.0
