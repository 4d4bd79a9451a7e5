import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab import objectives, rules, search, training
from jaxopt_lab.core import InputError, precision
from jaxopt_lab.search import schedules

COUNTS = np.arange(120)
PAIRS = {
    "constant": (schedules.constant(0.3), optax.constant_schedule(0.3)),
    "cosine": (schedules.cosine(0.3, 100, end=0.1), optax.cosine_decay_schedule(0.3, 100, alpha=0.1)),
    "warmup_cosine": (
        schedules.warmup_cosine(0.3, 100, 10, end=0.1),
        optax.warmup_cosine_decay_schedule(0.0, 0.3, 10, 100, end_value=0.03),
    ),
    "step": (schedules.step_decay(0.3, 30, 0.5), optax.exponential_decay(0.3, 30, 0.5, staircase=True)),
    "exponential": (schedules.exponential_decay(0.3, 30, 0.5), optax.exponential_decay(0.3, 30, 0.5)),
    "warmup_stable_decay": (
        schedules.warmup_stable_decay(0.3, 100, 10, 20),
        optax.join_schedules(
            [optax.linear_schedule(0.0, 0.3, 10), optax.constant_schedule(0.3), optax.linear_schedule(0.3, 0.0, 20)],
            [10, 80],
        ),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_equals_that_of_optax(name):
    ours, theirs = PAIRS[name]
    with precision("float64"):  # powers and cosines in another order: 5 eps apart
        expected = np.array([float(theirs(count)) for count in COUNTS[::7]])
        np.testing.assert_allclose(np.asarray(ours(COUNTS[::7])), expected, rtol=1e-12, atol=1e-13)


def test_closed_forms():
    np.testing.assert_allclose(
        schedules.inverse_time(0.3, 10.0)(COUNTS), 0.3 / (1 + COUNTS / 10), rtol=1e-6
    )  # 3 roundings
    root = schedules.inverse_square_root(0.3, 16)(np.array([0, 8, 16, 64]))
    np.testing.assert_allclose(root, [0.0, 0.15, 0.3, 0.15], rtol=1e-6)  # a root and two roundings


def test_every_argument_may_be_traced():
    arguments = {
        "constant": (), "cosine": (100.0, 0.1), "warmup_cosine": (100.0, 10.0, 0.1), "step": (30.0, 0.5),
        "exponential": (30.0, 0.5), "inverse_time": (10.0,), "warmup_stable_decay": (100.0, 10.0, 20.0),
        "inverse_square_root": (10.0,),
    }  # fmt: skip
    assert set(arguments) == set(schedules.SHAPES)
    peaks = jnp.array([0.1, 1.0])

    @jax.jit
    @jax.vmap
    def rates(peak):
        scale = peak / peak  # so that the other arguments are traced as well
        return [shape(peak, *(scale * x for x in arguments[name]))(7) for name, shape in schedules.SHAPES.items()]

    for name, values in zip(schedules.SHAPES, rates(peaks), strict=True):
        np.testing.assert_allclose(
            values, schedules.SHAPES[name](1.0, *arguments[name])(7) * peaks, rtol=1e-5
        )  # float32 powers


def test_a_scheduled_rule_is_a_factory_whose_rate_is_the_peak():
    problem = objectives.quadratic([1.0], start=1.0)
    factory = search.Scheduled(rules.sgd, "inverse_time")
    trace = training.run(problem, factory, {"learning_rate": [0.5, 0.25], "scale": 2.0}, steps=3, every=3)
    expected = [np.prod([1 - rate / (1 + t / 2) for t in range(3)]) for rate in (0.5, 0.25)]
    np.testing.assert_allclose(trace.params[:, 0], expected, rtol=1e-6)  # two float32 roundings a step
    assert factory == search.Scheduled(rules.sgd, "inverse_time")
    assert hash(factory) == hash(search.Scheduled(rules.sgd, "inverse_time"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: search.Scheduled(rules.sgd, "cosin"), "Did you mean 'cosine'?"),
        (lambda: search.Scheduled(rules.sgd, "cosine", step=3), "an argument of cosine must be one of: steps, end; got 'step'"),
        (lambda: schedules.cosine(-1.0, 10), "cosine: peak must be positive and finite, got -1.0"),
        (lambda: schedules.warmup_cosine(1.0, 10, 2, end=2.0), r"end must be in \[0, 1\], got 2.0"),
    ],
)  # fmt: skip
def test_wrong_schedules_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize("shape", ["step", "exponential"])
def test_a_decay_that_grows_is_refused(shape):
    with pytest.raises(InputError, match=r"factor must be in \(0, 1\], got 7132.0. A rate that grows again"):
        search.Scheduled(rules.sgd, shape, every=10, factor=7132.0)(learning_rate=0.1)
