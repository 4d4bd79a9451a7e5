import jax
import numpy as np
import pytest

from experiments.saddles import bad_minima_exist, index_against_energy, minima_are_rare, network_index
from jaxopt_lab import objectives
from jaxopt_lab.core import InputError, precision


@pytest.mark.parametrize(
    ("study", "options", "wording"),
    [
        (network_index, {"width": 0}, "width must be"),
        (network_index, {"weight_decay": 1.0}, r"weight_decay must be in \[0, 1\), got 1.0"),
        (network_index, {"learning_rate": -0.1}, "learning_rate must be positive and finite, got -0.1"),
        (index_against_energy, {"num_features": 50}, "num_features must be a whole number of at least 400, got 50"),
        (index_against_energy, {"kept_steps": (5, 2)}, r"kept_steps must hold two numbers that increase, got \(5, 2\)"),
        (minima_are_rare, {"dims": (20, 10)}, r"dims must hold at least two numbers that increase, got \(20, 10\)"),
        (minima_are_rare, {"dims": (2, 20, 30)}, "dims must hold six sizes of at least 10"),
        (minima_are_rare, {"sampled_dims": (1, 2)}, "sampled_dims must be a whole number of at least 2, got 1"),
        (bad_minima_exist, {"networks": ()}, "networks must hold at least one pair"),
        (bad_minima_exist, {"networks": ((5, 6),)}, "at least 6, got 5. A narrower student cannot learn its teacher"),
        (bad_minima_exist, {"rho": 1.0}, r"rho must be in \[0, 1\), got 1.0"),
    ],
)
def test_a_wrong_config_is_a_clear_sentence(study, options, wording):
    with pytest.raises(InputError, match=wording):
        study.Config(**options)


def test_mirror_images_count_once():
    rows = [{"kind": "search", "outcome": "accepted", "loss": loss, "index": 0.1} for loss in (0.5, 0.2, 0.5 + 1e-12)]
    rows.append({"kind": "search", "outcome": "gradient-flat", "loss": 0.3, "index": 0.1})
    assert [row["loss"] for row in network_index._distinct(rows)] == [0.2, 0.5]


def test_pivots_of_tridiagonal_matrices_count_negative_eigenvalues():
    counts = minima_are_rare._negative_counts(np.random.default_rng(0), 12, 20_000)
    entries = np.random.default_rng(1).normal(size=(20_000, 12, 12))
    dense = (np.linalg.eigvalsh(entries + entries.transpose(0, 2, 1)) < 0).sum(axis=1)
    for power in (1, 2):
        ours, theirs = ((found - 6.0) ** power for found in (counts, dense))
        assert abs(ours.mean() - theirs.mean()) < 4 * np.hypot(ours.std(), theirs.std()) / np.sqrt(20_000)


def test_the_lift_moves_only_the_direction_along_x():
    with precision():
        glass = objectives.spherical_spin_glass(jax.random.key(0), 5)
        point = np.sqrt(5) * np.array([0.6, 0.0, -0.8, 0.0, 0.0])
        plain, lifted = (
            np.asarray(jax.hessian(problem.full_loss)(point))
            for problem in (glass, index_against_energy._lifted(glass))
        )
    np.testing.assert_allclose(lifted - plain, np.outer(point, point) / 5, atol=1e-12)
