"""A noisy line and a bowl, and rules to compare on them."""

import jax
import numpy as np

from jaxopt_lab import compare, objectives, rules, search
from jaxopt_lab.core import from_loss

RATES = search.log_uniform(1e-3, 10.0)

RULES = {
    "plain": compare.Candidate(rules.sgd, search.Space(learning_rate=RATES)),
    "same": compare.Candidate(rules.sgd, search.Space(learning_rate=RATES), {"plain": "everywhere"}),
    "slow": compare.Candidate(
        rules.sgd, search.Space(learning_rate=search.log_uniform(1e-4, 3e-3)), {"plain": "a low rate"}
    ),
    "wild": compare.Candidate(rules.sgd, search.Space(learning_rate=search.log_uniform(1.5, 150.0))),
}

OPTIONS = {
    "num_trials": 8,
    "num_final_seeds": 10,
    "batch_size": 10,
    "protocol": compare.Protocol({"setter": RULES["plain"]}, target_share=0.25),
}

SOME = {name: RULES[name] for name in ("plain", "slow")}


def loss(params, batch, key):
    del key
    inputs, targets = batch
    return 0.5 * ((inputs @ params - targets) ** 2).mean()


def line():
    """A noisy line in 3 dimensions: 40 examples, and 40 for validation and test."""
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(80, 3)).astype("float32")
    targets = (inputs @ np.ones(3) + 0.3 * draw.normal(size=80)).astype("float32")
    parts = [(inputs[part], targets[part]) for part in (slice(40), slice(40, None))]
    return from_loss(loss, lambda key: 3 * jax.random.normal(key, (3,)), parts[0], validation=parts[1], name="line")


def bowl():
    return objectives.quadratic([1.0, 0.1], start=1.0)
