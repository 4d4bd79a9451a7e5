"""Parameters beside functions, flags and keys: Equinox modules, partitioned trees, keys."""

import functools

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

import jaxopt_lab as lab
from jaxopt_lab.core import InputError, from_loss
from jaxopt_lab.core.partitions import Static, is_initializer

DATA = (jnp.asarray(np.random.default_rng(0).normal(size=(12, 3)), jnp.float32), jnp.ones(12))
MODULE = eqx.nn.MLP(3, 1, 4, 1, key=jax.random.key(0))


def module_loss(model, batch, key):
    return jnp.mean((jax.vmap(model)(batch[0])[:, 0] - batch[1]) ** 2)


def start(problem):
    return problem.init(jax.random.key(0))


def plain_losses(model, steps):
    """The losses of gradient descent in Equinox's own words."""
    losses, value_and_grad = [], eqx.filter_jit(eqx.filter_value_and_grad(module_loss))
    for _ in range(steps + 1):
        value, grads = value_and_grad(model, DATA, None)
        losses.append(float(value))
        model = eqx.apply_updates(model, jax.tree.map(lambda leaf: -0.1 * leaf, grads))
    return losses


def test_an_equinox_module_is_parameters_and_trains_as_in_a_plain_loop():
    problem = from_loss(module_loss, MODULE, DATA)
    trace = lab.run(problem, optax.sgd(0.1), steps=5)
    np.testing.assert_allclose(trace["loss"][0], plain_losses(MODULE, 5), rtol=1e-5)  # float32
    back = eqx.combine(trace.params_of(), MODULE)
    assert float(module_loss(back, DATA, None)) == pytest.approx(trace["loss"][0, -1], rel=1e-5)


def test_the_loss_takes_the_whole_module_and_its_trained_part():
    problem = from_loss(module_loss, MODULE, DATA)
    assert float(problem.full_loss(MODULE)) == float(problem.full_loss(start(problem)))
    assert float(problem.full_loss(MODULE)) == pytest.approx(float(module_loss(MODULE, DATA, None)), rel=1e-6)
    chex.assert_trees_all_equal(
        jax.tree.leaves(start(problem)), jax.tree.leaves(eqx.filter(MODULE, eqx.is_inexact_array))
    )


def test_a_module_without_functions_in_it_is_no_initializer_either():
    layer = eqx.nn.Linear(3, 1, key=jax.random.key(0))
    problem = from_loss(module_loss, layer, DATA)
    assert problem.loss is module_loss
    assert float(problem.full_loss(layer)) == pytest.approx(float(module_loss(layer, DATA, None)), rel=1e-6)


def partitioned():
    arrays, static = eqx.partition(MODULE, eqx.is_inexact_array)
    return from_loss(lambda a, batch, key: module_loss(eqx.combine(a, static), batch, key), arrays, DATA)


def test_the_array_part_of_a_partition_works_with_its_empty_places_in_run_curvature_and_diagnose():
    problem = partitioned()
    trace = lab.run(problem, optax.sgd(0.1), steps=5)
    np.testing.assert_allclose(trace["loss"][0], plain_losses(MODULE, 5), rtol=1e-5)  # float32
    operator = lab.curvature.hessian(problem, start(problem))
    assert operator.size == 21
    pairs = lab.curvature.eigenpairs(operator, num_largest=1, num_smallest=0).largest
    flat, unravel = jax.flatten_util.ravel_pytree(start(problem))
    dense = jax.jit(jax.hessian(lambda point: problem.full_loss(unravel(point))))(flat)
    assert pairs.values[0] == pytest.approx(float(jnp.linalg.eigvalsh(dense)[-1]), rel=1e-3)  # tolerance of eigenpairs
    assert lab.diagnose(problem, optax.sgd(0.1), steps=20).causes


def test_a_module_and_its_partition_get_the_same_diagnosis():
    whole = lab.diagnose(from_loss(module_loss, MODULE, DATA, name="mlp"), optax.sgd(0.1), steps=20)
    part = lab.diagnose(partitioned(), optax.sgd(0.1), steps=20)
    assert whole.causes == part.causes
    assert whole.evidence.point.loss == pytest.approx(part.evidence.point.loss, rel=1e-6)


class Cell(eqx.Module):
    """A user's own module: an array, a number that is a setting, a count, a flag."""

    weight: jax.Array
    slope: float
    order: jax.Array
    inference: bool = False

    def __call__(self, inputs):
        return self.slope * (inputs[self.order] @ self.weight)


def test_numbers_flags_and_whole_numbers_of_a_module_are_held_fixed():
    cell = Cell(jnp.ones((3, 1)), 2.0, jnp.array([2, 1, 0]))
    problem = from_loss(module_loss, cell, DATA)
    trained = start(problem)
    assert (trained.slope, trained.order, trained.inference) == (None, None, None)
    assert [leaf.tolist() for leaf in problem.frozen] == [[2, 1, 0]]
    assert float(problem.full_loss(trained)) == pytest.approx(float(module_loss(cell, DATA, None)), rel=1e-6)


class Choosing(eqx.Module):
    """A module with a set in it, which has no hash."""

    weight: jax.Array
    chosen: set

    def __call__(self, inputs):
        return sum(inputs[k] for k in sorted(self.chosen)) * self.weight


def test_a_module_may_hold_what_has_no_hash():
    problem = from_loss(module_loss, Choosing(jnp.ones(1), {0, 2}), DATA)
    assert lab.run(problem, optax.sgd(0.1), steps=2)["loss"].shape == (1, 3)


def test_what_is_held_fixed_is_equal_by_value_type_and_place():
    """So that programs are shared; what has no hash is equal to itself alone, whose value may change."""
    held = {0, 2}
    one, other = ((size, "a") for size in (1, 1))  # two objects
    assert Static(3, one) == Static(3, other)
    assert hash(Static(3, one)) == hash(Static(3, other))
    assert Static(3, held) == Static(3, held)
    assert len({Static(0, 1), Static(0, 1.0), Static(0, True), Static(1, 1)}) == 4
    assert Static(0, -1) != Static(0, -2)  # which have one hash
    assert Static(3, held) != Static(3, set(held))
    assert Static(3, held) != Static(4, held)
    assert Static(0, 1) != 1


def test_numbers_beside_a_module_train_and_those_in_it_do_not():
    cell = Cell(jnp.ones((3, 1)), 2.0, jnp.array([2, 1, 0]))
    loss = lambda tree, batch, key: tree["scale"] * module_loss(tree["cell"], batch, key)  # noqa: E731
    trained = start(from_loss(loss, {"cell": cell, "scale": 1.0}, DATA))
    assert trained["scale"] == 1.0
    assert trained["cell"].slope is None


def test_an_initializer_may_make_modules():
    make = lambda key: eqx.nn.MLP(3, 1, 4, 1, key=key)  # noqa: E731
    problem = from_loss(module_loss, make, DATA)
    one, other = (problem.init(jax.random.key(seed)) for seed in (0, 1))
    assert float(problem.full_loss(one)) == pytest.approx(
        float(module_loss(make(jax.random.key(0)), DATA, None)), rel=1e-6
    )
    assert not np.array_equal(one.layers[0].weight, other.layers[0].weight)


def test_what_makes_parameters_is_told_from_what_they_are():
    assert is_initializer(lambda key: jnp.zeros(3))
    assert is_initializer(functools.partial(jax.random.normal, shape=(3,)))
    assert is_initializer(jax.nn.initializers.ones)
    assert is_initializer(Cell)
    assert not is_initializer(MODULE)
    assert not is_initializer({"w": jnp.zeros(3)})
    assert not is_initializer(None)


class Maker:
    def __init__(self, scale):
        self.scale = scale

    def draw(self, key):
        return self.scale * jax.random.normal(key, (3,))

    def __call__(self, key):
        return self.draw(key)


@pytest.mark.parametrize("make", [Maker(2.0).draw, Maker(2.0)], ids=["method", "object"])
def test_methods_and_objects_that_are_no_pytrees_make_parameters(make):
    problem = from_loss(lambda w, batch, key: jnp.sum(w**2), make)
    np.testing.assert_array_equal(start(problem), make(jax.random.key(0)))


def keyed(key):
    loss = lambda p, batch, step_key: jnp.mean((batch[0] @ p["w"] - batch[1]) ** 2)  # noqa: E731
    return from_loss(loss, {"w": jnp.zeros(3), "key": key}, DATA)


@pytest.mark.parametrize("key", [jax.random.key(1), jax.random.PRNGKey(1)], ids=["typed", "raw"])
def test_keys_among_the_parameters_are_held_fixed_and_change_nothing(key):
    problem, plain = keyed(key), from_loss(lambda w, b, k: jnp.mean((b[0] @ w - b[1]) ** 2), jnp.zeros(3), DATA)
    trace, expected = (lab.run(each, optax.sgd(0.1), steps=3) for each in (problem, plain))
    np.testing.assert_array_equal(trace["loss"], expected["loss"])
    assert start(problem)["key"] is None
    space = lab.search.Space(learning_rate=lab.search.log_uniform(0.01, 0.1))
    best = lab.search.sweep(problem, lab.rules.sgd, space, num_trials=2, steps=3, num_seeds=1).best()
    assert best["median"] < float(plain.full_loss(jnp.zeros(3)))
    assert (
        lab.diagnose(problem, optax.sgd(0.1), steps=20).causes == lab.diagnose(plain, optax.sgd(0.1), steps=20).causes
    )


def test_a_loss_may_draw_from_a_key_among_its_parameters():
    loss = lambda p, batch, step_key: jnp.sum(p["w"] * jax.random.normal(p["key"], (3,)))  # noqa: E731
    problem = from_loss(loss, {"w": jnp.ones(3), "key": jax.random.key(7)})
    expected = float(jnp.sum(jax.random.normal(jax.random.key(7), (3,))))
    assert float(jax.jit(problem.full_loss)(start(problem))) == pytest.approx(expected, rel=1e-6)


def test_keys_that_an_initializer_draws_anew_are_refused():
    make = lambda key: {"w": jnp.zeros(3), "key": jax.random.fold_in(key, 1)}  # noqa: E731
    with pytest.raises(InputError, match=r"arrays that are no parameters .* anew from each key\. Leave them out"):
        from_loss(lambda p, batch, key: jnp.sum(p["w"]), make)
    same = lambda key: {"w": jax.random.normal(key, (3,)), "key": jax.random.key(1)}  # noqa: E731
    assert from_loss(lambda p, batch, key: jnp.sum(p["w"]), same).frozen[0] == jax.random.key(1)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"key": jax.random.key(0)}, r"the parameters hold nothing that can be trained"),
        (eqx.nn.Lambda(jnp.tanh), r"the parameters hold nothing that can be trained"),
    ],
)
def test_a_tree_without_anything_to_train_is_refused(params, message):
    with pytest.raises(InputError, match=message):
        from_loss(lambda p, batch, key: jnp.zeros(()), params)


@pytest.mark.parametrize(
    "make", [lambda: nnx.Linear(3, 1, rngs=nnx.Rngs(0)), lambda: linen.Dense(1)], ids=["nnx", "linen"]
)
def test_a_flax_module_is_shown_its_way(make):
    with pytest.raises(InputError, match=r"params is a Flax module, \w+\. Give it to lab\.from_nnx or lab\.from_linen"):
        from_loss(lambda p, batch, key: jnp.zeros(()), make())


def test_a_run_that_is_given_the_whole_module_is_told_what_it_takes():
    problem = from_loss(module_loss, MODULE, DATA)
    with pytest.raises(InputError, match=r"run: parameter .*activation.* so that the loss cannot be differentiated"):
        lab.run(problem, optax.sgd(0.1), steps=1, params=MODULE)
