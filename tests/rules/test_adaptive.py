import chex
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab import rules
from jaxopt_lab.core import InputError
from jaxopt_lab.problems.parsing import build_rule, find_rule

PARAMS = {"matrix": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "bias": jnp.array([0.1])}


def walk(rule, steps=5):
    params, state = PARAMS, rule.init(PARAMS)
    for step in range(steps):
        grads = {"matrix": params["matrix"] * (step + 1), "bias": params["bias"] - 1}
        updates, state = rule.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("adam", {}),
        ("adam", {"b1": 0.5, "b2": 0.9, "eps": 1e-3, "eps_root": 1e-4, "nesterov": True}),
        ("rmsprop", {}),
        ("rmsprop", {"decay": 0.5, "eps": 1e-3, "centered": True, "momentum": 0.8, "bias_correction": True}),
        ("adagrad", {}),
        ("adagrad", {"initial_accumulator_value": 1.0, "eps": 1e-3}),
    ],
)
def test_a_rule_is_optaxs_own_bit_for_bit(name, options):
    ours, theirs = getattr(rules, name)(0.1, **options), getattr(optax, name)(0.1, **options)
    chex.assert_trees_all_equal(walk(ours), walk(theirs))


def test_adam_is_algorithm_1_of_its_paper():
    rule, grads = rules.adam(0.1, 0.9, 0.99, 1e-8), np.array([[1.0, -2.0], [0.5, 4.0], [-1.0, 0.0]])
    value, mean, square = np.array([1.0, 1.0]), np.zeros(2), np.zeros(2)
    params = jnp.array(value)
    state = rule.init(params)
    for t, grad in enumerate(grads, start=1):
        mean, square = 0.9 * mean + 0.1 * grad, 0.99 * square + 0.01 * grad**2
        value = value - 0.1 * (mean / (1 - 0.9**t)) / (np.sqrt(square / (1 - 0.99**t)) + 1e-8)
        updates, state = rule.update(jnp.array(grad, params.dtype), state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params, value, rtol=1e-5)  # float32


@pytest.mark.parametrize("name", ["adam", "rmsprop", "adagrad"])
def test_the_command_line_and_the_registry_name_the_same_rule(name):
    assert find_rule(name, "sweep") is rules.REGISTRY[name].factory is getattr(rules, name)


@pytest.mark.parametrize(
    ("name", "options", "wording"),
    [
        ("adam", {"learning_rate": -1.0}, r"adam: learning_rate must be positive and finite, got -1.0"),
        ("adam", {"b2": 1.0}, r"adam: b2 must be in \[0, 1\), got 1.0"),
        ("adam", {"eps": -1e-8}, r"adam: eps must be in \[0, inf\), got -1e-08"),
        ("rmsprop", {"decay": 1.5}, r"rmsprop: decay must be in \[0, 1\), got 1.5"),
        ("rmsprop", {"momentum": 2.0}, r"rmsprop: momentum must be in \[0, 1\), got 2.0"),
        ("adagrad", {"initial_accumulator_value": -1.0}, r"initial_accumulator_value must be in \[0, inf\), got -1.0"),
    ],
)
def test_what_optax_accepts_silently_is_named(name, options, wording):
    with pytest.raises(InputError, match=wording):
        build_rule(name, "sweep", **{"learning_rate": 0.1, **options})
    with pytest.raises(InputError, match=wording):
        rules.REGISTRY[name].build(**options)
