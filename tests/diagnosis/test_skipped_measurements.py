"""What is not measured: for want of budget or seconds, because it is refused, or because there is nothing to measure."""

import dataclasses
import types

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab.core import InputError, Problem, Status, fail
from jaxopt_lab.diagnosis import measure, quadratic_model, validation
from jaxopt_lab.diagnosis.budget import Budget, Skipped
from jaxopt_lab.diagnosis.inputs import measure_inputs
from jaxopt_lab.diagnosis.probe_runs import OtherRates
from jaxopt_lab.diagnosis.program_checks import measure_gradient_flow, measure_memorization
from jaxopt_lab.diagnosis.quadratic_model import measure_curvature
from jaxopt_lab.diagnosis.rule_checks import measure_edge, measure_rule, read_schedule
from jaxopt_lab.rules.identification import IdentifiedRule
from tests.diagnosis.pieces import CLASSES, INPUTS, REGRESSION, bowl, evidence

STANDS = evidence(end=1.1)


def spent(total=100.0):
    """A budget of which nothing is left, nor of what is beside it."""
    return Budget(total, 60.0, spent=total, aside=2 * total)


@pytest.mark.parametrize(
    ("function", "made", "name"),
    [
        (measure.measure_layers, evidence(), "layers"),
        (measure_curvature, evidence(), "curvature"),
        (measure_rule, evidence(), "rule"),
        (measure_edge, evidence(), "edge"),
        (measure_gradient_flow, evidence(), "gradient_flow"),
        (measure_memorization, evidence(), "memorization"),
    ],
)  # fmt: skip
def test_what_the_budget_does_not_pay_is_noted_with_its_cost(function, made, name):
    if name == "edge":  # of a rule without a closed form
        setting = dataclasses.replace(made.setting, optimizer=IdentifiedRule("unknown"))
        made = dataclasses.replace(made, setting=setting)
    budget = spent()
    found = function(made, budget)
    assert found is budget.skipped[name]
    assert found.applies
    assert "gradient-equivalents" in found.reason


def test_once_the_seconds_are_over_nothing_is_begun():
    budget = Budget(100.0, 60.0)
    assert budget.allows("layers", 1.0)
    assert budget.allows_aside("rule", 1.0)
    budget.began -= 61
    assert not budget.allows("layers", 1.0)
    assert not budget.allows_aside("rule", 1.0)
    assert budget.skipped["layers"].reason == budget.skipped["rule"].reason == "61 s of 60 s are over"
    assert budget.aside == 1.0


@pytest.mark.parametrize(("left", "reason"), [(14.0, "what is left goes into other learning rates"), (16.0, "refused")])
def test_around_a_point_is_looked_with_fifteen_of_a_hundred(left, reason, monkeypatch):
    """30 of 200."""

    def refused(*given, **more):
        raise fail("look_around", "it is refused")

    monkeypatch.setattr(measure, "look_around", refused)
    found = measure.measure_stationary_point(STANDS, Budget(100.0, 60.0, spent=100.0 - left))
    assert isinstance(found, Skipped)
    assert reason in found.reason
    assert measure.measure_stationary_point(evidence(), Budget(100.0, 60.0)).applies is False


def test_around_a_point_is_not_looked_once_the_seconds_are_over():
    budget = Budget(100.0, 60.0)
    budget.began -= 61
    assert "are over" in measure.measure_stationary_point(STANDS, budget).reason


@pytest.mark.parametrize("random", [False, True])
def test_where_steps_differ_a_fifth_is_kept_for_other_rates(random, monkeypatch):
    seen = {}
    monkeypatch.setattr(measure, "look_around", lambda *given, **more: (seen.update(more), 1.0))
    budget = Budget(100.0, 60.0, spent=60.0)
    measure.measure_stationary_point(STANDS.with_part("point.is_random", random), budget)
    assert seen["most"] == (20.0 if random else 30.0)  # of the 40 that are left; 60 of 200 at most
    assert budget.spent == 61.0


def test_other_rates_that_are_refused_are_noted(monkeypatch):
    def refused(*given, **more):
        raise fail("training", "it takes no rates")

    monkeypatch.setattr(measure, "rate_runs", refused)
    budget = Budget(100.0, 60.0)
    assert "it takes no rates" in measure.measure_other_rates(evidence(), budget).reason
    assert budget.spent == 0
    monkeypatch.setattr(measure, "rate_runs", lambda *given, **more: OtherRates(np.arange(2), {}))
    assert isinstance(measure.measure_other_rates(evidence(), budget), OtherRates)
    assert budget.spent > 0
    assert "too little" in measure.measure_other_rates(evidence(), spent()).reason


def test_curvature_on_standardized_inputs_is_left_out_where_it_cannot_be_had(monkeypatch):
    raw = types.SimpleNamespace(unnormalized=True)
    made = evidence(curvature=bowl(0.4), data=types.SimpleNamespace(inputs=raw))
    model = dataclasses.replace(bowl(0.1).point, products=3)
    what = "curvature on standardized inputs"
    given = []
    monkeypatch.setattr(measure, "model_around", lambda *more: given.append(more[4]) or model)
    budget = Budget(100.0, 60.0)
    assert measure.measure_standardized_curvature(made, budget).standardized is model
    assert (budget.spent, given) == (6.0, [(5, 2)])  # 10 and 4 of 200
    poor = spent()
    assert measure.measure_standardized_curvature(made, poor) is made.curvature
    assert what in poor.skipped

    def refused(*given):
        raise fail("hessian", "it is refused")

    monkeypatch.setattr(measure, "model_around", refused)
    assert measure.measure_standardized_curvature(made, budget) is made.curvature
    assert "it is refused" in budget.skipped[what].reason


def test_a_loss_of_whole_numbers_says_what_is_wanted():
    whole = Problem(loss=lambda w, batch, key: jnp.sum(w), init=lambda key: jnp.arange(3), name="mine")
    with pytest.raises(InputError, match=r"mine: the loss cannot be differentiated.* parameters of a floating type"):
        measure._first_gradient(whole, jnp.arange(3))


def ended(status=Status.NON_FINITE):
    made = evidence()
    return dataclasses.replace(made, run=dataclasses.replace(made.run, status=status))


def test_of_a_run_that_blew_up_there_is_no_end_to_look_at():
    held = dataclasses.replace(CLASSES, validation=CLASSES.data)
    made = ended()
    made = dataclasses.replace(made, setting=dataclasses.replace(made.setting, problem=held))
    assert validation.measure_validation(made, Budget(100.0, 60.0)).reason == "there is no end of a run"
    assert measure_edge(made, Budget(100.0, 60.0)).reason == "there is no end of a run"
    assert validation.measure_modes(made, Budget(100.0, 60.0)) is None
    assert not made.is_whole
    assert np.isnan(made.progress)
    assert made.is_underperforming


def test_two_modes_are_not_compared_where_the_budget_does_not_pay_it():
    budget = spent()
    assert validation.measure_modes(evidence().with_part("point.is_random", True), budget) is None
    assert "train-eval-mismatch" in budget.skipped


def test_a_metric_that_cannot_be_computed_is_not_known():
    def broken(params, batch):
        raise ValueError("for other data")

    problem = dataclasses.replace(CLASSES, metrics={"accuracy": broken, "score": lambda params, batch: 2.0})
    assert np.isnan(validation.metric_at(problem, "accuracy", jnp.zeros(3), problem.data))
    assert validation.metric_at(problem, "score", jnp.zeros(3), problem.data) == 2.0


@pytest.mark.parametrize(("broken", "known"), [(0.0, True), (np.nan, False), (np.inf, False)])
def test_inputs_with_a_number_that_is_not_finite_have_no_statistics(broken, known):
    inputs = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    inputs[3, 1] = broken
    problem = dataclasses.replace(REGRESSION, data=(inputs, REGRESSION.data[1]))
    assert (measure_inputs(problem) is not None) == known


def test_inputs_that_are_all_constant_have_no_statistics():
    assert measure_inputs(dataclasses.replace(REGRESSION, data=(INPUTS + 1, REGRESSION.data[1]))) is None


def test_a_state_without_a_second_moment_leaves_the_curvature_as_it_is():
    made = quadratic_model.model_around(
        Problem(loss=lambda w, batch, key: jnp.sum(w**2), init=lambda key: jnp.ones(3)),
        jnp.ones(3), None, optax.sgd(0.1).init(jnp.ones(3)), (2, 2), 0,
    )  # fmt: skip
    assert not made.preconditioned
    assert made.largest == pytest.approx(2.0)


@pytest.mark.parametrize(("steps", "is_read"), [(200_000, True), (200_001, False)])
def test_a_schedule_is_read_over_two_hundred_thousand_steps(steps, is_read, monkeypatch):
    monkeypatch.setattr("jaxopt_lab.diagnosis.rule_checks.steps_of_ones", lambda steps, *given: np.ones(steps))
    assert (read_schedule(optax.sgd(0.1), jnp.ones(3), steps) is not None) == is_read


def test_rates_that_are_not_finite_are_no_schedule(monkeypatch):
    monkeypatch.setattr("jaxopt_lab.diagnosis.rule_checks.steps_of_ones", lambda steps, *given: np.full(steps, np.nan))
    assert read_schedule(optax.sgd(0.1), jnp.ones(3), 10) is None


@pytest.mark.parametrize(("aside", "steps"), [(0.0, 39), (390.0, 0)])
def test_other_rates_take_a_quarter_of_what_is_beside_the_budget(aside, steps):
    """40 records of four rates, each a third, and 39 steps of each, each a twenty-fifth."""
    budget = Budget(200.0, 60.0, spent=200.0, aside=aside)
    found = measure.measure_other_rates(evidence(), budget)
    assert budget.spent == 200.0
    if steps:
        assert budget.aside > aside
        assert found.steps[-1] >= steps
    else:
        assert isinstance(found, Skipped)
        assert budget.aside == aside
