"""Faults of a small transformer on a Markov chain of 16 words, whose entropy rate is evidence.

A healthy run is Adam at 0.01 on 800 windows; in 100 steps it comes within a few hundredths of the entropy rate.
Residual connections and layer normalization keep signals alive, and two neighbouring words are all that there is to
learn, so neither vanishing signals nor dead units can hold this network back: they are not planted. Why a label holds:

    exploding-signal        two blocks without normalization and a gain of 4 to 8: a loss of 1e3 or more at first
    gradient-noise          one window a step, from where that holds the loss; all windows at the same rate go lower
    learning-rate-too-low   1/30 to 1/3000 of the good rate
    learning-rate-too-high  so high that the words' frequencies alone are learned, or less
    bad-initialization      the last layer is 100 times too large, or a bias is off by 200, or all units are equal
    overfitting             8 windows, some with wrong words, trained to the end: validation loss far above training
    underfitting            two numbers a position, or a strong weight decay, trained to the end
    non-finite              a NaN in the embedding of a rare word, an infinite weight, a NaN weight
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diagnosis.planting.cases import adam, between, level, real, trained
from experiments.diagnosis.planting.spoiling import badly_started, mislabelled, with_rows
from jaxopt_lab.core import Problem
from jaxopt_lab.problems import load_problem

RATE, STEPS, NUM = 0.01, 100, 800


@functools.cache
def _network(dtype: str, **options: Any) -> Problem:
    del dtype
    usual = {"width": 16, "depth": 1, "num_heads": 2, "length": 16, "vocabulary": 16, "num_examples": 1000}
    return load_problem("markov-transformer", **(usual | options))


def _base(seed: int, **options: Any) -> dict[str, Any]:
    problem = with_rows(_network(real(), **options), NUM, seed)
    return {"problem": problem, "rule": adam(RATE), "steps": STEPS, "batch_size": 64}


def _healthy(severity: float, seed: int) -> dict[str, Any]:
    rule = level(severity, adam(RATE), adam(RATE / 2), adam(RATE, 1e-3))
    return _base(seed) | {"rule": rule, "batch_size": level(severity, 64, None, 64)}


def _exploding(severity: float, seed: int) -> dict[str, Any]:
    bad, good = (_base(seed, norm="none", depth=2, gain=gain) for gain in (between(severity, 4.0, 8.0), 1.0))
    return bad | {"cure": {"problem": good["problem"]}}


def _noisy(severity: float, seed: int) -> dict[str, Any]:
    good = _base(seed)
    rule = adam(between(severity, 0.03, 0.06))
    near = trained(good["problem"], good["rule"], None, STEPS, 64, seed)
    held = trained(good["problem"], rule, near, 200, 1, seed)
    return good | {"rule": rule, "params": held, "batch_size": 1, "cure": {"batch_size": None}}


def _too_low(severity: float, seed: int) -> dict[str, Any]:
    good = _base(seed)
    return good | {"rule": adam(RATE / between(severity, 30, 3000)), "cure": {"rule": good["rule"]}}


def _too_high(severity: float, seed: int) -> dict[str, Any]:
    good = _base(seed)
    return good | {"rule": adam(between(severity, 0.3, 10.0)), "cure": {"rule": good["rule"]}}


def _bad_start(severity: float, seed: int) -> dict[str, Any]:
    good = _base(seed)
    return good | {"problem": badly_started(good["problem"], severity), "cure": {"problem": good["problem"]}}


def _overfitting(severity: float, seed: int) -> dict[str, Any]:
    good = _base(seed)
    few = mislabelled(with_rows(_network(real()), 8, seed), level(severity, 0.0, 0.15, 0.3), seed)
    end = trained(few, adam(0.02), None, 400, None, seed)
    cure = {"problem": good["problem"], "params": None, "batch_size": 64}
    return good | {"problem": few, "params": end, "batch_size": None, "cure": cure}


def _underfitting(severity: float, seed: int) -> dict[str, Any]:
    good = _base(seed)
    if severity < 1 / 3:
        bad = _base(seed, width=2, num_heads=1)
    else:
        bad = good | {"rule": adam(RATE, between(severity, 3.0, 10.0))}
    end = trained(bad["problem"], bad["rule"], None, 5 * STEPS, 64, seed)
    return bad | {"params": end, "cure": {"problem": good["problem"], "rule": good["rule"], "params": None}}


def _non_finite(severity: float, seed: int) -> dict[str, Any]:
    good = _base(seed)
    start = good["problem"].init(jax.random.key(seed))
    if severity < 1 / 3:
        counts = np.bincount(np.asarray(good["problem"].data[0]).ravel(), minlength=16)
        bad = start | {"tokens": start["tokens"].at[int(counts.argmin())].set(jnp.nan)}
    else:
        value = level(severity, jnp.inf, jnp.inf, jnp.nan)
        output = start["output"]
        bad = start | {"output": output | {"kernel": output["kernel"].at[3, 5].set(value)}}
    return good | {"params": bad, "cure": {"params": start}}


def _bad_and_slow(severity: float, seed: int) -> dict[str, Any]:
    fields = _bad_start(severity, seed)
    return fields | {
        "rule": adam(RATE / between(severity, 30, 300)),
        "cure": fields["cure"] | {"rule": fields["rule"]},
    }


PLANTS = {
    "healthy": _healthy,
    "exploding-signal": _exploding,
    "gradient-noise": _noisy,
    "learning-rate-too-low": _too_low,
    "learning-rate-too-high": _too_high,
    "bad-initialization": _bad_start,
    "overfitting": _overfitting,
    "underfitting": _underfitting,
    "non-finite": _non_finite,
    "bad-initialization+learning-rate-too-low": _bad_and_slow,
}
