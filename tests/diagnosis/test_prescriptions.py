import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import InputError, Stateful
from jaxopt_lab.core.problem import Composite, with_losses
from jaxopt_lab.diagnosis import prescriptions
from jaxopt_lab.diagnosis.budget import Budget, subsampled
from jaxopt_lab.diagnosis.gradient_noise import measure_noise
from jaxopt_lab.rules.identification import identify, weight_decay
from jaxopt_lab.tracing.criteria import UsualCriterion
from jaxopt_lab.tracing.initializers import RecurrentInit, rescaled
from jaxopt_lab.tracing.layer_statistics import measure_signals

DEEP = lab.load_problem("mnist1d-mlp", width=16, depth=4, activation="sigmoid", num_examples=200)
ONES = jnp.ones(3)


def test_scaling_by_the_data_makes_every_hidden_layer_alike():
    params = DEEP.init(jax.random.key(0))
    before, after = measure_signals(DEEP, params), measure_signals(DEEP, rescaled(DEEP, params, jax.random.key(1)))
    assert before.backward_gain < 0.05
    assert 0.3 < after.backward_gain < 3
    for layer in after.layers[:-1]:
        assert layer.deviation == pytest.approx(1.0, abs=1e-3)
        np.testing.assert_allclose(layer.centres, 0.0, atol=1e-4)  # float32 sums of 200 examples, through five layers


@pytest.mark.parametrize(("bias", "changed"), [(200.0, True), (0.0, False)])
def test_the_last_layer_is_centred_where_that_costs_less(bias, changed):
    params = DEEP.init(jax.random.key(0))
    output = params["output"] | {"bias": params["output"]["bias"].at[0].add(bias)}
    after = rescaled(DEEP, params | {"output": output}, jax.random.key(1))
    assert (float(abs(after["output"]["bias"] - output["bias"]).max()) > 100) == changed
    assert DEEP.full_loss(after) < 4


def test_units_that_are_copies_are_drawn_anew():
    alike = jax.tree.map(lambda leaf: jnp.full_like(leaf, 0.1), DEEP.init(jax.random.key(0)))
    after = measure_signals(DEEP, rescaled(DEEP, alike, jax.random.key(1)))
    assert max(layer.copies for layer in after.layers) == 0


def test_blocks_that_are_added_up_in_a_loop_keep_the_size_of_what_they_are_given():
    def loss(params, batch, key):
        last, _ = jax.lax.scan(lambda x, w: (x + jax.nn.relu(x @ w), None), batch[0], params["blocks"])
        return jnp.mean((last @ params["out"] - batch[1]) ** 2)

    draw = lambda place, shape: jax.random.normal(jax.random.key(place), shape)  # noqa: E731
    problem = lab.from_loss(
        loss,
        {"blocks": draw(0, (24, 8, 8)) / 2, "out": draw(1, (8, 1))},
        (draw(2, (100, 8)), draw(3, (100, 1))),
    )
    params = problem.init(jax.random.key(0))
    before = measure_signals(problem, params).layers[0].deviation
    after = measure_signals(problem, rescaled(problem, params, jax.random.key(1))).layers[0].deviation
    assert before > 1e3
    assert 0.5 < after < 2


def test_a_rate_is_scaled_and_a_decay_taken_away():
    _, faster = prescriptions.scale_rate(10.0, identify(optax.sgd(0.1), DEEP.init(jax.random.key(0)))).apply(
        DEEP, optax.sgd(0.1)
    )
    assert identify(faster, ONES).learning_rate == pytest.approx(1.0)
    _, free = prescriptions.stop_decay().apply(DEEP, optax.adamw(0.1, weight_decay=0.5))
    assert weight_decay(optax.adamw(0.1, weight_decay=0.5), ONES) == pytest.approx(0.05)
    assert weight_decay(free, ONES) == 0
    _, shrinking = prescriptions.decay_weights(0.01).apply(DEEP, optax.sgd(0.1))
    assert weight_decay(shrinking, ONES) == pytest.approx(0.01)


def test_a_penalty_is_made_lighter_and_nothing_else():
    rows = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)

    def loss(weight, batch, key, factor=0.5):
        return jnp.mean((batch @ weight - 1) ** 2) + factor * jnp.sum(weight**2)

    weight = jnp.array([1.0, -2.0, 0.5])
    lighter, _ = prescriptions.lighten_penalty(4.0).apply(lab.from_loss(loss, weight, rows), optax.sgd(0.1))
    found, wanted = (
        jax.value_and_grad(each)(weight, rows, None) for each in (lighter.loss, lambda *given: loss(*given, 0.125))
    )
    chex.assert_trees_all_close(found, wanted, rtol=1e-6)  # float32


def test_what_only_a_person_can_do_is_not_applied():
    with pytest.raises(InputError, match="Use a larger model"):
        prescriptions.advise("Use a larger model.").apply(DEEP, optax.sgd(0.1))


def test_another_beginning_is_another_draw():
    other, _ = prescriptions.begin_elsewhere().apply(DEEP, optax.sgd(0.1))
    key = jax.random.key(0)
    assert not jnp.array_equal(jax.tree.leaves(other.init(key))[-1], jax.tree.leaves(DEEP.init(key))[-1])


def test_the_noise_of_a_batch_is_the_sampling_variance_of_a_mean():
    rng = np.random.default_rng(0)
    rows = jnp.asarray(rng.normal(size=(64, 4)), jnp.float32)
    problem = lab.from_loss(lambda w, batch, key: jnp.mean(batch @ w), jnp.zeros(4), rows)
    found = measure_noise(problem, jnp.zeros(4), rows.mean(0), batch_size=8, num_samples=400, seed=0)
    population = float(np.asarray(rows).var(0, ddof=1).sum())
    exact = population / 8 * (1 - 8 / 64)  # without replacement
    assert found.trace.value == pytest.approx(exact, abs=4 * found.trace.standard_error)
    assert found.gradient_square == pytest.approx(float(jnp.sum(jnp.square(rows.mean(0)))), rel=1e-5)


def test_examples_are_left_out_until_the_budget_fits_into_the_time():
    budget = Budget(200.0, 60.0)
    assert subsampled(DEEP, 0.01, 32, budget, 0) is DEEP
    assert not budget.has_sampled
    fewer = subsampled(DEEP, 1.0, 8, budget, 0)
    assert fewer.num_examples == 128  # 15 % of 160 is fewer than the least
    assert any("examples" in what for what in budget.skipped)
    assert budget.has_sampled


def test_bad_examples_are_left_out_whatever_leaf_they_are_in():
    inputs, targets = np.arange(12.0).reshape(6, 2), np.arange(6.0)
    inputs[1, 1], targets[4] = np.nan, np.inf
    data = jnp.asarray(inputs), jnp.asarray(targets)
    problem = lab.from_loss(lambda w, b, k: jnp.mean(b[0] @ w - b[1]), jnp.zeros(2), data)
    fewer, _ = prescriptions.drop_examples(2).apply(problem, optax.sgd(0.1))
    assert fewer.data[0][:, 0].tolist() == [0, 4, 6, 10]


def test_recurrent_weights_are_made_orthogonal_block_by_block_and_shut_gates_opened():
    params = {"u": jnp.ones((4, 12)), "v": jnp.ones((4, 4)), "odd": jnp.ones((4, 6)), "b": jnp.array([-4.0, -0.9, 1.0])}
    problem = lab.from_loss(lambda w, batch, key: jnp.sum(w["u"]), lambda key: params)
    made = RecurrentInit(problem, ("u", "v", "odd"), ("b",), 40)(jax.random.key(1))
    for block in (*jnp.split(made["u"], 3, axis=1), made["v"]):
        np.testing.assert_allclose(block @ block.T, np.eye(4), atol=1e-5)
    assert not np.allclose(made["u"][:, :4], made["u"][:, 4:8])
    chex.assert_trees_all_equal(made["odd"], params["odd"])
    np.testing.assert_allclose(made["b"], [np.log(40), -0.9, 1.0], rtol=1e-6)


def test_another_beginning_of_a_fixed_one_is_noise_of_its_size_around_it():
    fixed = lab.from_loss(lambda w, batch, key: jnp.sum(w**2), jnp.full(400, 3.0))
    other, _ = prescriptions.begin_elsewhere().apply(fixed, optax.sgd(0.1))
    assert other.init(jax.random.key(0)).std() == pytest.approx(3.0, rel=0.15)  # of 400 numbers
    assert jax.eval_shape(other.init, jax.random.key(0)).shape == (400,)
    nowhere = lab.from_loss(lambda w, batch, key: jnp.sum(w**2), jnp.zeros(400))
    other, _ = prescriptions.begin_elsewhere().apply(nowhere, optax.sgd(0.1))
    assert other.init(jax.random.key(0)).std() == pytest.approx(0.1, rel=0.15)


def test_the_step_out_of_a_saddle_is_as_long_as_the_way_to_it():
    loss = lambda w: w[0] ** 2 / 2 - w[1] ** 2 / 2  # noqa: E731
    cure = prescriptions.leave_saddle(1e-3, 0.5, 0.25)
    assert "Step 0.25 along" in cure.text
    problem, rule = cure.apply(DEEP, optax.sgd(0.1))
    point = jnp.zeros(2)
    updates, _ = rule.update(jax.grad(loss)(point), rule.init(point), point, grad_fn=jax.grad(loss))
    assert problem is DEEP
    np.testing.assert_allclose(np.abs(updates), [0.0, 0.25], atol=1e-5)  # float32
    for gradient, curvature in ((1e-3, 1.5), (1e-9, 0.5)):  # not bent enough; not flat enough
        _, waits = prescriptions.leave_saddle(gradient, curvature, 0.25).apply(DEEP, optax.sgd(0.1))
        there = jnp.array([1e-6, 0.0])
        updates, _ = waits.update(jax.grad(loss)(there), waits.init(there), there, grad_fn=jax.grad(loss))
        np.testing.assert_allclose(updates, -0.1 * there)


def test_without_randomness_training_has_no_key_and_evaluation_is_as_it_was():
    noise = lambda key: 0.0 if key is None else 1.0  # noqa: E731
    stateful = Stateful((), lambda w, state, batch, key: (jnp.sum(w) + noise(key), state), lambda w, state, batch: 7.0)
    problem = dataclasses.replace(lab.from_loss(lambda w, batch, key: jnp.sum(w) + noise(key), ONES), stateful=stateful)
    quiet, _ = prescriptions.without_randomness("").apply(problem, optax.sgd(0.1))
    assert float(quiet.loss(ONES, None, jax.random.key(0))) == 3.0
    assert float(quiet.stateful.loss(ONES, (), None, jax.random.key(0))[0]) == 3.0
    assert quiet.stateful.evaluate is stateful.evaluate
    negated, _ = prescriptions.negate_loss().apply(problem, optax.sgd(0.1))
    assert float(negated.stateful.loss(ONES, (), None, None)[0]) == -3.0
    assert float(negated.stateful.evaluate(ONES, (), None)) == -7.0


def test_a_leaf_is_held_still():
    params = {"a": ONES, "b": ONES}
    _, rule = prescriptions.hold_still(("a",)).apply(DEEP, optax.sgd(0.1))
    updates, _ = rule.update(params, rule.init(params), params)
    np.testing.assert_allclose(updates["a"], 0.0)
    np.testing.assert_allclose(updates["b"], -0.1)


def test_a_rule_is_replaced_by_adam_or_heavy_ball():
    for cure, rate, rho in (
        (prescriptions.use_adam(0.03), 0.03, 0.9),
        (prescriptions.use_heavy_ball(0.2, 0.8), 0.2, 0.8),
    ):
        known = identify(cure.apply(DEEP, optax.sgd(0.1))[1], ONES)
        assert (known.learning_rate, known.rho) == pytest.approx((rate, rho), rel=1e-4)
        assert f"{rate}" in cure.text


def test_another_criterion_comes_with_its_activation_in_the_metrics():
    def outputs(weights, batch):
        return jax.nn.softmax(batch[0] @ weights)

    batch = (np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32))
    loss = lambda weights, batch, key: -jnp.mean(batch[1] * jnp.log(outputs(weights, batch)))  # noqa: E731
    metric = lambda weights, batch: jnp.mean(outputs(weights, batch))  # noqa: E731
    problem = lab.from_loss(loss, jnp.eye(3), batch, metrics={"mean": metric})
    criterion = UsualCriterion("sigmoid_binary_cross_entropy", 1, jax.tree.structure(batch))
    changed, _ = prescriptions.take_criterion(criterion, "So. ").apply(problem, optax.sgd(0.1))
    wanted = jnp.mean(optax.sigmoid_binary_cross_entropy(jnp.eye(3), batch[1]))
    assert float(changed.loss(jnp.eye(3), batch, None)) == pytest.approx(float(wanted), rel=1e-6)
    assert float(changed.metrics["mean"](jnp.eye(3), batch)) == pytest.approx(
        float(jnp.mean(jax.nn.sigmoid(jnp.eye(3)))), rel=1e-6
    )
    assert prescriptions.take_criterion(criterion, "So. ").text.startswith("So. Take optax.sigmoid_binary")


def test_a_changed_loss_has_no_form_of_outputs_and_criterion():
    composite = Composite(lambda w, batch: batch[0] @ w, lambda z, batch: jnp.mean((z - batch[1]) ** 2))
    loss = lambda w, batch, key: jnp.mean((batch[0] @ w - batch[1]) ** 2)  # noqa: E731
    problem = lab.from_loss(loss, jnp.ones(2), (np.ones((4, 2), np.float32), np.ones(4, np.float32)))
    problem = dataclasses.replace(problem, composite=composite)
    changed = with_losses(problem, lambda function, *rest: 2 * function(*rest))
    assert changed.composite is None
    assert float(changed.full_loss(jnp.ones(2))) == 2
