import itertools
import threading

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab import diagnosis, rules, search, training
from jaxopt_lab.core import InputError, from_loss
from jaxopt_lab.curvature import hessian, noise_scale, track

SIZE, NUM = 8, 64
DRAW = np.random.default_rng(0)
INPUTS = DRAW.normal(size=(NUM, 3)).astype("float32")
TARGETS = (INPUTS @ np.ones(3) + 0.3 * DRAW.normal(size=NUM)).astype("float32")
ARRAYS = {"x": INPUTS, "y": TARGETS}
RULE = {"learning_rate": [0.1, 0.2]}


def parts():
    return [{"x": INPUTS[low : low + SIZE], "y": TARGETS[low : low + SIZE]} for low in range(0, NUM, SIZE)]


def loss(params, batch, key):
    del key
    return 0.5 * jnp.mean((batch["x"] @ params - batch["y"]) ** 2)


def line(data):
    return from_loss(loss, jnp.zeros(3), data, name="line")


def test_each_step_takes_the_next_batch_pass_after_pass():
    trace = training.run(line(parts()), rules.sgd, RULE, steps=20, every=5)
    for place, rate in enumerate(RULE["learning_rate"]):
        params = np.zeros(3)
        for part in itertools.islice(itertools.cycle(parts()), 20):
            params = params - rate * part["x"].T @ (part["x"] @ params - part["y"]) / SIZE
        np.testing.assert_allclose(trace.params[place], params, rtol=1e-5)  # float32 against a float64 loop
        whole = 0.5 * np.mean((INPUTS @ params - TARGETS) ** 2)
        np.testing.assert_allclose(trace["loss"][place, -1], whole, rtol=1e-5)
    assert trace.facts["loop"] == "step"
    assert "data" not in trace.facts  # the probes saw all examples


def test_a_feed_that_is_stopped_takes_no_batch_any_more():
    feed = training.feeding.Feed(line(parts()).data)
    assert feed._put(1)
    assert feed.take() == 1
    feed._stopped.set()
    assert not feed._put(2)
    assert feed._queue.empty()


def test_what_is_recorded_of_many_examples_is_of_a_sample(monkeypatch):
    monkeypatch.setattr(training.feeding, "sampled", lambda name, data: lab.core.batches.sampled(name, data, most=16))
    trace = training.run(line(parts()), rules.sgd, RULE, steps=2)
    assert trace.facts["data"] == "16 of 64 examples that the data give were drawn once, at random"
    few = lab.core.batches.sampled("line", line(parts()).data, most=16)[0]
    np.testing.assert_allclose(trace["loss"][0, 0], loss(jnp.zeros(3), few, None), rtol=1e-6)


def test_killed_and_continued_it_takes_the_batches_where_it_stood(tmp_path):
    given = {"steps": 20, "every": 5, "execution": training.Execution(checkpoint_seconds=0, segments=4)}
    whole = training.run(line(parts()), rules.heavy_ball, RULE, **given)
    calls = itertools.count()

    def breaking():
        for part in parts():
            if next(calls) == 22:  # after the first batch, the eight of the sample, and thirteen steps
                raise OSError("the disk is gone")
            yield part

    with pytest.raises(InputError, match=r"line: the iteration over its data fails \(OSError: the disk is gone\)"):
        training.run(line(breaking), rules.heavy_ball, RULE, **given, folder=tmp_path)
    found = training.run(line(parts()), rules.heavy_ball, RULE, **given, folder=tmp_path)
    chex.assert_trees_all_equal((found.params, found.metrics), (whole.params, whole.metrics))
    with pytest.raises(InputError, match="the folder holds another run: it differs in batch_size"):
        training.run(
            line(ARRAYS),
            rules.heavy_ball,
            RULE,
            **given | {"execution": training.Execution("step", 2)},
            folder=tmp_path,
        )


def test_no_thread_outlives_its_run():
    before = threading.active_count()
    training.run(line(lambda: itertools.repeat(parts()[0])), rules.sgd, RULE, steps=3)
    assert threading.active_count() == before


def test_batches_keep_the_precision_of_the_run():
    with jax.enable_x64(True):
        wide = [{name: array.astype("float64") for name, array in part.items()} for part in parts()]
        problem = from_loss(loss, jnp.zeros(3), wide)
        trace = training.run(problem, rules.sgd, {"learning_rate": 0.1}, steps=1)
        assert trace.params.dtype == jnp.float64
        exact = 0.1 * wide[0]["x"].T @ wide[0]["y"] / SIZE
        np.testing.assert_allclose(trace.params[0], exact, rtol=1e-14)  # of float64; float32 would be 1e-8 off


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"batch_size": 4},
            f"run: batch_size 4 was given, and the data of line come in batches of {SIZE}. Leave it out",
        ),
        ({"execution": training.Execution("vmap")}, "data that come in batches need the loop 'step', got 'vmap'"),
    ],
)
def test_what_does_not_go_with_batches_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        training.run(line(parts()), rules.sgd, RULE, steps=1, **options)


def test_the_batch_size_of_the_batches_may_be_said():
    runs = [training.run(line(parts()), rules.sgd, RULE, steps=2, batch_size=size) for size in (None, SIZE)]
    np.testing.assert_array_equal(runs[0].params, runs[1].params)


def test_a_sweep_takes_all_batches_into_memory():
    given = {"num_trials": 2, "num_seeds": 1, "steps": 4, "objective": search.Objective(every=4)}
    space = search.Space(learning_rate=search.log_uniform(0.01, 0.1))
    ours, theirs = (search.sweep(line(data), rules.sgd, space, **given) for data in (parts(), ARRAYS))
    assert ours.config == theirs.config
    np.testing.assert_array_equal(ours.of().curves["loss"], theirs.of().curves["loss"])


def test_a_sweep_over_data_without_end_is_refused_with_the_size(monkeypatch):
    monkeypatch.setattr(lab.core.batches, "available_memory", lambda: 40_000)
    problem = line(lambda: itertools.repeat(parts()[0]))
    with pytest.raises(InputError, match="sweep: the data of line must stay in memory, and take more than"):
        search.sweep(
            problem, rules.sgd, search.Space(learning_rate=search.log_uniform(0.1, 1.0)), num_trials=2, steps=2
        )


def test_curvature_noise_and_tracking_take_batches():
    ours, theirs = line(parts()), line(ARRAYS)
    point = jnp.ones(3)
    chex.assert_trees_all_close(hessian(ours, point)(point), hessian(theirs, point)(point), rtol=1e-5)
    found = noise_scale(ours, point, num_groups=8)
    assert (found.num_examples, found.num_groups) == (NUM, 8)
    listed = noise_scale(theirs, point, data=parts(), num_groups=8)
    np.testing.assert_allclose(found.simple.value, listed.simple.value)
    (top,) = track(lambda params: hessian(ours, params), [(0, point)])
    exact = np.linalg.eigvalsh(INPUTS.T.astype(float) @ INPUTS / NUM)[-1]
    np.testing.assert_allclose(top.values[0], exact, rtol=1e-3)  # the tolerance of the search


def test_a_diagnosis_examines_a_sample_and_says_so(monkeypatch):
    monkeypatch.setattr(training.feeding, "sampled", lambda name, data: lab.core.batches.sampled(name, data, most=32))
    rule = optax.sgd(1e-3)
    found = lab.diagnose(line(parts()), rule, steps=40, budget=60)
    told = "32 of 64 examples that the data give were drawn once, at random"
    assert found.not_examined["all examples"] == told
    assert told in str(found)
    assert found.evidence.setting.batch_size == SIZE
    proof = diagnosis.prove(line(parts()), rule, found.findings[0], steps=20, seeds=(0,))
    few = lab.core.batches.sampled("line", line(parts()).data, most=32)[0]
    np.testing.assert_allclose(proof.before[0, 0], loss(jnp.zeros(3), few, None), rtol=1e-6)
    with pytest.raises(InputError, match="diagnose: batch_size 4 was given, and the data of line come in batches"):
        lab.diagnose(line(parts()), rule, batch_size=4)
