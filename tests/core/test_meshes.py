import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxopt_lab.core import meshes, vectors

MATRIX = jnp.arange(24.0).reshape(6, 4)
needs_two = pytest.mark.skipif(jax.device_count() < 2, reason="needs two devices")


def place(kind=AxisType.Explicit, *axes):
    return NamedSharding(jax.make_mesh((2,), ("shard",), axis_types=(kind,)), PartitionSpec(*(axes or ("shard",))))


@needs_two
def test_a_function_that_says_nothing_of_shards_runs_on_explicit_axes():
    matrix = jax.device_put(MATRIX, place())
    square = lambda rows: rows.T @ rows  # noqa: E731
    with pytest.raises(Exception, match="ambiguous"):
        square(matrix)
    found = jax.jit(lambda rows: meshes.on_any_mesh(square, rows))(matrix)
    np.testing.assert_array_equal(found, MATRIX.T @ MATRIX)  # whole numbers
    assert jax.typeof(found).sharding.spec == PartitionSpec(None, None)


@needs_two
def test_a_function_that_says_where_its_results_lie_is_called_as_it_is():
    where = place(AxisType.Explicit, "shard", None)
    square = lambda rows: jnp.einsum("ni,nj->ij", rows, rows, out_sharding=where)  # noqa: E731
    found = jax.jit(lambda rows: meshes.on_any_mesh(square, rows))(jax.device_put(MATRIX, place()))
    np.testing.assert_array_equal(found, MATRIX.T @ MATRIX)  # whole numbers
    assert jax.typeof(found).sharding.spec == PartitionSpec("shard", None)


@needs_two
def test_an_error_of_the_function_itself_comes_through():
    with pytest.raises(ValueError, match="Incompatible shapes"):
        meshes.on_any_mesh(lambda rows: rows + jnp.ones(7), jax.device_put(MATRIX, place()))


@needs_two
@pytest.mark.parametrize("rows", [slice(1, 4), np.array([5, 0])])
@pytest.mark.parametrize("kind", list(AxisType)[:2])
def test_rows_are_taken_on_any_mesh(kind, rows):
    np.testing.assert_array_equal(meshes.take(jax.device_put(MATRIX, place(kind)), rows), MATRIX[rows])


@needs_two
def test_axes_change_their_kind_and_back():
    tree = {"spread": jax.device_put(MATRIX, place()), "whole": MATRIX, "number": 3}
    moved = meshes.on_auto_axes(tree)
    assert meshes.replicated(tree).mesh.axis_types == (AxisType.Explicit,)
    assert meshes.replicated(moved) is None
    again = meshes.as_before(moved, tree)
    assert again["spread"].sharding == tree["spread"].sharding
    assert (again["whole"], again["number"]) == (tree["whole"], 3)
    np.testing.assert_array_equal(again["spread"], MATRIX)


@needs_two
def test_bytes_are_those_of_one_device():
    tree = {"spread": jax.device_put(MATRIX, place()), "whole": jax.device_put(MATRIX, place(AxisType.Explicit, None))}
    assert meshes.bytes_on_one_device(tree) == 48 + 96
    assert meshes.bytes_on_one_device(jax.eval_shape(lambda: (MATRIX, jax.random.key(0)))) == 96 + 8


@needs_two
def test_sums_over_the_devices_of_a_cpu_are_waited_for(monkeypatch):
    waited = []
    monkeypatch.setattr(jax, "block_until_ready", waited.append)
    assert float(vectors.dot(MATRIX, MATRIX)) == float(jnp.sum(MATRIX**2))
    assert not any(waited)
    vectors.dot(jax.device_put(MATRIX, place()), jax.device_put(MATRIX, place()))
    assert len([leaves for leaves in waited if leaves]) == 1


@needs_two
def test_parts_of_arrays_that_one_process_holds_in_full_are_the_arrays():
    tree = {"spread": jax.device_put(MATRIX, place()), "number": 3}
    assert not meshes.is_shared(tree)
    parts = meshes.local_parts(tree)
    assert parts["spread"] is tree["spread"]
    assert meshes.from_local_parts(parts, tree)["spread"] is tree["spread"]
