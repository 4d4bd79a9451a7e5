import pytest

from experiments.saddles import network_index
from jaxopt_lab.core import InputError


@pytest.mark.parametrize(
    ("options", "wording"),
    [
        ({"width": 0}, "width must be"),
        ({"weight_decay": 1.0}, r"weight_decay must be in \[0, 1\), got 1.0"),
        ({"learning_rate": -0.1}, "learning_rate must be positive and finite, got -0.1"),
    ],
)
def test_a_wrong_config_is_a_clear_sentence(options, wording):
    with pytest.raises(InputError, match=wording):
        network_index.Config(**options)


def test_mirror_images_count_once():
    rows = [{"kind": "search", "outcome": "accepted", "loss": loss, "index": 0.1} for loss in (0.5, 0.2, 0.5 + 1e-12)]
    rows.append({"kind": "search", "outcome": "gradient-flat", "loss": 0.3, "index": 0.1})
    assert [row["loss"] for row in network_index._distinct(rows)] == [0.2, 0.5]
