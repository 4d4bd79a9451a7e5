"""Rules around the rule in use: its schedule held, a float32 copy of the parameters, no decay, another length."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab.diagnosis import prescriptions
from jaxopt_lab.diagnosis.probe_runs import ScaledRule, with_wide_copy
from jaxopt_lab.diagnosis.rule_checks import held_at

PARAMS, GRADIENT = {"w": jnp.ones(3)}, {"w": jnp.ones(3)}


def steps_of(rule, count, params=PARAMS, gradient=GRADIENT):
    """The updates of the first entry to a constant gradient."""
    state, found = rule.init(params), []
    for _ in range(count):
        updates, state = rule.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        found.append(float(updates["w"][0]))
    return found, params


@pytest.mark.parametrize("wrap", [lambda make: make, optax.inject_hyperparams])
def test_a_schedule_is_held_at_a_step_and_everything_else_goes_on(wrap):
    sgd = wrap(optax.sgd)(optax.piecewise_constant_schedule(0.5, {2: 0.1, 4: 0.1}), momentum=0.5)
    free, _ = steps_of(sgd, 6)
    held, _ = steps_of(held_at(sgd, 3), 6)
    velocity = 2 - 0.5 ** np.arange(6)  # the momentum's own
    np.testing.assert_allclose(held, -0.05 * velocity, rtol=1e-6)
    np.testing.assert_allclose(free, -np.array([0.5, 0.5, 0.05, 0.05, 0.005, 0.005]) * velocity, rtol=1e-6)


def test_counts_that_are_no_schedules_go_on():
    constant, _ = steps_of(held_at(optax.adam(0.1), 7), 4)
    np.testing.assert_allclose(constant, -0.1, rtol=1e-4)  # with its count held, the bias would not be corrected


def test_a_held_rate_is_the_prescription():
    rate = optax.linear_schedule(0.0, 1.0, 10)
    cure = prescriptions.hold_rate(10)
    assert "that of step 10" in cure.text
    np.testing.assert_allclose(steps_of(cure.apply(None, optax.sgd(rate))[1], 3)[0], -1.0)


def test_updates_below_the_rounding_of_bfloat16_add_up_in_a_wide_copy():
    """Around 1 bfloat16 has steps of 1 / 128: a hundred updates of 1 / 1000 are 13 of them down, one by one none."""
    params, gradient = {"w": jnp.ones(3, jnp.bfloat16)}, {"w": jnp.ones(3, jnp.bfloat16)}
    _, plain = steps_of(optax.sgd(1e-3), 100, params, gradient)
    found, kept = steps_of(with_wide_copy(optax.sgd(1e-3)), 100, params, gradient)
    assert float(plain["w"][0]) == 1.0
    assert kept["w"].dtype == jnp.bfloat16
    assert float(kept["w"][0]) == pytest.approx(0.9, abs=2**-8)
    assert 20 < np.count_nonzero(found) < 30  # below 1 there are twice as many


def test_a_wide_copy_gives_the_rule_wide_numbers():
    rule = with_wide_copy(optax.chain(optax.add_decayed_weights(0.5), optax.trace(0.9), optax.scale(-0.1)))
    dtype = jnp.bfloat16
    params = {"w": jnp.full(3, 2.0, dtype)}
    copy, own = rule.init(params)
    assert copy["w"].dtype == own[1].trace["w"].dtype == jnp.float32
    updates, (copy, own) = rule.update({"w": jnp.ones(3, dtype)}, (copy, own), params)
    assert updates["w"].dtype == dtype
    np.testing.assert_allclose(copy["w"], 2.0 - 0.1 * (1.0 + 0.5 * 2.0), rtol=1e-6)
    rounded = optax.apply_updates(params, updates)
    assert float(rounded["w"][0]) != 1.8
    _, (copy, _) = rule.update({"w": jnp.ones(3, dtype)}, (copy, own), rounded)
    np.testing.assert_allclose(copy["w"], 1.8 - 0.1 * (0.9 * 2.0 + 1.0 + 0.5 * 1.8), rtol=1e-6)  # 1.8, not rounded


def test_steps_are_multiplied_behind_the_rule():
    scaled = ScaledRule(optax.adam(0.1))
    np.testing.assert_allclose(steps_of(scaled(3.0), 2)[0], -0.3, rtol=1e-4)  # float32 moments
    state = scaled.state_of(optax.adam(0.1).init(PARAMS))
    updates, _ = scaled(3.0).update(GRADIENT, state, PARAMS)
    np.testing.assert_allclose(updates["w"], -0.3, rtol=1e-4)


@pytest.mark.parametrize(("factor", "first"), [(4.0, -0.4), (0.5, -0.05)])
def test_a_limit_on_the_gradient_is_raised_and_nothing_else(factor, first):
    """The gradient of norm sqrt(3) is cut to 0.1 sqrt(3)."""
    clipped = optax.chain(optax.clip_by_global_norm(0.1 * np.sqrt(3)), optax.sgd(1.0))
    _, raised = prescriptions.raise_clip(factor).apply(None, clipped)
    np.testing.assert_allclose(steps_of(raised, 1)[0], first, rtol=1e-5)
    _, free = prescriptions.raise_clip(factor).apply(None, optax.sgd(1.0))
    np.testing.assert_allclose(steps_of(free, 1)[0], -1.0, rtol=1e-5)


def test_gradients_times_a_factor_divide_the_epsilon():
    """Adam answers g / (g + eps)."""
    _, finer = prescriptions.scale_gradients(100.0).apply(None, optax.adam(1.0, eps=1.0))
    np.testing.assert_allclose(steps_of(finer, 1)[0], -100 / 101, rtol=1e-5)


def test_a_batch_is_enlarged_and_updates_negated():
    _, several = prescriptions.enlarge_batch(3).apply(None, optax.sgd(0.1))
    np.testing.assert_allclose(steps_of(several, 6)[0], [0, 0, -0.1, 0, 0, -0.1], rtol=1e-6)
    _, turned = prescriptions.negate_updates().apply(None, optax.sgd(-0.1))
    np.testing.assert_allclose(steps_of(turned, 1)[0], -0.1, rtol=1e-6)
