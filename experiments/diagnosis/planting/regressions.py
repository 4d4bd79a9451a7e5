"""Faults of linear models and other small models on tables of 16 features.

The healthy run is least squares on 512 examples with independent standard features, 9 % of the targets' variance noise,
at the rate 1 / L. Why a label holds:

    ill-conditioned         features of mean 0 and variance 1 that are correlated, so that no scaling helps; kappa 1e3
                            to 1e6, and the targets need all directions
    saddle                  two linear layers, one mode of three learned; the point is 1e-4 to 1e-8 off the saddle
    plateau                 one sigmoid unit that stands where it is saturated on every example
    gradient-noise          one example a step at a stable rate, from where its noise holds it; all examples go lower
    learning-rate-too-low   1/60 to 1/3000 of 1 / L
    learning-rate-too-high  above 2 / L
    unnormalized-inputs     units of the features spread over 1 to 2 decades, or means of 10 standard deviations; the
                            standardized features are independent
    bad-initialization      logistic regression from weights of size 30 to 300 that contradict the labels
    overfitting             as many examples as features, nearly, trained to the end: validation loss far above training
    underfitting            a linear model of an even function, or weight decay 3 to 30 times the features' variance
    local-minimum           a sine of the wrong frequency, at rest
    non-finite              a NaN among the features, or an infinite target
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diagnosis.planting import curved
from experiments.diagnosis.planting.cases import adam, between, descent, level, real, trained
from experiments.diagnosis.planting.tables import DIM, HELD, NUM, clean_scores, small_start
from jaxopt_lab import objectives
from jaxopt_lab.core import Problem


@functools.cache
def _least_squares(kind: str, size: float, dtype: str, num: int = NUM, noise: float = 0.3) -> Problem:
    """Targets are the sum of all scores over 4, plus noise; the features hide the scores in one of four ways."""
    rng = np.random.default_rng(7)
    scores = np.concatenate([clean_scores(num), rng.normal(size=(HELD, DIM))])
    targets = scores @ np.ones(DIM) / np.sqrt(DIM) + noise * rng.normal(size=len(scores))
    features = scores
    if kind == "correlated":
        features = scores * np.geomspace(1, size**-0.5, DIM) @ np.linalg.qr(rng.normal(size=(DIM, DIM)))[0].T
        features = features / features[:num].std(0)
    elif kind == "units":
        features = scores * np.geomspace(1 / size, size, DIM)
    elif kind == "shifted":
        features = scores + size
    elif kind == "even":
        targets = _even(scores, targets)
    elif kind == "absolute":
        features, targets = np.abs(scores) - np.sqrt(2 / np.pi), _even(scores, targets)
    features = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    problem = objectives.linear_regression(features[:num], targets[:num])
    held = (jnp.asarray(features[num:], dtype), jnp.asarray(targets[num:], dtype))
    truth = dataclasses.replace(problem.truth, minimizer=None)
    return dataclasses.replace(problem, validation=held, truth=truth, init=small_start)


def _even(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The targets with |score| in the place of each score."""
    return targets + (np.abs(scores) - np.sqrt(2 / np.pi) - scores).sum(axis=1) / np.sqrt(DIM)


def _edge(problem: Problem) -> float:
    """1 / L, to four digits, so that equal problems share their rule."""
    assert problem.truth.smoothness is not None
    return float(f"{1 / problem.truth.smoothness:.4g}")


def _healthy(severity: float, seed: int) -> dict[str, Any]:
    problem = _least_squares("plain", 1.0, real())
    rule = level(severity, descent(0.5), descent(0.1, 0.8), adam(0.03))
    start = problem.init(jax.random.key(seed))
    return {
        "problem": problem,
        "rule": rule,
        "params": start,
        "steps": 150,
        "batch_size": level(severity, None, None, 128),
    }


def _steady(seed: int) -> dict[str, Any]:
    """The healthy run with descent at 1 / L."""
    fields = _healthy(0.0, seed)
    return fields | {"rule": descent(_edge(fields["problem"]))}


def _other_features(kind: str, size: float, seed: int) -> dict[str, Any]:
    good = _steady(seed)
    problem = _least_squares(kind, size, real())
    cure = {"problem": good["problem"], "rule": good["rule"]}
    return good | {"problem": problem, "rule": descent(_edge(problem)), "cure": cure}


def _ill_conditioned(severity: float, seed: int) -> dict[str, Any]:
    return _other_features("correlated", between(severity, 1e3, 1e6), seed)


def _unnormalized(severity: float, seed: int) -> dict[str, Any]:
    kind, size = level(severity, ("units", 5.0), ("shifted", 10.0), ("units", 100.0))
    return _other_features(kind, size, seed)


def _too_low(severity: float, seed: int) -> dict[str, Any]:
    good = _steady(seed)
    rate = _edge(good["problem"]) / between(severity, 60, 3000)
    return good | {"rule": descent(rate), "steps": 60, "cure": {"rule": good["rule"]}}


def _too_high(severity: float, seed: int) -> dict[str, Any]:
    good = _steady(seed)
    rate = _edge(good["problem"]) * between(severity, 2.2, 8.0)
    return good | {"rule": descent(rate), "steps": 60, "cure": {"rule": good["rule"]}}


def _gradient_noise(severity: float, seed: int) -> dict[str, Any]:
    problem = _least_squares("plain", 1.0, real(), NUM, between(severity, 0.5, 2.0))
    rule = descent(between(severity, 0.03, 0.06))
    held = trained(problem, rule, None, 300, 1, 1000 + seed)
    fields = {"problem": problem, "rule": rule, "params": held, "steps": 200, "batch_size": 1}
    return fields | {"cure": {"batch_size": None}}


def _overfitting(severity: float, seed: int) -> dict[str, Any]:
    num = int(level(severity, 30, 24, 20))
    problem = _least_squares("plain", 1.0, real(), num, 0.8)
    more = _least_squares("plain", 1.0, real(), NUM, 0.8)
    rule = descent(_edge(problem))
    end = trained(problem, rule, None, 300, None, seed)
    cure = {"problem": more, "rule": descent(_edge(more))}
    return {"problem": problem, "rule": rule, "params": end, "steps": 100, "cure": cure}


def _underfitting(severity: float, seed: int) -> dict[str, Any]:
    if severity < 1 / 3:
        problem = _least_squares("even", 1.0, real())
        rule, cure = descent(0.5), {"problem": _least_squares("absolute", 1.0, real())}
    else:
        problem, decay = _least_squares("plain", 1.0, real()), between(severity, 1.0, 30.0)
        rule, cure = descent(0.5 / (1 + decay), None, decay), {"rule": descent(0.5)}
    end = trained(problem, rule, None, 200, None, seed)
    return {"problem": problem, "rule": rule, "params": end, "steps": 100, "cure": cure}


@functools.cache
def _spoiled(severity: float, dtype: str) -> Problem:
    problem = _least_squares("plain", 1.0, dtype)
    features, targets = problem.data
    if level(severity, True, False, True):
        features = features.at[100, 3].set(jnp.nan)
    if severity > 1 / 3:
        targets = targets.at[200].set(jnp.inf)
    return dataclasses.replace(problem, data=(features, targets))


def _non_finite(severity: float, seed: int) -> dict[str, Any]:
    good = _steady(seed) | {"rule": descent(0.2), "batch_size": int(level(severity, 32, 32, NUM))}
    return good | {"problem": _spoiled(severity, real()), "cure": {"problem": good["problem"]}}


def _unnormalized_and_slow(severity: float, seed: int) -> dict[str, Any]:
    fields = _unnormalized(severity, seed)
    return fields | {"rule": descent(_edge(fields["problem"]) / between(severity, 60, 300))}


PLANTS = {
    "healthy": _healthy,
    "ill-conditioned": _ill_conditioned,
    "saddle": curved.saddle,
    "plateau": curved.plateau,
    "gradient-noise": _gradient_noise,
    "learning-rate-too-low": _too_low,
    "learning-rate-too-high": _too_high,
    "unnormalized-inputs": _unnormalized,
    "bad-initialization": curved.bad_start,
    "overfitting": _overfitting,
    "underfitting": _underfitting,
    "local-minimum": curved.local_minimum,
    "non-finite": _non_finite,
    "unnormalized-inputs+learning-rate-too-low": _unnormalized_and_slow,
}
