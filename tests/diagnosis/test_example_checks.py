"""A model that goes from example to example, and one that the inputs do not reach, beside their sound twins."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import Stateful
from jaxopt_lab.diagnosis import data_changes
from jaxopt_lab.diagnosis.causes import mixed_examples
from jaxopt_lab.diagnosis.example_checks import Coupling, _ignored, _paired, check_coupling
from jaxopt_lab.diagnosis.output_search import find_place, outputs_of
from tests.diagnosis.pieces import evidence, search

RNG = np.random.default_rng(0)
SERIES = RNG.normal(size=(96, 5, 3)).astype(np.float32)  # examples, time, features
TARGETS = SERIES.sum((1, 2)).astype(np.float32)


def init(key):
    return {"in": 0.5 * jax.random.normal(key, (3, 8)), "bias": jnp.zeros(8), "out": jnp.full((8, 1), 0.1)}


def told(outputs, init=init, batch_size=16):
    loss = lambda params, batch, key: jnp.mean((outputs(params, batch[0])[:, 0] - batch[1]) ** 2)  # noqa: E731
    problem = lab.from_loss(loss, init, (SERIES, TARGETS))
    return lab.diagnose(problem, optax.adam(1e-2), steps=60, batch_size=batch_size, budget=60)


def summed_over(axis):
    """A running sum over an axis of [examples, time, units], and an output from its last time."""

    def outputs(params, x):
        return jnp.cumsum(jnp.tanh(x @ params["in"] + params["bias"]), axis)[:, -1] @ params["out"]

    return outputs


def test_a_recurrence_over_the_examples_is_told():
    found = told(summed_over(0))
    assert found.causes[0] == "mixed-examples"
    assert found.evidence.program.examples.reordered > 0.1
    assert "over time, not over the examples" in found.findings[0].prescription.text


def test_a_recurrence_over_time_and_a_graph_that_is_taken_whole_are_not():
    found = told(summed_over(1))
    assert found.evidence.program.examples.reordered < 1e-5
    assert "mixed-examples" not in found.causes
    assert np.isnan(told(summed_over(0), batch_size=None).evidence.program.examples.reordered)


def masked(kept):
    """A mean over the times at which `kept` holds of what the layer makes of them."""

    def outputs(params, x):
        hidden = jnp.tanh(x @ params["in"] + params["bias"])
        return jnp.mean(jnp.where(kept(x), hidden, 0.3), 1) @ params["out"]

    return outputs


@pytest.mark.parametrize(("order", "paired"), [(np.arange(96), True), (RNG.permutation(96), False)])
def test_a_loss_is_held_against_that_on_other_examples_targets(order, paired):
    """As pictures and masks that were shuffled apart: what the model knows of the places it knows of any picture."""

    def loss(params, batch, key):
        return jnp.mean((batch[0] @ params["w"] + params["b"] - batch[1]) ** 2)

    places = np.linspace(-3, 3, 5)[:, None].astype(np.float32)
    problem = lab.from_loss(
        loss, {"w": jnp.zeros((3, 1)), "b": jnp.zeros((5, 1))}, (SERIES, places + SERIES.sum(2, keepdims=True)[order])
    )
    found = lab.diagnose(problem, optax.adam(0.1), steps=200, batch_size=32)
    assert (found.evidence.program.examples.paired > 0.1) == paired
    assert (found.causes == ("uninformative-labels",)) == (not paired)


def paired_of(problem, params):
    return _paired(problem, params, find_place(problem, params), 0)


def test_pairs_are_those_of_the_validation_data_and_what_predicts_itself_has_none():
    inputs, targets = SERIES[:, 0], SERIES[:, 0].sum(1, keepdims=True)
    solved = {"w": jnp.ones((3, 1))}

    def loss(params, batch, key):
        return jnp.mean((batch[0] @ params["w"] - batch[-1]) ** 2)

    shuffled = (inputs, targets[RNG.permutation(96)])
    spread = 2 * targets.var()  # of a difference of two of them
    problem = lab.from_loss(loss, solved, shuffled, validation=(inputs, targets))
    np.testing.assert_allclose(paired_of(problem, solved), spread, rtol=0.2)
    assert abs(paired_of(dataclasses.replace(problem, validation=None), solved)) < 0.2 * spread
    square = lambda params, batch, key: jnp.mean((batch[0] @ params - batch[0]) ** 2)  # noqa: E731
    assert np.isnan(paired_of(lab.from_loss(square, jnp.eye(3), (inputs,)), jnp.eye(3)))
    marked = lambda params, batch, key: jnp.mean(batch[2] * (batch[0] @ params["w"] - batch[1]) ** 2)  # noqa: E731
    weights = np.where(RNG.random((96, 1)) < 0.5, 0.0, 1.0).astype(np.float32)  # beside the targets, as theirs
    weighted = lab.from_loss(marked, solved, (inputs, targets, weights))
    np.testing.assert_allclose(paired_of(weighted, solved), spread / 2, rtol=0.4)
    critic = lambda params, batch, key: jnp.mean((batch[0] - batch[1]) @ params["w"])  # noqa: E731
    both = lab.from_loss(critic, solved, (inputs, SERIES[:, 1]))
    assert np.isnan(paired_of(both, solved))
    tokens = RNG.integers(0, 5, (96, 6))

    def next_token(params, batch, key):
        logits = jax.nn.one_hot(batch[0][:, :-1], 5) @ params
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, batch[0][:, 1:]))

    assert np.isnan(paired_of(lab.from_loss(next_token, jnp.eye(5), (tokens,)), jnp.eye(5)))


def test_inputs_that_a_mask_keeps_out_are_told():
    found = told(masked(lambda x: jnp.zeros(x.shape[1:2], bool)[:, None]))
    assert found.evidence.program.examples.ignored
    assert found.causes[0] == "no-gradient"
    assert "they do not depend on the inputs" in found.findings[0].explanation


@pytest.mark.parametrize("case", ["seen", "zero", "dead"])
def test_outputs_that_are_the_same_for_now_are_not_kept_from_their_inputs(case):
    def start(key):
        params = init(key)
        if case == "zero":
            return params | {"out": jnp.zeros((8, 1))}
        return params | {"bias": jnp.full(8, -50.0)} if case == "dead" else params

    def outputs(params, x):
        return jnp.mean(jax.nn.relu(x @ params["in"] + params["bias"]), 1) @ params["out"]

    found = told(outputs, start)
    assert not found.evidence.program.examples.ignored
    assert "no-gradient" not in found.causes or case == "dead"


def test_biases_that_outweigh_the_inputs_before_a_normalization_do_not_hide_them():
    """Of two normalized units only the sign is left, and one bias of size 1 decides it for all examples."""

    def start(key):
        return init(key) | {
            "pair": jax.random.normal(key, (8, 2)),
            "shift": jnp.array([9.0, -9.0]),
            "out": jnp.ones((2, 1)),
        }

    def outputs(params, x):
        z = jnp.tanh(jnp.mean(x @ params["in"], 1)) @ params["pair"] * 0.01 + params["shift"]
        z = (z - z.mean(-1, keepdims=True)) / z.std(-1, keepdims=True)
        return z * jnp.array([1.0, 2.0]) @ params["out"]

    found = told(outputs, start)
    assert not found.evidence.program.examples.ignored


@pytest.mark.parametrize(("keep", "ignored"), [(1.0, False), (0.0, True)])
def test_raw_inputs_that_saturate_any_usual_weights_are_not_lost(keep, ignored):
    raw = (1000 * (1 + 0.01 * RNG.normal(size=(96, 4)))).astype(np.float32)
    params = {"in": jnp.ones((4, 8)), "bias": jnp.zeros(8), "out": jnp.ones((8, 1))}

    def loss(params, batch, key):
        return jnp.mean((jnp.tanh(keep * batch[0] @ params["in"] + params["bias"]) @ params["out"] - batch[1]) ** 2)

    problem = lab.from_loss(loss, params, (raw, np.ones((96, 1), np.float32)))
    few = tuple(leaf[:31] for leaf in problem.data)
    place, outputs = find_place(problem, params), outputs_of(problem, params, few)
    assert _ignored(problem, params, place, few, outputs, 0, seed=0) == ignored


def test_ten_layers_of_sigmoids_hide_their_inputs_without_losing_them():
    def start(key):
        keys = jax.random.split(key, 12)
        return init(key) | {"deep": 0.3 * jax.random.normal(keys[0], (12, 8, 8))}

    def outputs(params, x):
        hidden = jnp.mean(x @ params["in"], 1)
        for weight in params["deep"]:
            hidden = jax.nn.sigmoid(hidden @ weight)
        return hidden @ params["out"]

    found = told(outputs, start)
    assert not found.evidence.program.examples.ignored
    assert found.causes[0] == "vanishing-signal"


def test_noise_that_is_fixed_to_a_place_in_the_batch_is_no_mixing():
    def outputs(params, x):
        noise = jax.random.normal(
            jax.random.key(0), x.shape
        )  # of the shape of the batch: by its place, an example's own
        return jnp.mean(jnp.tanh((x + noise) @ params["in"] + params["bias"]), 1) @ params["out"]

    found = told(outputs)
    assert found.evidence.program.examples.reordered < 1e-5
    assert "mixed-examples" not in found.causes


def test_attention_over_the_examples_is_told_as_the_models():
    def outputs(params, x):
        hidden = x[:, -1] @ params["in"] + params["bias"]
        return (hidden + jax.nn.softmax(hidden @ hidden.T) @ hidden) @ params["out"]

    found = told(outputs)
    assert found.causes[0] == "mixed-examples"
    assert found.evidence.program.examples.reordered < 1e-4 < 0.03 < found.evidence.program.examples.beside
    assert "Look over which axis an attention" in found.findings[0].prescription.text


INPUTS = RNG.standard_normal((64, 3)).astype(np.float32)
NUMBERS, LABELS = (2 * INPUTS[:, 0] + 1).astype(np.float32), RNG.integers(0, 4, 64).astype(np.int32)
WEIGHTS = jnp.asarray(RNG.standard_normal((3, 4)), jnp.float32)
each = optax.softmax_cross_entropy_with_integer_labels


def coupling_of(loss, targets=LABELS, weights=WEIGHTS):
    problem = lab.from_loss(lambda w, batch, key: loss(batch[0] @ w, batch[1]), weights, (INPUTS, targets))
    return check_coupling(problem, weights)


def test_examples_that_pull_at_each_other_are_coupled_and_a_mask_is_not():
    weights = WEIGHTS[:, :1]
    assert coupling_of(lambda z, y: jnp.mean((z - y) ** 2), NUMBERS, weights).turned > 1e-2
    assert coupling_of(lambda z, y: jnp.mean((z[:, 0] - y) ** 2), NUMBERS, weights).turned < 1e-6
    assert coupling_of(lambda z, y: -jnp.mean(jax.nn.log_softmax(z, 0)[jnp.arange(len(y)), y])).turned > 1e-2
    assert coupling_of(lambda z, y: jnp.sum((y > 0) * each(z, y)) / jnp.sum(y > 0)).turned < 1e-5


def test_neighbours_that_happen_to_have_one_mean_do_not_hide_a_coupling():
    targets = np.random.default_rng(0).random(1024, np.float32)
    inputs = np.random.default_rng(1).standard_normal((1024, 3)).astype(np.float32)
    problem = lab.from_loss(lambda w, b, key: jnp.mean((b[0] @ w - b[1]) ** 2), WEIGHTS[:, :1], (inputs, targets))
    assert min(check_coupling(problem, WEIGHTS[:, :1], seed).turned for seed in range(100)) > 3e-3


def test_a_product_of_means_is_told_from_weights_of_each_example_and_from_weights_over_their_sum():
    weight = jnp.asarray([0.1, 1.0, 1.0, 3.0])
    product = coupling_of(lambda z, y: jnp.mean(weight[y][:, None] * each(z, y)))
    assert product.turned < 1e-5
    assert product.averaged == pytest.approx((30 + 1 / 30) / 2 - 1, rel=1e-3)  # the least weight beside the largest
    for sound in (
        lambda z, y: jnp.mean(weight[y] * each(z, y)),
        lambda z, y: jnp.sum(weight[y] * each(z, y)) / jnp.sum(weight[y]),
        lambda z, y: jnp.sqrt(jnp.mean(each(z, y) ** 2)),
    ):
        assert coupling_of(sound).averaged == 0


def test_weights_that_meet_all_losses_are_told_and_each_example_gets_its_own():
    labels = (INPUTS[:, 0] > 1.2).astype(np.int32)

    def loss(params, batch, key):
        weight = jnp.where(batch[1] == 1, 8.0, 0.5)[:, None]
        return jnp.mean(weight * each(batch[0] @ params, batch[1]))

    problem = lab.from_loss(loss, jnp.zeros((3, 2)), (INPUTS, labels))
    found = lab.diagnose(problem, optax.sgd(0.1), steps=60, batch_size=16, budget=60)
    assert found.causes[0] == "mixed-examples"
    mended, _ = found.findings[0].prescription.apply(problem, optax.sgd(0.1))
    own = jnp.where(labels == 1, 8.0, 0.5) @ each(INPUTS @ jnp.ones((3, 2)), labels) / 64
    assert mended.loss(jnp.ones((3, 2)), (INPUTS, labels), None) == pytest.approx(float(own), rel=1e-5)
    noise = lambda w, batch, key: 0.0 if key is None else jax.random.normal(key) * jnp.sum(w)  # noqa: E731
    noisy = lab.from_loss(noise, jnp.ones(3), (INPUTS, labels))
    drawn = data_changes.with_separate_examples(noisy).loss(jnp.ones(3), (INPUTS, labels), jax.random.key(0))
    own = [3 * jax.random.normal(each) for each in jax.random.split(jax.random.key(0), 64)]
    assert drawn == pytest.approx(float(np.mean(own)), rel=1e-4)  # each example has a key of its own
    stateful = Stateful(lambda params, state, batch, key: (loss(params, batch, key), state), None, lambda *given: 0.0)
    averaged = dataclasses.replace(problem, stateful=stateful)  # the statistics of one example are none
    assert data_changes.with_separate_examples(averaged) is averaged


@pytest.mark.parametrize(("averaged", "found"), [(0.019, False), (0.021, True)])
def test_examples_are_mixed_where_the_mean_of_weights_sets_their_pull(averaged, found):
    program = dataclasses.replace(search(), coupling=Coupling(0.0, averaged))
    told = mixed_examples.examine(evidence(program=program))
    assert (told is not None) == found
    assert not found or "the product of two means" in told.explanation
