import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core.problem import as_partial
from jaxopt_lab.diagnosis.causes import outputs
from jaxopt_lab.diagnosis.output_search import _affordable, constant_output_loss, search_outputs
from jaxopt_lab.diagnosis.prescriptions import bypass_activation
from jaxopt_lab.diagnosis.program_checks import ProgramChecks, is_negated
from jaxopt_lab.tracing.outputs import BypassActivation
from jaxopt_lab.tracing.targets import classes_of, target_leaf
from tests.diagnosis.pieces import evidence

RNG = np.random.default_rng(0)
INPUTS = RNG.standard_normal((64, 3)).astype(np.float32)
LABELS = RNG.integers(0, 4, 64).astype(np.int32)
TARGETS = (2 * RNG.standard_normal(64) + 1).astype(np.float32)
WEIGHTS = jnp.asarray(RNG.standard_normal((3, 4)), jnp.float32)


def entropy(z, labels):
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(z, labels))


def searched(loss, targets=LABELS, weights=WEIGHTS):
    problem = lab.from_loss(lambda w, batch, key: loss(batch[0] @ w, batch[1]), weights, (INPUTS, targets))
    return search_outputs(problem, weights)


def test_a_sound_criterion_reaches_zero_and_its_constant_is_the_entropy_of_the_classes():
    found = searched(entropy)
    shares = np.bincount(LABELS) / 64
    chex.assert_shape(found.outputs, (64, 4))
    assert found.reachable.loss < 1e-3
    assert found.bypassed is None
    assert found.constant.loss == pytest.approx(-np.sum(shares * np.log(shares)), rel=1e-3)
    assert not found.runs_away
    assert not found.constant_runs_away


def test_outputs_that_saturate_by_their_size_are_no_fault_of_the_criterion():
    """At a thousand times the weights no sigmoid passes a derivative; a relu that is off at usual ones stays off."""
    within = lambda z, y: jnp.mean((jax.nn.sigmoid(z) - jax.nn.one_hot(y, 4)) ** 2)  # noqa: E731
    found = searched(within, weights=1000 * WEIGHTS)
    assert found.loss > 0.3
    assert found.reachable.loss < 1e-3
    assert found.bypassed is None
    assert searched(lambda z, y: entropy(jax.nn.relu(z), y)).activation == "relu"


def test_an_example_is_felt_whose_loss_saturates_at_the_size_of_the_outputs():
    clipped = lambda z, y: -jnp.mean(jnp.log(jnp.clip(jax.nn.softmax(z)[jnp.arange(len(y)), y], 1e-7, 1 - 1e-7)))  # noqa: E731
    silent, seen = searched(clipped, weights=1e6 * WEIGHTS).silent
    assert len(seen) == 64
    assert len(silent) == 0


@pytest.mark.parametrize(
    ("loss", "targets", "name", "floor"),
    [
        (lambda z, y: entropy(jax.nn.softmax(z), y), LABELS, "softmax", np.log(1 + 3 / np.e)),
        (lambda z, y: jnp.mean((jax.nn.sigmoid(z)[:, 0] - y) ** 2), TARGETS, "sigmoid", None),
        (lambda z, y: jnp.mean((jnp.tanh(z)[:, 0] - y) ** 2), TARGETS, "tanh", None),
        (lambda z, y: jnp.mean((jax.nn.relu(z)[:, 0] - y) ** 2), TARGETS, "relu", None),
    ],
    ids=["softmax-twice", "sigmoid", "tanh", "relu"],
)
def test_an_activation_that_bounds_the_loss_from_below_is_named(loss, targets, name, floor):
    found = searched(loss, targets)
    if floor is None:
        clipped = {"sigmoid": (0, 1), "tanh": (-1, 1), "relu": (0, np.inf)}[name]
        floor = np.mean((np.clip(targets, *clipped) - targets) ** 2)
    assert found.activation == name
    assert found.reachable.loss >= 0.99 * floor  # a closed form; relu's dead outputs lie above it
    assert found.bypassed.loss < 1e-3


@pytest.mark.parametrize(
    "loss",
    [lambda z, y: -entropy(z, y), lambda z, y: jnp.mean(optax.sigmoid_binary_cross_entropy(z[:, 0], 1.0 * y))],
    ids=["without-its-sign", "binary-on-classes"],
)
def test_a_loss_without_a_lower_end_runs_away(loss):
    found = searched(loss)
    assert found.runs_away
    assert found.constant_runs_away


@pytest.mark.parametrize(
    ("loss", "targets", "found"),
    [
        (lambda z, y: -entropy(z, y), LABELS, True),
        (lambda z, y: -jnp.mean((z[:, 0] - y) ** 2), TARGETS, True),
        (entropy, LABELS, False),
        (lambda z, y: jnp.mean((jax.nn.sigmoid(z[:, 0]) - y) ** 2), TARGETS, False),
        (lambda z, y: -jnp.mean(jnp.exp(-10 * z[:, 1]) * (z[:, 0] - y) ** 2 + 10 * z[:, 1]), TARGETS, True),
        (lambda z, y: jnp.mean(optax.sigmoid_binary_cross_entropy(z[:, 0], 1.0 * y)), LABELS, False),
        (lambda z, y: jnp.mean(jnp.exp(-z[:, 1]) * (z[:, 0] - y) ** 2 - z[:, 1]), TARGETS, False),
    ],
    ids=["entropy", "squares", "sound", "bounded", "own-width", "binary-on-classes", "sign-of-a-variance"],
)
def test_a_loss_has_the_wrong_sign_where_the_other_one_has_a_lower_end(loss, targets, found):
    problem = lab.from_loss(lambda w, batch, key: loss(batch[0] @ w, batch[1]), WEIGHTS, (INPUTS, targets))
    assert is_negated(problem, WEIGHTS, search_outputs(problem, WEIGHTS)) == found


def test_a_variance_of_its_own_runs_away_for_free_outputs_and_not_for_one_output():
    def loss(z, y):
        return jnp.mean(0.5 * jnp.exp(-z[:, 1]) * (z[:, 0] - y) ** 2 + 0.5 * z[:, 1])

    found = searched(loss, TARGETS)
    assert not found.constant_runs_away
    assert found.constant.loss == pytest.approx(0.5 + 0.5 * np.log(TARGETS.var()), rel=1e-2)


def test_a_contrastive_loss_compares_its_examples_on_purpose():
    found = searched(lambda z, y: entropy(z @ z.T, jnp.arange(len(y))))
    assert found.place.is_pairwise


def test_a_layer_that_is_read_for_several_inputs_is_compared_on_purpose():
    def triplet(params, batch, key):
        first, like, other = (batch[0] @ params, batch[0] ** 2 @ params, batch[0][::-1] @ params)
        near, far = jnp.sum((first - like) ** 2, -1), jnp.sum((first - other) ** 2, -1)
        return jnp.mean(jax.nn.relu(near - far + 0.5))

    problem = lab.from_loss(triplet, WEIGHTS, (np.ones((60, 3), np.float32), TARGETS[:60]))
    found = search_outputs(problem, WEIGHTS)
    assert found.place.is_pairwise
    assert constant_output_loss(problem, WEIGHTS, found) is None
    tied = lab.from_loss(lambda w, b, key: jnp.mean((jnp.tanh(b[0] @ w) @ w.T - b[0]) ** 2), WEIGHTS, problem.data)
    assert not search_outputs(tied, WEIGHTS).place.is_pairwise


def test_the_constant_of_many_examples_is_that_of_all():
    inputs, targets = np.zeros((5000, 3), np.float32), np.arange(5000, dtype=np.float32) / 1000
    problem = lab.from_loss(
        lambda w, batch, key: jnp.mean(((batch[0] @ w)[:, 0] - batch[1]) ** 2), WEIGHTS, (inputs, targets)
    )
    found = search_outputs(problem, WEIGHTS)
    # 2048 of 5000 draw the mean; its error adds variance / 2048
    assert constant_output_loss(problem, WEIGHTS, found) == pytest.approx(targets.var(), rel=5e-3)


def test_a_loss_that_holds_a_leaf_of_the_data_against_itself_compares_its_examples_on_purpose():
    """As Cox's partial likelihood does: who dies is held against all who are still at risk."""

    def at_risk(w, batch, key):
        outputs, times = (batch[0] @ w)[:, 0], batch[1]
        below = jnp.where(times[None] >= times[:, None], outputs[None], -1e9)
        return jnp.mean(jax.nn.logsumexp(below, axis=1) - outputs)

    def mixed(w, batch, key):
        return jnp.mean(((batch[0] @ w)[:, 0][None] - batch[1][:, None]) ** 2)

    data = (np.random.default_rng(0).normal(size=(64, 3)).astype("f"), np.arange(64, dtype=np.float32))
    for loss, found in ((at_risk, True), (mixed, False)):
        assert search_outputs(lab.from_loss(loss, WEIGHTS, data), WEIGHTS).place.is_pairwise is found


def test_outputs_that_must_go_far_get_there():
    targets = np.linspace(0, 1, 64, dtype=np.float32)
    loss = lambda w, b, key: jnp.mean((0.005 * (b[0] @ w)[:, 0] - b[1]) ** 2)  # noqa: E731
    found = search_outputs(lab.from_loss(loss, WEIGHTS, (np.zeros((64, 3), np.float32), targets)), WEIGHTS)
    assert found.reachable.loss < 1e-3  # the outputs are at 200


def test_fewer_examples_are_searched_where_the_criterion_makes_pairs_of_them():
    data = (np.zeros((3000, 3), np.float32), np.zeros((3000, 1), np.float32))
    outputs = lambda w, batch: (batch[0] @ w)[:, 0]  # noqa: E731
    for loss, num in ((lambda w, b, key: jnp.mean((outputs(w, b) - b[1]) ** 2), 512),
                      (lambda w, b, key: jnp.mean((outputs(w, b) - b[1][:, 0]) ** 2), 2048)):  # fmt: skip
        assert _affordable(as_partial(loss), WEIGHTS, data) == num


def test_class_numbers_are_told_from_targets():
    place = searched(entropy).place
    assert classes_of(place, (INPUTS, LABELS))[1]
    assert target_leaf(place, (INPUTS, LABELS)) is None
    assert target_leaf(place, (INPUTS, TARGETS)) == 1
    assert classes_of(place, (INPUTS, TARGETS)) is None


@pytest.mark.parametrize(
    ("targets", "are_classes"),
    [
        (np.arange(64) % 10, True),
        (np.where(np.arange(64) % 2, 1, -1), True),
        (np.arange(64) % 20, True),
        (np.arange(64) // 2, True),
        (np.arange(64) // 1.9, False),
        (np.arange(64) ** 2, False),  # whole numbers, no two of them alike
        (255 * (np.arange(64) % 2), False),
        (np.arange(64) % 4 * 4, False),
        (np.arange(64) % 4 * 3, True),
    ],
)
def test_whole_floating_targets_are_classes_where_they_are_numbered_closely_and_met_again(targets, are_classes):
    place = searched(entropy).place
    found = classes_of(place, (INPUTS, np.floor(targets).astype(np.float32)))
    assert (found is not None) == are_classes


def test_the_models_activation_is_bypassed_in_the_metrics_too():
    """A metric that applies a sigmoid of its own keeps it."""
    model = lambda w, x: jax.nn.sigmoid(x @ w[:, 0])  # noqa: E731
    problem = lab.from_loss(
        lambda w, batch, key: jnp.mean(optax.sigmoid_binary_cross_entropy(model(w, batch[0]), batch[1] > 1)),
        WEIGHTS, (INPUTS, LABELS),
        metrics={"told": lambda w, batch: jnp.mean(jax.nn.sigmoid(model(w, batch[0])) > 0.5)},
    )  # fmt: skip
    changed, _ = bypass_activation("sigmoid").apply(problem, optax.sgd(0.1))
    assert float(problem.metrics["told"](WEIGHTS, problem.data)) == 1.0
    assert float(changed.metrics["told"](WEIGHTS, problem.data)) == pytest.approx(np.mean(INPUTS @ WEIGHTS[:, 0] > 0))


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (lambda z, y: -jnp.mean(z[jnp.arange(len(y)), y]), "log-softmax"),
        (lambda z, y: jnp.mean(jax.nn.log_softmax(z)[jnp.arange(len(y)), y]), "sign"),
    ],
)
def test_an_unbounded_loss_of_class_numbers_lacks_a_log_softmax_or_its_sign(loss, text):
    problem = lab.from_loss(lambda w, batch, key: loss(batch[0] @ w, batch[1]), WEIGHTS, (INPUTS, LABELS))
    made = evidence(problem, program=ProgramChecks(search_outputs(problem, WEIGHTS)))
    cure = outputs.examine_unbounded(made).prescription
    assert text in cure.text
    changed, _ = cure.apply(problem, optax.sgd(0.1))
    wanted = float(entropy(INPUTS @ WEIGHTS, LABELS))
    assert float(changed.loss(WEIGHTS, problem.data, None)) == pytest.approx(wanted, rel=1e-5)


def test_an_activation_is_bypassed_in_the_loss_itself():
    def loss(w, batch):
        return entropy(jax.nn.softmax(batch[0] @ w), batch[1])

    bypass = BypassActivation("softmax")
    batch = (jnp.asarray(INPUTS), jnp.asarray(LABELS))
    assert float(bypass(loss, WEIGHTS, batch)) == pytest.approx(float(entropy(INPUTS @ WEIGHTS, LABELS)), rel=1e-5)
    chex.assert_trees_all_close(
        jax.grad(lambda w: bypass(loss, w, batch))(WEIGHTS),
        jax.grad(lambda w: entropy(batch[0] @ w, batch[1]))(WEIGHTS),
        rtol=1e-4,
        atol=1e-6,  # float32, sums of 64
    )


def test_what_an_activation_gets_from_the_one_before_it_is_handed_on():
    """A rounded probability is a probability without the rounding; it is the rounding that holds the loss up."""
    kept = lambda z, y: jnp.mean((jax.nn.sigmoid(z)[:, 0] - y) ** 2)  # noqa: E731
    rounded = lambda z, y: jnp.mean((jnp.round(jax.nn.sigmoid(z))[:, 0] - y) ** 2)  # noqa: E731
    batch = (jnp.asarray(INPUTS), jnp.asarray(LABELS > 1, jnp.float32))
    bypassed = BypassActivation("round")(lambda w, batch: rounded(batch[0] @ w, batch[1]), WEIGHTS, batch)
    assert float(bypassed) == pytest.approx(float(kept(INPUTS @ WEIGHTS, batch[1])), rel=1e-6)
    found = searched(lambda z, y: jnp.mean((jnp.round(jax.nn.sigmoid(z))[:, 0] - y) ** 2), batch[1])
    assert (found.activation, found.bypassed.loss < 1e-3) == ("round", True)


def test_of_examples_with_many_outputs_fewer_are_searched():
    """131,072 numbers at most: 128 examples of 1,024 outputs."""
    inputs = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    loss = lambda w, batch, key: jnp.mean((batch[0] @ w - batch[1]) ** 2)  # noqa: E731
    data = (inputs, np.ones((300, 1024), np.float32))
    found = search_outputs(lab.from_loss(loss, jnp.zeros((2, 1024)), data), jnp.zeros((2, 1024)))
    assert found.outputs.shape == found.place.shape == (128, 1024)
    assert found.constant.loss == pytest.approx(0.0, abs=1e-3)
