import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab import diagnosis
from jaxopt_lab.core import InputError, Problem
from jaxopt_lab.diagnosis.findings import Prescription


def bowl(kappa, dim=200):
    return lab.objectives.quadratic(lab.objectives.spectra.log_uniform(dim, kappa=kappa), start=1.0)


BOWL = bowl(10.0)
NARROW = bowl(1e4)


def regression_loss(params, batch, key):
    inputs, targets = batch
    return 0.5 * jnp.mean(jnp.square(inputs @ params["w"] + params["b"] - targets))


def regression(mean=0.0, noise=0.1):
    rng = np.random.default_rng(0)
    inputs = mean + rng.normal(size=(400, 5))
    targets = (inputs - mean) @ np.arange(1.0, 6.0) + noise * rng.normal(size=400)
    data = jnp.asarray(inputs, jnp.float32), jnp.asarray(targets, jnp.float32)
    return lab.from_loss(regression_loss, {"w": jnp.zeros(5), "b": jnp.zeros(())}, data)


@pytest.mark.parametrize(
    ("problem", "rate", "cause"),
    [
        (BOWL, 1.0, "healthy"),
        (NARROW, 1.0, "ill-conditioned"),
        (BOWL, 0.01, "learning-rate-too-low"),
        (BOWL, 2.5, "learning-rate-too-high"),
    ],
)
def test_quadratics_with_one_fault(problem, rate, cause):
    assert lab.diagnose(problem, optax.sgd(rate), steps=40).causes[0] == cause


def test_the_edge_is_that_of_the_rule_in_use():
    """1.5 is below descent's edge of 2 and above Nesterov's 19 / 14."""
    assert "learning-rate-too-high" not in lab.diagnose(BOWL, optax.sgd(1.5), steps=40).causes
    found = lab.diagnose(BOWL, optax.sgd(1.5, momentum=0.9, nesterov=True), steps=40)
    assert found.causes[0] == "learning-rate-too-high"


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        (optax.sgd(0.1, momentum=1.0), True), (optax.chain(optax.trace(1.0), optax.adam(0.01)), True),
        (optax.sgd(0.1, momentum=0.9), False),
    ],
)  # fmt: skip
def test_a_rule_that_forgets_no_gradient_is_told(rule, found):
    causes = lab.diagnose(BOWL, rule, steps=40).findings
    texts = [each.explanation for each in causes if each.cause == "learning-rate-too-high"]
    assert any("forgets none" in text for text in texts) == found


def test_a_strict_saddle_is_certified_and_its_escape_predicted():
    saddle = lab.objectives.quadratic_saddle(jnp.array([1.0, 0.5, -0.1]), start=jnp.array([0.0, 0.0, 1e-6]))
    found = lab.diagnose(saddle, optax.sgd(0.1), steps=30)
    assert found.causes[0] == "saddle"
    escape = next(each for each in found.findings[0].evidence if "escape of the rule" in each.name)
    trace = lab.run(saddle, lab.rules.sgd, {"learning_rate": 0.1}, steps=2500)
    half = trace.first_step_below("loss", 0.5 * saddle.truth.minimum)[0]
    assert escape.value == pytest.approx(half, rel=0.15)  # the model is quadratic, the escape ends in the well


def test_uncentred_inputs_are_named_before_what_follows_from_them():
    found = lab.diagnose(regression(mean=20.0), optax.sgd(1e-4), steps=40)
    assert found.causes[0] == "unnormalized-inputs"
    assert lab.diagnose(regression(), optax.sgd(0.5), steps=40).causes == ("healthy",)


def test_noise_that_holds_the_loss():
    found = lab.diagnose(regression(noise=5.0), optax.sgd(0.25), steps=400, batch_size=2)
    assert found.causes[0] == "gradient-noise"


def test_a_bad_row_of_the_data_is_found_and_left_out():
    problem = regression()
    inputs = problem.data[0].at[17, 2].set(jnp.nan)
    broken = dataclasses.replace(problem, data=(inputs, problem.data[1]))
    found = lab.diagnose(broken, optax.sgd(0.1))
    assert found.causes == ("non-finite",)
    assert "17" in found.findings[0].explanation
    mended, _ = found.findings[0].prescription.apply(broken, optax.sgd(0.1))
    assert mended.num_examples == 399
    assert jnp.isfinite(mended.full_loss(mended.init(jax.random.key(0))))


def test_a_root_that_the_run_walks_into_is_no_learning_rate():
    problem = lab.from_loss(lambda w, batch, key: jnp.sum((w + 1) ** 2) + 0 * jnp.sum(jnp.sqrt(w)), jnp.ones(3))
    found = lab.diagnose(problem, optax.sgd(0.1), steps=30)
    assert found.causes == ("non-finite",)
    assert "sqrt" in found.findings[0].explanation


def test_a_local_minimum_is_not_called_a_saddle():
    wells = lab.from_loss(lambda w, batch, key: jnp.sum((w**2 - 1) ** 2 + 0.3 * w) + 0.5, jnp.array([0.96]))
    truth = lab.Truth(minimum=0.5 - 0.305)
    found = lab.diagnose(dataclasses.replace(wells, truth=truth), optax.sgd(0.05), params=jnp.array([0.9603]))
    assert found.causes[0] == "local-minimum"
    assert "saddle" not in found.causes


def test_proof_of_a_rate_that_is_too_low_gives_the_predicted_gain():
    found = lab.diagnose(BOWL, optax.sgd(0.01), steps=40).findings[0]
    proof = diagnosis.prove(BOWL, optax.sgd(0.01), found, steps=400, seeds=(0,))
    assert proof.measured.value == pytest.approx(proof.predicted.value, rel=0.3)


def test_no_gain_is_said_as_plainly():
    found = lab.diagnose(BOWL, optax.sgd(0.01), steps=40).findings[0]
    idle = dataclasses.replace(found, prescription=Prescription("Nothing.", lambda problem, rule: (problem, rule)))
    proof = diagnosis.prove(BOWL, optax.sgd(0.01), idle, steps=40, seeds=(0, 1))
    assert not proof.shown
    assert "no gain shown" in str(proof)


def test_a_small_budget_says_what_was_not_examined():
    found = lab.diagnose(NARROW, optax.sgd(1.0), budget=20)
    assert found.spent <= 30
    assert found.not_examined


@jax.custom_vjp
def fused(x):
    """Like a fused kernel: a gradient, and no second derivative."""
    return jnp.tanh(x)


fused_slope = jax.custom_vjp(lambda x: 1 - jnp.tanh(x) ** 2)
fused_slope.defvjp(lambda x: (1 - jnp.tanh(x) ** 2, x), lambda x, out: (-2 * out * jnp.tanh(x) * fused_slope(x),))
fused.defvjp(lambda x: (jnp.tanh(x), x), lambda x, out: (out * fused_slope(x),))


def test_without_a_second_derivative_differences_of_gradients_are_examined():
    rng = np.random.default_rng(0)
    data = (jnp.asarray(10 * rng.normal(size=(40, 3))), jnp.asarray(rng.normal(size=40)))
    loss = lambda w, batch, key: jnp.mean((fused(batch[0] @ w["a"]) @ w["b"] - batch[1]) ** 2)  # noqa: E731
    start = {"a": jnp.asarray(rng.normal(size=(3, 5))), "b": jnp.zeros(5)}
    problem = lab.from_loss(loss, start, data, validation=data, name="fused")
    found = lab.diagnose(problem, optax.sgd(0.05), steps=20)
    evidence = found.evidence
    assert None not in (evidence.curvature, evidence.run, evidence.layers, evidence.data.inputs, evidence.validation)
    smooth = lab.diagnose(
        lab.from_loss(lambda w, b, key: jnp.mean((jnp.tanh(b[0] @ w["a"]) @ w["b"] - b[1]) ** 2), start, data),
        optax.sgd(0.05), steps=20,
    )  # fmt: skip
    assert evidence.relative_sharpness == pytest.approx(smooth.evidence.relative_sharpness, rel=1e-2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": 5}, "too small for anything"),
        ({"rule": optax.sgd}, "Call the factory first"),
        ({"batch_size": 3}, "needs as many examples"),
        ({"steps": 1}, "steps must be a whole number of at least 2"),
        ({"problem": regression_loss}, "Make one with lab.from_loss"),
    ],
)
def test_wrong_input_is_told_what_to_do(change, message):
    given = {"problem": BOWL, "rule": optax.sgd(0.1)} | change
    with pytest.raises(InputError, match=message):
        lab.diagnose(given.pop("problem"), given.pop("rule"), **given)


def test_a_plan_shorter_than_the_steps_already_taken_is_refused():
    rule, params = optax.adam(0.1), jnp.zeros(3)
    state = rule.init(params)
    for _ in range(5):
        _, state = rule.update(params, state, params)
    problem = lab.from_loss(lambda w, batch, key: jnp.sum(w**2), params)
    with pytest.raises(InputError, match="total_steps is 4, and opt_state has taken 5 steps already"):
        lab.diagnose(problem, rule, total_steps=4, opt_state=state)


def test_a_loss_without_its_data_says_so():
    problem = dataclasses.replace(regression(), data=None)
    with pytest.raises(InputError, match="has no data"):
        lab.diagnose(problem, optax.sgd(0.1))


def test_a_model_that_does_not_differentiate_says_so():
    total = lambda w, batch, key: jnp.sum(w * 1.0)  # noqa: E731
    with pytest.raises(InputError, match="cannot be differentiated"):
        lab.from_loss(total, jnp.arange(3))
    with pytest.raises(InputError, match="cannot be differentiated"):
        lab.diagnose(Problem(loss=total, init=lambda key: jnp.arange(3)), optax.sgd(0.1))


def test_the_record_is_json_and_the_page_stands_alone(tmp_path):
    import json

    from jaxopt_lab.diagnosis.report import page_of
    from jaxopt_lab.storage.encoding import to_json

    found = lab.diagnose(NARROW, optax.sgd(1.0), steps=40)
    assert json.loads(json.dumps(to_json(found.to_json())))["causes"] == ["ill-conditioned"]
    page = page_of(found)
    assert page.count("<svg") == 2
    assert "http" not in page.replace("http://www.w3.org", "")


@pytest.mark.parametrize("around", [lambda rule: rule, lambda rule: optax.chain(optax.clip(1e3), rule)])
def test_what_a_monitor_recorded_stands_in_the_evidence(around):
    rule = around(lab.Monitor(optax.adam(0.05), every=2, sharpness_every=2))
    problem = regression()
    params = problem.init(jax.random.key(0))
    state = rule.init(params)
    gradient = jax.jit(jax.grad(problem.full_loss))
    for _ in range(20):
        value = problem.full_loss(params)
        updates, state = rule.update(gradient(params), state, params, value=value, grad_fn=gradient)
        params = optax.apply_updates(params, updates)
    found = lab.diagnose(problem, rule, params=params, opt_state=state, steps=40)
    numbers = {reading.name: reading.value for reading in found.findings[0].evidence}
    assert numbers["cosine of successive updates, by the monitor"] > 0.9
    assert 0 < numbers["sharpness over its edge, by the monitor"] < 1
    assert found.evidence.setting.optimizer.kind == "adaptive"  # told from gradients alone, without a sharpness
    assert found.evidence.model_at_point.preconditioned
