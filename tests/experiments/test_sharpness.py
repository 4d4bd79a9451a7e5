import numpy as np
import pytest

from experiments.sharpness import edge_of_stability, edge_of_stochastic_stability, flat_and_sharp
from jaxopt_lab import objectives, training
from jaxopt_lab.core import InputError, precision
from jaxopt_lab.training.storage import Checkpoints


@pytest.mark.parametrize(
    ("options", "wording"),
    [
        ({"fractions": (1.2,)}, r"fractions must be in \(0, 1\), got 1.2"),
        ({"rho": 1.0}, r"rho must be in \(0, 1\), got 1.0"),
        ({"control": 0.0}, r"control must be in \(0, 1\), got 0.0"),
        ({"adam_rates": (-1.0,)}, "a rate must be positive and finite, got -1.0"),
        ({"steps": 100, "every": 50}, "steps must be a whole number of at least 300, got 100"),
    ],
)
def test_a_wrong_config_is_a_clear_sentence(options, wording):
    with pytest.raises(InputError, match=wording):
        edge_of_stability.Config(**options)


@pytest.mark.parametrize(
    ("options", "wording"),
    [
        ({"num_examples": (180, 400)}, "num_examples must be at least dim"),
        ({"num_examples": (400, 200)}, "num_examples must hold at least two numbers that increase"),
        ({"scales": (-1.0,)}, "scales must be positive and finite, got -1.0"),
    ],
)
def test_a_wrong_config_of_flat_and_sharp_is_a_clear_sentence(options, wording):
    with pytest.raises(InputError, match=wording):
        flat_and_sharp.Config(**options)


@pytest.mark.parametrize(
    ("options", "wording"),
    [
        ({"batch_sizes": (8, 64)}, r"batch_sizes must end with all 128 examples, got \(8, 64\)"),
        ({"batch_sizes": (64, 8, 128)}, "batch_sizes must hold at least two sizes that increase"),
        ({"steps": 20}, "steps must be a whole number of at least 30, got 20"),
        ({"higher": -0.5}, "higher must be positive and finite, got -0.5"),
    ],
)
def test_a_wrong_config_of_edge_of_stochastic_stability_is_a_clear_sentence(options, wording):
    with pytest.raises(InputError, match=wording):
        edge_of_stochastic_stability.Config(**options)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("curvature", [0.01, 0.6, 1.3])
def test_where_heavy_balls_variance_stands_still_its_second_moments_have_radius_1(rho, curvature):
    # x' = (1 + rho - h) x - rho x_before with a random h = lr curvature of a batch, of mean m and E h^2 = m * standstill.
    mean = 2 * curvature
    square = mean * 2 * edge_of_stochastic_stability._standstill(rho, curvature)
    slope = 1 + rho - mean
    moments = np.array([
        [(1 + rho) ** 2 - 2 * (1 + rho) * mean + square, -2 * rho * slope, rho**2],
        [slope, -rho, 0.0],
        [1.0, 0.0, 0.0],
    ])  # fmt: skip
    assert max(abs(np.linalg.eigvals(moments))) == pytest.approx(1.0, abs=1e-9)  # eigenvalues in float64


def test_each_step_draws_its_own_batch_and_a_loss_without_a_key_is_that_of_all():
    import jax

    config = edge_of_stochastic_stability.Config(width=3, depth=1, num_examples=20, batch_sizes=(4, 20))
    with precision():
        problem = edge_of_stochastic_stability._problem(config)
        anew, params = edge_of_stochastic_stability._drawn_anew(problem, 4), problem.init(jax.random.key(0))
        keys = jax.random.split(jax.random.key(1), 400)
        drawn = np.asarray(jax.jit(jax.vmap(lambda key: anew.loss(params, problem.data, key)))(keys))
        everything = float(problem.full_loss(params))
        assert float(anew.full_loss(params)) == pytest.approx(everything, rel=1e-12)  # the same sum in float64
    assert len(np.unique(drawn)) > 300  # of 4845 batches
    assert abs(drawn.mean() - everything) < 4 * drawn.std(ddof=1) / 20


def test_the_edges_are_the_closed_forms():
    config = edge_of_stability.Config(rho=0.9)
    edges = [edge_of_stability._edge(config, method) for method in edge_of_stability.METHODS]
    assert edges == pytest.approx([2.0, 3.8, 19 / 14, 38.0])


def test_the_sharpness_of_a_run_is_the_top_of_the_dense_hessian():
    import jax

    config = edge_of_stability.Config(width=3, depth=1, num_examples=20, steps=12, every=2)
    with precision():
        problem = edge_of_stability._problem(config)
        (row,) = edge_of_stability._runs(config, "gradient descent", 0, ["edge"], [0.05], Checkpoints())
        hessian = np.asarray(jax.jit(jax.hessian(problem.full_loss))(problem.init(jax.random.key(0))))
    # The tolerance of the tracked eigenvalue.
    assert row["sharpness"][0] == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=1e-3)
    assert row["threshold"] == pytest.approx(40.0)
    assert len(row["sharpness"]) == len(row["steps"]) == 7


def test_sam_takes_the_gradient_of_the_point_up_the_slope():
    eigenvalues, start, rate, radius = np.array([4.0, 1.0]), np.array([1.0, -2.0]), 0.1, 0.5
    problem = objectives.quadratic(eigenvalues, start=start)
    trace = training.run(problem, flat_and_sharp.sharpness_aware, {"learning_rate": rate, "radius": radius}, steps=1)
    slope = eigenvalues * start
    expected = start - rate * eigenvalues * (start + radius * slope / np.linalg.norm(slope))
    # one step in float32
    np.testing.assert_allclose(np.asarray(trace.params_of(0)), expected, rtol=1e-6)
