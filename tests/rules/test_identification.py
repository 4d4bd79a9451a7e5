import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab import rules
from jaxopt_lab.rules import identification
from jaxopt_lab.rules.answers import STARTS, steps_of_ones, velocity_behind
from jaxopt_lab.rules.identification import weight_decay

PARAMS = {"w": jnp.ones((2, 3)), "b": jnp.zeros(2)}


@pytest.mark.parametrize(
    ("rule", "kind", "rate", "rho", "edge"),
    [
        (optax.sgd(0.3), "gradient descent", 0.3, 0.0, 2.0),
        (rules.heavy_ball(0.1, rho=0.95), "heavy ball", 0.1, 0.95, 3.9),
        (optax.sgd(0.1, momentum=0.8), "heavy ball", 0.1, 0.8, 3.6),
        (rules.nesterov(0.2, rho=0.9), "Nesterov", 0.2, 0.9, 19 / 14),
        (optax.adam(0.01), "adaptive", 0.01, 0.9, 38.0),
        (optax.adamw(0.01, b1=0.5, weight_decay=0.1), "adaptive", 0.01, 0.5, 6.0),
        (optax.rmsprop(0.01, decay=0.0), "adaptive", 0.01, 0.0, 2.0),
        (optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.3)), "gradient descent", 0.3, 0.0, 2.0),
        (optax.chain(optax.sgd(1.0, momentum=0.5), optax.scale(0.25)), "heavy ball", 0.25, 0.5, 3.0),
    ],
)
def test_a_rule_is_told_by_what_it_does(rule, kind, rate, rho, edge):
    found = rules.identify(rule, PARAMS)
    assert found.kind == kind
    np.testing.assert_allclose([found.learning_rate, found.rho, found.edge], [rate, rho, edge], rtol=2e-3)
    if kind != "adaptive":
        assert found.effective_rate == pytest.approx(rate / (1 - rho), rel=2e-3)


def test_other_filters_and_rules_that_need_more_are_not_given_a_name():
    assert rules.identify(rules.aggregated_momentum(0.1, rhos=(0.0, 0.9)), PARAMS).kind == "linear"
    assert rules.identify(rules.nesterov_lookahead(0.1, rho=0.9), PARAMS).kind == "unknown"
    found = rules.identify(optax.lars(0.1), PARAMS)
    assert found.kind == "unknown"
    assert np.isnan(found.edge)
    assert "unknown form" in str(found)


@pytest.mark.parametrize("rule", [
    optax.chain(optax.trace(1.0), optax.adam(1e-3)), optax.rmsprop(0.1, momentum=1.0), optax.sgd(0.1, momentum=1.0),
    optax.sgd(0.1, momentum=1.0, nesterov=True), optax.sgd(0.1, momentum=1.01),
])  # fmt: skip
def test_a_rule_that_never_forgets_a_gradient_has_no_edge(rule):
    found = rules.identify(rule, PARAMS)
    assert found.kind == "accumulating"
    assert np.isnan(found.edge)


@pytest.mark.parametrize(
    "rule", [optax.lamb(1e-3), optax.adagrad(0.1), optax.contrib.muon(1e-3), optax.normalize_by_update_norm()]
)
def test_what_gradients_of_two_sizes_and_shapes_do_not_agree_on_is_unknown(rule):
    assert rules.identify(rule, PARAMS).kind == "unknown"


def velocity_after_rms(rate):
    return optax.chain(optax.scale_by_rms(), optax.trace(0.9), optax.scale_by_learning_rate(rate))


@pytest.mark.parametrize(
    ("rule", "kind", "rate", "rho"),
    [
        (optax.sgd(optax.linear_schedule(0.0, 0.1, 100)), "gradient descent", 0.1, 0.0),
        (optax.sgd(optax.linear_schedule(0.0, 0.1, 100), momentum=0.9), "heavy ball", 0.1, 0.9),
        (optax.sgd(optax.linear_schedule(1e-3, 0.1, 500), momentum=0.9), "heavy ball", 0.1, 0.9),
        (optax.adam(optax.linear_schedule(1e-5, 1e-3, 100)), "adaptive", 1e-3, 0.9),
        (optax.nadam(1e-3), "adaptive", 1e-3, 0.9),
        (optax.nadam(optax.linear_schedule(0.0, 1e-3, 100)), "adaptive", 1e-3, 0.9),
        (optax.amsgrad(1e-3), "adaptive", 1e-3, 0.9),
        (optax.adamax(optax.cosine_decay_schedule(1e-3, 20)), "adaptive", 1e-3, 0.9),
        (optax.adam(1e-3, b1=0.0), "adaptive", 1e-3, 0.0),
        (optax.adam(optax.piecewise_constant_schedule(1e-3, {3: 0.1})), "adaptive", 1e-3, 0.9),
        (optax.lion(1e-3, weight_decay=0.0), "adaptive", 1e-3, 0.99),
        (optax.sign_sgd(1e-2), "adaptive", 1e-2, 0.0),
        (optax.rmsprop(1e-3), "adaptive", 1e-3, 0.0),
        (optax.rmsprop(1e-3, decay=0.99), "adaptive", 1e-3, 0.0),
        (optax.rmsprop(1e-3, decay=0.99, bias_correction=True), "adaptive", 1e-3, 0.0),
        (optax.rmsprop(optax.linear_schedule(0.0, 1e-3, 100), decay=0.99), "adaptive", 1e-3, 0.0),
        (optax.rmsprop(optax.linear_schedule(1e-4, 1e-3, 50), decay=0.99), "adaptive", 1e-3, 0.0),
        (optax.rmsprop(optax.cosine_decay_schedule(1e-3, 20)), "adaptive", 1e-3, 0.0),
        (optax.rmsprop(1e-3, momentum=0.9), "adaptive", 1e-3, 0.9),
        (optax.rmsprop(1e-3, decay=0.99, momentum=0.5, nesterov=True), "adaptive", 1e-3, 0.5),
        (optax.rmsprop(1e-3, momentum=0.9, bias_correction=True), "adaptive", 1e-3, 0.9),
        (optax.rmsprop(optax.linear_schedule(0.0, 1e-3, 100), momentum=0.9), "adaptive", 1e-3, 0.9),
        (optax.rmsprop(optax.cosine_decay_schedule(1e-3, 20), momentum=0.9, nesterov=True), "adaptive", 1e-3, 0.9),
        (velocity_after_rms(optax.linear_schedule(0.0, 1e-3, 100)), "adaptive", 1e-3, 0.9),
        (velocity_after_rms(optax.cosine_decay_schedule(1e-3, 20)), "adaptive", 1e-3, 0.9),
        (optax.sgd(optax.cosine_decay_schedule(0.1, 20), momentum=0.9, nesterov=True), "Nesterov", 0.1, 0.9),
        (optax.adam(optax.warmup_cosine_decay_schedule(0.0, 1e-3, 100, 1000)), "adaptive", 1e-3, 0.9),
        (optax.chain(optax.clip_by_global_norm(0.01), optax.sgd(0.1)), "gradient descent", 0.1, 0.0),
        (optax.chain(optax.clip(1.0), optax.sgd(0.1)), "gradient descent", 0.1, 0.0),
        (optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)), "adaptive", 1e-3, 0.9),
    ],
)
def test_schedules_and_limits_are_told_from_momentum(rule, kind, rate, rho):
    found = rules.identify(rule, PARAMS)
    assert found.kind == kind
    np.testing.assert_allclose([found.learning_rate, found.rho], [rate, rho], rtol=2e-3)


@pytest.mark.parametrize(
    ("rule", "edge"),
    [
        (optax.adam(1e-3), 38.0),
        (optax.rmsprop(1e-3, momentum=0.9), 3.8),
        (optax.rmsprop(1e-3, momentum=0.9, nesterov=True), 3.8 / 2.8),
    ],
)
def test_the_edge_of_a_velocity_that_sums_is_that_of_heavy_ball(rule, edge):
    assert rules.identify(rule, PARAMS).edge == pytest.approx(edge, rel=2e-3)


@pytest.mark.parametrize(
    "rule",
    [
        optax.rmsprop(1e-3, centered=True),
        optax.rmsprop(1e-3, centered=True, momentum=0.9),
        optax.chain(optax.scale_by_adam(), optax.trace(0.5), optax.scale(-1e-3)),
        optax.chain(optax.ema(0.5), optax.adam(1e-3)),
        optax.adabelief(1e-3),
        optax.adadelta(1.0),
        optax.optimistic_adam_v2(1e-3),
        optax.contrib.ademamix(1e-3),
        optax.contrib.adopt(1e-3),
        optax.contrib.acprop(1e-3),
    ],
)
def test_two_momenta_and_other_second_moments_are_unknown(rule):
    assert rules.identify(rule, PARAMS).kind == "unknown"


def partitioned(**parts):
    return optax.multi_transform(parts, lambda tree: {"w": "first", "b": "second"})


def test_groups_of_leaves_are_told_apart():
    found = rules.identify(partitioned(first=optax.sgd(0.01), second=optax.sgd(1.0)), PARAMS)
    assert found.kind == "unknown"
    assert str(found) == "gradient descent, learning rate 1 (b); gradient descent, learning rate 0.01 (w)"
    frozen = rules.identify(partitioned(first=optax.set_to_zero(), second=optax.sgd(0.1)), PARAMS)
    assert str(frozen) == "gradient descent, learning rate 0.1"
    assert [(paths, known.kind) for paths, known in frozen.groups] == [(("b",), "gradient descent"), (("w",), "frozen")]
    mask = {"w": True, "b": False}
    decayed = rules.identify(optax.chain(optax.add_decayed_weights(1e-2, mask), optax.sgd(0.1)), PARAMS)
    assert decayed.weight_decay == pytest.approx(1e-3)
    assert [known.weight_decay for _, known in decayed.groups] == pytest.approx([0.0, 1e-3])


@pytest.mark.parametrize("b2", [0.95, 0.999])
def test_the_decay_of_the_second_moment_is_read(b2):
    assert rules.identify(optax.adam(1e-3, b2=b2), PARAMS).b2 == pytest.approx(b2, rel=1e-5)


@pytest.mark.parametrize("momentum", [None, 0.5, 0.9])
def test_a_decay_before_the_momentum_is_counted_as_often_as_the_gradient(momentum):
    rule = optax.chain(optax.add_decayed_weights(0.5), optax.sgd(0.1, momentum=momentum))
    expected = 0.1 * 0.5 / (1 - (momentum or 0.0))
    assert weight_decay(rule, {"a": jnp.ones((3, 2)), "b": jnp.ones(2)}) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    "make", [optax.nadam, optax.adam, lambda rate: optax.rmsprop(rate, momentum=0.9), velocity_after_rms]
)  # fmt: skip
def test_a_schedule_is_read_step_by_step(make):
    schedule = optax.cosine_decay_schedule(1e-3, 200)
    rule = make(schedule)
    steps = np.asarray(steps_of_ones(100, rule, {"w": jnp.ones(3)}), float) / np.sqrt(3)
    rates = rules.identify(rule, {"w": jnp.ones(3)}).per_step(steps)
    np.testing.assert_allclose(rates, schedule(np.arange(100)), rtol=2e-3)


def test_of_a_rule_that_needs_more_than_gradients_no_decay_is_known():
    def update(updates, state, params=None, *, value):
        return jax.tree.map(lambda leaf, point: -0.1 * point + value * leaf, updates, params), state

    assert weight_decay(optax.GradientTransformationExtraArgs(lambda params: (), update), PARAMS) == 0.0


@pytest.mark.parametrize(("factor", "peak"), [(1.01, 0.1 * 1.01**1999), (2.0, 0.1)])
def test_a_rate_that_grows_counts_at_the_largest_of_its_first_steps_unless_it_leaves_all_bounds(factor, peak):
    """The first 2000 steps are looked at; twice as large at each, float32 holds the first hundred."""
    given = identification.IdentifiedRule("gradient descent", 0.1, 0.0, 0.0, 0.1)
    rule = optax.sgd(lambda count: jnp.float32(0.1) * jnp.float32(factor) ** count)
    found = identification._at_its_peak(rule, jnp.ones(1), given)
    assert found.learning_rate == pytest.approx(peak, rel=1e-3)
    assert found.effective_rate == pytest.approx(peak, rel=1e-3)


def test_no_velocity_is_seen_behind_steps_that_are_not_taken():
    still = np.zeros((STARTS + 1, 8))
    assert velocity_behind(still, 0.999) is None
    late = still.copy()
    for start in range(STARTS // 2, STARTS):
        late[start, start:] = 0.9 ** np.arange(8 - start)
    assert velocity_behind(late, np.nan) is None  # it begins so late that too few steps are seen
    for start in range(STARTS):
        late[start, start:] = 0.9 ** np.arange(8 - start)
    assert velocity_behind(late, np.nan) == pytest.approx((0.9, 0.0))


@pytest.mark.parametrize(
    "rule",
    [
        optax.sgd(0.1),
        optax.sgd(0.1, 0.8),
        optax.sgd(0.1, 0.8, nesterov=True),
        optax.adam(0.01, 0.8, 0.95),
        optax.adamw(0.01, weight_decay=0.1),
    ],
)
def test_of_what_is_known_a_rule_can_be_made_again(rule):
    found = rules.identify(rule, jnp.ones(3))
    again = rules.identify(found.as_optax(), jnp.ones(3))
    assert (again.kind, again.weight_decay) == (found.kind, 0)
    np.testing.assert_allclose(
        [again.learning_rate, again.rho, again.lookahead, again.b2],
        [found.learning_rate, found.rho, found.lookahead, found.b2],
        rtol=1e-3,
    )


@pytest.mark.parametrize("rule", [optax.sign_sgd(0.1), optax.lion(0.1), optax.contrib.muon(0.1), optax.trace(1.0)])
def test_of_other_rules_none_is_made(rule):
    assert rules.identify(rule, jnp.ones((3, 3))).as_optax() is None
