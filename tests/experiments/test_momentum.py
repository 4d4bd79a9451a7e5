import dataclasses

import numpy as np
import pytest

from experiments.momentum import overshoot, phase_diagram
from jaxopt_lab.core import InputError, precision
from jaxopt_lab.reporting import house_style

TINY = {
    overshoot: {"num_rates": 8, "rhos": (0.9,)},
    phase_diagram: {"num_rates": 8, "num_rhos": 6, "steps": 1000, "width": 64},
}


def tiny(module):
    return dataclasses.replace(module.STUDY.presets["quick"], **TINY[module])


@pytest.mark.parametrize("module", TINY, ids=lambda module: module.STUDY.name)
def test_every_claim_holds_at_a_tiny_size_and_is_drawn(module):
    study, config = module.STUDY, tiny(module)
    with precision():
        rows = study.run(config)
        verdicts = study.judge(config, rows)
    assert [verdict.line() for verdict in verdicts if not verdict.holds] == []
    assert study.caption(config, rows).endswith(".")
    with house_style() as maker:
        assert study.draw(config, rows, maker).axes


@pytest.mark.parametrize("module", TINY, ids=lambda module: module.STUDY.name)
def test_rows_with_a_learning_rate_say_the_effective_one_too(module):
    with precision():
        rows = module.STUDY.run(tiny(module))
    for row in rows:
        if "learning_rate" in row:
            rho = np.asarray(row["rho"])[..., None]
            assert np.allclose(np.squeeze(row["effective_rate"]), np.squeeze(row["learning_rate"] / (1 - rho)))


@pytest.mark.parametrize(
    ("config", "options", "wording"),
    [
        (overshoot.Config, {"rhos": (1.5,)}, r"rhos must be in \[0.9, 1\), got 1.5"),
        (overshoot.Config, {"lowest_rate": -1.0}, "lowest_rate must be positive and finite, got -1.0"),
        (phase_diagram.Config, {"largest_rho": 1.0}, r"largest_rho must be in \(0, 1\), got 1.0"),
        (phase_diagram.Config, {"steps": 200, "every": 100}, "steps must be at least 30 times every"),
    ],
)
def test_a_wrong_config_is_a_clear_sentence(config, options, wording):
    with pytest.raises(InputError, match=wording):
        config(**options)


def test_the_first_local_minimum_counts_and_not_a_deeper_one_later():
    assert overshoot._first_depth(np.array([1.0, -0.2, 0.1, -0.5])) == 0.2
    assert overshoot._first_depth(np.array([1.0, 0.5, 0.2, 0.1])) == 0.0


def test_a_rate_is_read_off_before_the_numbers_leave_float64():
    steps = np.arange(2000)
    with np.errstate(under="ignore"):
        assert phase_diagram._slope(steps, np.exp(-1.0 * steps)) == pytest.approx(-1.0, rel=1e-9)
    assert phase_diagram._slope(steps, np.exp(0.3 * steps)) == pytest.approx(0.3, rel=1e-9)
    assert phase_diagram._slope(steps, np.where(steps < 2, 1.0, 0.0)) == -np.inf
