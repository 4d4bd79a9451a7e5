import jax
import numpy as np
import pytest

from experiments.saddles import (
    bad_minima_exist,
    exponential_octopus,
    index_against_energy,
    minima_are_rare,
    network_index,
    predictable_plateaus,
)
from jaxopt_lab import objectives
from jaxopt_lab.core import InputError, precision
from jaxopt_lab.studies import Rows


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
        (exponential_octopus, {"descent": ((1.0, 3),)}, "a count must be a whole number of at least 4, got 3"),
        (exponential_octopus, {"long": 12}, "long must be a power of two, got 12. The turned chain needs it"),
        (exponential_octopus, {"rate": 0.5}, r"a rate must be in \(0, 0.5\), got 0.5"),
        (predictable_plateaus, {"singular_values": (2.0, 1.9)}, "Plateaus of close values run into one another"),
        (predictable_plateaus, {"dtype": "float32"}, r"scale must be in \[1e-05, 0.01\], got 1e-06. Below, rounding"),
        (predictable_plateaus, {"learning_rate": 0.1}, r"times the largest value must be in \[0, 0.5\], got 1.6"),
        (predictable_plateaus, {"dim": 4}, "dim must be a whole number of at least 5, got 4. It must hold the rank"),
        (predictable_plateaus, {"starts": (1e-6, 1e-3)}, "starts must decrease"),
        (predictable_plateaus, {"dim": 10**7}, "a net of 2e.14 weights needs"),
        (bad_minima_exist, {"rho": 1.0}, r"rho must be in \[0, 1\), got 1.0"),
    ],
)
def test_a_wrong_config_is_a_clear_sentence(study, options, wording):
    with pytest.raises(InputError, match=wording):
        study.Config(**options)


def test_mirror_images_count_once():
    rows = [{"kind": "search", "outcome": "accepted", "loss": loss, "index": 0.1} for loss in (0.5, 0.2, 0.5 + 1e-12)]
    rows.append({"kind": "search", "outcome": "gradient-flat", "loss": 0.3, "index": 0.1})
    assert [row["loss"] for row in network_index._critical(Rows(rows))] == [0.2, 0.5]


def test_the_lift_moves_only_the_direction_along_x():
    with precision():
        glass = objectives.spherical_spin_glass(jax.random.key(0), 5)
        point = np.sqrt(5) * np.array([0.6, 0.0, -0.8, 0.0, 0.0])
        plain, lifted = (
            np.asarray(jax.jit(jax.hessian(problem.full_loss))(point))
            for problem in (glass, index_against_energy._lifted(glass))
        )
    np.testing.assert_allclose(lifted - plain, np.outer(point, point) / 5, atol=1e-12)


def test_the_chain_tells_linear_time_from_exponential():
    """The verdicts on the slower methods, which the laws of studies leave out, on rows that are made up."""
    linear = {"kind": "linear", "curvature": 1.0, "learning_rate": 0.1, "ratio": 0.99}
    right = [
        linear | {"method": "kicked descent", "pace": 65.0, "predicted": 65.5},
        linear | {"method": "Adam", "decay": -0.5 * np.log(0.9), "edge": 32.0},
        {"kind": "stopped", "method": "descent, turned", "learning_rate": 0.1, "passed": 4, "predicted": 5},
    ]
    wrong = [
        right[0] | {"pace": 68.0, "ratio": 1.1},
        right[1] | {"decay": 0.08, "edge": 45.0},
        right[2] | {"passed": 7},
    ]
    config = exponential_octopus.Config()
    assert all(verdict.holds for verdict in exponential_octopus.judge(config, Rows(right)))
    assert [verdict.holds for verdict in exponential_octopus.judge(config, Rows(wrong))] == [
        False,
        False,
        True,
        False,
        False,
        False,
    ]
