import pytest

from experiments.signal import activations_and_depth, batch_norm, wiggling_line
from jaxopt_lab.core import InputError


@pytest.mark.parametrize(
    ("config", "options", "wording"),
    [
        (activations_and_depth.Config, {"sigmoid_depths": (4, 2)}, "sigmoid_depths must hold at least two depths"),
        (activations_and_depth.Config, {"deep": 2}, "deep must be a whole number of at least 4, got 2"),
        (batch_norm.Config, {"decays": (0.5,)}, r"decays must be in \[0.0001, 0.1\], got 0.5"),
        (batch_norm.Config, {"batch_size": 2}, "batch_size must be a whole number of at least 16, got 2"),
        (wiggling_line.Config, {"distances": (5.0, 50.0)}, "distances must start with 0 and increase"),
        (wiggling_line.Config, {"num_points": 10}, "num_points must be a whole number of at least 1000, got 10"),
    ],
)
def test_a_wrong_config_is_a_clear_sentence(config, options, wording):
    with pytest.raises(InputError, match=wording):
        config(**options)
