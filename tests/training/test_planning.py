import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxopt_lab import objectives, rules, training
from jaxopt_lab.core import InputError, from_loss, precision

DIM = 1024
RULE = optax.adam(0.1)
SHARDED = NamedSharding(jax.make_mesh((4,), ("x",), axis_types=(AxisType.Auto,)), PartitionSpec("x"))


@pytest.fixture
def bowl():
    return objectives.quadratic(jnp.ones(DIM), start=1.0)


def test_what_a_run_needs_is_counted_on_one_device(bowl, monkeypatch):
    """Parameters, a copy and Adam's two moments: 4 vectors of 4 KiB, or of 1 KiB on each of four devices."""
    monkeypatch.setattr("jaxopt_lab.training.planning.available_memory", lambda: 5 * DIM)
    start = jnp.ones(DIM)
    with pytest.raises(InputError, match="1 configurations of 1024 parameters"):
        training.run(bowl, optax.adam(0.1), steps=1, params=start)
    trace = training.run(bowl, optax.adam(0.1), steps=1, params=jax.device_put(start, SHARDED))
    assert trace["loss"][0, 1] < trace["loss"][0, 0]


def test_configurations_on_several_devices_are_counted_on_each(bowl, monkeypatch):
    monkeypatch.setattr("jaxopt_lab.training.planning.available_memory", lambda: 2 * 2 * 4 * DIM)
    rates = {"learning_rate": [0.1] * 8}
    with pytest.raises(InputError, match="8 configurations of 1024 parameters"):
        training.run(bowl, rules.sgd, rates, steps=1)
    assert training.run(bowl, rules.sgd, rates, steps=1, execution=training.Execution(width=2, devices=4))[
        "loss"
    ].shape == (8, 2)


@pytest.mark.parametrize(
    ("seeds", "shown"),
    [([-1, 0], r"\[-1, 0\]"), (list(range(-1, 6)), r"\[-1, 0, 1, 2, 3, 4, 5\]"), (list(range(-1, 7)), "8 of them"),
     ([0.5], r"\[0.5\]"), ([2**31], r"\[2147483648\]"), ([], r"\[\]")],
)  # fmt: skip
def test_seeds_that_random_keys_do_not_tell_apart_are_refused(bowl, seeds, shown):
    with pytest.raises(InputError, match=f"run: seeds must be whole numbers from 0 to 2147483647, got {shown}"):
        training.run(bowl, rules.sgd, {"learning_rate": 0.1}, steps=1, seeds=seeds)


def perceptron_loss(params, batch, key):
    return jnp.mean((jnp.tanh(batch["x"] @ params["a"]) @ params["b"] - batch["y"]) ** 2)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("loop", ["vmap", "map", "step"])
def test_a_run_on_a_mesh_is_that_on_one_device(kind, loop):
    with precision("float64"):
        keys = jax.random.split(jax.random.key(0), 4)
        params = {"a": jax.random.normal(keys[0], (6, 4)), "b": jax.random.normal(keys[1], (4, 2))}
        data = {"x": jax.random.normal(keys[2], (24, 6)), "y": jax.random.normal(keys[3], (24, 2))}
        place = NamedSharding(jax.make_mesh((2,), ("shard",), axis_types=(kind,)), PartitionSpec("shard"))
        spread, apart = jax.device_put((params, data), place)
        options = {"steps": 5, "batch_size": 8, "execution": training.Execution(loop=loop)}
        expected = training.run(from_loss(perceptron_loss, params, data), RULE, **options)
        for start, examples in ((spread, data), (params, apart), (spread, apart)):
            found = training.run(from_loss(perceptron_loss, start, examples), RULE, **options)
            # Sums in another order, amplified by Adam's division by its moments: 1e3 eps at most.
            chex.assert_trees_all_close(found.params, expected.params, rtol=1e-11, atol=1e-12)
            np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-11)
            if start is spread:
                assert all(leaf.sharding.mesh.axis_types == (kind,) for leaf in jax.tree.leaves(found.params))


def test_a_loss_that_says_where_its_results_lie_keeps_its_axes():
    place = NamedSharding(jax.make_mesh((2,), ("shard",)), PartitionSpec("shard"))

    def loss(params, batch, key):
        return jnp.einsum("i,i->", params, params, out_sharding=NamedSharding(place.mesh, PartitionSpec()))

    trace = training.run(
        from_loss(loss, jax.device_put(jnp.ones(4), place)), rules.sgd, {"learning_rate": 0.25}, steps=1
    )
    assert trace["loss"].tolist() == [[4.0, 1.0]]
    assert trace.params_of(0).sharding == place
