import pytest

from experiments.momentum import adaptive_methods, nesterov_forms, overshoot, phase_diagram, signal_response
from jaxopt_lab.core import InputError


@pytest.mark.parametrize(
    ("config", "options", "wording"),
    [
        (adaptive_methods.Config, {"large_slope": 2.0}, r"large_slope must be in \[2.1, 100\], got 2.0"),
        (adaptive_methods.Config, {"edge_rates": ()}, "edge_rates must hold at least one rate"),
        (overshoot.Config, {"rhos": (1.5,)}, r"rhos must be in \[0.9, 1\), got 1.5"),
        (overshoot.Config, {"lowest_rate": -1.0}, "lowest_rate must be positive and finite, got -1.0"),
        (nesterov_forms.Config, {"chain_rate": 0.5}, r"chain_rate must be in \(0, 0.16\), got 0.5"),
        (nesterov_forms.Config, {"drop_factor": 0.0}, "drop_factor must be positive"),
        (phase_diagram.Config, {"largest_rho": 1.0}, r"largest_rho must be in \(0, 1\), got 1.0"),
        (phase_diagram.Config, {"steps": 200, "every": 100}, "steps must be at least 30 times every"),
        (signal_response.Config, {"shown_rho": 0.7}, "shown_rho must be one of rhos"),
        (signal_response.Config, {"slope": 1000}, "slope must be a multiple of 64, got 1000"),
        (signal_response.Config, {"slope": 640}, "slope must be at least 2069 steps at rho 0.99"),
    ],
)
def test_a_wrong_config_is_a_clear_sentence(config, options, wording):
    with pytest.raises(InputError, match=wording):
        config(**options)
