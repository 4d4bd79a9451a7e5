import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab import rules
from jaxopt_lab.core import InputError


def iterates(rule, steps=7, dtype=jnp.float32):
    x = jnp.ones(3, dtype)
    state, rows = rule.init(x), []
    for t in range(steps):
        updates, state = rule.update((x * (t + 1) / 10).astype(dtype), state, x)
        x = optax.apply_updates(x, updates)
        rows.append(np.asarray(x, np.float64))
    return np.array(rows), x, state


def test_the_inner_rule_runs_unchanged():
    plain, _, _ = iterates(rules.heavy_ball(0.1))
    averaged, _, _ = iterates(rules.average_iterates(rules.heavy_ball(0.1)))
    np.testing.assert_array_equal(plain, averaged)


@pytest.mark.parametrize("start", [0, 3])
def test_uniform_average_is_the_mean_after_the_start(start):
    rows, x, state = iterates(rules.average_iterates(rules.sgd(0.5), start=start))
    np.testing.assert_allclose(
        rules.averaged_params(state, x), rows[start:].mean(0), rtol=1e-6
    )  # a float32 mean of seven


def test_exponential_average_is_normalized():
    rows, x, state = iterates(rules.average_iterates(rules.sgd(0.5), "exponential", decay=0.8))
    weights = 0.8 ** np.arange(6, -1, -1)
    np.testing.assert_allclose(
        rules.averaged_params(state, x), weights @ rows / weights.sum(), rtol=1e-6
    )  # float32, seven terms


def test_before_anything_is_averaged_the_current_point_is_read():
    _, x, state = iterates(rules.average_iterates(rules.sgd(0.5), start=100))
    np.testing.assert_array_equal(rules.averaged_params(state, x), x)


def test_the_average_is_found_inside_a_chain():
    rule = optax.chain(optax.clip(1.0), rules.average_iterates(rules.sgd(0.5)))
    rows, x, state = iterates(rule)
    np.testing.assert_allclose(rules.averaged_params(state, x), rows.mean(0), rtol=1e-6)  # a float32 mean of seven


def test_half_precision_parameters_are_averaged_in_float32():
    rows, x, state = iterates(rules.average_iterates(rules.sgd(0.5)), dtype=jnp.bfloat16)
    assert state.average.dtype == jnp.float32
    assert rules.averaged_params(state, x).dtype == jnp.bfloat16
    np.testing.assert_allclose(state.average, rows.mean(0), rtol=1e-6)  # a float32 mean of seven


def test_a_state_without_an_average_is_refused():
    rule = rules.sgd(0.5)
    with pytest.raises(InputError, match=r"averaged_params: the state holds no average\. Wrap the rule"):
        rules.averaged_params(rule.init(jnp.ones(2)), jnp.ones(2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "median"}, r"kind must be one of: uniform, exponential; got 'median'"),
        ({"decay": 1.0}, r"average_iterates: decay must be in \[0, 1\), got 1\.0"),
        ({"start": -1}, r"start must be a whole number of at least 0, got -1"),
    ],
)
def test_bad_arguments_get_a_clear_sentence(arguments, message):
    with pytest.raises(InputError, match=message):
        rules.average_iterates(rules.sgd(0.1), **arguments)
