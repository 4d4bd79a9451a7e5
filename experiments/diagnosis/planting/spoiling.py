"""What is done to the examples and to the start of a network: rows drawn by a seed, wrong labels, a bad start."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diagnosis.planting.cases import level
from jaxopt_lab.core import Problem


def with_rows(problem: Problem, num: int, seed: int) -> Problem:
    """The problem on examples that the seed draws from all of its training data, without repetition."""
    assert problem.num_examples is not None
    rows = np.sort(np.random.default_rng(seed).choice(problem.num_examples, num, replace=False))
    return dataclasses.replace(problem, data=jax.tree.map(lambda leaf: leaf[rows], problem.data))


def mislabelled(problem: Problem, share: float, seed: int) -> Problem:
    """The problem with a share of its training labels drawn anew from ten classes."""
    inputs, labels = problem.data
    rng = np.random.default_rng(seed)
    found = np.asarray(labels).copy()
    chosen = rng.permutation(len(found))[: round(share * len(found))]
    found[chosen] = rng.integers(0, 10, size=(len(chosen), *found.shape[1:]))
    return dataclasses.replace(problem, data=(inputs, jnp.asarray(found, labels.dtype)))


def badly_started(problem: Problem, severity: float) -> Problem:
    """The problem with another start: a last layer 100 times too large, a bias far off, or all units equal."""
    return dataclasses.replace(problem, init=_BadStart(level(severity, "large", "biased", "equal"), problem))


@dataclasses.dataclass(frozen=True)
class _BadStart:
    kind: str
    problem: Problem

    def __call__(self, key: jax.Array) -> Any:
        params = self.problem.init(key)
        output = params["output"]
        if self.kind == "large":
            return params | {"output": output | {"kernel": 100 * output["kernel"]}}
        if self.kind == "biased":
            return params | {"output": output | {"bias": output["bias"].at[0].add(200.0)}}
        return jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.mean(leaf) + 0.5 * jnp.std(leaf)), params)
