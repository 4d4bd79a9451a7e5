"""The usual criterion of outputs and targets: which one, and what it makes of a loss and of a metric."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from chex import assert_trees_all_close

from jaxopt_lab.tracing.criteria import UsualActivation, UsualCriterion, usual_criterion
from jaxopt_lab.tracing.outputs import OutputPlace

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(12, 4)).astype(np.float32)
WEIGHTS = RNG.normal(size=(4, 3)).astype(np.float32)
CLASSES = np.arange(12, dtype=np.int32) % 3
ONE_HOT = np.eye(3, dtype=np.float32)[CLASSES]
SEVERAL = (RNG.normal(size=(12, 3)) > 0).astype(np.float32)
INTEGER, ENTROPY = "softmax_cross_entropy_with_integer_labels", "softmax_cross_entropy"
BINARY, SQUARED = "sigmoid_binary_cross_entropy", "squared_error"


def place(*outputs, inputs=(0,), targets=(1,), is_pairwise=False):
    return OutputPlace(7, (5, *outputs), (), inputs, targets, is_pairwise)


@pytest.mark.parametrize(
    ("outputs", "targets", "name"),
    [
        ((3,), CLASSES, INTEGER),
        ((3,), CLASSES.astype(np.float32), INTEGER),
        ((2,), CLASSES, None),
        ((3,), CLASSES - 1, None),
        ((3,), CLASSES + 0.5, None),
        ((3,), np.where(CLASSES, CLASSES, np.nan), None),
        ((3,), ONE_HOT, ENTROPY),
        ((3,), SEVERAL, BINARY),
        ((1,), CLASSES % 2, BINARY),
        ((), CLASSES % 2, BINARY),
        ((1,), np.ones((12, 1), np.float32), BINARY),
        ((1,), CLASSES, None),
        ((1,), CLASSES + 0.5, SQUARED),
        ((3,), ONE_HOT - 0.5, SQUARED),
        ((4, 3), np.stack([CLASSES] * 4, 1), INTEGER),
        ((3,), np.stack([CLASSES] * 4, 1), None),
        ((3,), np.zeros((0,), np.int32), None),
    ],
)
def test_shapes_and_values_of_the_targets_name_the_criterion(outputs, targets, name):
    found = usual_criterion(place(*outputs), (INPUTS, targets))
    assert (found and found.name) == name
    assert found is None or found.of_classes == (name != SQUARED)


@pytest.mark.parametrize(
    "other", [{"targets": (1, 2)}, {"targets": (0,)}, {"targets": ()}, {"is_pairwise": True}, {"inputs": (0, 1)}]
)
def test_masks_inputs_and_pairs_have_no_usual_criterion(other):
    assert usual_criterion(place(3, **other), (INPUTS, CLASSES, INPUTS)) is None


@pytest.mark.parametrize(
    ("name", "targets"), [(INTEGER, CLASSES), (ENTROPY, ONE_HOT), (BINARY, SEVERAL), (SQUARED, ONE_HOT - 0.5)]
)
def test_the_loss_is_the_mean_of_optax_criterion_whatever_it_was(name, targets):
    def loss(weights, batch, key):
        del key
        return jnp.sum(jax.nn.softmax(batch[0] @ weights) * 0.0 + jnp.mean(batch[1])) ** 2

    batch = (INPUTS, targets)
    criterion = UsualCriterion(name, 1, jax.tree.structure(batch))
    direct = lambda weights: jnp.mean(getattr(optax, name)(INPUTS @ weights, targets))  # noqa: E731
    changed = lambda weights: criterion(loss, weights, batch, None)  # noqa: E731
    assert_trees_all_close(
        jax.value_and_grad(changed)(WEIGHTS), jax.value_and_grad(direct)(WEIGHTS), rtol=1e-5, atol=1e-6
    )


def test_of_a_loss_with_a_state_the_state_is_as_it_was():
    def loss(weights, state, batch, key):
        outputs = batch[0] @ weights + state["offset"]
        return jnp.mean((outputs - batch[1][:, None]) ** 2), {"offset": state["offset"] + 1}

    batch, state = (INPUTS, CLASSES), {"offset": jnp.ones(())}
    criterion = UsualCriterion(INTEGER, 1, jax.tree.structure(batch))
    value, after = criterion(loss, WEIGHTS, state, batch, jax.random.key(0))
    assert float(after["offset"]) == 2
    direct = optax.softmax_cross_entropy_with_integer_labels(INPUTS @ WEIGHTS + 1, CLASSES)
    assert float(value) == pytest.approx(float(jnp.mean(direct)), rel=1e-5)


@pytest.mark.parametrize(("name", "activation"), [(BINARY, jax.nn.sigmoid), (INTEGER, jax.nn.softmax), (SQUARED, None)])
@pytest.mark.parametrize("used", [jax.nn.softmax, jax.nn.sigmoid, jax.nn.relu, jnp.tanh])
def test_a_metric_sees_the_activation_of_the_criterion(name, activation, used):
    metric = lambda weights, batch: jnp.mean((used(batch[0] @ weights) - batch[1]) ** 2)  # noqa: E731
    outputs = INPUTS @ WEIGHTS
    wanted = jnp.mean(((activation(outputs) if activation else outputs) - SEVERAL) ** 2)
    assert float(UsualActivation(name)(metric, WEIGHTS, (INPUTS, SEVERAL))) == pytest.approx(float(wanted), rel=1e-5)


@pytest.mark.parametrize("above", [0.5, 0.9])
def test_a_metric_of_probabilities_above_a_limit_sees_others(above):
    """A comparison is no activation, and of two activations the last one is what the metric sees."""
    wanted = jnp.mean((jax.nn.sigmoid(INPUTS @ WEIGHTS) > above) == SEVERAL)
    for first in (lambda z: z, jax.nn.relu):
        metric = lambda w, batch: jnp.mean((jax.nn.softmax(first(batch[0] @ w)) > above) == batch[1])  # noqa: B023, E731
        assert float(UsualActivation(BINARY)(metric, WEIGHTS, (INPUTS, SEVERAL))) == pytest.approx(float(wanted))


def test_a_metric_without_an_activation_stays():
    metric = lambda weights, batch: jnp.mean(jnp.argmax(batch[0] @ weights, -1) == batch[1])  # noqa: E731
    found = UsualActivation(INTEGER)(metric, WEIGHTS, (INPUTS, CLASSES))
    assert float(found) == float(metric(WEIGHTS, (INPUTS, CLASSES)))
