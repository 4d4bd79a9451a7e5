import chex
import jax
import numpy as np
import pytest

from experiments.conditioning import (
    convergence_rates,
    kappa_and_dimension,
    network_spectra,
    preprocessing,
    single_run_average_case,
    transient_growth,
    zigzag,
)
from jaxopt_lab import objectives, training
from jaxopt_lab.core import InputError, precision
from jaxopt_lab.training.storage import Checkpoints


@pytest.mark.parametrize(
    ("config", "options", "wording"),
    [
        (convergence_rates.Config, {"kappas": (0.5,)}, r"each condition number must be in \(1, inf\), got 0.5"),
        (convergence_rates.Config, {"methods": ("Newton",)}, "each of methods must be one of: gradient descent, heavy"),
        (transient_growth.Config, {"kappas": ()}, "kappas must hold at least one condition number"),
        (transient_growth.Config, {"kappas": (10.0,)}, r"kappas must be in \[100, 1e\+12\], got 10.0"),
        (transient_growth.Config, {"dtype": "float16"}, "dtype must be one of: float32, float64; got 'float16'"),
        (zigzag.Config, {"rates": (0.5, 0.9)}, "rates must lie on both sides of 1"),
        (zigzag.Config, {"rates": (0.5, 1.001)}, "at least 0.4 % off it"),
        (zigzag.Config, {"rates": (0.5, 1.2)}, r"rates must be in \[0.1, 1.01\), got 1.2"),
        (preprocessing.Config, {"tables": ("digit",)}, "Did you mean 'digits'?"),
        (preprocessing.Config, {"accuracy": 0.0}, r"accuracy must be in \[1e-08, 0.1\], got 0.0"),
        (single_run_average_case.Config, {"small_dims": (50,)}, "small_dims must hold at least two"),
        (single_run_average_case.Config, {"dim": 10**7}, "10000000 x 10000000 needs .* GiB"),
        (network_spectra.Config, {"networks": ((8, 32), (2, 32))}, "networks must start with a shallow and a deeper"),
        (kappa_and_dimension.Config, {"dims": (100, 50)}, "dims must hold at least three numbers that increase"),
        (kappa_and_dimension.Config, {"ratios": (1.0,)}, r"ratios must be in \(0, 0.9\], got 1"),
        (network_spectra.Config, {"norms": ("batch",)}, "norms must start with none and batch"),
        (network_spectra.Config, {"class_counts": (2,)}, r"class_counts must be in \[3, 10\], got 2"),
    ],
)
def test_a_wrong_config_is_a_clear_sentence(config, options, wording):
    with pytest.raises(InputError, match=wording):
        config(**options)


def test_float32_moves_the_peak_by_what_the_tolerance_says():
    config = transient_growth.Config(kappas=(1e6,), dim=30, dtype="float32")
    with precision("float32"):
        row = transient_growth._quadratic(config, 1e6, Checkpoints())
    error = row["growth"].max() / row["predicted"] - 1
    assert 1e-10 < abs(error) < transient_growth._tolerance(config)


def test_exact_line_search_reaches_the_lowest_point_along_the_gradient():
    eigenvalues, x = np.array([1.0, 0.3, 0.1]), np.array([1.0, -2.0, 3.0])
    with precision():
        problem = objectives.quadratic(eigenvalues, start=x, minimizer=[0.5, 0.0, -1.0])
        trace = training.run(problem, zigzag.exact_line_search, steps=4)
        for _ in range(4):
            gradient = eigenvalues * (x - np.array([0.5, 0.0, -1.0]))
            x = x - gradient @ gradient / (gradient @ (eigenvalues * gradient)) * gradient
        assert trace.params_of() == pytest.approx(x, rel=1e-13)


def test_class_gradients_add_up_to_the_gradient():
    with precision():
        problem = network_spectra._problem(4, 1, "none", 100)
        params = problem.init(jax.random.key(0))
        shares = np.bincount(np.asarray(problem.data[1]), minlength=10) / 100
        gradients = network_spectra._class_gradients(problem, params, 10)
        gradient = jax.jit(jax.grad(problem.full_loss))(params)
        chex.assert_trees_all_close(shares @ gradients, gradient, rtol=1e-10, atol=1e-12)
