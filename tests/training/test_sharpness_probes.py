"""Sharpness along a run against dense quotients at its own points, and at the edge of stability where it is known."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab import objectives, rules, training
from jaxopt_lab.core import InputError
from jaxopt_lab.training import sharpness_probes

EXAMPLES, DIM = 24, 3


def squared_error(params, batch, key):
    del key
    inputs, labels = batch
    return jnp.mean((inputs @ params - labels) ** 2) / 2


def regression() -> lab.Problem:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(EXAMPLES, DIM)).astype(np.float32)
    data = (jnp.asarray(inputs), jnp.asarray(generator.normal(size=EXAMPLES), jnp.float32))
    return lab.from_loss(squared_error, jnp.ones(DIM), data)


def test_both_are_the_quotients_of_dense_matrices_along_a_run_of_batches():
    problem = regression()
    inputs, labels = (np.asarray(leaf, np.float64) for leaf in problem.data)
    trace = training.run(
        problem, rules.sgd, {"learning_rate": [0.05, 0.1]}, steps=6, every=2, batch_size=8,
        probes=[training.coordinates(0, 1, 2), sharpness_probes.directional(), sharpness_probes.batch(4, 5, seed=3)],
    )  # fmt: skip
    chex.assert_shape(trace["directional_sharpness"], (2, 4))
    chex.assert_shape(trace["batch_sharpness"], (2, 4, 2))
    assert np.isnan(trace["directional_sharpness"][:, 0]).all()
    generator = np.random.default_rng(3)
    drawn = [generator.choice(EXAMPLES, 4, replace=False) for _ in range(5)]
    for point, found in zip(
        trace["coordinates"].reshape(-1, DIM), trace["batch_sharpness"].reshape(-1, 2), strict=True
    ):
        quotients = []
        for rows in drawn:
            gradient = inputs[rows].T @ (inputs[rows] @ point.astype(np.float64) - labels[rows]) / 4
            bent = inputs[rows].T @ (inputs[rows] @ gradient) / 4
            quotients.append(gradient @ bent / (gradient @ gradient))
        expected = np.mean(quotients), np.std(quotients, ddof=1) / np.sqrt(5)
        np.testing.assert_allclose(found, expected, rtol=1e-4)  # float32, gradients of 4 examples nearly cancel


def test_the_direction_is_that_of_the_last_update():
    problem = objectives.quadratic([4.0, 1.0, 0.5], start=1.0)
    trace = training.run(
        problem, rules.heavy_ball, {"learning_rate": 0.1, "rho": 0.9}, steps=5,
        probes=[training.coordinates(0, 1, 2), sharpness_probes.directional()],
    )  # fmt: skip
    steps = np.diff(trace["coordinates"][0].astype(np.float64), axis=0)
    expected = steps**2 @ np.array([4.0, 1.0, 0.5]) / (steps**2).sum(1)
    np.testing.assert_allclose(trace["directional_sharpness"][0, 1:], expected, rtol=1e-4)  # differences of float32


def test_parameters_of_half_precision_are_measured_in_float32():
    """Under updates of another dtype, too: of a diagonal quadratic the quotient does not depend on the point."""
    problem = lab.from_loss(
        lambda w, rows, key: 2 * jnp.mean(rows) * jnp.sum(w**2), jnp.ones(2, jnp.bfloat16), jnp.ones(4)
    )
    wide = lambda learning_rate: optax.stateless(  # noqa: E731
        lambda grads, _: jax.tree.map(lambda leaf: -learning_rate * leaf.astype(jnp.float32), grads)
    )
    for rule in (rules.sgd, wide):
        trace = training.run(
            problem,
            rule,
            {"learning_rate": 0.1},
            steps=2,
            probes=[sharpness_probes.directional(), sharpness_probes.batch(2)],
        )
        np.testing.assert_allclose(trace["directional_sharpness"][0, 1:], 4, rtol=1e-5)  # float32
        np.testing.assert_allclose(trace["batch_sharpness"][0], [[4, 0]] * 3, rtol=1e-5, atol=1e-5)


def test_gradient_descent_on_a_loss_that_sharpens_stays_at_its_edge():
    """f = (1 + y^2) x^2 / 2: its curvature in x is lowered until it is stable, at 2 / lr."""
    problem = lab.from_loss(lambda w, batch, key: (1 + w[1] ** 2) * w[0] ** 2 / 2, jnp.array([0.1, 2.5]))
    trace = training.run(
        problem, rules.sgd, {"learning_rate": 0.4}, steps=400, probes=[training.loss(), sharpness_probes.directional()]
    )
    found = trace["directional_sharpness"][0]
    taken = np.isfinite(found)  # at the minimum the update is zero, and has no direction
    assert not taken[0]
    assert not taken[-1]
    assert found[taken][0] > 1.2 * 2 / 0.4
    assert found[taken][-1] < 2 / 0.4


def test_batches_without_a_gradient_have_no_sharpness():
    problem = lab.from_loss(lambda w, rows, key: jnp.mean(jnp.maximum(rows * w, 0) ** 2), jnp.ones(1), -jnp.ones(6))
    trace = training.run(
        problem, rules.sgd, {"learning_rate": 0.1}, steps=1, probes=[training.loss(), sharpness_probes.batch(2)]
    )
    assert np.isnan(trace["batch_sharpness"]).all()


def test_bad_input_is_refused():
    for arguments, wording in (
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"batch_size": 2, "num_batches": 1}, "num_batches must be a whole number of at least 2, got 1"),
        ({"batch_size": 2, "seed": -1}, "seed must be a whole number of at least 0, got -1"),
    ):
        with pytest.raises(InputError, match=f"^batch_sharpness: {wording}"):
            sharpness_probes.batch(**arguments)
    for problem, count in ((regression(), 24), (objectives.quadratic([1.0], start=1.0), 0)):
        with pytest.raises(InputError, match=f"batch_size must be below the {count} examples, got 24"):
            training.run(
                problem,
                rules.sgd,
                {"learning_rate": 0.1},
                steps=1,
                probes=[training.loss(), sharpness_probes.batch(24)],
            )
