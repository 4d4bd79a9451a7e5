import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab import rules
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
    warm = optax.sgd(optax.linear_schedule(0.0, 0.1, 10))
    assert rules.identify(warm, PARAMS).kind == "unknown"
    assert np.isnan(rules.identify(warm, PARAMS).edge)
    assert "unknown form" in str(rules.identify(warm, PARAMS))


@pytest.mark.parametrize("momentum", [None, 0.5, 0.9])
def test_a_decay_before_the_momentum_is_counted_as_often_as_the_gradient(momentum):
    rule = optax.chain(optax.add_decayed_weights(0.5), optax.sgd(0.1, momentum=momentum))
    expected = 0.1 * 0.5 / (1 - (momentum or 0.0))
    assert weight_decay(rule, {"a": jnp.ones((3, 2)), "b": jnp.ones(2)}) == pytest.approx(expected, rel=1e-3)
