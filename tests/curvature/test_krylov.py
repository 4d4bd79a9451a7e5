import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from jaxopt_lab.curvature import krylov
from jaxopt_lab.curvature.operators import random_vector

BASIS = jnp.stack([jnp.arange(1.0, 5.0) / jnp.sqrt(30), jnp.zeros(4)])


@pytest.mark.parametrize("long", [1, 2**18])
def test_what_nearly_lies_in_the_span_is_taken_out_twice(long, monkeypatch):
    """Once leaves what rounding leaves of the vector, 1e-7, in a rest of 1e-4: an angle of 1e-3."""
    monkeypatch.setattr(krylov, "_LONG", long)
    near = BASIS[0] + 1e-4 * jnp.array([0.3, -0.7, 0.2, 0.1])
    rest, inner, norm = krylov.orthogonalize(BASIS, 1, near)
    assert abs(float(BASIS[0] @ rest)) < 1e-6 * float(norm)
    np.testing.assert_allclose(inner[0] * BASIS[0] + rest, near, rtol=1e-6)
    assert inner[1] == 0.0
    assert float(norm) == pytest.approx(float(jnp.linalg.norm(rest)))


@pytest.mark.parametrize(("long", "passes"), [(3, 2), (4, 1)])
def test_a_long_vector_is_taken_out_twice_however_much_is_left(long, passes, monkeypatch):
    """Of four entries, where four is long or is not; of products with half of their digits each pass takes out half."""
    real, vector = krylov.coefficients, jnp.array([2.0, -1.0, 0.0, 1.0])
    monkeypatch.setattr(krylov, "_LONG", long)
    monkeypatch.setattr(krylov, "coefficients", lambda basis, vector: 0.5 * real(basis, vector))
    rest, inner, _ = krylov.orthogonalize(BASIS, 1, vector)
    np.testing.assert_allclose(inner, [(1 - 0.5**passes) * float(BASIS[0] @ vector), 0.0], rtol=1e-6)
    np.testing.assert_allclose(rest, vector - inner[0] * BASIS[0], rtol=1e-6)


def test_rows_lie_where_the_vectors_do():
    second = SingleDeviceSharding(jax.devices()[1])
    like = jax.ShapeDtypeStruct((3,), jnp.float32, sharding=second)
    rows = krylov.zero_basis({"a": like, "b": jax.ShapeDtypeStruct((2,), jnp.float32)}, 2)
    assert rows["a"].shape == (2, 3)
    assert rows["a"].sharding.device_set == {jax.devices()[1]}
    assert rows["b"].sharding.device_set == {jax.devices()[0]}


def test_of_a_tree_that_is_sharded_in_part_each_leaf_is_drawn_in_its_place():
    mesh = NamedSharding(Mesh(np.array(jax.devices()[:2]), "x"), PartitionSpec("x"))
    like = {"a": jax.ShapeDtypeStruct((4,), jnp.float32, sharding=mesh), "b": jax.ShapeDtypeStruct((3,), jnp.float32)}
    drawn = random_vector(jax.random.key(0), like, "rademacher")
    assert drawn["a"].sharding.is_equivalent_to(mesh, 1)
    assert (drawn["b"].shape, drawn["b"].dtype) == ((3,), jnp.float32)
    assert set(np.abs(np.concatenate([drawn["a"], drawn["b"]])).tolist()) == {1.0}
