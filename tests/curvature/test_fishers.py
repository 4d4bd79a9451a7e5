"""The second moment of the examples' gradients where a model has batch normalization, against a NumPy loop."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxopt_lab as lab
from jaxopt_lab import curvature
from jaxopt_lab.core import Composite, InputError, precision

NUM, WIDTH, EPSILON = 10, 3, 1e-5


class Normalized(nnx.Module):
    """One hidden layer, normalized over the batch."""

    def __init__(self, rngs):
        options = {"use_bias": False, "param_dtype": jnp.zeros(()).dtype, "rngs": rngs}
        self.hidden, self.out = nnx.Linear(2, WIDTH, **options), nnx.Linear(WIDTH, 1, **options)
        self.norm = nnx.BatchNorm(WIDTH, use_scale=False, use_fast_variance=False, epsilon=EPSILON, **options)
        self.norm.mean, self.norm.var = (
            nnx.BatchStat(jnp.zeros(WIDTH)),
            nnx.BatchStat(jnp.ones(WIDTH)),
        )  # in any precision

    def __call__(self, inputs):
        return self.out(jax.nn.softplus(self.norm(self.hidden(inputs))))


def criterion(outputs, batch):
    return 0.5 * jnp.mean((outputs - batch[1]) ** 2)


def make_problem():
    rng = np.random.default_rng(0)
    data = (jnp.asarray(rng.normal(size=(NUM, 2))), jnp.asarray(rng.normal(size=(NUM, 1))))
    return lab.from_nnx(lambda rngs: Normalized(rngs), data=data, criterion=criterion, name="normalized")


def losses(flat, data, statistics=None):
    """The examples' losses [n] in NumPy; normalized by the batch, or by fixed (mean, variance)."""
    hidden = np.asarray(data[0]) @ flat[: 2 * WIDTH].reshape(2, WIDTH)
    mean, variance = (hidden.mean(0), hidden.var(0)) if statistics is None else statistics
    smooth = np.logaddexp(0, (hidden - mean) / np.sqrt(variance + EPSILON))
    return 0.5 * ((smooth @ flat[2 * WIDTH :].reshape(WIDTH, 1) - np.asarray(data[1])) ** 2)[:, 0]


def second_moment(flat, data, statistics=None):
    """By central differences of each example's loss, right to 1e-9."""
    steps = 1e-5 * np.eye(len(flat))
    slopes = [(losses(flat + s, data, statistics) - losses(flat - s, data, statistics)) / 2e-5 for s in steps]
    return np.array(slopes) @ np.array(slopes).T / NUM


def dense(operator, params):
    flat, rebuild = jax.flatten_util.ravel_pytree(params)
    return np.stack([jax.flatten_util.ravel_pytree(operator(rebuild(row)))[0] for row in jnp.eye(flat.size)])


def test_with_a_composite_an_example_is_taken_among_all_others():
    with precision():
        problem = make_problem()
        params = problem.init(jax.random.key(0))
        flat = np.asarray(jax.flatten_util.ravel_pytree(params)[0])
        found = dense(curvature.empirical_fisher(problem, params), params)
        np.testing.assert_allclose(found, second_moment(flat, problem.data), atol=1e-8 * np.abs(found).max())
        with pytest.raises(InputError, match=r"taken of each of 3 chunks, not of all examples\. Hold them fixed"):
            curvature.empirical_fisher(problem, params, chunk_size=4)


def test_alone_an_example_of_a_normalized_batch_has_no_gradient_of_the_loss():
    bare = dataclasses.replace(make_problem(), composite=None)
    for factory in (curvature.empirical_fisher, curvature.gradient_covariance):
        with pytest.raises(InputError, match=r"an example alone is not normalized .* problem.freeze\(...\)"):
            factory(bare, bare.init(jax.random.key(0)))


def test_with_frozen_statistics_both_ways_are_that_of_the_evaluation():
    with precision():
        problem = make_problem()
        params = problem.init(jax.random.key(0))
        flat = np.asarray(jax.flatten_util.ravel_pytree(params)[0])
        frozen, fixed = problem.freeze(), (np.zeros(WIDTH), np.ones(WIDTH))  # as they are before the first step
        expected = second_moment(flat, problem.data, fixed)
        for given in (frozen, dataclasses.replace(frozen, composite=None)):
            found = dense(curvature.empirical_fisher(given, params, chunk_size=4), params)
            np.testing.assert_allclose(found, expected, atol=1e-8 * np.abs(expected).max())


def test_of_two_classes_the_fisher_matrix_is_that_of_logistic_regression():
    """F = X' diag(p (1 - p)) X / n, whatever the labels are."""
    rng = np.random.default_rng(0)
    inputs, weights, vector = rng.normal(size=(8, 3)), np.array([1.0, -2.0, 0.5]), np.array([1.0, 2.0, -1.0])

    def cross_entropy(logits, batch):
        return jnp.mean(jax.nn.softplus(logits) - batch[1] * logits)

    form = Composite(lambda params, batch: batch[0] @ params, cross_entropy, "bernoulli")
    data = (jnp.asarray(inputs), jnp.zeros(8))
    loss = lambda params, batch, key: cross_entropy(form.outputs(params, batch), batch)  # noqa: E731
    problem = dataclasses.replace(lab.from_loss(loss, jnp.asarray(weights), data), composite=form)
    share = 1 / (1 + np.exp(-inputs @ weights))
    expected = inputs.T @ (share * (1 - share) * (inputs @ vector)) / 8
    found = curvature.fisher(problem, jnp.asarray(weights, jnp.float32))(jnp.asarray(vector, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-5)  # float32


@pytest.mark.parametrize("factory", [curvature.hessian, curvature.gauss_newton])
def test_batch_statistics_of_chunks_are_refused(factory):
    problem = make_problem()
    params = problem.init(jax.random.key(0))
    assert factory(problem, params).size == 3 * WIDTH
    assert factory(problem, params, data=lambda: iter([problem.data])).size == 3 * WIDTH
    halves = lambda: iter([jax.tree.map(lambda leaf: leaf[:5], problem.data)] * 2)  # noqa: E731
    for options in ({"chunk_size": 5}, {"data": halves}):
        with pytest.raises(InputError, match="its batch statistics are taken of each of 2 chunks"):
            factory(problem, params, **options)
        assert factory(problem.freeze(), params, **options).size == 3 * WIDTH


def test_the_noise_scale_of_unfrozen_batch_statistics_is_refused():
    problem = make_problem()
    params = problem.init(jax.random.key(0))
    with pytest.raises(
        InputError, match=r"depend on each other .*: its batch statistics are not frozen.*freeze\(...\)"
    ):
        curvature.noise_scale(problem, params)
    assert curvature.noise_scale(problem.freeze(), params).num_groups == NUM


def test_the_noise_scale_of_a_loss_that_normalizes_by_itself_is_refused():
    def loss(params, batch, key):
        hidden = batch[0] @ params["hidden"]
        centred = (hidden - hidden.mean(0)) / jnp.sqrt(hidden.var(0) + EPSILON)
        return criterion(jax.nn.softplus(centred) @ params["out"], batch)

    rng = np.random.default_rng(0)
    data = (jnp.asarray(rng.normal(size=(400, 2))), jnp.asarray(rng.normal(size=(400, 1))))
    params = {"hidden": jnp.asarray(rng.normal(size=(2, 3))), "out": jnp.asarray(rng.normal(size=(3, 1)))}
    with pytest.raises(InputError, match=r"the mean of the groups' gradients is off by .*, their standard error"):
        curvature.noise_scale(lab.from_loss(loss, params, data), params)
