import numpy as np
import pytest

from jaxopt_lab import objectives, rules, training
from jaxopt_lab.core import precision


def test_probes_measure_what_they_say():
    with precision("float64"):
        target = np.array([1.0, -1.0])
        problem = objectives.quadratic([1.0, 0.5], minimizer=target, start=[3.0, 3.0])
        probes = (
            training.loss(), training.gradient_norm(), training.distance(), training.update_cosine(),
            training.update_ratio(), training.band_energy((0.7,)), training.coordinates(1),
        )  # fmt: skip
        trace = training.run(problem, rules.sgd, {"learning_rate": 1.5}, steps=3, probes=probes)
    x = [np.array([3.0, 3.0])]
    for _ in range(3):
        x.append(x[-1] - 1.5 * np.array([1.0, 0.5]) * (x[-1] - target))
    gradient = np.array([1.0, 0.5]) * (x[3] - target)
    last, before = x[3] - x[2], x[2] - x[1]
    energy = 0.5 * np.array([1.0, 0.5]) * (x[3] - target) ** 2
    np.testing.assert_allclose(trace["gradient_norm"][0, 3], np.linalg.norm(gradient), rtol=1e-12)
    np.testing.assert_allclose(trace["distance"][0, 3], np.linalg.norm(x[3] - target), rtol=1e-12)
    cosine = last @ before / np.linalg.norm(last) / np.linalg.norm(before)
    np.testing.assert_allclose(trace["update_cosine"][0, 3], cosine, rtol=1e-12)
    np.testing.assert_allclose(trace["update_ratio"][0, 3], np.linalg.norm(last) / np.linalg.norm(x[3]), rtol=1e-12)
    np.testing.assert_allclose(trace["band_energy"][0, 3], energy[::-1], rtol=1e-12)
    np.testing.assert_allclose(trace["coordinates"][0, 3], x[3][1:], rtol=1e-12)


@pytest.mark.parametrize("loop", ["vmap", "map", "step"])
def test_every_loop_keeps_the_last_two_updates(loop):
    """At w <- -w / 2 updates alternate, between records too: their cosine is -1, once there are two of them."""
    bowl = objectives.quadratic([1.0], start=1.0)
    given = {"steps": 5, "every": 5, "probes": [training.update_cosine()], "execution": training.Execution(loop=loop)}
    assert training.run(bowl, rules.sgd, {"learning_rate": 1.5}, **given)["update_cosine"][0, -1] == pytest.approx(-1.0)
