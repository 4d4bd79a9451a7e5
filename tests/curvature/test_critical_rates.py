"""Critical sharpness: exact on quadratics from a few losses, between its bounds elsewhere, infinite or zero where so."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import InputError, precision
from jaxopt_lab.curvature import critical_sharpness

DIAGONAL = jnp.array([9.0, 1.0, 0.25])
POINT = jnp.array([1.0, -2.0, 3.0])


def of(function) -> lab.Problem:
    return lab.from_loss(lambda w, batch, key: function(w), POINT)


BOWL = of(lambda w: jnp.sum(DIAGONAL * w**2) / 2)


@pytest.mark.parametrize("learning_rate", [1e-4, 1e-2, 0.1, 3.0, 1e3])
def test_along_the_gradient_of_a_quadratic_it_is_the_curvature_there_wherever_the_search_starts(learning_rate):
    gradient = np.asarray(DIAGONAL * POINT, np.float64)
    truth = float(gradient**2 @ np.asarray(DIAGONAL, np.float64) / (gradient @ gradient))
    found = critical_sharpness(BOWL, POINT, learning_rate=learning_rate)
    assert found.interval[0] < truth < found.interval[1]
    assert found.interval[1] / found.interval[0] < 1 + 1 / 32
    assert found.value == pytest.approx(truth, rel=1e-3)  # the loss is the start's up to 16 eps over a margin of .01
    assert found.cost <= 6


@pytest.mark.parametrize("rule", [optax.adam(0.01), optax.sign_sgd(0.01), optax.sgd(0.01, 0.9)])
def test_along_the_update_of_a_rule_it_is_the_curvature_over_the_descent(rule):
    gradient = DIAGONAL * POINT
    update, _ = rule.update(gradient, rule.init(POINT), POINT)
    step = np.asarray(update, np.float64) / 0.01
    truth = float(step**2 @ np.asarray(DIAGONAL, np.float64) / -(step @ np.asarray(gradient, np.float64)))
    found = critical_sharpness(BOWL, POINT, update, learning_rate=0.01)
    assert found.interval[0] < truth < found.interval[1]
    assert found.value == pytest.approx(truth, rel=1e-3)
    assert found.cost <= 8


FUNCTIONS = {  # function, and the rate at which w - rate g has the loss of w, by bisection in float64
    "quartic": lambda w: (DIAGONAL @ w**4) / 4,
    "logistic": lambda w: jnp.sum(jnp.logaddexp(0.0, -4 * w) + 0.05 * w**2),
    "valley": lambda w: (1 - w[0]) ** 2 + 10 * (w[1] - w[0] ** 2) ** 2 + w[2] ** 2,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_elsewhere_the_interval_holds_the_first_rate_that_raises_the_loss(name):
    function = FUNCTIONS[name]
    found = critical_sharpness(of(function), POINT, learning_rate=0.01)
    with precision("float64"):
        point = jnp.asarray(POINT, jnp.float64)
        gradient = jax.grad(function)(point)
        rates = jnp.geomspace(1e-6, 1e3, 20_001)
        losses = jax.lax.map(lambda rate: function(point - rate * gradient), rates)
        truth = 2 / float(rates[int(jnp.argmax(losses > function(point)))])
    assert found.interval[0] <= truth <= found.interval[1] * 1.002  # of rates .1 percent apart
    assert found.interval[1] / found.interval[0] < 1.1
    assert found.cost <= 8


def test_the_forwards_are_counted_and_bound_the_answer_where_they_do_not_do():
    calls = []

    def counted(w):
        jax.debug.callback(lambda: calls.append(1))
        return jnp.sum(jnp.abs(w) ** 5)

    found = critical_sharpness(of(counted), POINT, -jnp.sign(POINT), max_forwards=4)
    jax.effects_barrier()
    assert len(calls) == found.cost == 4
    assert 0 < found.interval[0] < found.interval[1]


def test_no_second_derivative_and_with_an_update_no_first_one_is_taken():
    def looped(w):
        """Without a gradient: a while loop has none in reverse."""
        return jax.lax.while_loop(lambda pair: pair[0] < 1, lambda pair: (pair[0] + 1, BOWL.full_loss(w)), (0, 0.0))[1]

    with pytest.raises(InputError, match=r"^critical_sharpness: the loss of .* has no gradient .*Give the update"):
        critical_sharpness(of(looped), POINT)
    found = critical_sharpness(of(looped), POINT, -0.01 * DIAGONAL * POINT, learning_rate=0.01)
    assert found.value == pytest.approx(critical_sharpness(BOWL, POINT).value, rel=1e-3)


def test_a_loss_that_is_never_raised_has_a_bound_from_above_and_an_update_that_climbs_one_from_below():
    slide = critical_sharpness(of(lambda w: -jnp.sum(w)), POINT)
    assert slide.value == slide.interval[0] == 0
    assert 0 < slide.interval[1] < 1
    climb = critical_sharpness(BOWL, POINT, DIAGONAL * POINT)
    assert climb.value == climb.interval[1] == math.inf
    assert climb.interval[0] > 2


def test_a_step_out_of_the_domain_raises_the_loss():
    found = critical_sharpness(of(lambda w: jnp.sum(jnp.sqrt(w))), POINT**2, learning_rate=1.0)
    assert found.interval[0] < 2 / 2 < found.interval[1] * 1.04  # sqrt(w - rate / (2 sqrt w)) at w = 1 ends at rate 2


def test_it_is_that_of_the_batch_it_is_given_in_chunks_too():
    rows = jnp.array([[1.0, 0.0], [2.0, 1.0], [0.0, 3.0], [1.0, 1.0]])
    problem = lab.from_loss(lambda w, batch, key: jnp.mean((batch @ w) ** 2) / 2, jnp.ones(2), rows)
    for batch in (rows, rows[:2]):
        curved = np.asarray(batch.T @ batch, np.float64) / len(batch)
        gradient = curved @ np.ones(2)
        truth = float(gradient @ curved @ gradient / (gradient @ gradient))
        for chunk_size in (None, 1):
            found = critical_sharpness(problem, jnp.ones(2), data=batch, chunk_size=chunk_size)
            assert found.value == pytest.approx(truth, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "wording"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be positive and finite, got 0.0"),
        ({"tolerance": 1.0}, r"tolerance must be in \(0, 1\), got 1.0"),
        ({"max_forwards": 3}, "max_forwards must be a whole number of at least 4, got 3"),
        ({"update": jnp.zeros(3)}, "the update must be finite and not zero"),
        ({"update": 1e-20 * jnp.ones(3)}, "the loss of .* is the same up to rounding at every rate along the update"),
    ],
)
def test_bad_input_is_refused(arguments, wording):
    with pytest.raises(InputError, match=f"^critical_sharpness: {wording}"):
        critical_sharpness(BOWL, POINT, **arguments)


def test_a_point_without_a_gradient_has_no_direction():
    with pytest.raises(InputError, match=r"^critical_sharpness: the gradient is zero at this point"):
        critical_sharpness(BOWL, jnp.zeros(3))
