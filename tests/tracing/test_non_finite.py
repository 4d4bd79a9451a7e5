import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.tracing.non_finite import GuardLine, find_non_finite


def logarithm(params, batch, key):
    shifted = params - 1.0
    return jnp.sum(jnp.log(shifted))


def root(params, batch, key):
    distance = jnp.where(params > 0, jnp.sqrt(params), 0.0)
    return jnp.sum(distance)


def masked(params, batch, key):
    scores = jnp.where(batch > 0, params, -jnp.inf)
    return jnp.sum(jax.nn.softmax(scores)[:, 0])


def overflow(params, batch, key):
    large = jnp.exp(params)
    return jnp.sum(large / (1 + large))


def line_in(function, text):
    lines, start = inspect.getsourcelines(function)
    return start + next(place for place, line in enumerate(lines) if text in line)


def culprit_of(loss, params, batch=None):
    return find_non_finite(lab.from_loss(loss, jnp.full(2, 2.0), batch), jnp.asarray(params))


@pytest.mark.parametrize(
    ("loss", "params", "kind", "name", "text"),
    [
        (logarithm, [2.0, 1.0], "loss", "log", "jnp.log"),
        (root, [1.0, 0.0], "gradient", "div", "jnp.sqrt"),
        (overflow, [1.0, 200.0], "loss", "exp", "jnp.exp"),
    ],
)
def test_the_line_that_makes_it_is_named(loss, params, kind, name, text):
    culprit = culprit_of(loss, params)
    assert (culprit.kind, culprit.name, culprit.shape) == (kind, name, (2,))
    assert culprit.line == f"{__file__}:{line_in(loss, text)}"
    assert f"{name} at {culprit.line}" in str(culprit)
    assert ("guard its argument" in str(culprit)) == (kind == "gradient")


def test_a_finite_problem_has_none():
    assert culprit_of(logarithm, [2.0, 3.0]) is None


def test_a_loss_that_is_a_constant_is_finite():
    assert culprit_of(lambda params, batch, key: jnp.float32(1.0), [1.0, 2.0]) is None


def test_a_mask_of_infinities_is_blamed_only_where_it_hides_everything():
    assert culprit_of(masked, [1.0, 2.0], np.array([[1, 0], [1, 1]])) is None
    culprit = culprit_of(masked, [1.0, 2.0], np.array([[1, 0], [0, 0]]))
    assert (culprit.kind, culprit.name) == ("loss", "sub")  # -inf minus the largest, -inf
    assert culprit.line.startswith(__file__)


def test_the_examples_that_hold_nan_are_named():
    data = (np.ones((40, 3), np.float32), np.ones(40, np.float32))
    data[0][[7, 9], 2] = np.nan
    problem = lab.from_loss(lambda w, batch, key: jnp.mean((batch[0] @ w - batch[1]) ** 2), jnp.ones(3), data)
    culprit = find_non_finite(problem, jnp.ones(3))
    assert (culprit.kind, culprit.name, culprit.count) == ("data", "0", 2)
    assert (culprit.index, culprit.examples) == ((7, 2), (7, 9))
    assert str(culprit) == ("The data leaf 0 is not finite: 2 of 120 entries, the first at [7, 2], in examples 7, 9.")


def test_a_parameter_that_is_not_finite_is_named_before_anything_is_computed():
    params = {"a": np.ones(2), "b": {"w": np.array([[1.0, np.inf], [np.nan, 1.0]]), "z": np.array([np.inf])}}
    problem = lab.from_loss(lambda w, batch, key: jnp.sum(w["a"]), params)
    culprit = find_non_finite(problem, params)
    assert (culprit.kind, culprit.name, culprit.count, culprit.index) == ("parameters", "b/w", 2, (0, 1))
    assert "Not finite either: b/z." in str(culprit)


def test_an_array_that_the_loss_closes_over_is_told():
    hidden = jnp.asarray([1.0, jnp.nan, 1.0, 1.0, 1.0])
    culprit = culprit_of(lambda w, batch, key: jnp.sum(w[0] * hidden), [1.0, 1.0])
    assert (culprit.kind, culprit.shape) == ("constant", (5,))
    assert "closes over holds NaN" in str(culprit)


def test_a_label_out_of_range_is_an_index():
    def loss(params, labels, key):
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(params), labels[:, None], axis=1))

    problem = lab.from_loss(loss, jnp.zeros((2, 2)), np.array([0, 1]))
    culprit = find_non_finite(problem, jnp.zeros((2, 2)), np.array([0, 7]))
    assert culprit.name == "gather"
    assert culprit.line == f"{__file__}:{line_in(loss, 'take_along_axis')}"
    assert "an index out of range" in str(culprit)


def test_numbers_that_a_partial_binds_are_the_losss_own():
    bound = jax.tree_util.Partial(lambda scale, w, batch, key: jnp.sum(jnp.log(w * scale)), jnp.asarray(jnp.nan))
    assert culprit_of(bound, [1.0, 1.0]).kind == "constant"
    bound = jax.tree_util.Partial(lambda scale, w, batch, key: jnp.sum(jnp.log(w * scale)), jnp.asarray(0.0))
    assert culprit_of(bound, [1.0, 1.0]).name == "log"


def three(params, batch, key):
    first = jnp.log(params[0]) / params[1]
    second = jnp.sqrt(params[2]) + jax.lax.rsqrt(params[3]) + jnp.log1p(params[4])
    return first, jnp.log(params[0]), second


@pytest.mark.parametrize(("divisor", "quotient"), [(0.0, 1e6), (-1e-9, -1e6), (2.0, 0.5)])
def test_a_guarded_line_keeps_the_arguments_of_its_operations_away_from_zero(divisor, quotient):
    def line(text):
        return GuardLine(f"{__file__}:{line_in(three, text)}")

    point = jnp.array([0.0, divisor, -1.0, 0.0, -2.0])
    first, other, second = line("first =")(three, point, None, None)
    np.testing.assert_allclose(first, np.log(1e-6) * quotient, rtol=1e-5)
    assert np.isneginf(other)
    assert not np.isfinite(second)
    assert np.isfinite(line("second =")(three, point, None, None)[2])
    np.testing.assert_allclose(line("second =")(three, point, None, None)[2], 1e-3 + 1e3 + np.log(1e-6), rtol=1e-2)
    slope = jax.grad(lambda point: line("second =")(three, point, None, None)[2])(point)
    assert np.isfinite(slope).all()


def test_a_logarithm_that_meets_zero_on_the_way_is_guarded_and_tried():
    inputs = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]

    def loss(params, batch, key):
        return jnp.mean((jnp.log(batch[0] @ params["w"] + params["b"])[:, 0] - batch[1]) ** 2)

    problem = lab.from_loss(
        loss, {"w": jnp.ones((1, 1)), "b": jnp.full(1, 1.2)}, (inputs, np.log(2 + 1.9 * inputs[:, 0]))
    )
    found = lab.diagnose(problem, optax.sgd(0.5), batch_size=16)
    cause = found.findings[0]
    assert cause.cause == "non-finite"
    assert f":{line_in(loss, 'return')} keep" in cause.prescription.text
    assert np.isfinite(cause.trial.after)
    assert not np.isfinite(cause.trial.before)
