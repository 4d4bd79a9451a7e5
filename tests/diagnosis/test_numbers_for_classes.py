"""One output for several classes: a regression on names, or on grades."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.diagnosis import data_checks, label_probes
from jaxopt_lab.diagnosis.budget import Budget
from jaxopt_lab.diagnosis.causes import underfitting
from jaxopt_lab.diagnosis.label_probes import Skill
from jaxopt_lab.diagnosis.pipeline import diagnose
from tests.diagnosis.pieces import PLACE, evidence, search

INPUTS = np.random.default_rng(0).normal(size=(360, 2)).astype(np.float32)
GRADES = np.clip(np.floor(1.5 * INPUTS[:, 0]) + 2, 0, 3).astype(np.int32)
NAMES = np.array([2, 0, 3, 1])[GRADES]


def squared(outputs, targets):
    return (outputs - targets) ** 2


def poisson(outputs, targets):
    return jnp.exp(outputs) - targets * outputs


@pytest.mark.parametrize(
    ("criterion", "targets", "found"), [(squared, NAMES, True), (squared, GRADES, False), (poisson, GRADES, False)]
)
def test_numbers_of_classes_without_an_order_are_no_targets_of_a_regression(criterion, targets, found):
    loss = lambda p, batch, key: jnp.mean(criterion(batch[0] @ p["w"] + p["b"], batch[1]))  # noqa: E731
    parts = [(INPUTS[rows], targets[rows]) for rows in (slice(240), slice(240, None))]
    problem = lab.from_loss(loss, {"w": jnp.zeros(2), "b": jnp.zeros(())}, parts[0], validation=parts[1])
    made = diagnose(problem, optax.adam(3e-2), steps=240, batch_size=40, budget=100).evidence
    assert made.data.skill.is_class
    assert made.data.skill.is_outdone == found
    told = underfitting.examine(made)
    assert (told is not None) == found
    assert not found or "One output stands for several classes" in told.explanation


@pytest.mark.parametrize(
    ("shape", "classes", "found"),
    [
        ((40,), 3, True),
        ((40, 1), 3, True),
        ((40,), 2, False),
        ((40, 3), 3, False),
        ((40,), 50, True),
        ((40,), 51, False),
    ],
)
def test_one_output_and_three_classes_are_a_number_for_a_class(shape, classes, found):
    place = dataclasses.replace(PLACE, shape=shape)
    data = np.zeros((102, 3), np.float32), np.arange(102) % classes
    assert label_probes.numbers_for_classes(place, data) == found
    assert not label_probes.numbers_for_classes(place, (data[0], data[0]))


@pytest.mark.parametrize(("shape", "probed"), [((40, 1), True), ((40, 4), False)])
def test_a_number_for_a_class_is_probed_although_its_loss_comes_down(monkeypatch, shape, probed):
    monkeypatch.setattr(data_checks, "probe_labels", lambda *given: (None, None))
    monkeypatch.setattr(data_checks, "measure_skill", lambda *given: Skill(0.3, 0.9, 0.01))
    made = evidence(end=0.01, program=search(place=dataclasses.replace(PLACE, shape=shape)))
    assert not made.is_underperforming
    found = data_checks.measure_data(made, Budget(200.0, 60.0))
    assert (found.skill is not None) == probed
