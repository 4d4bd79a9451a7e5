"""Directional and batch sharpness against quotients of dense matrices, and the mean over all batches where it is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import InputError, precision
from jaxopt_lab.curvature.sharpness import _mean_curvature, batch_sharpness, directional_sharpness

DIM, EXAMPLES = 3, 40
ROUNDING = 1e-5  # float32, relative: some 16 eps of sums over 40 examples


def squared_error(params, batch, key):
    del key
    inputs, labels = batch
    return jnp.mean((inputs @ params["w"] - labels) ** 2) / 2


def regression(seed: int = 0) -> lab.Problem:
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(EXAMPLES, DIM)).astype(np.float32)
    data = (jnp.asarray(inputs), jnp.asarray(generator.normal(size=EXAMPLES), jnp.float32))
    return lab.from_loss(squared_error, POINT, data, name="regression")


POINT = {"w": jnp.array([1.0, -2.0, 0.5])}


def quotient(problem: lab.Problem, rows) -> float:
    """g'Hg / |g|^2 of some examples, in float64."""
    inputs, labels = (np.asarray(leaf, np.float64)[rows] for leaf in problem.data)
    gradient = inputs.T @ (inputs @ np.asarray(POINT["w"], np.float64) - labels) / len(inputs)
    return float(gradient @ (inputs.T @ inputs) @ gradient / len(inputs) / (gradient @ gradient))


@pytest.mark.parametrize("update", [[1.0, 0.0, 0.0], [0.0, -3.0, 0.0], [1e-25, 1e-25, 0.0], [1e25, 0.0, 1e25]])
def test_directional_sharpness_is_the_quotient_whatever_the_length_of_the_update(update):
    diagonal = jnp.array([5.0, -2.0, 0.25])
    problem = lab.from_loss(lambda w, batch, key: jnp.sum(diagonal * w**2) / 2, jnp.ones(3))
    found = directional_sharpness(problem, jnp.ones(3), jnp.array(update))
    direction = np.array(update) / np.linalg.norm(update)
    truth = float(direction**2 @ np.asarray(diagonal))
    assert found.interval[0] <= truth <= found.interval[1]
    assert found.value == pytest.approx(truth, rel=ROUNDING)
    assert (found.cost, found.level) == (1, 1.0)


def test_without_an_update_it_is_that_along_the_gradient_of_all_examples_in_chunks_too():
    problem = regression()
    truth = quotient(problem, slice(None))
    for chunk_size in (None, 16):
        found = directional_sharpness(problem, POINT, chunk_size=chunk_size)
        assert found.value == pytest.approx(truth, rel=ROUNDING)
    assert batch_sharpness(problem, POINT).value == pytest.approx(truth, rel=ROUNDING)


def test_in_float64_the_interval_is_as_narrow_as_its_rounding():
    with precision("float64"):
        found = directional_sharpness(
            lab.from_loss(lambda w, batch, key: jnp.sum(w**4), jnp.ones(2)),
            jnp.array([1.0, 2.0]),
            jnp.array([1.0, 1.0]),
        )
        assert found.value == pytest.approx((12 + 48) / 2, rel=1e-13)
        assert found.interval[1] - found.interval[0] < 1e-11


def test_with_single_examples_it_is_the_mean_squared_length_of_the_inputs_as_often_as_the_interval_says():
    problem = regression()
    truth = float(np.mean(np.sum(np.asarray(problem.data[0], np.float64) ** 2, axis=1)))
    repetitions = 100
    found = [
        batch_sharpness(problem, POINT, batch_size=1, num_batches=16, key=jax.random.key(seed))
        for seed in range(repetitions)
    ]
    covered = sum(low <= truth <= high for low, high in (each.interval for each in found))
    assert 86 <= covered <= 99  # of 100 at 95 percent: four standard errors of 2.2 below; lengths are skewed
    values = np.array([each.value for each in found])
    assert abs(values.mean() - truth) < 4 * values.std(ddof=1) / np.sqrt(repetitions)
    assert found[0].cost == 16


@pytest.mark.parametrize("size", [2, 8, 39])
def test_batches_of_any_size_have_the_mean_of_their_own_quotients(size):
    problem, generator = regression(1), np.random.default_rng(0)
    draws = [quotient(problem, generator.choice(EXAMPLES, size, replace=False)) for _ in range(20_000)]
    found = batch_sharpness(problem, POINT, batch_size=size, num_batches=256)
    assert abs(found.value - np.mean(draws)) < 4 * found.standard_error  # the draws' own error is a ninth of it
    assert found.standard_error == pytest.approx(np.std(draws) / 16, rel=0.25)  # 256 batches: 4.4 percent, skewed


def test_the_batches_of_a_function_are_taken_as_they_come_without_a_ragged_last_one():
    problem = regression()

    def batches():
        for low in range(0, EXAMPLES, 9):
            yield jax.tree.map(lambda leaf, low=low: leaf[low : low + 9], problem.data)

    found = batch_sharpness(problem, POINT, data=batches)
    truth = [quotient(problem, slice(low, low + 9)) for low in (0, 9, 18, 27)]
    assert found.value == pytest.approx(np.mean(truth), rel=ROUNDING)
    assert found.cost == 4
    assert batch_sharpness(problem, POINT, data=batches, num_batches=4) == found
    with pytest.raises(InputError, match="batch_size is that of the function's batches"):
        batch_sharpness(problem, POINT, data=batches, batch_size=9)
    with pytest.raises(InputError, match="at least 4 batches of one size are needed, the data give 1"):
        batch_sharpness(problem, POINT, data=lambda: list(batches())[3:])


@jax.custom_vjp
def slopes(values):
    return 3 * values**2


@jax.custom_vjp
def cubes(values):
    """Like a fused kernel: a gradient, and no second derivative."""
    return values**3


slopes.defvjp(lambda values: (slopes(values), values), lambda values, outer: (6 * outer * values,))
cubes.defvjp(lambda values: (values**3, values), lambda values, outer: (outer * slopes(values),))


def test_a_loss_without_a_second_derivative_is_measured_by_differences():
    data = jnp.arange(1.0, 7.0)[:, None] * jnp.array([1.0, 0.5])
    problem = lab.from_loss(lambda w, rows, key: jnp.mean(jnp.sum(cubes(rows * w), axis=1)), jnp.ones(2), data)
    plain = lab.from_loss(lambda w, rows, key: jnp.mean(jnp.sum((rows * w) ** 3, axis=1)), jnp.ones(2), data)
    found, truth = (batch_sharpness(each, jnp.ones(2), batch_size=3, num_batches=6) for each in (problem, plain))
    assert found.value == pytest.approx(truth.value, rel=4e-3)  # of float32 differences
    rounding = 1e-5 * truth.value  # of float32 sums, of which a difference's own error says nothing
    assert found.interval[0] < truth.interval[0] + rounding
    assert found.interval[1] > truth.interval[1] - rounding
    with pytest.raises(InputError, match="no second derivative"):
        batch_sharpness(problem, jnp.ones(2), batch_size=3, product="exact")


def test_what_has_no_sharpness_is_refused():
    problem, zeros = regression(), {"w": jnp.zeros(DIM)}
    for update, wording in (
        (zeros, "the update must be finite and not zero, its largest entry is 0"),
        ({"w": jnp.full(DIM, jnp.nan)}, "the update must be finite and not zero, its largest entry is nan"),
        ({"w": jnp.ones(2)}, "the update must be like the parameters"),
        (jnp.ones(DIM), "the update must be like the parameters"),
    ):
        with pytest.raises(InputError, match=f"^directional_sharpness: {wording}"):
            directional_sharpness(problem, POINT, update)
    flat = lab.from_loss(lambda w, batch, key: jnp.sum(w**2), jnp.zeros(2))
    with pytest.raises(InputError, match=r"^directional_sharpness: the gradient is zero at this point"):
        directional_sharpness(flat, jnp.zeros(2))
    hinge = lab.from_loss(
        lambda w, rows, key: jnp.mean(jnp.maximum(rows * w, 0.0) ** 2), jnp.ones(1), jnp.array([-1.0, 1.0])
    )
    with pytest.raises(InputError, match=r"^batch_sharpness: the gradient of .* is zero in \d+ of 32 batches"):
        batch_sharpness(hinge, jnp.ones(1), batch_size=1)


@pytest.mark.parametrize(
    ("arguments", "wording"),
    [
        ({"num_batches": 3}, "num_batches must be a whole number of at least 4, got 3"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"batch_size": 41}, "batch_size must be at most the 40 examples, got 41"),
        ({"level": 1.0}, r"level must be in \(0, 1\), got 1.0"),
        ({"product": "none"}, "product must be one of: auto, exact, finite-difference"),
    ],
)
def test_arguments_out_of_their_range_are_refused(arguments, wording):
    with pytest.raises(InputError, match=f"^batch_sharpness: {wording}"):
        batch_sharpness(regression(), POINT, **arguments)


def test_a_batch_without_a_finite_gradient_or_curvature_is_counted():
    """Of [curvature, error, largest entry of the gradient] a row for each batch."""
    measured = np.array([[1.0, 0.0, 1.0], [np.nan, 0.0, 1.0], [3.0, 0.0, np.inf], [3.0, 0.0, 1.0]])
    with pytest.raises(
        InputError, match=r"batch_sharpness: the gradient or its curvature is not finite in 2 of 4 batc"
    ):
        _mean_curvature("mine", measured, 0.95)
    assert _mean_curvature("mine", measured[[0, 3]], 0.95).value == 2.0
