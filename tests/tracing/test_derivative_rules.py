"""The gradient of a program with what holds it back passed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core.problem import with_losses
from jaxopt_lab.tracing.derivative_rules import PassGradient, holding_lines
from jaxopt_lab.tracing.jaxprs import ancestors, lay_out

X = jnp.array([-1.3, -0.2, 0.4, 1.7])


def slope_of_sigmoid(distance):
    soft = jax.nn.sigmoid(4 * distance)
    return 4 * soft * (1 - soft)


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (lambda x: jax.lax.stop_gradient(3 * x), 3.0),
        (lambda x: jnp.round(2 * x), 2.0),
        (lambda x: jnp.floor(x) + jnp.ceil(2 * x), 3.0),
        (jnp.sign, 1.0),
        (lambda x: (x > 0.1).astype(x.dtype), slope_of_sigmoid(X - 0.1)),
        (lambda x: (x <= 0.1).astype(x.dtype), -slope_of_sigmoid(X - 0.1)),
        (lambda x: jnp.where(x > 0.1, x, 0.0), jnp.where(X > 0.1, 1.0, 0.0)),  # a mask is no number
        (jnp.tanh, 1 - jnp.tanh(X) ** 2),
        (jax.nn.relu, jnp.where(X > 0, 1.0, 0.0)),
    ],
)
def test_a_gradient_passes_roundings_and_steps_and_values_stay(function, slope):
    passed = lambda x: PassGradient()(function, x)  # noqa: E731
    np.testing.assert_allclose(passed(X), function(X), rtol=1e-6)
    np.testing.assert_allclose(jax.vjp(passed, X)[1](jnp.ones(4))[0], jnp.broadcast_to(slope, 4), rtol=1e-5)


def test_whole_numbers_have_no_gradient_to_pass():
    count = lambda x: jnp.sum((jnp.arange(4) > 1).astype(jnp.float32) * jnp.sign(jnp.arange(-2, 2)) * x)  # noqa: E731
    np.testing.assert_array_equal(jax.grad(lambda x: PassGradient()(count, x))(X), jax.grad(count)(X))


@pytest.mark.parametrize(
    ("function", "num"),
    [
        (lambda w, x: jnp.round(x @ w), 1),
        (lambda w, x: jax.lax.stop_gradient(jnp.sign(x @ w)), 2),
        (lambda w, x: jnp.round(x) @ w, 0),  # of the data alone
        (lambda w, x: jax.nn.log_softmax(x @ w), 0),  # the shift of a softmax
        (lambda w, x: (jnp.round(w), x @ w)[1], 0),  # is not read
    ],
)
def test_lines_are_those_that_hold_the_parameters_back(function, num):
    program = lay_out(lambda w, x: jnp.sum(function(w, x)), jnp.ones((4, 2)), X[None], open_derivatives=False)
    operations = [each for each in program.operations if each.name in ("round", "sign", "stop_gradient")]
    lines = holding_lines(program, ancestors(program, program.outputs[0]), {program.inputs[0]})
    assert len(lines) == min(num, 1)  # all on one line
    assert num == 0 or len(operations) == num
    assert all("test_derivative_rules.py:" in line for line in lines)


def test_a_state_is_handed_on():
    problem = lab.from_loss(lambda w, batch, key: jnp.sum(jnp.round(w) * batch), X, np.ones((8, 4), np.float32))
    changed = with_losses(problem, PassGradient())
    np.testing.assert_allclose(jax.grad(changed.loss)(X, problem.data, None), np.full(4, 8.0))
    assert PassGradient()(lambda w: (jnp.sum(jnp.round(w)), {"w": w}), X)[1]["w"] is not None
