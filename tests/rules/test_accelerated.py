import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab import rules
from jaxopt_lab.core import InputError, precision

SMALL, LARGE = 0.02, 3.0
SPECTRUM = np.geomspace(SMALL, LARGE, 40)


@pytest.fixture(autouse=True)
def in_float64():
    with precision("float64"):
        yield


def errors(rule, steps=60, spectrum=SPECTRUM):
    """The error by mode after each step from x = 1, float64 [steps, modes]."""
    rule = optax.with_extra_args_support(rule)

    def step(carry, _):
        x, state = carry
        updates, state = rule.update(spectrum * x, state, x, value=0.5 * jnp.sum(spectrum * x**2))
        x = optax.apply_updates(x, updates)
        return (x, state), x

    start = jnp.ones(len(spectrum))
    return np.asarray(jax.lax.scan(step, (start, rule.init(start)), length=steps)[1])


def test_chebyshev_error_is_the_chebyshev_polynomial():
    # T_n(y(lambda)) / T_n(y(0)), y mapping [mu, L] to [-1, 1]
    place = (LARGE + SMALL - 2 * SPECTRUM) / (LARGE - SMALL)
    origin = (LARGE + SMALL) / (LARGE - SMALL)
    for n in (1, 2, 7, 60):
        top = np.cos(n * np.arccos(np.clip(place, -1, 1)))
        expected = top / np.cosh(n * np.arccosh(origin))
        scale = 1 / np.cosh(n * np.arccosh(origin))
        np.testing.assert_allclose(errors(rules.chebyshev(LARGE, SMALL))[n - 1], expected, atol=1e-10 * scale)


def test_chebyshev_with_one_eigenvalue_ends_in_one_step():
    rule = rules.chebyshev(2.0, 2.0)
    updates, _ = rule.update(2.0 * jnp.ones(3), rule.init(jnp.ones(3)))
    np.testing.assert_allclose(1 + updates, 0, atol=1e-15)


def test_triple_momentum_is_its_three_sequences():
    rate = 1 - np.sqrt(SMALL / LARGE)
    a, b, c = (1 + rate) / LARGE, rate**2 / (2 - rate), rate**2 / ((1 + rate) * (2 - rate))
    old, x, expected = np.ones(40), np.ones(40), []
    for _ in range(60):
        ahead = (1 + c) * x - c * old
        old, x = x, (1 + b) * x - b * old - a * SPECTRUM * ahead
        expected.append((1 + c) * x - c * old)
    np.testing.assert_allclose(errors(rules.triple_momentum(LARGE, SMALL)), expected, rtol=0, atol=1e-12)


def test_triple_momentum_contracts_at_its_rate():
    found = np.linalg.norm(errors(rules.triple_momentum(LARGE, SMALL), 400), axis=1)
    rate = (found[399] / found[199]) ** (1 / 200)
    assert rate == pytest.approx(1 - np.sqrt(SMALL / LARGE), rel=1e-2)  # polynomial prefactor over 200 steps


@pytest.mark.parametrize("scheme", ["gradient", "function"])
def test_restart_beats_too_much_momentum(scheme):
    pair = np.array([SMALL, LARGE])  # with many modes out of step the loss hardly ever rises and nothing restarts
    plain = errors(rules.nesterov(0.3, 0.99), 300, pair)
    restarted = errors(rules.adaptive_restart(rules.nesterov(0.3, 0.99), scheme), 300, pair)
    assert np.abs(restarted[-1]).max() < 0.1 * np.abs(plain[-1]).max()


def test_the_gradient_scheme_never_steps_uphill():
    rule = rules.adaptive_restart(rules.heavy_ball(0.3, 0.95))
    x, state, restarts = jnp.ones(40), rule.init(jnp.ones(40)), []
    for _ in range(80):
        gradient = SPECTRUM * x
        updates, state = rule.update(gradient, state, x)
        assert float(jnp.sum(gradient * updates)) <= 0
        x = x + updates
        restarts.append(int(state.num_restarts))
    assert restarts[-1] > 0


def test_a_restart_is_a_step_from_rest():
    rule = rules.adaptive_restart(rules.heavy_ball(0.3, 0.95))
    state = rule.init(jnp.ones(2))
    _, state = rule.update(jnp.ones(2), state, jnp.ones(2))
    updates, state = rule.update(-jnp.ones(2) * 0.01, state, jnp.ones(2))
    np.testing.assert_allclose(updates, 0.3 * 0.01)
    assert int(state.num_restarts) == 1


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: rules.chebyshev(1.0, 2.0), r"strong_convexity / smoothness must be in \[0, 1\], got 2\.0"),
        (lambda: rules.chebyshev(1.0, 0.0), r"chebyshev: strong_convexity must be positive and finite, got 0\.0"),
        (lambda: rules.triple_momentum(-1.0, 1.0), r"triple_momentum: smoothness must be positive and finite"),
        (
            lambda: rules.adaptive_restart(rules.sgd(0.1), "speed"),
            r"scheme must be one of: gradient, function; got 'speed'",
        ),
    ],
)
def test_bad_arguments_get_a_clear_sentence(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_restart_by_function_without_a_value_says_what_to_pass():
    rule = rules.adaptive_restart(rules.sgd(0.1), "function")
    with pytest.raises(InputError, match=r"adaptive_restart: update needs value"):
        rule.update(jnp.ones(2), rule.init(jnp.ones(2)), jnp.ones(2))
