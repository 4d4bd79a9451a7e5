import functools

import jax
import numpy as np
import optax
import pytest

from jaxopt_lab import objectives, rules, training


@pytest.mark.parametrize("name", ["sgd", "heavy_ball", "nesterov", "chebyshev", "aggregated_momentum"])
def test_chunks_agree_with_the_general_loop(name):
    dim = 3 * 16_384 + 100
    problem = objectives.quadratic(objectives.spectra.log_uniform(dim, 100.0), minimizer=np.linspace(0, 1, dim))
    probes = (training.loss(), training.gradient_norm(), training.distance(), training.update_cosine())
    rule = functools.partial(rules.REGISTRY[name].build)
    whole = training.run(problem, rule, steps=23, every=5, probes=probes, execution=training.Execution(loop="vmap"))
    parts = training.run(problem, rule, steps=23, every=5, probes=probes, execution=training.Execution(loop="chunks"))
    for key in whole.metrics:
        np.testing.assert_allclose(whole[key], parts[key], rtol=2e-5, atol=1e-6)  # float32 sums in another order
    np.testing.assert_allclose(whole.params, parts.params, rtol=1e-5, atol=1e-6)
    assert parts.facts["loop"] == "chunks"


def test_chunks_are_taken_for_large_separable_problems_only():
    problem = objectives.quadratic(objectives.spectra.log_uniform(2**21, 100.0), start=1.0)
    taken = training.run(problem, rules.sgd, {"learning_rate": 1.0}, steps=1).facts["loop"]
    assert taken == ("chunks" if jax.default_backend() == "cpu" else "vmap")
    assert training.run(problem, optax.sgd(1.0), steps=1).facts["loop"] == "vmap"
