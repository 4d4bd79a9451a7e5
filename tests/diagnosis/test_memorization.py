"""What a model does not fit of sixteen examples, just below and above its thresholds."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.diagnosis.budget import Budget
from jaxopt_lab.diagnosis.causes import memorization
from jaxopt_lab.diagnosis.data_checks import DataChecks
from jaxopt_lab.diagnosis.label_probes import Skill
from jaxopt_lab.diagnosis.program_checks import Memorization, ProgramChecks, measure_memorization
from jaxopt_lab.diagnosis.validation import MetricChange
from tests.diagnosis.pieces import evidence, search


@pytest.mark.parametrize(
    ("floor", "bypassed", "least", "found"),
    [(0.5, None, 0.74, False), (0.5, None, 0.76, True), (0.5, 0.1, 0.6, True), (1.5, None, 0.6, True)],
)
def test_what_free_outputs_leave_need_not_be_memorized(floor, bypassed, least, found):
    checks = dataclasses.replace(
        search(reachable=floor, bypassed=bypassed), memorization=Memorization(1.0, least, 0.01)
    )
    assert (memorization.examine(evidence(program=checks)) is not None) == found


@pytest.mark.parametrize(("least", "found"), [(0.48, False), (0.52, True)])
def test_sixteen_examples_keep_half_of_their_loss(least, found):
    assert (
        memorization.examine(evidence(program=ProgramChecks(memorization=Memorization(1.0, least, 0.01)))) is not None
    ) == found


@pytest.mark.parametrize(
    ("size", "skill", "found"),
    [
        (16, None, True),
        (15, None, False),
        (15, Skill(0.5, 0.8, 0.01), True),
        (15, Skill(0.5, 0.6, 0.01), False),
        (20, Skill(0.5, 0.5, 0.01), True),
    ],
)
def test_what_no_probe_predicts_is_noise_to_a_small_model(size, skill, found):
    made = evidence(
        program=ProgramChecks(memorization=Memorization(1.0, 0.9, 0.01)), data=DataChecks(None, None, None, skill=skill)
    )
    made = dataclasses.replace(made, setting=dataclasses.replace(made.setting, params=jnp.zeros(size)))
    assert (memorization.examine(made) is not None) == found


@pytest.mark.parametrize(("size", "found"), [(63, False), (64, True)])
def test_sixteen_examples_have_four_outputs_each(size, found):
    made = evidence(program=dataclasses.replace(search(), memorization=Memorization(1.0, 0.9, 0.01)))
    made = dataclasses.replace(made, setting=dataclasses.replace(made.setting, params=jnp.zeros(size)))
    assert (memorization.examine(made) is not None) == found


@pytest.mark.parametrize(("size", "found"), [(3, False), (4, True)])
def test_of_fewer_examples_all_are_memorized(size, found):
    made = evidence(program=ProgramChecks(memorization=Memorization(1.0, 0.9, 0.01)))
    few = dataclasses.replace(made.setting.problem, data=jax.tree.map(lambda leaf: leaf[:4], made.setting.problem.data))
    made = dataclasses.replace(made, setting=dataclasses.replace(made.setting, problem=few, params=jnp.zeros(size)))
    told = memorization.examine(made)
    assert (told is not None) == found
    assert not found or "does not fit 4 of its own examples" in told.explanation


@pytest.mark.parametrize(("classes", "found"), [(None, False), (4, True)])
def test_scores_of_classes_hang_together(classes, found):
    made = evidence(program=dataclasses.replace(search(), memorization=Memorization(1.0, 0.9, 0.01)))
    setting = dataclasses.replace(made.setting, params=jnp.zeros(50))
    made = dataclasses.replace(made, setting=setting, point=dataclasses.replace(made.point, num_classes=classes))
    assert (memorization.examine(made) is not None) == found


def test_metrics_are_asked_where_the_examples_are_memorized():
    inputs = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.float32)
    problem = lab.from_loss(
        lambda w, batch, key: jnp.mean(optax.sigmoid_binary_cross_entropy(batch[0] @ w, batch[1])), jnp.zeros(2),
        (inputs, labels), metrics={"score": lambda w, batch: jnp.mean((batch[0] @ w > 0) == (batch[1] > 0))},
    )  # fmt: skip
    made = evidence(problem, program=ProgramChecks(metrics=(MetricChange("score", 0.5, 0.1),)))
    made = dataclasses.replace(made, setting=dataclasses.replace(made.setting, params=-jnp.ones(2)))
    (change,) = measure_memorization(made, Budget(200.0)).metrics
    assert (change.name, change.end) == ("score", 1.0)
    assert change.start < 0.5
