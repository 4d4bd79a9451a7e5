"""Noise scales against the one case where they are known exactly: linear regression with equal eigenvalues."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxopt_lab as lab
from jaxopt_lab import theory
from jaxopt_lab.core import InputError
from jaxopt_lab.curvature import from_diagonal, hessian, operator
from jaxopt_lab.curvature.noise import noise_scale

DIM, EXAMPLES, REPETITIONS = 8, 512, 200
START = jnp.full(DIM, DIM**-0.5)


def squared_error(params, batch, key):
    del key
    inputs, labels = batch
    return jnp.mean((inputs @ params - labels) ** 2) / 2


def regression(seed: int = 0, label_noise: float = 0.0, num_examples: int = EXAMPLES) -> lab.Problem:
    """Distance 1 from the solution 0, Hessian 1: the gradient is START, B = d + 1 + label_noise d."""
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(num_examples, DIM)).astype(np.float32)
    labels = (np.sqrt(label_noise) * generator.normal(size=num_examples)).astype(np.float32)
    return lab.from_loss(squared_error, START, (jnp.asarray(inputs), jnp.asarray(labels)), name="regression")


def test_the_intervals_of_the_known_case_cover_it_as_often_as_they_say():
    problem, generator = regression(label_noise=1.0), np.random.default_rng(1)
    truth = float(theory.noise_scale.isotropic_noise_scale(DIM, 1.0, 1.0))
    found = []
    for _ in range(REPETITIONS):
        inputs = generator.normal(size=(EXAMPLES, DIM)).astype(np.float32)
        data = (inputs, generator.normal(size=EXAMPLES).astype(np.float32))
        found.append(noise_scale(problem, START, data=data, num_groups=16))
    for name, exact in (("simple", truth), ("squared_gradient", 1.0), ("noise_trace", truth)):
        intervals = [getattr(scale, name).interval for scale in found]
        coverage = np.mean([low <= exact <= high for low, high in intervals])
        assert 0.90 <= coverage <= 0.99, name
    for name, exact in (("squared_gradient", 1.0), ("noise_trace", truth)):
        values = np.array([getattr(scale, name).value for scale in found])
        assert abs(values.mean() - exact) < 4 * values.std(ddof=1) / np.sqrt(REPETITIONS), name


@pytest.mark.parametrize("label_noise", [0.0, 4.0])
def test_both_scales_are_those_of_theory(label_noise):
    problem = regression(2, label_noise, num_examples=20_000)
    found = noise_scale(problem, START, hessian=hessian(problem, START), num_groups=64)
    truth = float(theory.noise_scale.isotropic_noise_scale(DIM, 1.0, label_noise))
    for estimate in (found.simple, found.curved):
        assert abs(estimate.value - truth) < 4 * estimate.standard_error
        assert estimate.value == pytest.approx(truth, rel=0.2)  # three standard errors of 6 percent
        assert estimate.unit == "examples"
    assert found.resolved
    assert found.curved.cost == 65


def test_the_hessian_weighs_the_noise():
    problem = regression(3)
    curvature = jnp.arange(1.0, DIM + 1)
    found = noise_scale(problem, START, hessian=from_diagonal(curvature), num_groups=EXAMPLES)
    inputs, labels = problem.data
    gradients = np.asarray(inputs * (inputs @ START - labels)[:, None], np.float64)
    covariance, mean = np.cov(gradients.T), gradients.mean(0)
    top = np.trace(np.diag(curvature) @ covariance)
    bottom = mean @ (np.asarray(curvature) * mean) - top / EXAMPLES
    assert found.curved.value == pytest.approx(top / bottom, rel=1e-4)
    assert found.noise_trace.value == pytest.approx(np.trace(covariance), rel=1e-4)


def test_at_a_minimum_the_scale_is_not_resolved_and_bounded_from_below():
    problem = regression(4, label_noise=1.0)
    found = noise_scale(problem, jnp.zeros(DIM))
    assert not found.resolved
    assert found.simple.interval[1] == np.inf
    assert found.simple.interval[0] > 20
    assert found.squared_gradient.interval[0] < 0 < found.squared_gradient.interval[1]


def test_a_denominator_that_is_not_positive_gives_no_number():
    problem = regression(4)
    found = noise_scale(problem, START, hessian=from_diagonal(jnp.full(DIM, -1.0)))
    assert found.curved.value == np.inf
    assert found.curved.interval[1] == np.inf
    assert not found.resolved


def test_chunks_ragged_groups_and_streams_agree():
    problem = regression(5, num_examples=103)
    whole = noise_scale(problem, START, num_groups=10)
    chunked = noise_scale(problem, START, num_groups=10, chunk_size=4)
    assert chunked.simple.value == pytest.approx(whole.simple.value, rel=1e-4)
    assert (whole.num_examples, whole.num_groups) == (103, 10)
    singles = noise_scale(problem, START, num_groups=1000)
    assert singles.num_groups == 103

    def batches():
        for low in range(0, 103, 5):
            yield jax.tree.map(lambda leaf, low=low: leaf[low : low + 5], problem.data)

    streamed = noise_scale(problem, START, data=batches, num_groups=103)
    assert streamed.num_groups == 21
    # The trace over n is all that groups change in the squared gradient.
    assert streamed.squared_gradient.value + streamed.noise_trace.value / 103 == pytest.approx(
        singles.squared_gradient.value + singles.noise_trace.value / 103, rel=1e-4
    )


def test_sorted_examples_are_shuffled():
    problem = regression(6)
    inputs, labels = problem.data
    order = jnp.argsort(inputs[:, 0])
    found = noise_scale(dataclasses.replace(problem, data=(inputs[order], labels[order])), START, num_groups=16)
    assert found.noise_trace.interval[0] <= DIM + 1 <= found.noise_trace.interval[1]


def test_a_tree_in_half_precision_and_its_blocks():
    def loss(params, batch, key):
        return squared_error(params["w"].astype(jnp.float32) + params["shift"], batch, key)

    problem = dataclasses.replace(regression(7), loss=loss)
    params = {"w": START.astype(jnp.bfloat16), "shift": jnp.zeros(())}
    found = noise_scale(problem, params, block="w")
    assert found.simple.interval[0] <= DIM + 1 <= found.simple.interval[1]
    both = noise_scale(problem, params)
    assert both.noise_trace.value > found.noise_trace.value


@pytest.mark.parametrize("kind", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit])
def test_sharded_parameters_and_data_stay_where_they_are(kind):
    mesh = jax.make_mesh((4,), ("x",), axis_types=(kind,))
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    problem, sharded = regression(8), jax.device_put(START, place)
    seen = []

    def product(vector):
        seen.append(vector.sharding)
        return vector

    found = noise_scale(problem, sharded, hessian=operator(product, sharded), num_groups=4)
    assert all(sharding.is_equivalent_to(place, 1) for sharding in seen)
    expected = noise_scale(problem, START, num_groups=4).simple.value
    assert found.curved.value == pytest.approx(expected, rel=1e-4)  # float32 sums of 512 in another order
    shared = dataclasses.replace(problem, data=jax.device_put(problem.data, place))
    assert noise_scale(shared, START, num_groups=4).simple.value == pytest.approx(expected, rel=1e-4)


def test_wrong_arguments_are_refused():
    bare = lab.from_loss(lambda w, batch, key: jnp.sum(w**2), jnp.ones(2), name="bowl")
    with pytest.raises(InputError, match=r"noise_scale: bowl has no data\. Its noise is that of drawing examples"):
        noise_scale(bare, jnp.ones(2))
    with pytest.raises(InputError, match="num_groups must be a whole number of at least 4, got 3"):
        noise_scale(regression(), START, num_groups=3)
    with pytest.raises(InputError, match=r"at least 4 groups are needed, the data give 3. Give more examples"):
        noise_scale(regression(num_examples=3), START)
