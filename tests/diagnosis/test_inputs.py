import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import jaxopt_lab as lab
from jaxopt_lab import theory
from jaxopt_lab.core import Problem, Status
from jaxopt_lab.diagnosis.causes.inputs import examine
from jaxopt_lab.diagnosis.data_changes import standardized
from jaxopt_lab.diagnosis.data_checks import DataChecks
from jaxopt_lab.diagnosis.inputs import InputStatistics, LinearModel, find_inputs, measure_inputs
from tests.diagnosis.pieces import evidence


def problem_of(inputs, targets=None):
    data = jnp.asarray(inputs) if targets is None else (jnp.asarray(inputs), jnp.asarray(targets))
    return Problem(loss=lambda params, batch, key: jnp.zeros(()), init=lambda key: jnp.zeros(1), data=data)


def gaussian(mean, num=4000, dim=6, seed=0):
    return mean + np.random.default_rng(seed).normal(size=(num, dim))


def test_the_condition_number_is_that_of_the_closed_form():
    found = measure_inputs(problem_of(gaussian(3.0)))
    expected = float(theory.preprocessing.condition_number_with_bias(3.0 * np.sqrt(6)))
    assert found.raw.condition_number == pytest.approx(
        expected, rel=0.15
    )  # 4000 examples: 1 / sqrt(n) at each end, and the spike
    assert found.standardized.condition_number == pytest.approx(1.0, abs=0.2)
    assert found.offset == pytest.approx(3.0, rel=0.05)


def test_scales_that_differ_show_in_the_spread():
    inputs = gaussian(0.0) * np.array([1, 1, 1, 1, 1, 100.0])
    assert measure_inputs(problem_of(inputs)).spread == pytest.approx(100, rel=0.1)
    assert measure_inputs(problem_of(inputs), adaptive=True).raw.condition_number < 1.5


def test_the_gain_counts_only_directions_that_the_targets_need():
    inputs = gaussian(0.0) * np.array([1, 1, 1, 1, 1, 0.01])
    needed = measure_inputs(problem_of(inputs, 100 * inputs[:, 5]))
    spared = measure_inputs(problem_of(inputs, inputs[:, 0]))
    assert needed.gain > 1000
    assert spared.gain == pytest.approx(1.0, abs=0.5)


def test_constant_features_are_left_out_and_counted():
    inputs = np.column_stack([gaussian(0.0), np.ones(4000)])
    found = measure_inputs(problem_of(inputs))
    assert found.num_constant == 1
    assert np.isfinite(found.raw.condition_number)


def test_the_widest_floating_leaf_is_the_inputs():
    tokens = jnp.zeros((5, 9), jnp.int32)
    assert find_inputs({"x": jnp.zeros((5, 8)), "y": jnp.zeros(5)}) == 0
    assert find_inputs((tokens, jnp.zeros((5, 3)))) == 1
    assert find_inputs(tokens) is None
    assert measure_inputs(problem_of(np.zeros((5, 3), np.int32))) is None


def test_standardized_uses_the_training_data_alone():
    problem = dataclasses.replace(problem_of(gaussian(5.0)), validation=jnp.zeros((3, 6)))
    after = standardized(problem)
    np.testing.assert_allclose(np.asarray(after.data).mean(0), 0.0, atol=1e-5)  # eps times a mean of 5 deviations
    np.testing.assert_allclose(np.asarray(after.validation), -5.0, rtol=0.1)  # the sample's own mean and deviation


def test_a_single_feature_is_an_input_beside_its_targets_and_a_column_of_targets_beside_wider_data_is_not():
    assert find_inputs((jnp.zeros((5, 1)), jnp.zeros(5))) == 0
    assert find_inputs((jnp.zeros((5, 9), jnp.int32), jnp.zeros((5, 1)))) is None
    assert find_inputs(jnp.zeros((5, 1))) is None


def test_one_hot_rows_behind_other_numbers_are_no_inputs():
    numbers, classes = jnp.ones((3, 2)), jnp.eye(3)
    assert find_inputs((numbers, classes)) == 0
    assert find_inputs((classes,)) == 0
    assert find_inputs((classes, numbers)) == 0
    assert find_inputs((numbers, 2 * classes)) == 1
    assert find_inputs((numbers, 2 * classes), among={0}) == 0
    far = measure_inputs(problem_of(gaussian(3.0, dim=1), np.zeros(4000)))
    assert far.offset == pytest.approx(3.0, rel=0.1)
    assert far.num_features == 1


@pytest.mark.parametrize(("tail", "found"), [(28.0, False), (34.0, True)])
def test_a_few_values_that_set_the_scale_are_told_and_clipped(tail, found):
    """One in a hundred lies ten times as far out as the deviation that it makes."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(400, 3)).astype(np.float32)
    inputs[::200] = 10 * tail
    inputs[100::200] = -10 * tail
    statistics = measure_inputs(lab.from_loss(lambda w, batch, key: jnp.sum(w), jnp.zeros(3), (inputs, np.arange(400))))
    assert statistics.tail == pytest.approx(tail, rel=0.05)
    made = evidence(data=DataChecks(inputs=statistics), end=0.9)
    told = examine(made)
    assert (told is not None and "few values" in told.explanation) == found
    if found:
        problem, _ = told.prescription.apply(
            lab.from_loss(made.setting.problem.loss, jnp.zeros(3), (inputs, inputs)), None
        )
        assert np.abs(problem.data[0]).max() == 5.0
        assert np.percentile(problem.data[0], 75, axis=0) == pytest.approx(0.67, abs=0.05)
        assert examine(evidence(data=DataChecks(inputs=statistics), end=0.1)) is None


def raw(offset=0.0, spread=1.0, gain=5.0, largest=8.0):
    return InputStatistics(
        "x", 3, 0, offset, spread, 1.0, LinearModel(9.0, 10 * gain, largest), LinearModel(1.0, 10.0, 2.0)
    )


@pytest.mark.parametrize(
    ("changes", "end", "found"),
    [
        ({"offset": 0.9}, 0.9, False), ({"offset": 1.1}, 0.9, True), ({"spread": 9.0}, 0.9, False),
        ({"spread": 11.0}, 0.9, True), ({"spread": 11.0, "gain": 3.9}, 0.9, False), ({"spread": 11.0}, 0.1, False),
    ],
)  # fmt: skip
def test_inputs_off_by_a_deviation_or_ten_times_apart_are_told_where_four_times_the_steps_go(changes, end, found):
    assert (examine(evidence(end=end, data=DataChecks(inputs=raw(**changes)))) is not None) == found


@pytest.mark.parametrize(
    ("largest", "kind", "found"),
    [(7.9, "gradient descent", False), (8.1, "gradient descent", True), (7.9, "unknown", True)],
)
def test_a_run_that_diverges_is_the_inputs_where_they_make_the_curvature_four_times_larger(largest, kind, found):
    """Of a rule whose edge is not known nobody knows whether its rate is too high on standardized inputs too."""
    made = evidence(data=DataChecks(inputs=raw(spread=11.0, largest=largest)))
    setting = dataclasses.replace(made.setting, optimizer=dataclasses.replace(made.setting.optimizer, kind=kind))
    run = dataclasses.replace(made.run, status=Status.BLOWN_UP)
    told = examine(dataclasses.replace(made, setting=setting, run=run))
    assert (told is not None) == found
    assert told is None or told.predicted_gain.value == np.inf
