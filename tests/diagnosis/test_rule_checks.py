"""What the rule does with the gradients of a small network."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.diagnosis.output_search import search_outputs
from jaxopt_lab.diagnosis.pipeline import diagnose
from jaxopt_lab.diagnosis.rule_checks import _response, read_schedule

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(80, 4)).astype(np.float32)
LABELS = (INPUTS[:, 0] > 0).astype(np.int32)


def line(dtype=jnp.float32, criterion=optax.sigmoid_binary_cross_entropy, labels=LABELS):
    def loss(params, batch, key):
        z = batch[0].astype(dtype) @ params["weight"] + params["bias"]
        return jnp.mean(criterion(z.astype(jnp.float32), batch[1]))

    params = {"weight": jnp.zeros(4, dtype), "bias": jnp.zeros((), dtype)}
    return lab.from_loss(loss, params, (INPUTS, labels))


@pytest.mark.parametrize(
    ("rule", "cause"),
    [
        (optax.sgd(-0.1), "gradient-ascent"),
        (optax.chain(optax.scale_by_adam(), optax.scale(1e-2)), "gradient-ascent"),
        (optax.sgd(optax.linear_schedule(0.0, -0.1, 20)), "gradient-ascent"),
        (optax.MultiSteps(optax.sgd(0.5), every_k_schedule=30).gradient_transformation(), "schedule"),
        (optax.MultiSteps(optax.sgd(0.5), every_k_schedule=100).gradient_transformation(), "schedule"),
        (optax.sgd(optax.constant_schedule(0.0)), "schedule"),
        (optax.chain(optax.scale(0.0), optax.adam(1e-2)), "no-gradient"),
    ],
)
def test_what_the_rule_does_wrong_is_told_first(rule, cause):
    assert diagnose(line(), rule, steps=60, batch_size=20, budget=60).causes[0] == cause


def test_a_decay_before_adam_that_holds_the_loss_up_is_told():
    rule = optax.chain(optax.add_decayed_weights(0.5), optax.scale_by_adam(), optax.scale(-0.03))
    told = diagnose(line(), rule, steps=60, batch_size=20, budget=60)
    assert told.evidence.update.decay > 0.5
    assert told.causes[0] == "underfitting"
    assert told.findings[0].prescription.text == "Take the weight decay away."


def test_what_a_mask_leaves_out_climbs_its_gradient():
    masked = optax.masked(optax.adam(0.03), {"weight": False, "bias": True})
    told = diagnose(line(), masked, steps=60, batch_size=20, budget=60)
    assert told.causes[0] == "gradient-ascent"
    assert told.evidence.update.rule.rising == ("weight",)
    _, still = told.findings[0].prescription.apply(line(), masked)
    ones = {"weight": jnp.ones(4), "bias": jnp.ones(())}
    updates, _ = still.update(ones, still.init(ones), ones)
    assert jnp.all(updates["weight"] == 0)
    assert updates["bias"] < 0


def test_where_no_leaf_goes_down_the_whole_update_is_negated():
    """A bias is too small to tell noise of the rule's own from a sign: what the weights do holds for it."""
    many = np.random.default_rng(3).standard_normal((80, 70)).astype(np.float32)
    params = {"weight": jnp.zeros(70), "bias": jnp.zeros(())}
    loss = lambda p, batch, key: jnp.mean((batch[0] @ p["weight"] + p["bias"] - batch[1]) ** 2)  # noqa: E731
    wide = lab.from_loss(loss, params, (many, many[:, 0]))
    climbing = optax.chain(optax.scale_by_adam(), optax.scale(1e-2))
    told = diagnose(wide, climbing, steps=60, batch_size=20, budget=60)
    assert told.causes[0] == "gradient-ascent"
    _, mended = told.findings[0].prescription.apply(wide, climbing)
    updates, _ = mended.update(jax.tree.map(jnp.ones_like, params), mended.init(params), params)
    assert all(jnp.all(leaf < 0) for leaf in jax.tree.leaves(updates))


@pytest.mark.parametrize("steps", [10, 100])
def test_steps_behind_the_end_of_a_schedule_are_not_idle(steps):
    ended = read_schedule(optax.sgd(optax.cosine_decay_schedule(0.1, 10)), jnp.zeros(3), steps)
    assert ended.idle == 0
    assert read_schedule(optax.sgd(optax.constant_schedule(0.0)), jnp.zeros(3), steps).idle == 1
    gathered = optax.MultiSteps(optax.sgd(0.5), every_k_schedule=4).gradient_transformation()
    assert read_schedule(gathered, jnp.zeros(3), 8).idle == 0.75


def test_an_epsilon_that_is_zero_in_half_precision_is_not_finite():
    problem = line(jnp.float16)
    constant = np.concatenate([INPUTS[:, :3], np.zeros((80, 1), np.float32)], 1)
    problem = lab.from_loss(problem.loss, problem.init(jax.random.key(0)), (constant, LABELS))
    told = diagnose(problem, optax.adam(1e-3), steps=20, budget=60)
    assert told.causes[0] == "non-finite"
    assert "The rule's update to a finite gradient is not finite" in told.findings[0].explanation


def test_a_hinge_on_zero_and_one_does_not_feel_the_zeros():
    hinge = lambda z, y: jnp.maximum(0.0, 1 - y * z)  # noqa: E731
    search = search_outputs(line(criterion=hinge), {"weight": jnp.zeros(4), "bias": jnp.zeros(())})
    silent, seen = search.silent
    assert sorted(silent) == sorted(np.flatnonzero(LABELS == 0))
    assert len(seen) == 80
    signs = lambda z, y: jnp.maximum(0.0, 1 - (2.0 * y - 1) * z)  # noqa: E731
    search = search_outputs(line(criterion=signs), {"weight": jnp.zeros(4), "bias": jnp.zeros(())})
    assert not len(search.silent[0])


def test_outputs_that_are_not_one_row_an_example_have_no_silent_ones():
    def loss(params, batch, key):
        return (jnp.mean(batch[0], 0) @ params - jnp.mean(batch[1])) ** 2

    search = search_outputs(lab.from_loss(loss, jnp.ones(4), (INPUTS, LABELS)), jnp.ones(4))
    assert search.place.shape == ()
    assert [len(rows) for rows in search.silent] == [0, 0]


@pytest.mark.parametrize(
    ("rule", "least", "most"),
    [
        (optax.adam(1e-2, eps=0.1), 0.6, 0.75),  # the bias' gradient, 0.5, alone would be answered as of one size
        (optax.adam(1e-2), -0.01, 0.01),
        (optax.multi_transform({"a": optax.adam(1e-2), "b": optax.sgd(1e3)}, {"weight": "b", "bias": "a"}), -0.01, 0.1),
        (optax.sgd(0.1), 0.99, 1.01),
    ],
)
def test_an_epsilon_is_told_by_the_update_as_a_whole_unless_a_leaf_is_divided_by_its_own(rule, least, most):
    params = {"weight": jnp.zeros(1000), "bias": jnp.zeros(4)}
    gradient = {"weight": jnp.full(1000, 0.01), "bias": jnp.full(4, 0.5)}
    assert least < _response(rule, params, gradient)[0] < most


def test_inputs_that_are_the_targets_too_are_not_told_as_raw():
    raw = 5 + RNG.normal(size=(200, 6)).astype(np.float32) * np.geomspace(0.1, 10, 6, dtype=np.float32)
    init = lambda key: {"in": 0.1 * jax.random.normal(key, (6, 3)), "out": jnp.zeros((3, 6))}  # noqa: E731
    outputs = lambda params, x: jnp.tanh(x @ params["in"]) @ params["out"]  # noqa: E731
    rebuilt = lab.from_loss(lambda p, batch, key: jnp.mean((outputs(p, batch) - batch) ** 2), init, raw)
    predicted = lab.from_loss(
        lambda p, batch, key: jnp.mean((outputs(p, batch[0]) - batch[1]) ** 2), init, (raw, raw + 1)
    )
    found = [
        diagnose(each, optax.sgd(1e-3), steps=60, batch_size=20, budget=60).causes for each in (rebuilt, predicted)
    ]
    assert "unnormalized-inputs" not in found[0]
    assert "unnormalized-inputs" in found[1]


def test_a_rule_without_a_closed_form_has_its_edge_measured():
    curvatures = {"first": jnp.geomspace(1e-3, 1.0, 40), "second": jnp.geomspace(1e-3, 2.0, 40)}
    ones = jax.tree.map(jnp.ones_like, curvatures)

    def loss(params, batch, key):
        return (
            sum(jnp.vdot(h, w**2) for h, w in zip(jax.tree.leaves(curvatures), jax.tree.leaves(params), strict=True))
            / 2
        )

    rates = {"first": optax.sgd(0.4), "second": optax.sgd(0.1, momentum=0.9)}  # .4 of 2, and .2 of 3.8
    rule = optax.partition(rates, {"first": "first", "second": "second"})
    told = diagnose(lab.from_loss(loss, ones), rule, steps=40)
    assert told.evidence.setting.optimizer.kind == "unknown"
    edge = told.evidence.update.edge
    assert told.spent - 2 * edge.cost <= 300  # the budget and a quarter of what is beside it, besides the products
    low, high = edge.interval
    assert low <= 2 / 0.4 <= high <= 1.3 * low
    assert told.evidence.relative_sharpness == pytest.approx(0.2, rel=0.13)


def test_the_edge_of_a_rule_that_takes_signs_is_not_examined():
    rule = optax.partition(
        {"bias": optax.sign_sgd(0.01), "weight": optax.sgd(0.1)}, {"bias": "bias", "weight": "weight"}
    )
    told = diagnose(line(), rule, steps=20, batch_size=20)
    assert told.evidence.update.edge is None
    assert "do not answer to small changes of the gradient" in told.not_examined["edge"]
