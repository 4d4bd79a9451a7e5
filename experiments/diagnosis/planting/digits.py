"""Faults of networks on the 8 x 8 digits, for a perceptron and for a convolutional network alike.

A healthy run has He initialization, ReLU, standardized pixels and a rate at which the loss falls by half or more. Why a
label holds:

    vanishing-signal        8 layers (4 convolutions) with a gain below 1, or sigmoids: outputs that no input moves
    exploding-signal        as many layers with a gain above 1: outputs of 1e2 to 1e6 at the start
    dead-units              85 % to all of the units have biases so low that no example turns them on
    gradient-noise          one example a step, a part of the labels wrong, from where that holds the loss
    learning-rate-too-low   1/30 to 1/3000 of a good rate
    learning-rate-too-high  so high that the loss ends above its start
    unnormalized-inputs     pixels shifted by 8 or 30 standard deviations, or as 0 to 255
    bad-initialization      the last layer is 100 times too large, or a bias is off by 200, or all units are equal
    overfitting             50 examples, a part of the labels wrong, trained to the end
    underfitting            one unit, or a strong weight decay, trained to the end
    non-finite              a NaN pixel, an infinite pixel, or a NaN weight that an earlier step left behind
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diagnosis.planting.cases import adam, between, descent, level, real, trained
from experiments.diagnosis.planting.spoiling import badly_started, mislabelled, with_rows
from jaxopt_lab.core import Problem
from jaxopt_lab.problems import load_problem


@dataclasses.dataclass(frozen=True)
class Kind:
    """What differs between the two kinds of networks.

    Attributes:
      name: of the ready-made problem.
      width: units of a layer.
      depth: layers of the usual network.
      deep: layers of the deep one.
      num: examples.
      steps: of a run.
      rule: (rate, weight decay) -> the usual rule.
      rate: a good rate of it, within a factor of about 4 of the best.
      batch_size: examples a step; None for all.
      deep_rate: a good rate of plain descent for the deep network; Adam would mend its scales.
      noisy_rate: a rate of plain descent that is good with all examples, and with one is held by noise.
      too_high: rates of the usual rule that are too high, mild to severe.
      decays: weight decays that are too strong, mild to severe.
      small: gains of the deep network whose signal vanishes, mild to severe.
      large: gains of the deep network whose signal explodes, mild to severe.
    """

    name: str
    width: int
    depth: int
    deep: int
    num: int
    steps: int
    rule: Callable[..., Any]
    rate: float
    batch_size: int | None
    deep_rate: float
    noisy_rate: float
    too_high: tuple[float, float]
    decays: tuple[float, float]
    small: tuple[float, float]
    large: tuple[float, float]


@functools.cache
def _network(kind: Kind, dtype: str, **options: Any) -> Problem:
    del dtype
    return load_problem(kind.name, **({"width": kind.width, "depth": kind.depth} | options))


def _base(kind: Kind, seed: int, **options: Any) -> dict[str, Any]:
    """A healthy run with the usual rule from the network's own start."""
    problem = with_rows(_network(kind, real(), **options), kind.num, seed)
    return {"problem": problem, "rule": kind.rule(kind.rate), "steps": kind.steps, "batch_size": kind.batch_size}


def _deep(kind: Kind, seed: int, **options: Any) -> dict[str, Any]:
    return _base(kind, seed, depth=kind.deep, **options) | {"rule": descent(kind.deep_rate)}


def _healthy(kind: Kind, severity: float, seed: int) -> dict[str, Any]:
    """The usual rule on all examples, or momentum or AdamW with batches."""
    rule = level(severity, kind.rule(kind.rate), descent(0.1, 0.9), adam(0.01, 1e-4))
    return _base(kind, seed) | {"rule": rule, "batch_size": level(severity, kind.batch_size, 64, 64)}


def _vanishing(kind: Kind, severity: float, seed: int) -> dict[str, Any]:
    good = _deep(kind, seed)
    options = {"activation": "sigmoid"} if severity > 2 / 3 else {"gain": between(severity, *kind.small)}
    bad = _deep(kind, seed, **options)
    return bad | {"cure": {"problem": good["problem"]}}


def _exploding(kind: Kind, severity: float, seed: int) -> dict[str, Any]:
    good = _deep(kind, seed)
    bad = _deep(kind, seed, gain=between(severity, *kind.large))
    return bad | {"cure": {"problem": good["problem"]}}


def _dead(kind: Kind, severity: float, seed: int) -> dict[str, Any]:
    good = _base(kind, seed)
    start = good["problem"].init(jax.random.key(seed))
    rng = np.random.default_rng(seed)
    share = level(severity, 0.85, 0.95, 1.0)

    def shifted(path: Any, leaf: jax.Array) -> jax.Array:
        names = [str(getattr(part, "key", part)) for part in path]
        if names[0] == "output" or names[-1] != "bias":
            return leaf
        num = round(share * leaf.size)
        return leaf.at[jnp.asarray(rng.permutation(leaf.size)[:num])].set(-30.0)

    params = jax.tree_util.tree_map_with_path(shifted, start)
    return good | {"params": params, "cure": {"params": start}}


def _noisy(kind: Kind, severity: float, seed: int) -> dict[str, Any]:
    problem = mislabelled(_base(kind, seed)["problem"], between(severity, 0.1, 0.3), seed)
    rule = descent(kind.noisy_rate)
    near = trained(problem, kind.rule(kind.rate), None, kind.steps, kind.batch_size, seed)
    held = trained(problem, rule, near, 1000, 1, seed)
    fields = {"problem": problem, "rule": rule, "params": held, "steps": kind.steps, "batch_size": 1}
    return fields | {"cure": {"batch_size": None}}


def _too_low(kind: Kind, severity: float, seed: int) -> dict[str, Any]:
    good = _base(kind, seed)
    return good | {"rule": kind.rule(kind.rate / between(severity, 30, 3000)), "cure": {"rule": good["rule"]}}


def _too_high(kind: Kind, severity: float, seed: int) -> dict[str, Any]:
    good = _base(kind, seed)
    return good | {"rule": kind.rule(between(severity, *kind.too_high)), "cure": {"rule": good["rule"]}}


def _unnormalized(kind: Kind, severity: float, seed: int) -> dict[str, Any]:
    good = _base(kind, seed)
    factor, shift = level(severity, (1.0, 8.0), (255.0, 0.0), (1.0, 30.0))
    bad = _base(kind, seed, scaling="standardize" if shift else "raw")["problem"]
    (inputs, labels), (held, held_labels) = bad.data, bad.validation
    bad = dataclasses.replace(
        bad, data=(inputs * factor + shift, labels), validation=(held * factor + shift, held_labels)
    )
    return good | {"problem": bad, "cure": {"problem": good["problem"]}}


def _bad_start(kind: Kind, severity: float, seed: int) -> dict[str, Any]:
    good = _base(kind, seed)
    return good | {"problem": badly_started(good["problem"], severity), "cure": {"problem": good["problem"]}}


def _overfitted(kind: Kind, severity: float, seed: int) -> dict[str, Any]:
    good = _base(kind, seed)
    few = mislabelled(with_rows(_network(kind, real()), 50, seed), between(severity, 0.2, 0.5), seed)
    end = trained(few, adam(0.01), None, 300, None, seed)
    cure = {"problem": good["problem"], "params": None, "batch_size": kind.batch_size}
    return good | {"problem": few, "params": end, "batch_size": None, "cure": cure}


def _underfitted(kind: Kind, severity: float, seed: int) -> dict[str, Any]:
    good = _base(kind, seed)
    if severity < 1 / 3:
        bad = _base(kind, seed, width=1, depth=1) | {"rule": kind.rule(kind.rate / 5)}  # its edge is lower
    else:
        bad = good | {"rule": kind.rule(kind.rate, decay=between(severity, *kind.decays))}
    end = trained(bad["problem"], bad["rule"], None, 10 * kind.steps, kind.batch_size, seed)
    cure = {"problem": good["problem"], "rule": good["rule"], "params": None}
    return bad | {"params": end, "cure": cure}


def _non_finite(kind: Kind, severity: float, seed: int) -> dict[str, Any]:
    good = _base(kind, seed) | {"batch_size": 32}
    problem, cure = good["problem"], {"problem": good["problem"], "params": None}
    inputs, labels = problem.data
    if severity > 2 / 3:
        start = problem.init(jax.random.key(seed))
        leaves, structure = jax.tree.flatten(start)
        place = max(range(len(leaves)), key=lambda each: leaves[each].size)
        leaves[place] = leaves[place].ravel().at[7].set(jnp.nan).reshape(leaves[place].shape)
        return good | {"params": structure.unflatten(leaves), "cure": cure}
    spoiled = inputs.reshape(len(inputs), -1).at[len(inputs) // 2, 20].set(level(severity, jnp.nan, jnp.inf, 0.0))
    problem = dataclasses.replace(problem, data=(spoiled.reshape(inputs.shape), labels))
    return good | {"problem": problem, "cure": cure}


def _dead_and_slow(kind: Kind, severity: float, seed: int) -> dict[str, Any]:
    fields = _dead(kind, severity, seed)
    slow = kind.rule(kind.rate / between(severity, 30, 300))
    return fields | {"rule": slow, "cure": fields["cure"] | {"rule": fields["rule"]}}


_PLANTS: dict[str, Callable[[Kind, float, int], dict[str, Any]]] = {
    "healthy": _healthy,
    "vanishing-signal": _vanishing,
    "exploding-signal": _exploding,
    "dead-units": _dead,
    "gradient-noise": _noisy,
    "learning-rate-too-low": _too_low,
    "learning-rate-too-high": _too_high,
    "unnormalized-inputs": _unnormalized,
    "bad-initialization": _bad_start,
    "overfitting": _overfitted,
    "underfitting": _underfitted,
    "non-finite": _non_finite,
    "dead-units+learning-rate-too-low": _dead_and_slow,
}


def plants(kind: Kind) -> dict[str, Callable[[float, int], dict[str, Any]]]:
    """The faults of one kind of network."""
    return {cause: functools.partial(make, kind) for cause, make in _PLANTS.items()}
