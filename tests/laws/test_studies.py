"""What holds for every study: its claims hold at a tiny size, and fail where the measurement is spoiled."""

import dataclasses
import fnmatch
import json
import pathlib

import numpy as np
import pytest

from experiments import lecture
from experiments.conditioning import (
    convergence_rates,
    kappa_and_dimension,
    network_spectra,
    preprocessing,
    single_run_average_case,
    transient_growth,
    zigzag,
)
from experiments.diagnosis import confusion_matrix, reported_faults
from experiments.generalization import babysitting, dropout_noise, regularization, transfer
from experiments.momentum import (
    adaptive_methods,
    nesterov_forms,
    overshoot,
    phase_diagram,
    rules_on_networks,
    signal_response,
)
from experiments.noise import batch_size_map, network_noise_scale, noise_floors, noise_scale
from experiments.saddles import (
    bad_minima_exist,
    escape_time,
    exponential_octopus,
    index_against_energy,
    minima_are_rare,
    network_index,
    predictable_plateaus,
    second_order_escape,
)
from experiments.search import (
    block_coordinate,
    coarse_to_fine,
    how_many_at_once,
    learning_rate_matters_most,
    random_against_grid,
    small_rate_cost,
)
from experiments.sharpness import (
    edge_of_any_rule,
    edge_of_stability,
    edge_of_stochastic_stability,
    flat_and_sharp,
    low_rate_and_catapult,
    sharp_minima_race,
)
from experiments.signal import (
    activations_and_depth,
    batch_norm,
    initialization_map,
    preprocessing_networks,
    wiggling_line,
)
from jaxopt_lab.core import precision
from jaxopt_lab.reporting import sliders
from jaxopt_lab.reporting.figures import house_style
from jaxopt_lab.studies import list_studies, load_study
from tests.laws.spoilers import SPOILERS

TINY = {
    babysitting: {"dim": 10, "steps": 100},
    dropout_noise: {"num_masks": 200, "num_batches": 100, "num_networks": 4},
    transfer: {"dim": 40, "num_examples": 15, "num_seeds": 6},
    preprocessing_networks: {"ratios": (0.0, 3.0), "dim": 100, "num_sets": 50, "shapes": ((3, 9),), "steps": 150},
    initialization_map: {
        "widths": (12, 24),
        "depth": 8,
        "num_draws": 100,
        "wide": 200,
        "num_wide": 10,
        "factors": (0.004, 1.0, 25.0),
        "trained_width": 16,
    },
    regularization: {"dim": 10, "num_examples": 60, "num_masks": 400, "strengths": (0.03, 0.3), "num_labels": 50},
    batch_norm: {"width": 200, "depth": 14, "num_draws": 4, "scales": (2.0,), "decays": (1e-2,), "num_networks": 2},
    activations_and_depth: {"width": 300, "sigmoid_depths": (2, 4), "deep": 4, "num_draws": 5},
    flat_and_sharp: {
        "dim": 100,
        "num_examples": (110, 220),
        "num_draws": 60,
        "batch_sizes": (100,),
        "rates": (0.8,),
        "num_networks": 12,
    },
    how_many_at_once: {"dims": (1, 3), "num_searches": 300},
    kappa_and_dimension: {
        "dims": (25, 50, 100),
        "num_draws": 80,
        "widths": (4, 8),
        "num_examples": 50,
        "num_networks": 1,
    },
    wiggling_line: {"distances": (0.0, 50.0), "num_points": 5000, "num_angles": 5},
    convergence_rates: {"kappas": (1e2, 1e3, 1e4), "dim": 20, "max_steps": 2000, "slower_rates": (0.1,)},
    transient_growth: {"kappas": (1e2, 1e4), "dim": 50, "chain_dim": 20, "cycle_steps": 300},
    zigzag: {"dim": 50, "steps": 2000, "angle_dim": 2000, "num_points": 5},
    preprocessing: {"tables": ("digits",), "max_steps": 20_000, "sample_examples": 1000, "sample_dim": 10},
    single_run_average_case: {"dim": 100, "num_stretches": 2, "small_dims": (20, 40), "num_draws": 10},
    nesterov_forms: {"dim": 50, "steps": 100, "num_chains": 200, "noisy_steps": 400},
    overshoot: {"num_rates": 8, "rhos": (0.9,)},
    phase_diagram: {"num_rates": 8, "num_rhos": 6, "steps": 1000, "width": 64},
    signal_response: {"rhos": (0.5, 0.9), "slope": 512, "num_chains": 80},
    rules_on_networks: {
        "networks": ("digits-mlp",),
        "rules": ("sgd", "heavy_ball", "adam"),
        "budget": 60.0,
        "num_trials": 8,
        "num_final_seeds": 4,
        "width": 4,
        "num_examples": 200,
        "num_held_out": 60,
        "dtype": "float64",
    },
    adaptive_methods: {
        "dim": 50,
        "edge_rates": (0.3,),
        "edge_steps": 20_000,
        "rounds": 10_000,
        "num_classes": 32,
    },
    noise_floors: {"effective_rates": (0.1, 1.0), "num_chains": 200, "settling": 150, "steps": 500},
    batch_size_map: {"dim": 32, "target": 1e-4, "batch_sizes": (1, 64, 8192), "simulated": (64,), "num_seeds": 4},
    noise_scale: {"dim": 15, "batch_sizes": (1, 16, 64), "num_examples": 8192},
    network_spectra: {
        "networks": ((2, 32), (8, 32)),
        "norms": ("none", "batch"),
        "num_examples": 300,
        "class_counts": (10,),
        "num_seeds": 1,
    },
    network_noise_scale: {"times": (0, 30, 300, 3000), "num_batches": 50, "num_drawn": 16_384, "num_products": 30},
    escape_time: {"dims": (10, 1000), "num_seeds": 20, "num_noisy": 40, "rates": (1e-2, 1.0)},
    exponential_octopus: {"descent": ((1.0, 4),), "heavy_ball": ((1 / 8, 16),), "nesterov": (), "long": 0},
    network_index: {"num_runs": 2, "num_searches": 16, "num_path_points": 3},
    minima_are_rare: {
        "dims": (2, 3, 10, 12, 14, 16, 20, 24, 32),
        "sampled_dims": (2, 3),
        "num_matrices": 10_000,
        "index_dims": (10, 100, 1000),
        "num_spectra": 2000,
    },
    index_against_energy: {
        "dim": 24,
        "num_runs": 6,
        "field_dim": 12,
        "num_features": 600,
        "num_field_runs": 4,
        "kept_steps": (0, 5, 20, 80),
        "least_points": 8,
    },
    bad_minima_exist: {"networks": ((8, 8),), "num_runs": 30, "num_checked": 2},
    second_order_escape: {"gaps": (0.1, 0.02), "dim": 50, "phase_dim": 50, "num_seeds": 1},
    sharp_minima_race: {"products": (0.5, 1.3, 1.4, 1.9, 2.1, 2.25, 3.7, 3.9), "num_runs": 60, "steps": 400},
    low_rate_and_catapult: {"width": 1024, "rates": (0.1, 1.9, 2.5, 3.5, 4.5), "num_seeds": 2, "steps": 300},
    predictable_plateaus: {
        "dim": 30,
        "singular_values": (8.0, 2.0),
        "learning_rate": 0.02,
        "scale": 1e-5,
        "depths": (3,),
        "starts": (1e-2, 1e-3),
    },
    edge_of_any_rule: {"num_records": 6, "steps": 1800},
    edge_of_stability: {"steps": 1500},
    edge_of_stochastic_stability: {"num_batches": 32},
    random_against_grid: {"num_searches": 40, "dims": (2, 3), "distance_trials": (4, 64)},
    coarse_to_fine: {
        "num_optima": 100,
        "horizons": (100, 1000),
        "num_rates": 12,
        "num_seeds": 40,
        "search_trials": 8,
    },
    block_coordinate: {"rhos": (0.0, 0.9, 0.99), "num_rates": 10, "num_seeds": 40, "horizon": 500},
    small_rate_cost: {
        "factors": (1.0, 10.0),
        "rates": (0.3, 0.03, 0.003),
        "num_seeds": 4,
        "num_examples": 256,
        "target": 1.0,
        "longest": 16.0,
    },
    learning_rate_matters_most: {"steps": 100, "batch_sizes": (8, 32), "num_examples": 500},
    confusion_matrix: {
        "families": ("quadratics",),
        "causes": ("healthy", "ill-conditioned"),
        "severities": (0.0,),
        "num_proofs": 0,
    },
    reported_faults: {"names": ("negated-cross-entropy", "logistic"), "seconds": 600.0},
}


# Eight networks with normalization of their own take more than a minute to compile; hundreds of networks, hundreds of
# products with a step's derivative, and ten thousand steps on small batches, to run. What a whole diagnosis tells is tested in its own folder.
SLOW = (
    activations_and_depth,
    edge_of_any_rule,
    edge_of_stochastic_stability,
    network_spectra,
    network_noise_scale,
    second_order_escape,
    learning_rate_matters_most,
    rules_on_networks,
    reported_faults,
)
PARAMETERS = [pytest.param(module, marks=pytest.mark.slow) if module in SLOW else module for module in TINY]


@pytest.fixture(scope="module", params=PARAMETERS, ids=lambda module: module.__name__.rpartition(".")[2])
def outcome(request):
    study = load_study(request.param)
    config = dataclasses.replace(study.presets["quick"], **TINY[request.param])
    with precision():
        rows = study.run(config)
        return study, config, rows, study.judge(config, rows)


def test_every_study_is_under_these_laws():
    folder = pathlib.Path(__file__).parents[2] / "experiments"
    assert {module.__name__.rpartition(".")[2] for module in TINY} == set(list_studies(folder))


def test_every_claim_holds_at_a_tiny_size(outcome):
    *_, verdicts = outcome
    assert [str(verdict) for verdict in verdicts if not verdict.holds] == []


def test_it_judges_what_the_lectures_page_says_of_it(outcome):
    study, *_, verdicts = outcome
    judged = [claim.judged for claim in lecture.CLAIMS.values() if claim.study == study.name]
    made = [verdict.claim for verdict in verdicts]
    assert [pattern for pattern in judged if not fnmatch.filter(made, pattern)] == []


def test_the_figure_its_caption_and_a_slider_that_can_be_drawn_are_made(outcome):
    study, config, rows, _ = outcome
    assert study.caption(config, rows).endswith(".")
    with house_style() as maker:
        assert study.draw(config, rows, maker).axes
    if study.slider is not None:
        made = json.loads(json.dumps(study.slider(config, rows), allow_nan=False))
        assert any(each["x"] for each in sliders.require_slider(made)["dots"])


def test_every_learning_rate_has_its_effective_rate_beside_it(outcome):
    _, _, rows, _ = outcome
    for row in rows:
        if "learning_rate" not in row:
            continue
        rho = 0.0 if row.get("method") == "averaged" else np.asarray(row.get("rho", 0.0))[..., None]
        expected = np.asarray(row["learning_rate"]) / (1 - rho)
        np.testing.assert_allclose(np.squeeze(row["effective_rate"]), np.squeeze(expected))


def test_a_wrong_measurement_fails_its_claim(outcome):
    study, config, rows, _ = outcome
    spoil, least = SPOILERS[study.name]
    wrong = [dict(row) for row in rows]
    for row in wrong:
        spoil(row)
    failed = [verdict for verdict in study.judge(config, wrong) if not verdict.holds]
    assert len(failed) >= least
