"""Rules of optax.contrib by their plain names: Sophia against a NumPy loop, all of them in the engine."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab import objectives, training
from jaxopt_lab.core import InputError
from jaxopt_lab.problems.parsing import build_rule, find_rule
from jaxopt_lab.rules.contributed import CONTRIBUTED, sophia

DIAGONAL = np.array([4.0, 1.0, -0.5])
START = np.array([1.0, -2.0, 0.3])


def gradient(point):
    return jnp.asarray(DIAGONAL, point.dtype) * point


def test_sophia_is_algorithm_3_of_its_paper_where_the_estimate_of_the_diagonal_is_exact():
    """Of a diagonal Hessian r * (H r) is the diagonal, whatever the signs."""
    rule = sophia(0.01, b1=0.9, b2=0.8, gamma=0.5, weight_decay=0.1, update_interval=3)
    params, state = jnp.asarray(START), rule.init(jnp.asarray(START))
    value, mean, curved = START.copy(), np.zeros(3), np.zeros(3)
    for t in range(10):
        grad = DIAGONAL * value
        mean = 0.9 * mean + 0.1 * grad
        step = np.clip(mean / (1 - 0.9 ** (t + 1)) / np.maximum(0.5 * curved, 1e-8), -1, 1) + 0.1 * value
        curved = 0.8 * curved + 0.2 * DIAGONAL if t % 3 == 0 else curved
        value = value - 0.01 * step
        updates, state = rule.update(gradient(params), state, params, grad_fn=gradient)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params, value, rtol=1e-5)  # float32, 10 steps
    assert int(state[0].hessian_fn_state.num_products) == 4  # at steps 0, 3, 6 and 9


def test_the_engine_gives_sophia_its_products_and_counts_them():
    bowl = objectives.quadratic([1.0, 0.1], start=1.0)
    trace = training.run(bowl, sophia, {"learning_rate": [0.01, 0.02]}, steps=20, every=20)
    gradients, products = trace.cost()
    assert (gradients.tolist(), products.tolist()) == ([20, 20], [2, 2])


@pytest.mark.parametrize("name", CONTRIBUTED)
def test_each_is_found_by_its_plain_name_and_lowers_a_loss_at_traced_rates(name):
    assert find_rule(name.replace("_", "-"), "sweep") is CONTRIBUTED[name]
    bowl = objectives.quadratic([1.0, 0.5, 0.1], start=1.0)
    rates = {"prodigy": [1.0, 2.0]}.get(name, [0.05, 0.1])
    trace = training.run(bowl, find_rule(name, "sweep"), {"learning_rate": rates}, steps=60, every=60)
    losses = trace.metrics["loss"]
    assert (losses[:, -1] < losses[:, 0]).all()
    assert not np.array_equal(losses[0], losses[1])


def test_ademamix_without_its_slow_mean_is_adam():
    """The space of a comparison says so: alpha = 0."""
    ours, theirs = optax.contrib.ademamix(0.1, alpha=0.0), optax.adam(0.1)
    params = {name: jnp.asarray(START) for name in ("ours", "theirs")}
    states = {"ours": ours.init(params["ours"]), "theirs": theirs.init(params["theirs"])}
    for _ in range(5):
        for name, rule in (("ours", ours), ("theirs", theirs)):
            updates, states[name] = rule.update(gradient(params[name]), states[name], params[name])
            params[name] = optax.apply_updates(params[name], updates)
    np.testing.assert_allclose(params["ours"], params["theirs"], rtol=1e-6)  # sums in another order


def test_an_unknown_name_is_told_those_that_there_are():
    with pytest.raises(InputError, match=r"--rule must be one of: .*muon, prodigy, .*Did you mean 'ademamix'"):
        find_rule("ademix", "sweep")
    with pytest.raises(InputError, match=r"Did you mean 'schedule_free_"):
        find_rule("schedule-free", "sweep")


@pytest.mark.parametrize(
    ("options", "wording"),
    [
        ({"learning_rate": -1.0}, "sophia: learning_rate must be positive and finite, got -1.0"),
        ({"b1": 1.0}, r"sophia: b1 must be in \[0, 1\), got 1.0"),
        ({"b2": -0.1}, r"sophia: b2 must be in \[0, 1\), got -0.1"),
        ({"update_interval": 0}, "sophia: update_interval must be a whole number of at least 1, got 0"),
    ],
)
def test_arguments_out_of_their_range_are_refused(options, wording):
    with pytest.raises(InputError, match=wording):
        sophia(**{"learning_rate": 0.1, **options})
    with pytest.raises(InputError, match=wording):
        build_rule("sophia", "sweep", **{"learning_rate": 0.1, **options})


def test_sophia_says_what_it_needs():
    rule, params = sophia(0.1), jnp.ones(2)
    with pytest.raises(InputError, match="sophia: update needs grad_fn"):
        rule.update(params, rule.init(params), params)


def test_sophia_keeps_bfloat16_and_runs_in_a_scan():
    rule, params = sophia(0.01), jnp.asarray(START, jnp.bfloat16)

    def step(carry, _):
        params, state = carry
        updates, state = rule.update(gradient(params), state, params, grad_fn=gradient)
        return (optax.apply_updates(params, updates), state), None

    (after, _), _ = jax.jit(lambda carry: jax.lax.scan(step, carry, length=12))((params, rule.init(params)))
    assert after.dtype == jnp.bfloat16
    assert bool(jnp.all(jnp.isfinite(after)))
