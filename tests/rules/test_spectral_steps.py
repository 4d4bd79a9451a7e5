import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab import rules
from jaxopt_lab.core import InputError, precision


def walk(rule, spectrum, start, steps):
    x, state, rows = jnp.asarray(start), rule.init(jnp.asarray(start)), []
    for _ in range(steps):
        updates, state = rule.update(spectrum * x, state, x)
        x = x + updates
        rows.append(np.asarray(x))
    return np.array(rows)


@pytest.mark.parametrize("variant", ["long", "short"])
def test_rates_are_the_two_quotients(variant):
    spectrum = np.array([1.0, 10.0])
    with precision("float64"):
        found = walk(rules.barzilai_borwein(0.05, variant), spectrum, np.ones(2), 6)
    x, gradient, rate, expected = np.ones(2), spectrum * np.ones(2), 0.05, []
    for _ in range(6):
        new = x - rate * gradient
        step, change = new - x, spectrum * new - gradient
        rate = step @ step / (step @ change) if variant == "long" else step @ change / (change @ change)
        x, gradient = new, spectrum * new
        expected.append(x)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_a_single_eigenvalue_is_solved_in_two_steps():
    with precision("float64"):
        found = walk(rules.barzilai_borwein(0.1), np.full(3, 7.0), np.ones(3), 2)
    np.testing.assert_allclose(found[-1], 0, atol=1e-15)


def test_negative_curvature_falls_back_to_the_given_rate():
    found = walk(rules.barzilai_borwein(0.1), np.array([-1.0]), np.ones(1), 3)
    np.testing.assert_allclose(found[:, 0], [1.1, 1.21, 1.331], rtol=1e-6)  # two roundings a step


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_neither_tiny_nor_huge_gradients_change_the_rate(size):
    spectrum = np.array([1.0, 3.0], np.float32)
    usual = walk(rules.barzilai_borwein(0.1), spectrum, np.ones(2, np.float32), 4)
    scaled = walk(rules.barzilai_borwein(0.1), spectrum, np.full(2, size, np.float32), 4)
    # Other roundings of numbers of size 1, 6e-8, each amplified by at most the eigenvalues' ratio 3 in the next rate.
    np.testing.assert_allclose(scaled / np.float32(size), usual, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "medium"}, r"variant must be one of: long, short; got 'medium'"),
        ({"minimum": 0.0}, r"barzilai_borwein: minimum must be positive"),
        ({"minimum": 2.0, "maximum": 1.0}, r"minimum must be below maximum, got 2\.0 and 1\.0"),
        ({"learning_rate": -1.0}, r"barzilai_borwein: learning_rate must be positive"),
    ],
)
def test_bad_arguments_get_a_clear_sentence(arguments, message):
    with pytest.raises(InputError, match=message):
        rules.barzilai_borwein(**arguments)
