import dataclasses

import numpy as np
import pytest

from experiments.conditioning import (
    convergence_rates,
    preprocessing,
    single_run_average_case,
    transient_growth,
    zigzag,
)
from jaxopt_lab import objectives, theory, training
from jaxopt_lab.core import InputError, precision
from jaxopt_lab.reporting import house_style

TINY = {
    convergence_rates: {"kappas": (1e2, 1e3, 1e4), "dim": 20, "max_steps": 2000, "slower_rates": (0.1,)},
    transient_growth: {"kappas": (1e2, 1e4), "dim": 50, "chain_dim": 20, "cycle_steps": 300},
    zigzag: {"dim": 50, "steps": 2000, "angle_dim": 2000, "num_points": 5},
    preprocessing: {"tables": ("digits",), "max_steps": 20_000, "sample_examples": 1000, "sample_dim": 10},
    single_run_average_case: {"dim": 100, "num_stretches": 2, "small_dims": (20, 40), "num_draws": 10},
}


@pytest.fixture(scope="module", params=TINY, ids=lambda module: module.STUDY.name)
def outcome(request):
    study = request.param.STUDY
    config = dataclasses.replace(study.presets["quick"], **TINY[request.param])
    with precision():
        rows = study.run(config)
        return study, config, rows, study.judge(config, rows)


def test_every_claim_holds_at_a_tiny_size(outcome):
    *_, verdicts = outcome
    assert [verdict.line() for verdict in verdicts if not verdict.holds] == []


def test_the_figure_and_its_caption_are_made(outcome):
    study, config, rows, _ = outcome
    assert study.caption(config, rows).endswith(".")
    with house_style() as maker:
        assert study.draw(config, rows, maker).axes


def test_every_learning_rate_has_its_effective_rate_beside_it(outcome):
    _, _, rows, _ = outcome
    for row in rows:
        if "learning_rate" in row:
            assert row["effective_rate"] == pytest.approx(row["learning_rate"] / (1 - row.get("rho", 0.0)))


def spoil_growth(row):
    if "growth" in row:
        row["growth"] = 1.001 * row["growth"]


def spoil_cosine(row):
    if row["kind"] == "constant rate":
        row["cosine"] = np.abs(row["cosine"])


def spoil_distance(row):
    if "measured" in row:
        row["measured"] = 1.02 * row["measured"] + row["every"]


def spoil_loss(row):
    if row["kind"] == "single run":
        row["loss"] = 0.5 / (1 + row["steps"])


def spoil_rate(row):
    for name, wrong in (("decay", 1.02), ("curve_error", 1e9), ("steps", 1.01)):
        if name in row:
            row[name] = row[name] * wrong


SPOILERS = {
    "convergence_rates": (spoil_rate, 11),
    "transient_growth": (spoil_growth, 4),
    "zigzag": (spoil_cosine, 2),
    "preprocessing": (spoil_distance, 2),
    "single_run_average_case": (spoil_loss, 2),
}


def test_a_wrong_measurement_fails_its_claim(outcome):
    study, config, rows, _ = outcome
    spoil, least = SPOILERS[study.name]
    wrong = [dict(row) for row in rows]
    for row in wrong:
        spoil(row)
    failed = [verdict for verdict in study.judge(config, wrong) if not verdict.holds]
    assert len(failed) >= least


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
    ],
)
def test_a_wrong_config_is_a_clear_sentence(config, options, wording):
    with pytest.raises(InputError, match=wording):
        config(**options)


def test_float32_moves_the_peak_by_what_the_tolerance_says():
    config = transient_growth.Config(kappas=(1e6,), dim=30, dtype="float32")
    with precision("float32"):
        row = transient_growth._quadratic(config, 1e6)
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


def test_steps_that_suffice_for_heavy_ball_solve_their_equation():
    config = preprocessing.Config()
    tuning = theory.optimal_heavy_ball(146.0, 1.0)
    steps = preprocessing._bound(config, "heavy ball", tuning)
    size = np.abs(theory.heavy_ball_transient([steps - 1, steps], 146.0))
    assert size[1] <= config.accuracy < size[0]


def test_the_fluctuation_of_a_run_is_that_of_random_starts():
    # sqrt(2 / d) at step 0, where w = lambda has E w^2 / (E w)^2 = 2; then against 4000 starts on one spectrum, of which
    # the standard error is 1 / sqrt(8000); the spectrum of 400 quantiles errs by as much again.
    assert single_run_average_case._fluctuation(np.array([0]), 50) == pytest.approx(0.2, rel=1e-9)
    spectrum = theory.marchenko_pastur_spectrum(400, 1.0)
    starts = np.random.default_rng(0).normal(size=(4000, 400))
    starts /= np.linalg.norm(starts, axis=1, keepdims=True)
    losses = starts**2 @ (spectrum * (1 - spectrum / 4) ** 20)
    measured = losses.std() / losses.mean()
    assert single_run_average_case._fluctuation(np.array([10]), 400)[0] == pytest.approx(measured, rel=0.05)


def test_extreme_eigenvalues_lie_inside_of_the_edges():
    limit = np.log(theory.marchenko_pastur_condition_number(0.5))
    gaps = [limit - single_run_average_case._inside_the_edges(dim, 0.5) for dim in (100, 800, 6400)]
    # Towards the limit like d^(-2/3): a factor 4 for a factor 8.
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.05)
    assert gaps[1] / gaps[2] == pytest.approx(4, rel=0.02)
