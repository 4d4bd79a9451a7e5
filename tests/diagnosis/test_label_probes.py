"""Probes beside a model: what neighbours, a linear and a boosted model predict of the same examples."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import Status
from jaxopt_lab.diagnosis import label_probes
from jaxopt_lab.diagnosis.data_checks import DataChecks
from jaxopt_lab.diagnosis.label_probes import Skill, _correlations, _pairs, measure_skill, probe_labels
from jaxopt_lab.diagnosis.output_search import search_outputs
from jaxopt_lab.diagnosis.pipeline import diagnose
from tests.diagnosis.pieces import PLACE, evidence

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(360, 2)).astype(np.float32)
QUARTERS = (INPUTS[:, 0] * INPUTS[:, 1] > 0).astype(np.int32)  # no line tells them apart
HALVES = (INPUTS[:, 0] > 0).astype(np.int32)
START = {"w": jnp.zeros((2, 2)), "b": jnp.zeros(2)}


def classifier(labels, held=True):
    def loss(params, batch, key):
        logits = batch[0] @ params["w"] + params["b"]
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]))

    parts = [(INPUTS[rows], labels[rows]) for rows in (slice(240), slice(240, None))]
    return lab.from_loss(loss, START, parts[0], validation=parts[1] if held else None)


def regression(targets):
    def loss(params, batch, key):
        return jnp.mean((batch[0] @ params["w"][:, 0] + params["b"][0] - batch[1]) ** 2)

    return lab.from_loss(loss, START, (INPUTS[:240], targets[:240]), validation=(INPUTS[240:], targets[240:]))


def told(problem):
    return diagnose(problem, optax.adam(3e-2), steps=100, batch_size=40, budget=100)


def test_a_linear_model_of_quarters_is_outdone_by_the_probes():
    found = told(classifier(QUARTERS))
    skill = found.evidence.data.skill
    assert skill.model < 0.2
    assert skill.probe > 0.7
    assert "underfitting" in found.causes


def test_a_model_that_tells_as_much_as_the_probes_is_not_outdone():
    found = told(classifier(HALVES))
    assert found.evidence.data.skill.model > 0.9
    assert "underfitting" not in found.causes


def test_of_numbers_the_squared_correlation_counts():
    bent = told(regression((INPUTS[:, 0] ** 2).astype(np.float32))).evidence.data.skill
    assert bent.model < 0.2
    assert bent.probe > 0.8
    noise = RNG.normal(size=360)
    straight = told(regression((INPUTS[:, 0] + noise).astype(np.float32))).evidence.data.skill
    assert straight.model == pytest.approx(0.5, abs=0.15)  # half of the variance is noise
    assert straight.probe < straight.model + 0.1


def test_two_numbers_are_classes_as_a_hinge_has_them():
    signs = (2 * HALVES - 1).astype(np.float32)

    def loss(params, batch, key):
        margin = batch[1] * (batch[0] @ params["w"][:, 0] + params["b"][0])
        return jnp.mean(jnp.maximum(0, 1 - margin))

    found = told(lab.from_loss(loss, START, (INPUTS[:240], signs[:240]), validation=(INPUTS[240:], signs[240:])))
    assert found.evidence.data.skill.is_class
    assert found.evidence.data.skill.model > 0.9
    assert "underfitting" not in found.causes


def test_outputs_that_are_compared_with_each_other_predict_no_targets():
    made = told(regression(INPUTS[:, 0])).evidence
    place = dataclasses.replace(made.program.outputs.place, is_pairwise=False)
    assert measure_skill(made, place) is not None
    assert measure_skill(made, dataclasses.replace(place, is_pairwise=True)) is None


def test_without_validation_data_the_probes_predict_half_of_the_examples():
    skill = told(classifier(QUARTERS, held=False)).evidence.data.skill
    assert skill.model < 0.3
    assert skill.probe > 0.7
    shuffled = np.random.default_rng(1).permutation(QUARTERS)
    assert told(classifier(shuffled, held=False)).evidence.data.skill.probe < 0.3  # of the other half


@pytest.mark.parametrize(("together", "least", "most"), [(True, 0.0, 1e-4), (False, 0.01, 1.0)])
def test_probes_read_whole_numbers_as_words(together, least, most):
    """Words of the upper half of the vocabulary are told of class 1."""
    labels = HALVES[:80]
    words = np.where(labels[:, None] == 1, RNG.integers(8, 16, (80, 6)), RNG.integers(0, 16, (80, 6)))
    words = words if together else words[np.random.default_rng(1).permutation(80)]

    def loss(params, batch, key):
        z = jnp.mean(params["words"][batch[0]], 1) @ params["out"]
        return jnp.mean(optax.sigmoid_binary_cross_entropy(z, batch[1]))

    params = {"words": 0.1 * jnp.ones((16, 2)), "out": jnp.ones(2)}
    problem = lab.from_loss(loss, params, (words.astype(np.int32), labels))
    place = search_outputs(problem, params).place
    assert least <= probe_labels(place, problem)[0] <= most


def test_targets_that_are_all_the_same_are_told_by_chance():
    """Rows of ones, as of a one-hot code that writes the wrong number where the class is not."""

    def loss(params, batch, key):
        return jnp.mean(optax.softmax_cross_entropy(batch[0] @ params["w"] + params["b"], batch[1]))

    problem = lab.from_loss(loss, START, (INPUTS, np.ones((360, 2), np.float32)))
    assert probe_labels(search_outputs(problem, START).place, problem)[0] == 1.0


def test_of_several_labels_an_example_one_is_probed():
    def loss(params, batch, key):
        return jnp.mean(optax.softmax_cross_entropy(batch[0] @ params["w"] + params["b"], batch[1]))

    labels = np.stack([HALVES, INPUTS[:, 1] > -2], 1).astype(np.float32)
    problem = lab.from_loss(loss, START, (INPUTS[:240], labels[:240]), validation=(INPUTS[240:], labels[240:]))
    found = search_outputs(problem, START)
    assert found.shift < 1e-5
    assert max(probe_labels(found.place, problem)) < 1e-4


@pytest.mark.parametrize("whole", [False, True])
def test_of_several_targets_an_example_the_one_that_varies_most_is_probed(whole):
    targets = np.stack([np.zeros(360), 100 * np.round(INPUTS[:, 0], 2)], 1).astype(np.float32)
    targets = targets.astype(np.int32) if whole else targets / 3  # numbers, and whole ones that may be classes

    def loss(params, batch, key):
        return jnp.mean((batch[0] @ params - batch[1]) ** 2)

    data, held = ((INPUTS[rows], targets[rows]) for rows in (slice(240), slice(240, None)))
    problem = lab.from_loss(loss, jnp.zeros((2, 2)), data, validation=held)
    place = search_outputs(problem.freeze(), jnp.zeros((2, 2))).place
    assert all(chance < 1e-4 for chance in probe_labels(place, problem))


@pytest.mark.parametrize(
    ("model", "probe", "is_class", "found"),
    [(0.93, 0.985, False, True), (0.93, 0.98, False, False), (0.93, 0.975, False, False), (0.93, 0.985, True, False)],
)
def test_a_number_is_outdone_at_a_quarter_of_the_errors_and_a_twentieth(model, probe, is_class, found):
    assert Skill(model, probe, 0.01, is_class).is_outdone == found
    assert not Skill(model, probe, (probe - model) / 2, is_class).is_outdone


def test_a_tenth_that_is_left_is_much_where_a_probe_leaves_far_less():
    outdone = DataChecks(skill=Skill(0.86, 0.999, 0.01, False))
    for end, goes_badly in ((0.12, True), (0.08, False)):
        assert evidence(end=end, data=outdone).is_underperforming == goes_badly
        assert not evidence(end=end, data=DataChecks()).is_underperforming


def test_a_loss_with_weights_is_judged_by_the_mean_over_the_classes():
    """It pays for the rare class with examples of the other: no probe that counts examples outdoes that."""
    rng = np.random.default_rng(1)
    labels = (rng.random(400) < 0.08).astype(np.int32)
    inputs = (rng.normal(size=(400, 2)) + 1.6 * labels[:, None]).astype(np.float32)

    def loss(params, batch, key):
        costs = optax.softmax_cross_entropy_with_integer_labels(batch[0] @ params["w"] + params["b"], batch[1])
        return jnp.mean(jnp.where(batch[1] == 1, 11.5, 1.0) * costs) / 2

    problem = lab.from_loss(loss, START, (inputs[:200], labels[:200]), validation=(inputs[200:], labels[200:]))
    found = told(problem)
    skill = found.evidence.data.skill
    assert found.evidence.is_underperforming
    assert skill.model > 0.5
    assert not skill.is_outdone


@pytest.mark.parametrize("value", [1 / 3, 0.1, 7.0])
def test_one_output_for_all_predicts_nothing(value):
    """The mean of equal numbers is rounded: their deviation is 1e-17 and not 0."""
    outputs = np.full(50, value)
    np.testing.assert_array_equal(_correlations(outputs, np.arange(50.0)), 0.0)
    np.testing.assert_allclose(_correlations(np.exp(np.arange(50.0)), np.arange(50.0))[1], 1.0)


@pytest.mark.parametrize(("model", "probe", "goes_badly"), [(0.81, 0.8, False), (0.79, 0.5, True), (0.81, 0.82, True)])
def test_four_fifths_that_no_probe_predicts_leave_noise(model, probe, goes_badly):
    assert evidence(end=0.3, data=DataChecks(skill=Skill(model, probe, 0.01))).is_underperforming == goes_badly
    assert evidence(end=0.3, data=DataChecks(skill=Skill(model, probe, 0.01, False))).is_underperforming


def test_tokens_are_counted_in_one_order_in_training_and_validation_data():
    """Eight tokens, each as frequent as the others up to chance: which one comes more often, 3 or 5?"""
    tokens = np.random.default_rng(3).integers(0, 8, (1000, 12))
    labels = ((tokens == 3).sum(1) > (tokens == 5).sum(1)).astype(np.int32)

    def loss(params, batch, key):
        logits = jnp.mean(params["e"][batch[0]], 1) @ params["w"]
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]))

    start = {"e": jnp.asarray(np.random.default_rng(0).normal(size=(8, 4)), jnp.float32), "w": jnp.ones((4, 2))}
    problem = lab.from_loss(loss, start, (tokens[:700], labels[:700]), validation=(tokens[700:], labels[700:]))
    found = probe_labels(search_outputs(problem, start).place, problem)
    assert max(found) < 1e-6


def pairs_of(inputs, targets, inputs_at=(0,)):
    place = dataclasses.replace(PLACE, shape=(len(targets), 3), inputs=inputs_at)
    return _pairs(place, (inputs, targets))


def test_one_hot_rows_are_the_class_of_an_example():
    classes = np.arange(60) % 3
    wide = INPUTS[:120].reshape(60, 4)
    inputs, targets, is_class = pairs_of(wide, np.eye(3, dtype=np.float32)[classes])
    np.testing.assert_array_equal(inputs, wide)
    np.testing.assert_array_equal(targets, classes)
    assert is_class


@pytest.mark.parametrize(("num", "known"), [(50, True), (51, False)])
def test_tokens_tell_at_most_fifty_classes(num, known):
    tokens = RNG.integers(0, 8, (204, 6))
    inputs, targets, is_class = pairs_of(tokens, np.arange(204) % num)
    assert (inputs is not None) == (targets is not None) == is_class == known
    assert not known or inputs.shape == (204, 8 + 6)  # how often each token occurs, and which stands where


def test_tokens_without_a_class_an_example_are_not_probed():
    assert pairs_of(RNG.integers(0, 8, (40, 6)), RNG.integers(0, 3, (40, 2))) == (None, None, False)
    assert pairs_of(RNG.integers(0, 8, (40, 6)), np.arange(40) % 3, ()) == (None, None, False)


@pytest.mark.parametrize(("num", "known"), [(20, True), (19, False)])
def test_a_model_is_held_against_probes_on_twenty_examples(num, known):
    problem = classifier(HALVES)
    held = (INPUTS[-num:], HALVES[-num:])
    made = evidence(dataclasses.replace(problem, validation=held), batch_size=20)
    made = dataclasses.replace(made, run=dataclasses.replace(made.run, params=START))
    place = search_outputs(problem, START).place
    assert (measure_skill(made, place) is not None) == known
    diverged = dataclasses.replace(made.run, status=Status.NON_FINITE)
    assert measure_skill(dataclasses.replace(made, run=diverged), place) is None


def test_a_rare_class_is_told_by_the_order_of_its_examples():
    """Three in a hundred: no probe names the class, and all of them rank it higher."""
    rng = np.random.default_rng(3)
    labels = (rng.random(1600) < 0.03).astype(np.int32)
    inputs = (rng.normal(size=(1600, 2)) + 1.2 * labels[:, None]).astype(np.float32)

    def chance(labels):
        loss = lambda params, batch, key: jnp.mean(  # noqa: E731
            optax.softmax_cross_entropy_with_integer_labels(batch[0] @ params["w"] + params["b"], batch[1])
        )
        problem = lab.from_loss(loss, START, (inputs, labels))
        return probe_labels(search_outputs(problem, START).place, problem)[0]

    assert chance(labels) < 1e-4
    assert chance(rng.permutation(labels)) > 0.01


@pytest.mark.parametrize(("across", "least"), [(1e-4, 0.3), (1e-7, 1e-7)])
def test_clusters_that_are_named_by_chance_tell_no_labels(monkeypatch, across, least):
    """Agreement with validation labels counts beside none among the training examples where it is next to impossible."""
    chances = iter([0.3, across])
    monkeypatch.setattr(label_probes, "_probe", lambda *given: next(chances))
    problem = classifier(HALVES)
    assert probe_labels(search_outputs(problem, START).place, problem) == (least, across)


@pytest.mark.parametrize(("factor", "known"), [(1.0, False), (2.0, True)])
def test_a_model_that_gives_back_what_it_is_given_is_held_against_no_probe(factor, known):
    loss = lambda params, batch, key: jnp.mean((batch[0] @ params - batch[1]) ** 2)  # noqa: E731
    problem = lab.from_loss(loss, jnp.zeros((2, 2)), (INPUTS, factor * INPUTS))
    made = evidence(problem)
    made = dataclasses.replace(made, run=dataclasses.replace(made.run, params=jnp.ones((2, 2))))
    place = search_outputs(problem.freeze(), jnp.zeros((2, 2))).place
    assert (measure_skill(made, place) is not None) == known
