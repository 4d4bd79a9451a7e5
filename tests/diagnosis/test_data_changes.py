"""Changes of the data, and the causes that prescribe them."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import Stateful
from jaxopt_lab.diagnosis import data_changes, trials
from jaxopt_lab.diagnosis.causes import data_mismatch, train_eval
from jaxopt_lab.diagnosis.data_checks import DataChecks, Split
from jaxopt_lab.diagnosis.prescriptions import shuffle_batches
from jaxopt_lab.diagnosis.program_checks import ProgramChecks
from jaxopt_lab.diagnosis.validation import Modes
from tests.diagnosis.pieces import evidence

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(3.0, 2.0, (60, 4)).astype(np.float32)
CLASSES = np.repeat([5, 2, 9], [40, 18, 2]).astype(np.uint8)
WEIGHTS = jnp.zeros((4, 3))


def problem_of(inputs=INPUTS, targets=CLASSES, held=None, loss=None, mode="clip"):
    def entropy(w, batch, key):
        logs = jax.nn.log_softmax(batch[0] @ w)
        return -jnp.mean(jnp.take_along_axis(logs, batch[1].astype(int)[:, None], 1, mode=mode))

    return lab.from_loss(loss or entropy, WEIGHTS, (inputs, targets), validation=held)


def test_classes_get_numbers_that_name_outputs():
    changed = data_changes.renumbered(problem_of(held=(INPUTS[:3], np.array([9, 2, 7]))), 1, (0, 1, 2))
    assert np.asarray(changed.data[1]).tolist() == np.repeat([1, 0, 2], [40, 18, 2]).tolist()
    assert np.asarray(changed.validation[1]).tolist() == [2, 0, 2]
    below = data_changes.renumbered(problem_of(targets=(CLASSES == 5).astype(np.uint8)), 1, (-1, 1))
    assert set(np.asarray(below.data[1]).tolist()) == {-1, 1}


def test_targets_get_another_shape_for_the_loss_and_keep_their_own_for_the_metrics():
    """A metric of [n] minus [n] would be one of all pairs with targets [n, 1], as the loss was before."""
    targets = RNG.normal(size=60).astype(np.float32)
    error = lambda w, batch: jnp.mean((batch[0] @ w[:, 0] - batch[1]) ** 2)  # noqa: E731
    loss = lambda w, batch, key: jnp.mean((batch[0] @ w[:, :1] - batch[1]) ** 2)  # noqa: E731
    held = (INPUTS[:9], targets[:9])
    problem = lab.from_loss(loss, WEIGHTS, (INPUTS, targets), validation=held, metrics={"error": error})
    changed = data_changes.shaped(problem, 1, (1,))
    assert changed.data[1].shape == (60, 1)
    assert changed.validation[1].shape == (9, 1)
    weights = jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32)
    assert float(changed.loss(weights, changed.data, None)) == pytest.approx(
        float(error(weights, problem.data)), rel=1e-5
    )
    assert float(changed.metrics["error"](weights, changed.validation)) == pytest.approx(float(error(weights, held)))
    assert float(problem.loss(weights, problem.data, None)) != pytest.approx(
        float(error(weights, problem.data)), rel=1e-3
    )


def test_classes_are_drawn_alike():
    changed = data_changes.balanced(problem_of(), 1)
    labels = np.asarray(changed.data[1])
    assert np.unique(labels, return_counts=True)[1].tolist() == [20, 20, 20]
    rows = {row.tobytes() for row in INPUTS[CLASSES == 9]}
    assert all(row.tobytes() in rows for row in np.asarray(changed.data[0])[labels == 9])


def test_what_is_split_again_is_the_same_examples_in_the_same_numbers():
    held = (INPUTS + 50, np.full(60, 3, np.uint8))
    changed = data_changes.split_again(problem_of(held=held))
    parts = [np.asarray(data[0]) for data in (changed.data, changed.validation)]
    chex.assert_equal_shape([*parts, INPUTS])
    np.testing.assert_array_equal(
        np.sort(np.concatenate(parts), axis=0), np.sort(np.concatenate([INPUTS, held[0]]), axis=0)
    )
    share = np.mean(np.asarray(changed.validation[1]) == 3)
    assert 0.3 < share < 0.7  # of 120 drawn at random


def test_validation_inputs_get_the_training_inputs_means_and_deviations():
    held = (7 * INPUTS[::2] - 100, CLASSES[::2])
    changed = data_changes.matched_validation(problem_of(held=held))
    inputs = np.asarray(changed.validation[0], np.float64)
    np.testing.assert_allclose(inputs.mean(0), INPUTS.mean(0), rtol=1e-5)  # float32
    np.testing.assert_allclose(inputs.std(0), INPUTS.std(0), rtol=1e-5)
    np.testing.assert_array_equal(changed.data[0], INPUTS)


def test_examples_of_both_parts_leave_the_validation_data():
    held = (np.concatenate([INPUTS[:5], INPUTS[:5] + 1]), np.concatenate([CLASSES[:5]] * 2))
    changed = data_changes.without_duplicates(problem_of(held=held))
    np.testing.assert_array_equal(changed.validation[0], held[0][5:])
    same = problem_of(held=(INPUTS, CLASSES))
    assert data_changes.without_duplicates(same) is same


def told(problem, rule=None, **options):
    found = lab.diagnose(problem, rule or optax.sgd(0.1), batch_size=20, steps=60, budget=200, **options)
    finding = found.findings[0]
    return finding, None if finding.prescription.change is None else finding.prescription.apply(problem, optax.sgd(0.1))


@pytest.mark.parametrize(("targets", "numbers"), [(CLASSES, [1] * 40 + [0] * 18 + [2] * 2), (np.arange(60) % 5, None)])
def test_labels_outside_of_the_outputs_are_renumbered_where_there_are_as_many(targets, numbers):
    finding, changed = told(problem_of(targets=targets))
    assert finding.cause == "label-range"
    assert (changed is None) == (numbers is None)
    if numbers is not None:
        assert np.asarray(changed[0].data[1]).tolist() == numbers


def test_a_label_that_names_no_output_is_told_before_the_nan_that_it_gives():
    problem = problem_of(mode="fill")  # as optax has it
    found = lab.diagnose(problem, optax.sgd(0.1), steps=4, budget=20)
    assert found.causes == ("label-range", "non-finite")
    changed, _ = found.findings[0].prescription.apply(problem, optax.sgd(0.1))
    assert np.isfinite(float(changed.loss(WEIGHTS, changed.data, None)))


def test_targets_get_the_shape_of_the_outputs():
    truth = INPUTS @ np.array([1.0, -1.0, 0.5, 0.0], np.float32)
    mixing = lambda w, batch, key: jnp.mean((batch[0] @ w - batch[1]) ** 2)  # noqa: E731
    finding, changed = told(lab.from_loss(mixing, jnp.zeros((4, 1)), (INPUTS, truth)), optax.sgd(0.01))
    assert finding.cause == "mixed-examples"
    chex.assert_shape(changed[0].data[1], (60, 1))
    assert finding.trial.helps
    run = lab.run(
        lab.from_loss(mixing, jnp.zeros((4, 1)), (INPUTS, truth)),
        optax.sgd(0.01),
        steps=finding.trial.steps,
        batch_size=20,
    )
    judged = np.mean((INPUTS @ np.asarray(run.params_of()) - truth[:, None]) ** 2)
    np.testing.assert_allclose(finding.trial.before, judged, rtol=1e-4)  # by the loss that it should have had


def test_a_likelihood_that_is_minimized_is_negated():
    upside_down = lambda w, batch, key: -problem_of().loss(w, (batch[0], batch[1] % 3), key)  # noqa: E731
    finding, changed = told(problem_of(targets=CLASSES % 3, loss=upside_down))
    assert finding.cause == "unbounded-loss"
    assert float(changed[0].loss(WEIGHTS, changed[0].data, None)) == pytest.approx(np.log(3))


def test_features_that_are_finite_in_no_example_become_zero():
    inputs = INPUTS.copy()
    inputs[:, 2] = np.nan
    finding, changed = told(problem_of(inputs, CLASSES % 3))
    assert finding.cause == "non-finite"
    np.testing.assert_array_equal(np.asarray(changed[0].data[0])[:, 2], 0.0)
    np.testing.assert_array_equal(np.asarray(changed[0].data[0])[:, :2], INPUTS[:, :2])


def test_shares_of_classes_that_differ_ask_for_another_split():
    for changes, text in (
        ({"labels": 0.5}, "Shuffle the examples before"), ({"offset": 2.0}, "Transform both"),
        ({"duplicates": 0.5}, "leave those that are in both"),
    ):  # fmt: skip
        split = Split(**({"offset": 0.0, "scale": 1.0, "duplicates": 0.0, "labels": 0.0} | changes))
        found = data_mismatch.examine(evidence(end=0.1, data=DataChecks(split=split)))
        assert text in found.prescription.text
        assert found.prescription.change is not None


def test_targets_are_standardized_by_the_training_data_column_by_column():
    targets = np.column_stack([RNG.normal(7.0, 3.0, 60), np.full(60, 5.0)]).astype(np.float32)
    held = (INPUTS[:2], targets[:1] + np.array([[3.0, 2.0], [6.0, 4.0]], np.float32))
    problem = problem_of(targets=targets, held=held, loss=lambda w, batch, key: jnp.sum(w))
    changed = data_changes.standardized_targets(problem, 1)
    moved, constant = np.asarray(changed.data[1], np.float64).T
    np.testing.assert_allclose([moved.mean(), moved.std()], [0.0, 1.0], atol=1e-6)  # float32
    np.testing.assert_array_equal(constant, 0.0)
    apart = np.asarray(changed.validation[1]) - np.asarray(changed.data[1])[:1]
    np.testing.assert_allclose(apart[:, 0], np.array([3.0, 6.0]) / targets[:, 0].std(), rtol=1e-5)
    np.testing.assert_allclose(apart[:, 1], [2.0, 4.0])
    np.testing.assert_array_equal(changed.data[0], INPUTS)


@pytest.mark.parametrize("change", ["standardized", "clipped", "matched_validation", "zeroed"])
def test_tokens_are_no_inputs_to_be_scaled(change):
    tokens = problem_of(np.arange(240).reshape(60, 4), held=(np.arange(240).reshape(60, 4) + 1, CLASSES))
    assert getattr(data_changes, change)(tokens) is tokens


def test_validation_data_without_targets_keep_their_structure():
    problem = problem_of(targets=RNG.normal(size=60).astype(np.float32), held=(INPUTS,))
    assert data_changes.standardized_targets(problem, 1).validation is problem.validation


def centred(share):
    """A linear model of inputs less their mean: the batch's in training, a running one in evaluation."""

    def train(w, state, batch, key):
        mean = batch[0].mean(0)
        told = state["mean"] + share * (mean - state["mean"])
        return jnp.mean(((batch[0] - mean) @ w - batch[1]) ** 2), {"mean": told, "count": state["count"] + 1}

    def evaluate(w, state, batch):
        return jnp.mean(((batch[0] - state["mean"]) @ w - batch[1]) ** 2)

    start = {"mean": jnp.zeros(4), "count": jnp.int32(0)}
    loss = lambda w, batch, key: train(w, start, batch, key)[0]  # noqa: E731
    targets = ((INPUTS - INPUTS.mean(0)) @ RNG.normal(size=4)).astype(np.float32)
    return dataclasses.replace(
        lab.from_loss(loss, jnp.zeros(4), (INPUTS, targets)), stateful=Stateful(start, train, evaluate)
    )


@pytest.mark.parametrize("share", [1e-5, 0.3])
def test_running_statistics_move_another_share_of_the_way(share):
    problem, state = centred(share), {"mean": jnp.full(4, 40.0), "count": jnp.int32(7)}
    before, _ = problem.stateful.loss(WEIGHTS[:, 0], state, problem.data, None)
    moved = data_changes.with_statistics(problem, share, 0.1)
    after, found = moved.stateful.loss(WEIGHTS[:, 0], state, problem.data, None)
    np.testing.assert_allclose(found["mean"], 40 + 0.1 * (INPUTS.mean(0) - 40), rtol=1e-5)
    assert found["count"] == 8
    assert before == after == moved.loss(WEIGHTS[:, 0], problem.data, None)


@pytest.mark.parametrize("held", [True, False])
def test_running_statistics_that_lag_are_told_and_moved(held):
    problem = centred(1e-4)
    if held:
        inputs, targets = problem.data
        parts = [(inputs[rows], targets[rows]) for rows in (slice(40), slice(40, None))]
        problem = dataclasses.replace(problem, data=parts[0], validation=parts[1])
    found = lab.diagnose(problem, optax.adam(0.05), steps=200, batch_size=20, budget=120)
    assert found.causes[0] == "train-eval-mismatch"
    assert found.evidence.program.modes.moved == pytest.approx(1e-4, rel=0.02)
    cure = found.findings[0].prescription
    assert "move 0.1 of the way to the batch's in a step, not 0.0001" in cure.text
    assert cure.change is not None
    assert (found.findings[0].trial is not None) == held  # what they change is seen in evaluation mode
    assert not held or found.findings[0].trial.helps


@pytest.mark.parametrize(
    ("moved", "known"),
    [(0.049, True), (1.01e-3, True), (0.051, False), (0.39, False), (0.41, True), (-0.1, False), (np.nan, False)],
)
def test_running_statistics_move_a_tenth_of_the_way(moved, known):
    modes, stateful = Modes(0.5, 0.8, 0.0, moved=moved), Stateful({"mean": jnp.zeros(3)}, None, None)
    made = evidence(dataclasses.replace(problem_of(), stateful=stateful), program=ProgramChecks(modes=modes))
    cure = train_eval.examine(made).prescription
    assert (cure.change is not None) == known
    assert not known or f"not {moved:.2g} (momentum)" in cure.text


def test_sorted_batches_are_shuffled_and_keep_their_sizes():
    rows = [slice(0, 20), slice(20, 40), slice(40, 55)]
    sorted_ = dataclasses.replace(problem_of(), data=[(INPUTS[each], np.arange(60)[each]) for each in rows])
    rule = optax.sgd(0.1)
    shuffled, same = shuffle_batches().apply(sorted_, rule)
    batches = list(shuffled.data())
    assert same is rule
    assert [len(targets) for _, targets in batches] == [20, 20, 15]
    places = np.concatenate([targets for _, targets in batches])
    assert sorted(places) == list(range(55))
    assert (np.diff(places) < 0).sum() > 15
    np.testing.assert_array_equal(np.concatenate([inputs for inputs, _ in batches]), INPUTS[places])
    chex.assert_trees_all_equal(batches, list(shuffled.data()))  # each pass the same
    whole = problem_of()
    assert data_changes.with_shuffled_batches(whole) is whole


def test_what_changes_the_batches_alone_is_not_tried_on_data_in_arrays():
    made = evidence(problem_of())
    assert trials._changed(made, "data-mismatch", shuffle_batches(), 10) is None


@pytest.mark.parametrize(
    ("moved", "evaluation", "found"),
    [(0.07, 0.035, True), (0.08, 0.035, False), (0.07, 0.025, False), (0.08, 0.12, True), (0.2, 0.035, False)],
)
def test_statistics_that_have_not_caught_up_need_to_cost_less(moved, evaluation, found):
    """In 39 steps 0.077 of the way leave a twentieth."""
    modes = Modes(0.01, evaluation, 0.0, moved=moved)
    assert (train_eval.examine(evidence(program=ProgramChecks(modes=modes))) is not None) == found


def test_padding_behind_sequences_is_found_and_stands_before_them():
    words = np.array([[4, 0, 2, 0], [0, 3, 0, 0], [1, 1, 1, 1]], np.int32)
    held = (np.array([[5, 0, 0, 0]], np.int32), CLASSES[:1])
    changed = data_changes.with_padding_in_front(problem_of(words, CLASSES[:3], held), 0)
    assert np.asarray(changed.data[0]).tolist() == [[0, 4, 0, 2], [0, 0, 0, 3], [1, 1, 1, 1]]
    assert np.asarray(changed.validation[0]).tolist() == [[0, 0, 0, 5]]
    assert data_changes.padded_leaf((words,), [0]) == 0  # 3 of 12
    assert data_changes.padded_leaf((words[:, ::-1], words), [0, 1]) == 1
    assert data_changes.padded_leaf((words[[0, 0, 2]],), [0]) is None  # 2 of 12
    assert data_changes.padded_leaf((np.stack([words, words], 2),), [0]) == 0
    assert data_changes.padded_leaf((np.zeros((2, 3)),), [0]) == 0
