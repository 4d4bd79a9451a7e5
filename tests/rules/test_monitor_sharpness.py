"""The sharpness that a monitor measures along the updates of a running loop."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab import objectives, training
from jaxopt_lab.core import InputError
from jaxopt_lab.rules.identification import identify
from jaxopt_lab.rules.monitor import Monitor, without_sharpness
from jaxopt_lab.rules.monitor_summary import summarize_monitor

PARAMS = {"b": np.zeros(2, np.float32), "w": np.ones(3, np.float32)}
EIGENVALUES = {"b": np.array([3.0, 1.0], np.float32), "w": np.array([8.0, 0.5, 2.0], np.float32)}


def slope(point):
    """The gradient of a quadratic, whose Hessian has these eigenvalues."""
    return jax.tree.map(lambda eigenvalue, leaf: eigenvalue * leaf, EIGENVALUES, point)


def descend(rule, steps=12, gradient=slope, start=1.0):
    """The rule on its quadratic in one scan: (updates and the parameters before each, last state)."""
    params = jax.tree.map(lambda leaf: jnp.full(leaf.shape, start), EIGENVALUES)

    def step(carry, _):
        params, state = carry
        updates, state = rule.update(gradient(params), state, params, value=1.0, grad_fn=gradient)
        return (optax.apply_updates(params, updates), state), (updates, params)

    carry = params, rule.init(params)
    (_, state), seen = jax.jit(lambda carry: jax.lax.scan(step, carry, None, length=steps))(carry)
    return seen, state


def test_the_sharpness_along_the_update_is_that_of_the_dense_hessian_at_the_steps_asked_for():
    rule = optax.chain(optax.identity(), Monitor(optax.sgd(0.1, momentum=0.5), every=2, sharpness_every=4))
    (updates, params), state = descend(rule)
    signs = summarize_monitor(state)
    hessian, flat = np.concatenate(list(EIGENVALUES.values())), lambda tree: np.concatenate(list(tree.values()), axis=1)
    u, g = flat(updates).astype(float), hessian * flat(params)
    expected = (u @ np.diag(hessian) * u).sum(1) / (u * u).sum(1), -2 * (g * u).sum(1) / (u * u).sum(1)
    assert signs.steps.tolist() == [2, 4, 6, 8, 10, 12]
    # sums of five products in float32
    np.testing.assert_allclose(
        signs.sharpness, np.where(signs.steps % 4, np.nan, expected[0][signs.steps - 1]), rtol=1e-5
    )
    np.testing.assert_allclose(signs.edges, np.where(signs.steps % 4, np.nan, expected[1][signs.steps - 1]), rtol=1e-5)


def test_the_edge_of_descent_is_2_over_its_rate_and_heavy_balls_own_edge_is_where_both_are_equal():
    _, state = descend(Monitor(optax.sgd(0.1), every=2, sharpness_every=2))
    np.testing.assert_allclose(summarize_monitor(state).edges, 20.0, rtol=1e-5)
    rate = 2 * 1.5 / 8  # 2 (1 + rho) / lr is the largest eigenvalue: it swings there for ever, all else dies out
    _, state = descend(Monitor(optax.sgd(rate, momentum=0.5), every=2, sharpness_every=2), steps=200)
    signs = summarize_monitor(state)
    assert signs.update_sharpness.value == pytest.approx(8.0, rel=1e-3)
    assert signs.relative_sharpness.value == pytest.approx(1.0, rel=1e-3)
    assert "sharpness along the update  8 +- 0, 1 +- 0 times its edge 8 +- 0" in str(signs)


def test_a_sharpness_changes_no_update_and_costs_nothing_at_the_other_steps():
    plain, without = descend(Monitor(optax.adam(0.1), every=3))
    asked, with_it = descend(Monitor(optax.adam(0.1), every=3, sharpness_every=6))
    jax.tree.map(np.testing.assert_array_equal, asked, plain)
    assert np.isnan(summarize_monitor(without).sharpness).all()
    assert "sharpness" not in str(summarize_monitor(without))
    np.testing.assert_array_equal(np.isnan(summarize_monitor(with_it).sharpness), [True, False, True, False])
    evaluations = []

    def counted(point):
        jax.debug.callback(lambda: evaluations.append(None))
        return slope(point)

    rule = Monitor(optax.adam(0.1), every=2, sharpness_every=6)

    @jax.jit
    def step(params, state):
        return rule.update(slope(params), state, params, grad_fn=counted)[1]

    params = jax.tree.map(jnp.asarray, PARAMS)
    state = rule.init(params)
    for _ in range(12):
        state = step(params, state)
    jax.effects_barrier()
    assert len(evaluations) == 2


def test_the_sharpness_of_low_precision_parameters_is_taken_in_float32():
    rule = Monitor(optax.sgd(0.25), every=2, sharpness_every=2)
    params = jnp.ones(2, jnp.bfloat16)
    state = rule.init(params)
    gradient = lambda point: jnp.array([4.0, 1.0], point.dtype) * point  # noqa: E731
    for _ in range(2):
        _, state = rule.update(gradient(params), state, params, grad_fn=gradient)
    signs = summarize_monitor(state)
    assert signs.sharpness[-1] == pytest.approx(65 / 17, rel=1e-6)  # u is a multiple of (4, 1) exactly
    assert signs.edges[-1] == pytest.approx(8.0, rel=1e-6)


def test_the_engine_gives_a_monitor_what_its_sharpness_needs():
    problem = objectives.quadratic([4.0, 1.0], start=1.0)
    rule = Monitor(optax.sgd(0.25), every=2, sharpness_every=2)
    state = jax.tree.map(lambda leaf: leaf[0], training.run(problem, rule, steps=4).state)
    # The first step ends the sharp direction: along (0, 1) the curvature is 1.
    np.testing.assert_allclose(summarize_monitor(state).sharpness, 1.0, rtol=1e-6)


def test_a_step_of_zero_has_no_sharpness():
    _, state = descend(Monitor(optax.sgd(0.1), every=2, sharpness_every=2), steps=4, start=0.0)
    assert np.isnan(summarize_monitor(state).sharpness).all()
    assert np.isnan(summarize_monitor(state).edges).all()


@pytest.mark.parametrize(
    "around",
    [
        lambda rule: rule,
        lambda rule: optax.chain(optax.identity(), rule, optax.identity()),
        lambda rule: optax.partition({"all": rule}, "all"),
    ],
    ids=["alone", "chain", "partition"],
)
def test_a_rule_is_told_through_a_monitor_that_takes_a_sharpness(around):
    rule = around(Monitor(optax.sgd(0.1, momentum=0.5), every=2, sharpness_every=2))
    assert str(identify(rule, jnp.ones(3))) == "heavy ball, learning rate 0.1, momentum 0.5"
    plain = without_sharpness(rule, PARAMS)
    chex.assert_trees_all_equal_shapes_and_dtypes(rule.init(PARAMS), plain.init(PARAMS))
    assert without_sharpness(rule, PARAMS) == plain  # what is compiled for one serves the other
    monitored = lambda rule: rule.update(PARAMS, rule.init(PARAMS), PARAMS)  # noqa: E731
    chex.assert_tree_all_finite(jax.jit(lambda: monitored(plain)[0])())
    with pytest.raises(InputError, match="update needs grad_fn"):
        monitored(rule)


def test_a_rule_without_a_monitor_stays_as_it_is():
    rule = optax.adam(0.1)
    assert without_sharpness(rule, PARAMS) is rule


@jax.custom_vjp
def reversible_only(point):
    return point


reversible_only.defvjp(lambda point: (point, ()), lambda _, image: (image,))


@pytest.mark.parametrize(
    ("extra", "params", "message"),
    [
        ({}, jnp.ones(2), r"Monitor: update needs grad_fn\. Call update\(grads, state, params, grad_fn=\.\.\.\)"),
        ({"grad_fn": jnp.sin}, None, "Monitor: update needs params"),
        ({"grad_fn": reversible_only}, jnp.ones(2), r"grad_fn cannot be differentiated along the update \(TypeError"),
    ],
)
def test_a_sharpness_without_what_it_needs_is_refused(extra, params, message):
    rule = Monitor(optax.sgd(0.1), every=2, sharpness_every=2)
    with pytest.raises(InputError, match=message):
        jax.eval_shape(lambda grads: rule.update(grads, rule.init(grads), params, **extra), jnp.ones(2))
