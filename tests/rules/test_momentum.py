import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab import rules
from jaxopt_lab.core import InputError, precision

DIM, STEPS = 100, 200


@pytest.fixture(autouse=True)
def in_float64():
    with precision("float64"):
        yield


def loss(x):
    """Non-convex: a quadratic with a cosine ripple on every coordinate."""
    curvature = jnp.geomspace(0.01, 1.0, DIM)
    return 0.5 * jnp.sum(curvature * x**2) + 0.3 * jnp.sum(jnp.cos(3 * x))


def path(rule, read=lambda params, state: params, steps=STEPS):
    """What `read` returns after each of the steps, stacked."""
    rule = optax.with_extra_args_support(rule)
    start = jnp.asarray(np.random.default_rng(0).normal(size=DIM))

    def step(carry, _):
        params, state = carry
        updates, state = rule.update(jax.grad(loss)(params), state, params, grad_fn=jax.grad(loss))
        params = optax.apply_updates(params, updates)
        return (params, state), read(params, state)

    return jax.lax.scan(step, (start, rule.init(start)), length=steps)[1]


def assert_equal_step_by_step(left, right):
    """Relative deviation below 1e-12 times the number of the step: rounding that adds up."""
    allowed = 1e-12 * np.arange(1, len(left) + 1)
    deviation = np.abs(left - right).max(1) / np.abs(right).max(1)
    assert (deviation <= allowed).all()


def numpy_path(update, steps=STEPS):
    """The slow obvious loop: update(x, v, gradient, t) -> x, v."""
    curvature = np.geomspace(0.01, 1.0, DIM)
    x, v, rows = np.random.default_rng(0).normal(size=DIM), np.zeros(DIM), []
    for t in range(steps):
        x, v = update(x, v, lambda point: curvature * point - 0.9 * np.sin(3 * point), t)
        rows.append(x)
    return np.array(rows)


def test_heavy_ball_is_the_lectures_formula():
    def update(x, v, gradient, t):
        v = 0.8 * v + gradient(x)
        return x - 0.05 * v, v

    assert_equal_step_by_step(path(rules.heavy_ball(0.05, 0.8)), numpy_path(update))


def test_nesterov_lookahead_is_the_lectures_formula():
    def update(x, v, gradient, t):
        v = 0.8 * v - 0.05 * gradient(x + 0.8 * v)
        return x + v, v

    assert_equal_step_by_step(path(rules.nesterov_lookahead(0.05, 0.8)), numpy_path(update))


def test_heavy_ball_equals_optax_momentum():
    assert_equal_step_by_step(path(rules.heavy_ball(0.05, 0.8)), path(optax.sgd(0.05, momentum=0.8)))


def test_heavy_ball_equals_optax_momentum_under_a_schedule():
    schedule = optax.piecewise_constant_schedule(0.05, {50: 0.1})
    assert_equal_step_by_step(path(rules.heavy_ball(schedule, 0.8)), path(optax.sgd(schedule, momentum=0.8)))


def test_nesterov_equals_optax_nesterov():
    theirs = path(optax.sgd(0.05, momentum=0.8, nesterov=True))
    assert_equal_step_by_step(path(rules.nesterov(0.05, 0.8)), theirs)


def test_nesterov_is_the_lookahead_point_of_the_lookahead_form():
    ahead = path(rules.nesterov_lookahead(0.05, 0.8), lambda params, state: params + 0.8 * state.velocity)
    assert_equal_step_by_step(path(rules.nesterov(0.05, 0.8)), ahead)


def test_nesterov_is_the_lookahead_point_under_a_learning_rate_schedule_too():
    schedule = optax.piecewise_constant_schedule(0.05, {50: 0.1})
    ahead = path(rules.nesterov_lookahead(schedule, 0.8), lambda params, state: params + 0.8 * state.velocity)
    assert_equal_step_by_step(path(rules.nesterov(schedule, 0.8)), ahead)


def test_nesterov_and_optax_part_when_the_rate_drops():
    schedule = optax.piecewise_constant_schedule(0.05, {50: 0.1})
    ours, theirs = path(rules.nesterov(schedule, 0.8)), path(optax.sgd(schedule, momentum=0.8, nesterov=True))
    assert_equal_step_by_step(ours[:50], theirs[:50])
    assert float(jnp.abs(ours[50:] - theirs[50:]).max()) > 1e-4


@pytest.mark.parametrize("factory", [rules.heavy_ball, rules.nesterov, rules.nesterov_lookahead])
def test_without_momentum_it_is_gradient_descent(factory):
    assert_equal_step_by_step(path(factory(0.05, rho=0.0)), path(rules.sgd(0.05)))


def test_quasi_hyperbolic_contains_its_three_special_cases():
    assert_equal_step_by_step(path(rules.quasi_hyperbolic(0.05, 0.8, 0.0)), path(rules.sgd(0.05)))
    assert_equal_step_by_step(path(rules.quasi_hyperbolic(0.25, 0.8, 1.0)), path(rules.heavy_ball(0.05, 0.8)))
    assert_equal_step_by_step(path(rules.quasi_hyperbolic(0.25, 0.8, 0.8)), path(rules.nesterov(0.05, 0.8)))


def test_aggregated_momentum_with_one_velocity_is_heavy_ball():
    assert_equal_step_by_step(path(rules.aggregated_momentum(0.05, (0.8,))), path(rules.heavy_ball(0.05, 0.8)))


def test_aggregated_momentum_is_its_formula():
    velocities = [np.zeros(DIM) for _ in range(3)]

    def update(x, v, gradient, t):
        for k, rho in enumerate((0.0, 0.9, 0.99)):
            velocities[k] = rho * velocities[k] + gradient(x)
        return x - 0.05 / 3 * sum(velocities), v

    ours = path(rules.aggregated_momentum(0.05))
    assert_equal_step_by_step(ours, numpy_path(update))


def test_terminal_velocity_is_one_over_one_minus_rho():
    rule = rules.heavy_ball(0.1, 0.9)
    state = rule.init(jnp.zeros(1))
    for _ in range(400):
        updates, state = rule.update(jnp.ones(1), state)
    assert float(-updates[0]) == pytest.approx(0.1 / (1 - 0.9), rel=1e-12)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: rules.sgd(-1.0), r"sgd: learning_rate must be positive and finite, got -1\.0\. A step against"),
        (lambda: rules.heavy_ball(0.0), r"heavy_ball: learning_rate must be positive and finite, got 0\.0"),
        (
            lambda: rules.heavy_ball(0.1, 1.5),
            r"heavy_ball: rho must be in \[0, 1\), got 1\.5\. With rho >= 1 the velocity never forgets a gradient\.",
        ),
        (lambda: rules.nesterov(float("nan")), r"nesterov: learning_rate must be positive and finite, got nan"),
        (lambda: rules.nesterov(0.1, -0.1), r"nesterov: rho must be in \[0, 1\), got -0\.1"),
        (lambda: rules.nesterov_lookahead(0.1, 1.0), r"nesterov_lookahead: rho must be in \[0, 1\), got 1\.0"),
        (lambda: rules.quasi_hyperbolic(0.1, 0.9, 1.1), r"quasi_hyperbolic: nu must be in \[0, 1\], got 1\.1"),
        (lambda: rules.aggregated_momentum(0.1, ()), r"aggregated_momentum: rhos must hold at least one"),
        (lambda: rules.aggregated_momentum(0.1, (0.5, 2.0)), r"each of rhos must be in \[0, 1\), got 2\.0"),
    ],
)
def test_bad_arguments_get_a_clear_sentence(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_lookahead_without_grad_fn_says_what_to_pass():
    rule = rules.nesterov_lookahead(0.1)
    with pytest.raises(InputError, match=r"nesterov_lookahead: update needs grad_fn\. Call update"):
        rule.update(jnp.ones(2), rule.init(jnp.ones(2)), jnp.ones(2))
