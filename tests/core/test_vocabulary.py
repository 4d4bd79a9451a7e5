import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab import core
from jaxopt_lab.core import InputError, Status, Truth, from_loss, mean_of_samples, precision
from jaxopt_lab.core.errors import (
    require_between,
    require_choice,
    require_count,
    require_finite,
    require_memory,
    require_positive,
)
from jaxopt_lab.core.estimate import holm, mean_of_batches
from jaxopt_lab.core.verdict import judge


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: require_positive("f", "x", 0.0, "Why."), r"^f: x must be positive and finite, got 0\.0\. Why\.$"),
        (lambda: require_positive("f", "x", jnp.float32(-1)), r"got -1\.0"),
        (lambda: require_between("f", "x", 2, 0, 1, ends="(]"), r"^f: x must be in \(0, 1\], got 2\.$"),
        (lambda: require_between("f", "x", math.nan, 0, 1), r"got nan"),
        (lambda: require_count("f", "n", 1.5), r"n must be a whole number of at least 1, got 1\.5"),
        (lambda: require_count("f", "n", True), r"got True"),
        (lambda: require_finite("f", "x", [1.0, math.inf]), r"x must be finite, got inf at position 1 \(1 such"),
        (lambda: require_choice("f", "x", "sdg", ["sgd", "adam"]), r"got 'sdg'\. Did you mean 'sgd'\?"),
        (lambda: require_memory("f", 2**34, 2**30, "it", "Less."), r"it needs 16\.0 GiB and 1\.0 GiB are available\. Less"),
        (lambda: core.precision("float16").__enter__(), r"dtype must be one of: float32, float64; got 'float16'"),
    ],
)  # fmt: skip
def test_errors_say_where_what_and_why(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_traced_values_pass_every_check():
    def checked(x):
        require_positive("f", "x", x)
        require_between("f", "x", x, 0, 1)
        return x

    assert float(jax.jit(checked)(-1.0)) == -1.0


def test_precision_is_scoped():
    with precision("float64"):
        assert jnp.zeros(1).dtype == jnp.float64
        with precision("float32"):
            assert jnp.zeros(1).dtype == jnp.float32
    assert jnp.zeros(1).dtype == jnp.float32


def test_estimates_of_few_samples_use_n_minus_one():
    assert mean_of_samples(np.array([1.0, 3.0])).standard_error == pytest.approx(1.0)
    assert mean_of_samples(np.array([1.0])).standard_error == math.inf


def test_batch_means_see_the_correlation_that_a_naive_error_misses():
    generator = np.random.default_rng(0)
    series = np.zeros(20_000)
    for t in range(1, len(series)):
        series[t] = 0.95 * series[t - 1] + generator.normal()
    naive = mean_of_samples(series).standard_error
    true = 1 / 0.05 / math.sqrt(len(series))  # long-run deviation sigma / (1 - phi) over sqrt(t)
    assert mean_of_batches(series).standard_error == pytest.approx(true, rel=0.5)  # 20 batches: 16 % spread, 3 sigma
    assert naive < true / 3


@pytest.mark.parametrize(
    ("kind", "measured", "tolerance", "holds"),
    [
        ("relative", 1.005, 0.01, True),
        ("relative", 1.02, 0.01, False),
        ("absolute", 1.02, 0.05, True),
        ("at-most", 0.5, 0.0, True),
        ("at-most", 1.1, 0.0, False),
        ("at-least", 1.1, 0.0, True),
        ("at-least", 0.5, 0.0, False),
        ("within", 1.3, 0.4, True),
        ("relative", math.nan, 1e9, False),
        ("at-least", math.inf, 0.0, False),
    ],
)
def test_verdicts_hold_when_the_error_is_within_its_tolerance(kind, measured, tolerance, holds):
    assert judge("claim", "quantity", 1.0, measured, tolerance, kind=kind).holds is holds


def test_every_status_has_a_sentence():
    assert all(status.describe() for status in Status)
    assert not Status.WORSE_THAN_BASELINE.feasible


def test_truth_knows_its_condition_number():
    assert Truth(smoothness=4.0, strong_convexity=2.0).condition_number == 2.0
    assert Truth(smoothness=4.0).condition_number is None


def test_from_loss_takes_parameters_or_a_function_that_makes_them():
    fixed = from_loss(lambda w, batch, key: jnp.sum(w**2), np.ones(2))
    drawn = from_loss(lambda w, batch, key: jnp.sum(w**2), lambda key: jax.random.normal(key, (2,)))
    assert float(fixed.full_loss(fixed.init(jax.random.key(0)))) == 2.0
    assert drawn.init(jax.random.key(0)).shape == (2,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((lambda w, b, k: w, jnp.ones(2)), r"loss must return a real scalar, .* Take the mean over the batch"),
        (
            (lambda w, b, k: jnp.sum(w), jnp.ones(2), (np.ones(3), np.ones(4))),
            r"leaves of data must share .*\(3,\), \(4,\)",
        ),
        ((lambda w, b, k: jnp.sum(w), jnp.ones(2), np.ones((0, 3))), r"data holds no example"),
        ((lambda w, b, k: jnp.sum(w), jnp.ones(2), np.float32(1)), r"leaves of data must share their leading axis"),
    ],
)
def test_a_wrong_loss_or_wrong_data_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        from_loss(*arguments)


def test_a_problem_without_model_state_is_its_own_evaluation():
    problem = from_loss(lambda w, batch, key: jnp.sum((w - batch.mean(0)) ** 2), jnp.ones(2), np.zeros((3, 2)))
    assert problem.model_state is None
    assert problem.freeze() is problem
    assert float(problem.evaluate(jnp.ones(2), problem.data)) == float(problem.full_loss(jnp.ones(2))) == 2.0


def test_a_corrected_p_is_never_below_that_of_a_smaller_one():
    assert holm([0.01, 0.011, 0.5]) == pytest.approx([0.03, 0.03, 0.5])  # 2 x 0.011 alone would be less
    assert holm([0.4, 0.3, 0.2]) == pytest.approx([0.6, 0.6, 0.6])
    generator = np.random.default_rng(0)
    for _ in range(50):
        ps = generator.uniform(size=6) ** 3
        rest, expected = sorted(ps), {}
        for place, p in enumerate(rest):  # the adjusted p of Holm 1979: the largest of what the smaller ones need
            expected[p] = min(1.0, max((6 - k) * rest[k] for k in range(place + 1)))
        assert holm(ps) == pytest.approx([expected[p] for p in ps])


def test_of_samples_that_are_not_all_finite_the_error_is_not_known():
    assert mean_of_samples(np.array([1.0, np.inf])).standard_error == np.inf
