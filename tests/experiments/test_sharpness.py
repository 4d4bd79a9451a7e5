import numpy as np
import pytest

from experiments.sharpness import edge_of_stability, flat_and_sharp
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
