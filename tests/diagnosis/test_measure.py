"""Parameters of every kind in `diagnose`: empty, complex, whole numbers, keys; each right or one sentence."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab import rules
from jaxopt_lab.core import InputError, Problem, from_loss

GENERATOR = np.random.default_rng(0)
DATA = (
    jnp.asarray(GENERATOR.normal(size=(200, 5)), jnp.float32),
    jnp.asarray(GENERATOR.normal(size=200), jnp.float32),
)
WEIGHTS = {
    "in": jnp.asarray(0.4 * GENERATOR.normal(size=(5, 8)), jnp.float32),
    "out": jnp.asarray(0.4 * GENERATOR.normal(size=8), jnp.float32),
}


def loss(params, batch, key):
    return jnp.mean((jax.nn.relu(batch[0] @ params["in"]) @ params["out"] - batch[1]) ** 2)


def diagnosed(extra, rule):
    problem = from_loss(loss, {**WEIGHTS, **extra}, DATA, validation=jax.tree.map(lambda leaf: leaf[:40], DATA))
    return lab.diagnose(problem, rule, steps=30, batch_size=20, budget=60)


@pytest.mark.parametrize("rule", [optax.sgd(0.05), optax.adamw(0.01, weight_decay=0.1)], ids=["sgd", "adamw"])
def test_leaves_without_a_number_change_no_finding(rule):
    plain = diagnosed({}, rule)
    for extra in ({"a": jnp.zeros((0, 4))}, {"a": None, "z": jnp.zeros(0)}):
        found = diagnosed(extra, rule)
        assert found.causes == plain.causes
        assert str(found.evidence.setting.optimizer) == str(plain.evidence.setting.optimizer)
        assert found.evidence.setting.optimizer.weight_decay == plain.evidence.setting.optimizer.weight_decay
        np.testing.assert_allclose(found.evidence.run.losses, plain.evidence.run.losses, rtol=1e-5)  # float32


def test_a_rule_is_identified_beside_leaves_without_a_number():
    params = {"a": jnp.zeros((0, 4)), "w": jnp.ones(3)}
    assert str(rules.identify(optax.adam(0.003), params)) == "adaptive, learning rate 0.003, momentum 0.9"
    assert rules.identification.weight_decay(optax.adamw(0.1, weight_decay=0.01), params) == pytest.approx(1e-3)


def test_a_parameter_that_is_not_finite_is_found_beside_leaves_without_a_number():
    problem = from_loss(loss, {**WEIGHTS, "a": jnp.zeros((0, 4)), "out": WEIGHTS["out"].at[2].set(jnp.nan)}, DATA)
    found = lab.diagnose(problem, optax.sgd(0.05))
    assert found.causes == ("non-finite",)
    assert "out" in found.findings[0].explanation


def complex_loss(z, batch, key):
    return jnp.sum(jnp.abs(z - jnp.array([1.0 + 2.0j, -1.0j])) ** 2)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (from_loss(complex_loss, jnp.zeros(2, complex)), r"diagnose: the parameter is complex \(complex64\[2\]\)\. Give its real and imaginary parts"),
        (from_loss(lambda p, b, k: complex_loss(p["z"], b, k), {"w": jnp.ones(2), "z": jnp.zeros(2, complex)}), r"diagnose: parameter z is complex"),
        (from_loss(lambda p, b, k: jnp.sum(p) + 1.0, jnp.zeros(0)), r"diagnose: the parameters hold no number"),
        (Problem(loss=loss, init=lambda key: {**WEIGHTS, "key": key}, data=DATA), r"diagnose: parameter key is a PRNG key .* lab\.from_loss"),
        (Problem(loss=loss, init=lambda key: {**WEIGHTS, "n": jnp.arange(2)}, data=DATA), r"diagnose: parameter n is int32\[2\]"),
    ],
    ids=["complex", "complex-leaf", "none", "key", "integers"],
)  # fmt: skip
def test_parameters_that_curvature_cannot_take_get_one_sentence(problem, message):
    with pytest.raises(InputError, match=message):
        lab.diagnose(problem, optax.sgd(0.1), steps=10)


def test_the_way_out_of_complex_parameters_works():
    problem = from_loss(
        lambda p, b, k: complex_loss(p["re"] + 1j * p["im"], b, k), {"re": jnp.zeros(2), "im": jnp.zeros(2)}
    )
    assert lab.diagnose(problem, optax.sgd(0.1), steps=20).causes


def test_complex_and_empty_leaves_of_the_data_are_no_hindrance():
    data = {"x": DATA[0].astype(complex), "t": DATA[1], "none": jnp.zeros((200, 0))}
    fit = lambda w, batch, key: jnp.mean(jnp.abs(batch["x"] @ w - batch["t"]) ** 2)  # noqa: E731
    assert lab.diagnose(from_loss(fit, jnp.zeros(5), data), optax.sgd(0.1), steps=20).causes


def test_an_error_without_a_word_in_the_users_loss_is_reported_as_well():
    def refusing(w, batch, key):
        assert w.dtype == jnp.float16
        return jnp.sum(w)

    problem = Problem(loss=refusing, init=lambda key: jnp.ones(2), name="mine")
    with pytest.raises(
        InputError, match=r"mine: the loss cannot be evaluated \(AssertionError.*It has no data"
    ) as caught:
        lab.diagnose(problem, optax.sgd(0.1), steps=10)
    assert isinstance(caught.value.__cause__, AssertionError)


@pytest.mark.parametrize("is_random", [False, True])
def test_a_loss_with_random_numbers_of_its_own_is_seen(is_random):
    def noisy(params, batch, key):
        kept = jax.random.bernoulli(key, 0.5, (8,)) if is_random and key is not None else 0.5
        return jnp.mean((jax.nn.relu(batch[0] @ params["in"]) @ (kept * params["out"]) - batch[1]) ** 2)

    found = lab.diagnose(from_loss(noisy, WEIGHTS, DATA), optax.sgd(0.05), steps=20, budget=40)
    assert found.evidence.point.is_random is is_random
    assert found.evidence.is_random is is_random  # all data a step, so that the key alone makes two gradients differ


def test_one_output_for_all_is_no_measure_where_zero_parameters_cost_infinitely_much():
    mixing = np.array([[1.0, 0.5, 0.3], [0.4, 1.0, -0.5], [-0.3, 0.6, 1.0]])
    voices = np.random.default_rng(0).laplace(size=(300, 3)) @ mixing.T

    def unmixed(w, batch, key):  # independent components by maximum likelihood
        return jnp.mean(jnp.sum(jnp.log(jnp.cosh(batch @ w.T)), -1)) - jnp.linalg.slogdet(w)[1]

    found = lab.diagnose(from_loss(unmixed, jnp.eye(3), voices.astype(np.float32)), optax.adam(0.05), steps=100)
    assert found.evidence.point.baseline is None
    assert found.causes == ("healthy",)


def test_a_part_of_the_model_that_acts_in_training_alone_is_another_model_in_evaluation():
    def rescaled(params, batch, key):
        return loss(params, (batch[0] if key is None else batch[0] / 20, batch[1]), key)

    wide = (20 * DATA[0], DATA[0] @ jnp.ones(5))
    found = lab.diagnose(from_loss(rescaled, WEIGHTS, wide), optax.adam(0.02), steps=200, batch_size=20, budget=60)
    assert found.causes[0] == "train-eval-mismatch"
    assert "acts in training alone" in found.findings[0].explanation
    assert found.findings[0].prescription.change is not None
