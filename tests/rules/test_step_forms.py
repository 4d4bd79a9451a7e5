"""Closed forms of normalized steps against the rules of optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab.rules.step_forms import StepForm, recognize_steps, unit_steps

GRADIENTS = np.concatenate([np.eye(6, 12), np.ones((1, 12)), np.arange(12)[None] % 3 == 1])
RULES = {
    "": optax.scale_by_adam(0.8, 0.9),
    "nesterov": optax.scale_by_adam(0.8, 0.9, nesterov=True),
    "largest v": optax.scale_by_amsgrad(0.8, 0.9),
    "largest g": optax.scale_by_adamax(0.8, 0.9),
}


def answers(rule):
    """Steps down of a rule for each row of gradients, [sequences, steps]."""

    def run(gradients):
        def step(state, gradient):
            update, state = rule.update(gradient, state)
            return state, -update

        return jax.lax.scan(step, rule.init(jnp.zeros(())), gradients)[1]

    return np.asarray(jax.vmap(run)(jnp.asarray(GRADIENTS, jnp.float32)), float)


@pytest.mark.parametrize("form", RULES)
def test_unit_steps_are_those_of_optax(form):
    np.testing.assert_allclose(-answers(RULES[form]), unit_steps(GRADIENTS, 0.8, 0.9)[form], rtol=2e-3, atol=1e-6)


def test_a_second_moment_keeps_its_bias_in_rmsprop():
    steps = -answers(optax.scale_by_rms(0.9))
    np.testing.assert_allclose(steps, unit_steps(GRADIENTS, 0.0, 0.9)["biased v"], rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("form", RULES)
@pytest.mark.parametrize("rates", [np.full(12, 0.1), np.linspace(0.0, 0.1, 12), 0.1 * 0.9 ** np.arange(12)])
def test_the_rates_of_a_schedule_are_told_with_the_form(form, rates):
    steps = rates * answers(RULES[form])[None]
    found, told = recognize_steps(steps, GRADIENTS, StepForm("", 0.8, 0.9))
    assert found.form == form
    np.testing.assert_allclose(told, rates, rtol=2e-3, atol=1e-9)
    np.testing.assert_allclose(found.rates(-steps[0, 6]), rates, rtol=2e-3, atol=1e-9)  # of the gradient that stays


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("is_scaled_last", [False, True])
def test_the_schedule_of_a_velocity_is_told_on_either_side(nesterov, is_scaled_last):
    rates = 0.1 * 0.9 ** np.arange(12)
    parts = [optax.trace(0.7, nesterov), optax.scale_by_schedule(lambda count: 0.1 * 0.9**count)]
    rule = optax.chain(optax.scale_by_rms(0.9), *(parts if is_scaled_last else parts[::-1]))
    decays = StepForm("", 0.0, 0.9, 0.7, 0.7 * nesterov)
    found, told = recognize_steps(answers(rule)[None], GRADIENTS, decays)
    assert (found.form, found.is_scaled_last) == ("biased v", is_scaled_last)
    np.testing.assert_allclose(told, rates, rtol=5e-3)


def test_runs_a_fiftieth_apart_have_no_common_rate():
    steps = answers(RULES[""])[None] * np.array([1.0, 1.005])[:, None, None]
    assert recognize_steps(steps, GRADIENTS, StepForm("", 0.8, 0.9)) is not None
    apart = answers(RULES[""])[None] * np.array([1.0, 1.04])[:, None, None]
    assert recognize_steps(apart, GRADIENTS, StepForm("", 0.8, 0.9)) is None
    assert recognize_steps(steps + 0.02 * (GRADIENTS[:1] < 1), GRADIENTS, StepForm("", 0.8, 0.9)) is None
