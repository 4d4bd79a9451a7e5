"""What the loss asks of the parameters, and of the outputs, beside what it teaches."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.diagnosis import program_checks
from jaxopt_lab.diagnosis.budget import step_cost
from jaxopt_lab.diagnosis.output_search import search_outputs
from jaxopt_lab.diagnosis.pipeline import diagnose
from jaxopt_lab.diagnosis.rule_checks import read_schedule
from jaxopt_lab.rules.identification import identify
from tests.diagnosis.pieces import evidence

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(80, 4)).astype(np.float32)
LABELS = (INPUTS[:, 0] > 0).astype(np.int32)
START = {"weight": jnp.full((4, 2), 0.7), "bias": jnp.zeros(2)}


def problem(penalty=0.0, smoothing=0.0):
    def loss(params, batch, key):
        logits = batch[0] @ params["weight"] + params["bias"]
        targets = optax.smooth_labels(jax.nn.one_hot(batch[1], 2), smoothing)
        return jnp.mean(optax.softmax_cross_entropy(logits, targets)) + penalty * jnp.sum(params["weight"] ** 2)

    return lab.from_loss(loss, START, (INPUTS, LABELS))


def told(problem):
    return diagnose(problem, optax.adam(3e-2), steps=100, batch_size=20, budget=60)


@pytest.fixture(scope="module")
def sound():
    """Of a small penalty and little smoothing."""
    return told(problem(penalty=1e-3, smoothing=0.1))


def test_the_penalty_of_a_loss_is_what_it_asks_of_the_parameters_alone():
    found = told(problem(penalty=0.5)).evidence
    assert found.program.penalty.start == pytest.approx(0.5 * 8 * 0.49, rel=1e-5)
    assert found.program.penalty.end == pytest.approx(0.5 * float(jnp.sum(found.run.params["weight"] ** 2)), rel=1e-4)
    assert found.penalty == found.program.penalty


def test_a_penalty_that_keeps_the_weights_at_zero_is_told(sound):
    assert told(problem(penalty=2.0)).causes[0] == "underfitting"
    assert sound.evidence.penalty.end == 0
    assert "underfitting" not in sound.causes


def test_a_criterion_that_hardly_tells_targets_apart_is_told(sound):
    assert told(problem(smoothing=0.95)).causes[0] == "unreachable-loss"
    assert "unreachable-loss" not in sound.causes


def test_a_velocity_that_gathers_is_no_schedule():
    params, rule = {"weight": jnp.zeros(3)}, optax.sgd(0.1, momentum=0.999)
    np.testing.assert_allclose(
        read_schedule(rule, params, 400, identify(rule, params)).rates, 1.0, rtol=1e-3
    )  # float32 sums
    assert read_schedule(rule, params, 400).rates[200] < 0.75


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_a_schedule_is_read_before_and_after_a_velocity_of_normalized_steps(nesterov, after):
    params, schedule = {"weight": jnp.zeros(3)}, optax.cosine_decay_schedule(1e-3, 300)
    rule = optax.rmsprop(schedule, momentum=0.9, nesterov=nesterov)
    if after:
        rule = optax.chain(optax.scale_by_rms(), optax.trace(0.9, nesterov), optax.scale_by_learning_rate(schedule))
    rates = read_schedule(rule, params, 200, identify(rule, params)).rates
    np.testing.assert_allclose(rates, 1e3 * schedule(np.arange(200)), atol=1e-3)


def test_a_step_on_few_examples_costs_as_a_part_of_a_thousand():
    assert step_cost(problem(), 20) == 20 / 1000
    assert step_cost(problem(), None) == len(INPUTS) / 1000


def saturated(scale):
    """A logistic model on two raw features, and one hot loss of clipped probabilities, as high-level libraries have it."""
    rng = np.random.default_rng(0)
    inputs = rng.uniform(0.5, 1.5, (300, 2)).astype(np.float32)
    labels = (inputs[:, 0] > inputs[:, 1]).astype(np.float32)

    def loss(params, batch, key):
        chance = jnp.clip(jax.nn.sigmoid(batch[0] @ params["weight"] + params["bias"]), 1e-7, 1 - 1e-7)[:, 0]
        return -jnp.mean(batch[1] * jnp.log(chance) + (1 - batch[1]) * jnp.log(1 - chance))

    init = lambda key: {"weight": jnp.ones((2, 1)), "bias": jnp.zeros(1)}  # noqa: E731
    return lab.from_loss(loss, init, (scale * inputs, labels))


def test_inputs_that_saturate_every_output_are_told_as_inputs_and_not_as_a_loss_without_gradient():
    found = lab.diagnose(saturated(1e4), optax.sgd(0.1), batch_size=32)
    assert "unnormalized-inputs" in found.causes[:2]
    assert "no-gradient" not in found.causes


def test_a_full_batch_of_a_small_model_costs_as_its_examples_times_its_parameters():
    def full(examples, width):
        data = (jnp.ones((examples, 2)), jnp.ones(examples))
        return lab.from_loss(lambda w, batch, key: jnp.mean((batch[0] @ w[:2] - batch[1]) ** 2), jnp.ones(width), data)

    assert step_cost(full(200, 2), None) == step_cost(full(200, 2), 200) == 0.1
    assert step_cost(full(2000, 200), None) == 0.4
    assert step_cost(full(2000, 1000), None) == 1.0
    assert step_cost(full(2000, 200), 100) == 0.05


@pytest.mark.parametrize(("rows", "clamped"), [(30, 0.0), (20, 1 / 3)])
def test_tokens_are_looked_up_in_a_table_with_a_row_for_each(rows, clamped):
    ids = np.arange(240, dtype=np.int32).reshape(60, 4) % 30
    params = {"table": jnp.ones((rows, 3)), "out": jnp.ones((3, 1))}
    loss = lambda p, batch, key: jnp.mean((p["table"][batch[0]].mean(1) @ p["out"] - batch[1]) ** 2)  # noqa: E731
    problem = lab.from_loss(loss, params, (ids, np.ones((60, 1), np.float32)))
    made = dataclasses.replace(evidence(problem), setting=dataclasses.replace(evidence(problem).setting, params=params))
    assert program_checks._clamped(made, search_outputs(problem, params)) == pytest.approx(clamped)
    assert program_checks._clamped(made, None) == 0
    found = diagnose(problem, optax.adam(1e-3), steps=20, batch_size=20, budget=30)
    assert found.evidence.program.clamped == pytest.approx(clamped)
