import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

import jaxopt_lab as lab
from jaxopt_lab import problems, theory
from jaxopt_lab.core import InputError, vectors
from jaxopt_lab.networks.activations import ACTIVATIONS
from jaxopt_lab.tracing.jaxprs import lay_out
from jaxopt_lab.tracing.layer_detection import find_places
from jaxopt_lab.tracing.layer_statistics import measure_signals

TRACES = []


def two_layers(params, batch, key):
    """A ReLU network 5-6-4-1 with biases and a squared loss."""
    TRACES.append(1)
    values = jax.nn.relu(batch[0] @ params["a"]["w"] + params["a"]["b"])
    values = jnp.maximum(values @ params["b"]["w"] + params["b"]["b"], 0)
    return 0.5 * jnp.mean((values @ params["c"] - batch[1]) ** 2)


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    params = {"a": {"w": draw(5, 6), "b": draw(6)}, "b": {"w": draw(6, 4), "b": draw(4)}, "c": draw(4)}
    return lab.from_loss(two_layers, params, (draw(40, 5), draw(40))), params


def reference(params, batch):
    """Pre-activations and the gradients of the summed loss with respect to them, written out."""
    inputs, targets = (np.asarray(part, np.float64) for part in batch)
    one, two, three = (jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params[name]) for name in "abc")
    first = inputs @ one["w"] + one["b"]
    second = np.maximum(first, 0) @ two["w"] + two["b"]
    outputs = np.maximum(second, 0) @ three
    on_outputs = outputs - targets
    on_second = on_outputs[:, None] * three * (second > 0)
    on_first = on_second @ two["w"].T * (first > 0)
    return (first, second, outputs), (on_first, on_second, on_outputs)


def rms(array):
    return np.sqrt(np.mean(np.square(array)))


def test_matches_the_loop_by_hand(small):
    problem, params = small
    signals = measure_signals(problem, params)
    forward, backward = reference(params, problem.data)
    assert [layer.name for layer in signals.layers] == ["a/w", "b/w", "c"]
    assert [(layer.fan_in, layer.num_units) for layer in signals.layers] == [(5, 6), (6, 4), (4, 1)]
    np.testing.assert_allclose([layer.forward for layer in signals.layers], [rms(z) for z in forward], rtol=1e-5)
    np.testing.assert_allclose([layer.backward for layer in signals.layers], [rms(g) for g in backward], rtol=1e-5)
    first = forward[0]
    np.testing.assert_allclose(signals.layers[0].spread, first.mean(0).std(), rtol=1e-5)
    chex.assert_trees_all_close(signals.layers[0].centres, first.mean(0), rtol=1e-5)  # float32 sums of 40 terms
    np.testing.assert_allclose(signals.layers[0].deviation, rms(first - first.mean(0)), rtol=1e-5)
    assert signals.num_examples == 40
    assert signals.num_hidden == 2
    assert signals.forward_gain == pytest.approx(rms(forward[1]) / rms(forward[0]), rel=1e-5)
    np.testing.assert_allclose(signals.backward_factors, [signals.backward_gain])
    np.testing.assert_allclose(signals.forward_factors, [signals.forward_gain])
    for activation, value in zip(signals.activations, forward, strict=False):
        assert activation.operation == "relu"
        assert activation.active == pytest.approx(np.mean(value > 0), abs=1e-6)
        assert activation.dead == pytest.approx(np.mean((value <= 0).all(axis=0)), abs=1e-6)
    assert json.dumps(signals.to_json())


def test_dead_units_and_copies_are_counted_and_nothing_is_traced_again(small):
    problem, params = small
    measure_signals(problem, params)
    num_traces = len(TRACES)
    dead = params | {"a": {"w": params["a"]["w"], "b": jnp.full(6, -100.0)}}
    assert measure_signals(problem, dead).worst_dead == 1.0
    assert measure_signals(problem, dead).layers[0].backward == 0.0
    weights = params["b"]["w"].copy()
    weights[:, :2] = 0
    half = params | {"b": {"w": weights, "b": np.array([-1.0, -1.0, 1.0, 1.0], np.float32)}}
    signals = measure_signals(problem, half)
    assert signals.activations[1].dead >= 0.5
    assert signals.layers[1].copies == 0.5  # the two units without weights are equal
    weights = params["a"]["w"].copy()
    weights[:, 3] = weights[:, 0]
    same = params | {"a": {"w": weights, "b": np.zeros(6, np.float32)}}
    assert measure_signals(problem, same).layers[0].copies == pytest.approx(1 / 3)
    zeros = jax.tree.map(np.zeros_like, params)
    assert [layer.copies for layer in measure_signals(problem, zeros).layers] == [1.0, 1.0, 0.0]
    assert len(TRACES) == num_traces


@pytest.mark.parametrize(
    ("name", "activation", "variance"),
    [("relu", jax.nn.relu, 1.0), ("sigmoid", jax.nn.sigmoid, 1.0), ("tanh", jnp.tanh, 2.25)],
)
def test_wide_random_networks_follow_the_mean_field(name, activation, variance):
    width, depth, num_draws = 256, 4, 10

    def loss(weights, batch, key):
        for weight in weights[:-1]:
            batch = activation(batch @ weight)
        return jnp.mean(batch @ weights[-1])

    shapes = [(width, width)] * depth + [(width, 1)]
    rng = np.random.default_rng(1)
    data = jnp.asarray(rng.normal(size=(64, width)), jnp.float32)
    squares = []
    for _ in range(num_draws):
        scale = np.sqrt(variance / width)
        weights = [jnp.asarray(scale * rng.normal(size=shape), jnp.float32) for shape in shapes]
        signals = measure_signals(lab.from_loss(loss, weights, data), weights)
        squares.append([[layer.forward**2, layer.backward**2] for layer in signals.layers[:-1]])
    forward, backward = np.moveaxis(np.mean(squares, axis=0), 1, 0)
    expected, factors, size = [variance], [], variance
    for _ in range(depth - 1):
        size, factor = theory.mean_field.mean_field_step(name, size, variance)
        expected.append(size)
        factors.append(factor)
    # Log-variance 5 depth / width for ReLU (Hanin and Nica 2018), over 10 draws: at most 10 % in one standard error.
    np.testing.assert_allclose(forward, expected, rtol=0.15)
    np.testing.assert_allclose(backward[:-1] / backward[1:], factors, rtol=0.15)
    np.testing.assert_allclose(backward[0] / backward[-1], np.prod(factors), rtol=0.25)


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"identity"}))
def test_each_activation_is_told_by_its_name(name):
    def loss(weights, batch):
        return jnp.mean(jax.nn.log_softmax(ACTIVATIONS[name](batch @ weights[0] + weights[1]) @ weights[2])[:, 0])

    activations = traced(loss, (jnp.ones((3, 4)), jnp.ones(4), jnp.ones((4, 2))), jnp.ones((5, 3)))[1]
    assert [place.operation for place in activations] == [{"sigmoid": "logistic"}.get(name, name)]
    assert activations[0].layer == 0


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (lambda x: jnp.where(x > 0, x, 0), "relu"),
        (lambda x: jnp.where(x <= 0, 0.0, x), "relu"),
        (lambda x: jnp.maximum(jnp.zeros_like(x), x), "relu"),
        (lambda x: x * jax.nn.sigmoid(x), "silu"),
        (lambda x: jax.nn.gelu(x, approximate=False), "gelu"),
        (lambda x: 0.5 * x * (1 + jax.scipy.special.erf(x / np.sqrt(2))), "gelu"),
        (lambda x: jnp.log1p(jnp.exp(x)), None),
        (lambda x: jnp.where(x > 0, x, -jnp.inf), None),
        (lambda x: jnp.where(np.True_, x, 0.0), None),
        (jax.checkpoint(jnp.tanh), "tanh"),
        (jax.jit(jax.nn.relu6), "relu6"),
    ],
)
def test_forms_written_by_hand_are_told(activation, name):
    weights = (jnp.ones((3, 4)), jnp.ones((4, 2)))
    loss = lambda weights, batch: jnp.mean(jnp.tanh(activation(batch @ weights[0]) @ weights[1]))  # noqa: E731
    found = traced(loss, weights, jnp.ones((5, 3)))[1]
    assert [place.operation for place in found] == ([name] if name else [])


def traced(loss, params, batch):
    program = lay_out(loss, params, batch, open_derivatives=False)
    return find_places(program, len(jax.tree.leaves(params)))


def test_attention_is_no_layer_and_every_weight_of_a_transformer_is():
    problem = problems.load_problem("markov-transformer")
    params = jax.eval_shape(problem.init, jax.random.key(0))
    batch = jax.tree.map(lambda leaf: leaf[:4], problem.data)
    layers, activations, hidden = traced(lambda params, batch: problem.loss(params, batch, None), params, batch)
    names = [vectors.parameter_paths(params)[layer.leaf] for layer in layers]
    block = ["queries_keys_values", "mixed", "wide", "narrow"]
    assert names == [f"blocks/{place}/{part}/kernel" for place in (0, 1) for part in block] + ["output/kernel"]
    assert [place.operation for place in activations] == ["gelu", "gelu"]
    assert hidden == 0


def test_the_units_are_found_whatever_the_layout():
    weights = (jnp.ones((4, 3)), jnp.ones(4), jnp.ones((2, 4)))

    def loss(weights, batch):
        one = lambda x: jnp.mean(weights[2] @ jnp.tanh(weights[0] @ x + weights[1]))  # noqa: E731
        return jnp.mean(jax.vmap(one)(batch))

    program = lay_out(loss, weights, jnp.ones((5, 3)), open_derivatives=False)
    first, last = find_places(program, 3)[0]
    shape = program.shapes[first.value].shape
    assert [shape[axis] for axis in first.unit_axes] == [4]
    assert (first.fan_in, last.fan_in) == (3, 4)
    readers = [operation for operation in program.operations if first.value in operation.inputs]
    assert [operation.name for operation in readers] == ["tanh"]  # its bias is in it


def test_layers_in_a_branch_are_noted_as_not_seen():
    def loss(weights, batch, key):
        return jnp.mean(jax.lax.cond(jnp.sum(batch) > 0, lambda x: x @ weights, lambda x: x, batch))

    weights = jnp.ones((2, 2))
    signals = measure_signals(lab.from_loss(loss, weights, jnp.ones((4, 2))), weights)
    assert signals.layers == ()
    assert signals.notes == (
        "The loss holds no product of a weight with data.",
        "1 loops, branches or complex products of the loss hold layers that are not seen.",
    )
    assert (signals.forward_gain, signals.worst_dead, signals.worst_saturated) == (1.0, 0.0, 0.0)


class Net(linen.Module):
    """Dense, batch normalization, tanh, dense."""

    @linen.compact
    def __call__(self, inputs, train: bool):
        values = linen.BatchNorm(use_running_average=not train)(linen.Dense(8, name="first")(inputs))
        return linen.Dense(1, name="last")(jnp.tanh(values))


def test_a_linen_module_is_measured_in_evaluation_mode():
    inputs = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    variables = jax.jit(lambda: Net().init(jax.random.key(0), jnp.zeros((30, 3)), train=True))()
    square = lambda model, batch: jnp.mean((model(batch[0]) - batch[1]) ** 2)  # noqa: E731
    problem = lab.from_linen(Net(), variables, square, (inputs, np.ones((30, 1), np.float32)))
    assert problem.stateful is not None
    params = jax.tree.map(np.asarray, variables["params"])
    calm = measure_signals(problem, params, num_examples=20, seed=3)
    assert [layer.name for layer in calm.layers] == ["first/kernel", "last/kernel"]
    assert [(act.operation, act.layer, act.num_units) for act in calm.activations] == [("tanh", "first/kernel", 8)]
    rows = np.sort(np.random.default_rng(3).choice(30, 20, replace=False))
    values = inputs[rows] @ params["first"]["kernel"]
    assert calm.num_examples == 20
    assert calm.layers[0].forward == pytest.approx(rms(values), rel=1e-5)
    # Running mean 0 and variance 1: the statistics of the batch play no part.
    tanh = np.tanh(values / np.sqrt(1 + 1e-5))
    assert calm.worst_saturated == pytest.approx(np.mean(1 - tanh**2 < 0.05), abs=1e-6)
    first = params["first"]
    loud = measure_signals(problem, {**params, "first": first | {"kernel": 1e3 * first["kernel"]}}, num_examples=20)
    assert loud.worst_saturated > 0.95
    assert loud.worst_dead == 0.0  # saturated units still tell examples apart
    stuck = {**params, "first": first | {"bias": np.full(8, 20, np.float32)}}
    assert measure_signals(problem, stuck, num_examples=20).worst_dead == 1.0


def test_a_problem_without_data_has_no_layer():
    problem = lab.from_loss(lambda w, batch, key: jnp.sum(w**2), jnp.ones(3), name="bowl")
    signals = measure_signals(problem, jnp.ones(3))
    assert (signals.layers, signals.notes) == ((), ("bowl has no data, so that no layer can be told.",))


def test_wrong_arguments_are_refused(small):
    problem, params = small
    with pytest.raises(InputError, match="num_examples must be a whole number of at least 1, got 0"):
        measure_signals(problem, params, num_examples=0)
    with pytest.raises(InputError, match="seed must be a whole number of at least 0, got -1"):
        measure_signals(problem, params, seed=-1)
