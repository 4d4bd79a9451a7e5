import jax.numpy as jnp
import numpy as np
import pytest

from experiments.saddles import network_index
from jaxopt_lab.core import InputError, from_loss, precision


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


def test_a_saddle_is_found_and_accepted_with_its_index():
    with precision():
        # f = x^2 + y^4 / 4 - y^2 / 2: a saddle at y = 0 and minima at y = +-1.
        problem = from_loss(lambda w, batch, key: w[0] ** 2 + w[1] ** 4 / 4 - w[1] ** 2 / 2, jnp.zeros(2))
        ends = network_index._search(problem, jnp.array([[0.5, 0.1], [0.5, 0.9]]), 40)
        saddle, minimum = (network_index._point(problem, np.asarray(end)) for end in ends)
    assert (saddle["outcome"], saddle["index"]) == ("accepted", 0.5)
    assert (minimum["outcome"], minimum["index"], minimum["loss"]) == ("accepted", 0.0, pytest.approx(-0.25))


def test_a_gradient_flat_point_is_rejected_however_small_its_gradients_change():
    with precision():
        # f = x^2 + y + y^3: |gradient| is least at the origin, where it is (0, 1) and the curvature along y is zero.
        problem = from_loss(lambda w, batch, key: w[0] ** 2 + w[1] + w[1] ** 3, jnp.zeros(2))
        (end,) = network_index._search(problem, jnp.array([[0.5, 0.3]]), 200)
        point = network_index._point(problem, np.asarray(end))
    assert point["outcome"] == "gradient-flat"
    assert point["gradient_norm"] == pytest.approx(1.0, rel=1e-3)


def test_mirror_images_count_once():
    rows = [{"kind": "search", "outcome": "accepted", "loss": loss, "index": 0.1} for loss in (0.5, 0.2, 0.5 + 1e-12)]
    rows.append({"kind": "search", "outcome": "gradient-flat", "loss": 0.3, "index": 0.1})
    assert [row["loss"] for row in network_index._distinct(rows)] == [0.2, 0.5]
