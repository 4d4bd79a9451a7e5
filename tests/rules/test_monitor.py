import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.rules.monitor import Monitor, MonitorState, find_monitor, observe
from jaxopt_lab.rules.monitor_summary import summarize_monitor

PARAMS = {"b": np.zeros(2, np.float32), "w": np.ones(3, np.float32)}
ADAM = functools.partial(optax.adam, 0.1)


def gradients(steps, seed=0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.normal(size=(steps, *leaf.shape)).astype(np.float32), PARAMS)


def run(rule, grads, params=PARAMS, values=None, **extra):
    """The rule over a sequence of gradients, in one scan: (updates, last state)."""
    rule = optax.with_extra_args_support(rule)

    def step(carry, inputs):
        params, state = carry
        grads, value, extra = inputs
        updates, state = rule.update(grads, state, params, value=value, **extra)
        return (optax.apply_updates(params, updates), state), updates

    steps = len(jax.tree.leaves(grads)[0])
    values = np.ones(steps, np.float32) if values is None else values
    (_, state), updates = jax.jit(lambda *xs: jax.lax.scan(step, (xs[0], rule.init(xs[0])), xs[1:]))(
        params, grads, values, extra
    )
    return updates, state


def test_the_updates_are_those_of_the_rule_bit_by_bit_and_the_scan_is_the_loop():
    grads = gradients(13)
    monitored = optax.chain(Monitor(ADAM(), every=3, length=3), optax.scale(0.5))
    plain, _ = run(optax.chain(ADAM(), optax.scale(0.5)), grads)
    updates, state = run(monitored, grads)
    jax.tree.map(np.testing.assert_array_equal, updates, plain)
    step = jax.jit(lambda grads, state, params: monitored.update(grads, state, params, value=1.0))
    params, looped = jax.tree.map(jnp.asarray, PARAMS), monitored.init(PARAMS)
    structure = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), looped)
    for place in range(13):
        updates, looped = step(jax.tree.map(lambda leaf, at=place: leaf[at], grads), looped, params)
        params = optax.apply_updates(params, updates)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), looped) == structure
    signs, again = summarize_monitor(state), summarize_monitor(looped)
    assert signs.steps.tolist() == again.steps.tolist() == [6, 9, 12]  # the newest three of four
    for name in ("losses", "gradient_norms", "update_norms", "params_norms", "cosines", "squares"):
        np.testing.assert_allclose(getattr(signs, name), getattr(again, name), rtol=1e-5)


@pytest.fixture(scope="module")
def descent():
    """Four sequences of gradients under descent, side by side: constant, alternating, random, and one that turns NaN."""
    steps = 40
    ones = np.ones((steps, 3), np.float32)
    signs = np.where(np.arange(steps) % 2, 1, -1)[:, None].astype(np.float32)
    broken = ones.copy()
    broken[25:] = np.nan
    grads = np.stack([ones, signs * ones, np.random.default_rng(0).normal(size=(steps, 3)).astype(np.float32), broken])
    values = np.exp(-0.1 * np.arange(1, steps + 1, dtype=np.float32))
    values = np.stack([values] * 3 + [np.where(np.arange(steps) >= 22, np.nan, values)])
    rule = Monitor(optax.sgd(0.1), every=4)

    def one(grads, values):
        step = lambda state, inputs: (rule.update(inputs[0], state, jnp.full(3, 2.0), value=inputs[1])[1], None)  # noqa: E731
        return jax.lax.scan(step, rule.init(jnp.zeros(3)), (grads, values))[0]

    return jax.jit(jax.vmap(one))(grads, values)


def test_known_sequences_have_known_signs(descent):
    constant, alternating, random, broken = (
        summarize_monitor(jax.tree.map(lambda leaf, at=place: leaf[at], descent)) for place in range(4)
    )
    np.testing.assert_allclose(constant.cosines, 1.0, rtol=1e-6)
    np.testing.assert_allclose(alternating.cosines, -1.0, rtol=1e-6)
    assert np.abs(random.cosines).mean() < 0.9
    np.testing.assert_allclose(constant.gradient_norms, np.sqrt(3), rtol=1e-6)
    np.testing.assert_allclose(constant.update_norms, 0.1 * np.sqrt(3), rtol=1e-6)
    assert constant.update_ratio.value == pytest.approx(0.05)
    assert constant.loss_trend.value == pytest.approx(-0.1, rel=1e-4)
    assert constant.noise_scale.value == pytest.approx(0.0, abs=1e-6)  # equal gradients
    assert alternating.noise_scale.value == np.inf  # their mean is zero
    assert constant.first_wrong is None
    assert broken.first_wrong == 23
    assert str(broken) == "Not finite from step 23 on."
    assert "halves" not in str(constant)
    assert "successive gradients: an upper estimate" in str(constant)


def test_a_gradient_that_is_not_finite_is_seen_at_the_next_record_without_a_loss():
    rule = Monitor(optax.sgd(0.1), every=2, length=4)
    state = rule.init(jnp.zeros(3))
    for size in (1.0, np.nan, np.nan):
        _, state = rule.update(jnp.full(3, size), state)
    signs = summarize_monitor(state)
    assert signs.first_wrong == 2
    assert np.isnan(signs.losses).all()
    assert np.isnan(signs.params_norms).all()


def test_two_half_batches_give_the_noise_scale_of_isotropic_regression():
    dim, half, steps = 20, 16, 1600
    rng = np.random.default_rng(0)
    error = np.ones(dim) / np.sqrt(dim)

    def gradient():
        inputs = rng.normal(size=(steps, half, dim))
        return np.einsum("tbi,tb->ti", inputs, inputs @ error).astype(np.float32) / half

    first, second = gradient(), gradient()
    rule = Monitor(optax.sgd(0.1), every=2, length=steps)
    _, state = run(rule, (first + second) / 2, np.zeros(dim, np.float32), half_grads=(first, second))
    scale = summarize_monitor(state, batch_size=2 * half).noise_scale
    assert scale.unit == "examples"
    assert scale.standard_error < 0.06 * (dim + 1)
    assert abs(scale.value - (dim + 1)) < 4 * scale.standard_error  # McCandlish et al. 2018: exactly d + 1 here
    # Batches of the whole size at one point: the successive gradients know it too.
    _, state = run(rule, (first + second) / 2, np.zeros(dim, np.float32))
    successive = summarize_monitor(state, batch_size=2 * half)
    assert not successive.from_halves
    assert abs(successive.noise_scale.value - (dim + 1)) < 4 * successive.noise_scale.standard_error


def test_observed_gradients_are_kept_beside_and_count_first():
    rule = Monitor(optax.sgd(0.1), length=8)
    state = (optax.EmptyState(), rule.init(jnp.zeros(2)))
    for _ in range(10):
        state = observe(state, np.array([3.0, 0.0]), np.array([1.0, 2.0]))
    signs = summarize_monitor(state, batch_size=2)
    assert signs.from_halves
    np.testing.assert_allclose(signs.squares, np.tile([7.0, 5.0], (8, 1)))
    assert signs.noise_scale.value == pytest.approx(4 / 3)  # |G|^2 = <g1, g2> = 3, tr S = |g1 - g2|^2 / 2 = 4


def test_extra_arguments_reach_the_rule():
    def update(updates, state, params=None, *, value, scale):
        return jax.tree.map(lambda leaf: scale * value * leaf, updates), state

    rule = Monitor(optax.GradientTransformationExtraArgs(lambda params: (), update))
    updates, _ = rule.update(jnp.ones(2), rule.init(jnp.ones(2)), value=2.0, scale=3.0)
    assert updates.tolist() == [6.0, 6.0]


def test_it_composes_with_optax():
    rules = (
        optax.inject_hyperparams(lambda learning_rate: Monitor(optax.sgd(learning_rate), every=2))(learning_rate=0.1),
        optax.masked(Monitor(optax.sgd(0.1), every=2), {"b": False, "w": True}),
        optax.MultiSteps(Monitor(optax.sgd(0.1), every=2), 2),
    )
    for rule in rules:
        params = jax.tree.map(jnp.asarray, PARAMS)
        state = rule.init(params)
        for _ in range(4):
            _, state = rule.update(params, state, params)
        assert isinstance(find_monitor("test", state), MonitorState)
        assert summarize_monitor(state).cosines[0] == pytest.approx(1.0)


def test_a_gradient_passes_through_it_as_through_the_rule():
    def moved(rate):
        rule = Monitor(optax.sgd(rate), every=2)
        state = rule.init(jnp.zeros(3))
        for _ in range(2):
            updates, state = rule.update(jnp.ones(3), state, jnp.zeros(3), value=1.0)
        return jnp.sum(updates)

    assert float(jax.jit(jax.grad(moved))(0.1)) == -3.0


def test_the_state_can_be_donated_at_the_first_step():
    rule = Monitor(optax.adam(0.1), every=2)
    params = jax.tree.map(jnp.asarray, PARAMS)
    step = jax.jit(lambda grads, state, params: rule.update(grads, state, params, value=1.0), donate_argnums=(1,))
    _, state = step(params, rule.init(params), params)
    assert int(find_monitor("test", step(params, state, params)[1]).count) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Monitor(optax.sgd(0.1), every=1), "every must be a whole number of at least 2, got 1. A cosine takes"),
        (lambda: Monitor(optax.sgd(0.1), length=0), "length must be a whole number of at least 1, got 0"),
        (
            lambda: Monitor(optax.sgd(0.1), every=10, sharpness_every=25),
            "sharpness_every must be a multiple of every, 10, got 25. It stands in the records",
        ),
        (lambda: Monitor(optax.sgd(0.1), sharpness_every=0), "sharpness_every must be a whole number of at least 1"),
        (
            lambda: summarize_monitor(optax.sgd(0.1).init(PARAMS)),
            "summarize_monitor: the state holds no monitor. Wrap the rule",
        ),
        (lambda: observe((), PARAMS, PARAMS), "observe: the state holds no monitor"),
        (lambda: summarize_monitor(Monitor(optax.sgd(0.1)).init(PARAMS), batch_size=0), "batch_size must be positive"),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_states_of_several_runs_are_refused(descent):
    with pytest.raises(InputError, match=r"the state is that of \(4,\) runs. Read one at a time"):
        summarize_monitor(descent)


class Board:
    """What TensorBoard's writers have in common."""

    def __init__(self):
        self.rows = {}

    def add_scalar(self, name, value, step):
        self.rows[step, name] = value


class Run:
    """What a run of Weights & Biases has."""

    def __init__(self):
        self.rows = {}

    def log(self, numbers, step):
        self.rows |= {(step, name): value for name, value in numbers.items()}


def called():
    rows = {}

    def write(step, numbers):
        rows.update({(step, name): value for name, value in numbers.items()})

    write.rows = rows
    return write


@pytest.mark.parametrize("make", [Board, Run, called])
def test_records_reach_a_writer_at_their_steps(make):
    writer, grads = make(), gradients(6)
    updates, state = run(Monitor(ADAM(), every=2, writer=writer), grads, values=np.arange(6, dtype=np.float32))
    jax.effects_barrier()
    assert sorted({step for step, _ in writer.rows}) == [2, 4, 6]
    signs = summarize_monitor(state)
    for place, step in enumerate((2, 4, 6)):
        assert writer.rows[step, "monitor/loss"] == step - 1
        assert writer.rows[step, "monitor/gradient_norm"] == pytest.approx(signs.gradient_norms[place])
    alone, _ = run(Monitor(ADAM(), every=2), grads, values=np.arange(6, dtype=np.float32))
    # Another program: the compiler may fuse otherwise, by a rounding or two.
    chex.assert_trees_all_close(updates, alone, rtol=1e-6)


def test_runs_side_by_side_send_only_what_is_due():
    rows, grads = [], gradients(4)
    rule = Monitor(ADAM(), every=2, writer=lambda step, numbers: rows.append(step))
    many = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), grads)
    jax.vmap(lambda each: run(rule, each))(many)
    jax.effects_barrier()
    assert sorted(rows) == [2, 2, 4, 4]


def test_a_writer_that_fails_is_told_once_and_training_goes_on(caplog):
    def write(step, numbers):
        raise OSError("the disk is full")

    updates, _ = run(Monitor(ADAM(), every=2, writer=write), gradients(6))
    jax.effects_barrier()
    chex.assert_tree_all_finite(updates)
    (record,) = caplog.records
    assert "nothing more is written: OSError: the disk is full" in record.getMessage()


def test_what_cannot_write_is_refused():
    with pytest.raises(InputError, match="writer must have add_scalar or log, or be a function, got str"):
        Monitor(ADAM(), writer="runs")
