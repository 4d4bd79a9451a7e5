"""Faults of losses without data: a rotated bowl in 32 dimensions, saddles, a plateau, and a bowl with ripples.

The bowl f(x) = 1/2 sum_i lambda_i (q_i (x - x*))^2 has the largest eigenvalue 1, so the best plain rate is near 1; its
random start gives each mode about the same loss, and with kappa = 10 and rate 1 it is healthy. Why a label holds:

    ill-conditioned         kappa 1e3 to 1e6 at the rate 1, above which nothing converges: the flat modes do not move
    saddle                  the gradient is below 1e-4 and eigenvalues are negative; a point further out gets away
    plateau                 f = 1 - exp(-bowl): gradient and curvature are exp(-8) to exp(-14); nearer, the rule works
    gradient-noise          the point is drawn from where additive noise holds it; without the noise the loss goes to 0
    learning-rate-too-low   kappa = 10 at 1/30 to 1/3000 of the best rate
    learning-rate-too-high  kappa = 10 above the edge 2
    local-minimum           a bowl with ripples, at rest in a ripple; another start finds the bottom
    non-finite              the way down leads out of the domain of a square root: NaN at any rate
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diagnosis.planting.cases import adam, between, descent, level, real, trained
from jaxopt_lab import objectives
from jaxopt_lab.core import Batch, Key, Problem, Truth, from_loss

DIM = 32
HEALTHY = 10.0


def _bowl_loss(constants: Any, params: jax.Array, batch: Batch, key: Key | None) -> jax.Array:
    del batch, key
    spectrum, basis, bottom = constants
    return 0.5 * jnp.sum(spectrum * jnp.square(basis @ (params - bottom)))


def _plateau_loss(constants: Any, params: jax.Array, batch: Batch, key: Key | None) -> jax.Array:
    return 1 - jnp.exp(-_bowl_loss(constants, params, batch, key))


def _ripple_loss(constants: Any, params: jax.Array, batch: Batch, key: Key | None) -> jax.Array:
    ripples = jnp.mean(1 - jnp.cos(2 * jnp.pi * (params - constants[2])))
    return _bowl_loss(constants, params, batch, key) / DIM + 0.5 * ripples


def _root_loss(constants: Any, params: jax.Array, batch: Batch, key: Key | None) -> jax.Array:
    return _bowl_loss(constants, params, batch, key) + jnp.sqrt(params[0])


def _safe_root_loss(constants: Any, params: jax.Array, batch: Batch, key: Key | None) -> jax.Array:
    return _bowl_loss(constants, params, batch, key) + jnp.sqrt(1 + jnp.square(params[0]))


@functools.cache
def _bowl(kappa: float, dtype: str, loss: Any = _bowl_loss, rotated: bool = True) -> Problem:
    rng = np.random.default_rng(int(kappa))
    basis = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0] if rotated else np.eye(DIM)
    spectrum, bottom = np.geomspace(1, 1 / kappa, DIM), rng.normal(size=DIM)
    if loss in (_root_loss, _safe_root_loss):
        bottom[0] = -2.0
    constants = tuple(jnp.asarray(part, dtype) for part in (spectrum, basis, bottom))

    def init(key: Key) -> jax.Array:
        """Each mode holds about the same loss."""
        modes = jax.random.normal(key, (DIM,), dtype) / jnp.sqrt(constants[0])
        return constants[2] + constants[1].T @ modes

    name = loss.__name__.strip("_").replace("_", "-")
    truth = Truth(minimum=0.0) if loss in (_bowl_loss, _plateau_loss, _ripple_loss) else Truth()
    return from_loss(jax.tree_util.Partial(loss, constants), init, truth=truth, name=name)


def _start(problem: Problem, seed: int) -> jax.Array:
    return problem.init(jax.random.key(seed))


def _healthy(severity: float, seed: int) -> dict[str, Any]:
    problem = _bowl(HEALTHY, real())
    rule = level(severity, descent(1.0), descent(0.3, 0.8), adam(0.1))
    return {"problem": problem, "rule": rule, "params": _start(problem, seed), "steps": 150}


def _ill_conditioned(severity: float, seed: int) -> dict[str, Any]:
    problem, good = _bowl(between(severity, 1e3, 1e6), real()), _bowl(HEALTHY, real())
    cure = {"problem": good, "params": _start(good, seed)}
    return {"problem": problem, "rule": descent(1.0), "params": _start(problem, seed), "steps": 150, "cure": cure}


@functools.cache
def _strict_saddle(eigenvalue: float, dtype: str) -> Problem:
    spectrum = np.concatenate([np.full(3, eigenvalue), np.linspace(0.1, 1.0, DIM - 3)])
    return objectives.quadratic_saddle(jnp.asarray(spectrum, dtype), confinement=-eigenvalue / 50)


@functools.cache
def _product(dtype: str) -> tuple[Problem, Any]:
    """Two linear layers with one of three modes learned: the others hold the loss 1/2 (0.5^2 + 0.25^2)."""
    del dtype
    target = objectives.planted_matrix([1.0, 0.5, 0.25], 6)
    return objectives.linear_network(target, width=6), objectives.balanced_weights(target, [1.0, 0.0, 0.0], width=6)


def _saddle(severity: float, seed: int) -> dict[str, Any]:
    size = between(severity, 1e-4, 1e-8)
    if level(severity, False, True, False):
        problem, weights = _product(real())
        keys = jax.random.split(jax.random.key(seed), len(weights))
        noise = [jax.random.normal(key, leaf.shape, leaf.dtype) for key, leaf in zip(keys, weights, strict=True)]
        near, far = (
            tuple(leaf + scale * each for leaf, each in zip(weights, noise, strict=True)) for scale in (size, 0.3)
        )
        return {"problem": problem, "rule": descent(0.3), "params": near, "steps": 60, "cure": {"params": far}}
    problem = _strict_saddle(-between(severity, 0.05, 0.02), real())
    near = size * jax.random.normal(jax.random.key(seed), (DIM,), real())
    far = near.at[:3].add(2.0 * jnp.sign(near[:3]))
    return {"problem": problem, "rule": descent(1.0), "params": near, "steps": 80, "cure": {"params": far}}


def _plateau(severity: float, seed: int) -> dict[str, Any]:
    problem = _bowl(3.0, real(), _plateau_loss)
    direction = _start(problem, seed) - _bottom(problem)
    height = float(_bowl(3.0, real()).full_loss(_bottom(problem) + direction))
    far, near = (_bottom(problem) + direction * np.sqrt(each / height) for each in (between(severity, 8.0, 14.0), 1.0))
    return {"problem": problem, "rule": descent(1.0), "params": far, "steps": 100, "cure": {"params": near}}


def _bottom(problem: Problem) -> jax.Array:
    constants: Any = problem.loss.args[0]  # pyrefly: ignore
    return constants[2]


@functools.cache
def _noisy(kappa: float, scale: float, dtype: str) -> Problem:
    return objectives.with_noise(_bowl(kappa, dtype), "gaussian", scale)


def _gradient_noise(severity: float, seed: int) -> dict[str, Any]:
    scale, rate = between(severity, 0.3, 10.0), between(severity, 0.5, 0.2)
    noisy, quiet = _noisy(HEALTHY, scale, real()), _bowl(HEALTHY, real())
    held = trained(noisy, descent(rate), None, 150, None, 1000 + seed)
    return {"problem": noisy, "rule": descent(rate), "params": held, "steps": 150, "cure": {"problem": quiet}}


def _too_low(severity: float, seed: int) -> dict[str, Any]:
    rate = 1 / between(severity, 30, 3000)
    return _healthy(0.0, seed) | {"rule": descent(rate), "steps": 100, "cure": {"rule": descent(1.0)}}


def _too_high(severity: float, seed: int) -> dict[str, Any]:
    rate = between(severity, 2.2, 8.0)
    return _healthy(0.0, seed) | {"rule": descent(rate), "steps": 60, "cure": {"rule": descent(1.0)}}


def _local_minimum(severity: float, seed: int) -> dict[str, Any]:
    problem = _bowl(1.0, real(), _ripple_loss, rotated=False)
    rng = np.random.default_rng(seed)
    size = int(level(severity, 1, 2, 3))
    ripple = size * rng.choice([-1, 1], DIM) + 0.05 * rng.normal(size=DIM)
    near = _bottom(problem) + jnp.asarray(0.2 * rng.normal(size=DIM), real())
    rest = trained(problem, descent(1.0), _bottom(problem) + jnp.asarray(ripple, real()), 100, None, seed)
    return {"problem": problem, "rule": descent(1.0), "params": rest, "steps": 100, "cure": {"params": near}}


def _non_finite(severity: float, seed: int) -> dict[str, Any]:
    problem, safe = (_bowl(HEALTHY, real(), loss) for loss in (_root_loss, _safe_root_loss))
    start = _start(problem, seed).at[0].set(level(severity, 2.0, 0.3, -0.5))
    return {"problem": problem, "rule": descent(0.3), "params": start, "steps": 100, "cure": {"problem": safe}}


def _ill_and_slow(severity: float, seed: int) -> dict[str, Any]:
    fields = _ill_conditioned(severity, seed)
    rule = descent(1 / between(severity, 30, 300))
    return fields | {"rule": rule, "cure": fields["cure"] | {"rule": descent(1.0)}}


PLANTS = {
    "healthy": _healthy,
    "ill-conditioned": _ill_conditioned,
    "saddle": _saddle,
    "plateau": _plateau,
    "gradient-noise": _gradient_noise,
    "learning-rate-too-low": _too_low,
    "learning-rate-too-high": _too_high,
    "local-minimum": _local_minimum,
    "non-finite": _non_finite,
    "ill-conditioned+learning-rate-too-low": _ill_and_slow,
}
