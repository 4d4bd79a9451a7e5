import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab import objectives, rules, training
from jaxopt_lab.core import InputError, Problem, Status, compilation, from_loss, precision, vectors
from jaxopt_lab.training.feasibility import Feasibility
from jaxopt_lab.training.groups import batch_of_step

RATES = np.geomspace(0.1, 1.9, 7)


@pytest.fixture(scope="module")
def bowl() -> Problem:
    return objectives.quadratic(objectives.spectra.log_uniform(30, 50.0))


@pytest.fixture(scope="module")
def regression() -> Problem:
    generator = np.random.default_rng(1)
    features = generator.normal(size=(20, 3))
    return objectives.linear_regression(features, features @ [1.0, 2.0, 3.0] + generator.normal(size=20))


def same_bits(left, right) -> bool:
    """Equal leaf by leaf, NaN beside NaN."""
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True) for a, b in pairs)


def test_matches_a_plain_loop_in_float64():
    spectrum = np.geomspace(0.02, 1.0, 30)
    with precision("float64"):
        problem = objectives.quadratic(spectrum, start=1.0)
        trace = training.run(problem, rules.heavy_ball, {"learning_rate": 0.5, "rho": 0.8}, steps=50)
    x, v, expected = np.ones(30), np.zeros(30), []
    for _ in range(51):
        expected.append(0.5 * np.sum(spectrum * x**2))
        v = 0.8 * v + spectrum * x
        x = x - 0.5 * v
    np.testing.assert_allclose(trace["loss"][0], expected, rtol=1e-12)  # rounding of 50 steps


def test_segment_length_never_changes_a_bit(bowl):
    hyper = {"learning_rate": RATES, "rho": 0.9}
    probes = (training.loss(), training.update_cosine(), training.gradient_norm())
    traces = [
        training.run(
            bowl,
            rules.heavy_ball,
            hyper,
            steps=61,
            every=3,
            probes=probes,
            execution=training.Execution(segments=segments),
        )
        for segments in (1, 3, 21)
    ]
    for other in traces[1:]:
        assert same_bits(traces[0].metrics, other.metrics)
        assert same_bits(traces[0].params, other.params)


def test_the_number_of_devices_never_changes_a_bit(regression):
    rates = np.array([5.0, 5.0, 5.0, 0.1, 5.0, 0.05, 0.2, 5.0, 5.0])  # most diverge: two groups become one
    one, four = (
        training.run(regression, rules.sgd, {"learning_rate": rates}, steps=60, every=6, batch_size=5, seeds=3,
                     execution=training.Execution(width=2, devices=devices, share_batches=True),
                     feasibility=Feasibility(blow_up=100.0))
        for devices in (1, 4)
    )  # fmt: skip
    assert (one.facts["devices"], four.facts["devices"]) == (1, 4)
    assert same_bits(one.metrics, four.metrics)
    assert same_bits(one.params, four.params)
    assert one.status == four.status
    assert sum(status.feasible for status in four.status) == 3


@pytest.mark.parametrize("loop", ["map", "step"])
def test_loops_agree(bowl, loop):
    hyper = {"learning_rate": RATES, "rho": 0.9}
    usual = training.run(bowl, rules.nesterov, hyper, steps=20, every=4)
    other = training.run(bowl, rules.nesterov, hyper, steps=20, every=4, execution=training.Execution(loop=loop))
    assert other.facts["loop"] == loop
    np.testing.assert_allclose(usual["loss"], other["loss"], rtol=1e-4)  # float32 sums in another order


def test_padded_groups_agree_with_one_group(bowl):
    hyper = {"learning_rate": RATES, "rho": 0.9}
    whole = training.run(bowl, rules.heavy_ball, hyper, steps=20)
    parts = training.run(bowl, rules.heavy_ball, hyper, steps=20, execution=training.Execution(width=4))
    np.testing.assert_allclose(whole["loss"], parts["loss"], rtol=1e-4)  # float32 sums in another order
    assert parts.params.shape == (7, 30)


def test_records_the_start_and_the_end_whatever_the_interval(bowl):
    trace = training.run(bowl, rules.sgd, {"learning_rate": 0.1}, steps=10, every=4)
    assert trace.steps.tolist() == [0, 4, 8, 10]
    assert trace["loss"].shape == (1, 4)
    assert np.isfinite(trace["loss"]).all()


def test_zero_steps_only_record_the_start(bowl):
    trace = training.run(bowl, rules.sgd, {"learning_rate": 0.1}, steps=0)
    assert trace.steps.tolist() == [0]


def test_diverged_configurations_are_frozen_and_the_others_go_on(bowl):
    rates = np.array([0.5, 30.0, 1.0, 40.0, 2.9])
    trace = training.run(
        bowl, rules.sgd, {"learning_rate": rates}, steps=200, execution=training.Execution(width=2, segments=10)
    )
    assert [status.feasible for status in trace.status] == [True, False, True, False, False]
    assert trace.status[1] in (Status.BLOWN_UP, Status.NON_FINITE)
    assert np.isnan(trace["loss"][1, -1])
    assert np.isfinite(trace["loss"][[0, 2]]).all()
    assert np.isnan(trace.params[1]).all()
    alone = training.run(
        bowl, rules.sgd, {"learning_rate": rates[[0, 2]]}, steps=200, execution=training.Execution(width=2, segments=10)
    )
    assert same_bits(trace.params[np.array([0, 2])], alone.params)


def test_a_run_worse_than_the_constant_predictor_is_infeasible(bowl):
    limits = Feasibility(baseline=1e-9)
    trace = training.run(bowl, rules.sgd, {"learning_rate": 0.1}, steps=3, feasibility=limits)
    assert trace.status == (Status.WORSE_THAN_BASELINE,)


def test_equal_seeds_start_equal_and_draw_equal_batches(regression):
    hyper = {"learning_rate": np.array([0.1, 0.1, 0.1])}
    trace = training.run(regression, rules.sgd, hyper, steps=17, seeds=[3, 3, 4], batch_size=4)
    assert same_bits(trace.params[0], trace.params[1])
    assert not same_bits(trace.params[0], trace.params[2])


def test_an_epoch_sees_every_example_once():
    data = jnp.arange(12.0)
    problem = from_loss(lambda w, batch, key: jnp.mean(batch) * w, jnp.zeros(()), data)
    trace = training.run(problem, rules.sgd, {"learning_rate": 1.0}, steps=6, batch_size=4)
    assert trace.params[0] == pytest.approx(-2 * data.mean() * 3)


@pytest.mark.parametrize("step", [0, 3, 7])
def test_the_batch_of_a_step_is_the_one_that_it_took(step):
    data = jnp.asarray(np.random.default_rng(0).normal(size=(20, 3)), jnp.float32)
    problem = from_loss(lambda w, batch, key: jnp.mean(batch @ w), jnp.zeros(3), data)
    options = {"batch_size": 6, "seeds": 5, "execution": training.Execution(progress=False)}
    before, after = (
        training.run(problem, optax.sgd(1.0), steps=steps, **options).params_of() for steps in (step, step + 1)
    )
    batch, _ = batch_of_step(problem, 6, 5, step)
    np.testing.assert_allclose(before - after, batch.mean(0), atol=1e-6)


def test_each_epoch_has_an_order_of_its_own():
    problem = from_loss(lambda w, batch, key: -jnp.sum(jnp.mean(batch, 0) * w), jnp.zeros(12), jnp.eye(12))
    probes = [training.coordinates(*range(12))]
    trace = training.run(problem, rules.sgd, {"learning_rate": 1.0}, steps=36, batch_size=1, probes=probes)
    drawn = np.diff(trace["coordinates"][0], axis=0).argmax(1).reshape(3, 12)  # the example of each step
    assert (np.sort(drawn, 1) == np.arange(12)).all()
    assert len({tuple(epoch) for epoch in drawn.tolist()}) == 3


@pytest.mark.parametrize(
    "rule",
    [
        optax.adam(0.05),
        optax.sgd(0.05, momentum=0.9, nesterov=True),
        optax.polyak_sgd(),
        optax.lbfgs(),
        optax.contrib.sam(optax.sgd(0.05), optax.sgd(0.01), opaque_mode=True),
        optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1)),
    ],
    ids=["adam", "nesterov", "polyak", "lbfgs", "sam", "clipped"],
)
def test_optax_rules_run_unchanged(bowl, rule):
    trace = training.run(bowl, rule, steps=30)
    assert trace["loss"][0, -1] < trace["loss"][0, 0]


@pytest.mark.parametrize("name", sorted(rules.REGISTRY))
def test_every_rule_of_the_registry_descends(bowl, name):
    trace = training.run(bowl, rules.REGISTRY[name].build(), steps=60, every=60)
    assert trace["loss"][0, -1] < trace["loss"][0, 0]


def test_a_new_learning_rate_does_not_recompile(bowl):
    traced = []

    def loss(*arguments):
        traced.append(1)
        return bowl.loss(*arguments)

    problem = dataclasses.replace(bowl, loss=loss)
    training.run(problem, rules.heavy_ball, {"learning_rate": 0.1, "rho": 0.5}, steps=8)
    before = len(traced)
    training.run(problem, rules.heavy_ball, {"learning_rate": 0.2, "rho": 0.6}, steps=8)
    assert len(traced) == before


def memory_maps():
    return len(pathlib.Path("/proc/self/maps").read_text().splitlines())


@pytest.mark.skipif(not pathlib.Path("/proc/self/maps").exists(), reason="needs the kernel's list of memory maps")
def test_programs_of_rules_and_losses_made_anew_are_let_go(monkeypatch):
    monkeypatch.setattr(compilation, "_MOST_PROGRAMS", 4)
    counts = []
    for number in range(24):
        problem = from_loss(lambda w, batch, key: jnp.sum(w**2), jnp.ones(2))
        training.run(problem, optax.sgd(0.1 + 0.001 * number), steps=2, execution=training.Execution(loop="vmap"))
        counts.append(memory_maps())
    assert counts[-1] - counts[11] < 24  # a program takes about ten; twelve more of them would be 120


def test_a_user_made_probe_is_recorded(bowl):
    largest = training.Probe("largest", lambda seen: jnp.max(jnp.abs(seen.params)))
    trace = training.run(bowl, rules.sgd, {"learning_rate": 0.1}, steps=4, probes=[largest])
    assert trace["largest"].shape == (1, 5)


def test_the_callers_parameters_survive_donation(bowl):
    start = jnp.ones(30)
    training.run(bowl, rules.heavy_ball, {"learning_rate": 0.1}, steps=2, params=start)
    assert float(start.sum()) == 30.0


def test_a_state_may_hold_a_hyperparameter_or_the_point_itself(bowl):
    def factory(learning_rate):
        def update(updates, state, params=None):
            return jax.tree.map(lambda leaf: -state[0] * leaf, updates), state

        return optax.GradientTransformation(lambda params: (learning_rate, learning_rate, params), update)

    held = training.run(bowl, factory, {"learning_rate": [0.1, 0.2]}, steps=2)
    plain = training.run(bowl, rules.sgd, {"learning_rate": [0.1, 0.2]}, steps=2)
    assert np.array_equal(held["loss"], plain["loss"])


def test_complex_parameters_descend():
    target = jnp.array([1.0 + 2.0j, -1.0j])
    problem = from_loss(lambda z, batch, key: vectors.sum_of_squares(z - target), jnp.zeros(2, complex))
    trace = training.run(problem, rules.heavy_ball, {"learning_rate": 0.1, "rho": 0.5}, steps=60, every=60)
    np.testing.assert_allclose(trace.params[0], target, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": -1}, r"run: steps must be a whole number of at least 0, got -1"),
        ({"every": 0}, r"run: every must be a whole number of at least 1, got 0"),
        ({"batch_size": 3}, r"run: batch_size 3 needs as many examples, quadratic has None"),
        ({"hyperparameters": {"learning_rate": [0.1, 0.2], "rho": [0.1, 0.2, 0.3]}}, r"must share one length N"),
        ({"hyperparameters": {"learning_rate": "fast"}}, r"learning_rate must be a number or an array"),
        ({"probes": [training.loss(), training.loss()]}, r"probes must have different names"),
        ({"execution": training.Execution(loop="chunks"), "seeds": [0, 1]}, r"loop='chunks' needs a separable loss"),
        ({"execution": training.Execution(devices=5)}, r"run: devices must be at most 4, got 5"),
        ({"rule": "sgd"}, r"rule must be a factory or an optax.GradientTransformation, got 'sgd'"),
        ({"rule": optax.sgd(0.1)}, r"hyperparameters learning_rate were given with a finished rule"),
    ],
)
def test_bad_input_gets_a_clear_sentence(bowl, change, message):
    arguments = {"rule": rules.sgd, "hyperparameters": {"learning_rate": 0.1}, "steps": 3} | change
    with pytest.raises(InputError, match=message):
        training.run(bowl, arguments.pop("rule"), arguments.pop("hyperparameters"), **arguments)


def test_a_run_that_does_not_fit_is_refused_with_the_figure(bowl):
    huge = dataclasses.replace(bowl, init=lambda key: jnp.zeros(10**13, jnp.float32))
    with pytest.raises(InputError, match=r"1e\+13 parameters|GiB and .* GiB are available"):
        training.run(huge, rules.sgd, {"learning_rate": 0.1}, steps=1)


def test_shared_batches_give_the_same_runs(regression):
    hyper = {"learning_rate": RATES[:3], "rho": 0.5}
    noisy = objectives.with_noise(regression, "gaussian", 0.1)
    options = {"steps": 12, "every": 4, "batch_size": 8, "seeds": 3}
    alone = training.run(noisy, rules.heavy_ball, hyper, **options)
    shared = training.run(noisy, rules.heavy_ball, hyper, execution=training.Execution(share_batches=True), **options)
    np.testing.assert_allclose(shared["loss"], alone["loss"], rtol=1e-5)  # float32 sums in another order
    assert shared.params.shape == alone.params.shape
    once = training.Execution(share_batches=True, segments=1, keep_final=False)
    pieces = training.run(noisy, rules.heavy_ball, hyper, execution=once, **options)
    assert same_bits(pieces.metrics, shared.metrics)
    assert pieces.params is None
