import pytest

from experiments.generalization import regularization
from jaxopt_lab.core import InputError


@pytest.mark.parametrize(
    ("config", "options", "wording"),
    [
        (regularization.Config, {"dropout_rates": (1.0,)}, r"dropout_rates must be in \(0, 1\), got 1.0"),
        (regularization.Config, {"strengths": (0.3, 0.1)}, "strengths must hold at least two strengths that increase"),
    ],
)
def test_a_wrong_config_is_a_clear_sentence(config, options, wording):
    with pytest.raises(InputError, match=wording):
        config(**options)
