"""One eigenvalue under a two-step method: its two roots, its decay per step, its exact response.

With h = learning_rate eigenvalue, x+ = T x - D x_before, T = 1 + rho - h (1 + lookahead), D = rho - h lookahead
(family of `rates`). Because 1 - T + D = h, the distance of the largest root from 1 has a form without cancellation:
    1 - root = 2 h / (2 - T + s),
    s^2 = (1 - rho)^2 - 2 h (1 + rho - lookahead + rho lookahead) + h^2 (1 + lookahead)^2,
and a mode that starts at rest (x_before = x = 1) is, for complex roots R exp(+-i theta),
    x_k = R^k (cos k theta + w sin(k theta) / |s|),   w = 1 - rho - h (1 - lookahead).
"""

from typing import Annotated, Any

import numpy as np
from typing_extensions import TypeAliasType

from jaxopt_lab.theory.arguments import (
    Finite,
    Floats,
    Lookahead,
    Momentum,
    NonNegative,
    Positive,
    Range,
    checked,
)

__all__ = ["critical_rho", "decay_rate", "mode_value", "spectral_radius"]

NumSteps = TypeAliasType("NumSteps", Annotated[Any, Range("[0, 1e+15]")])
Convex = TypeAliasType("Convex", Annotated[Any, Range("[0, inf)", "At a saddle, take ln|x| / -decay_rate.")])


@checked
def spectral_radius(
    learning_rate: NonNegative, eigenvalue: Finite, rho: Momentum = 0.0, lookahead: Lookahead = 0.0
) -> Floats:
    """Modulus of the larger root of a mode, its asymptotic factor per step.

    (|T| + s) / 2 for real roots, sqrt(D) for complex ones; above 1 the mode diverges. Negative eigenvalues
    (saddles) are allowed and give the escape factor.

    Example:
      >>> print(f"{spectral_radius(1.0, 0.1, rho=0.9):.6f} {spectral_radius(1.0, -0.01, rho=0.9):.8f}")
      0.948683 1.06465856

    Reference: Polyak 1964; Lessard, Recht, Packard 2016, section 4; O'Donoghue and Candes 2015, section 4.
    """
    T, D, s2 = _roots(learning_rate * eigenvalue, rho, lookahead)
    return np.where(s2 < 0, np.sqrt(np.maximum(D, 0)), (np.abs(T) + np.sqrt(np.maximum(s2, 0))) / 2)[()]


@checked
def decay_rate(
    learning_rate: NonNegative, eigenvalue: Finite, rho: Momentum = 0.0, lookahead: Lookahead = 0.0
) -> Floats:
    """-ln of the spectral radius per step, accurate also where the radius rounds to 1.

    Positive when the mode converges, negative when it diverges, inf when it is annihilated.

    Example:
      >>> print(f"{decay_rate(1.0, 1e-20, rho=0.9):.4g}")
      1e-19

    Reference: as `spectral_radius`.
    """
    h = learning_rate * eigenvalue
    T, D, s2 = _roots(h, rho, lookahead)
    s = np.sqrt(np.maximum(s2, 0))
    room = np.where(T >= 0, 1 - rho + h * (1 + lookahead), 2 + T)  # 2 - |T|, exact also for T near 2
    product = np.where(T >= 0, h, 2 * (1 + rho) - h * (1 + 2 * lookahead))
    denominator = np.where(room + s > 0, room + s, 1.0)
    real_gap = np.where(room >= 0, 2 * product / denominator, (room - s) / 2)
    with np.errstate(divide="ignore"):
        from_real = np.where(
            real_gap < 0.5, np.log1p(-np.minimum(real_gap, 0.5)), np.log(np.where(real_gap < 0.5, 1, np.abs(T) + s) / 2)
        )
        deficit = 1 - rho + h * lookahead
        from_complex = 0.5 * np.where(
            deficit < 0.5, np.log1p(-np.minimum(deficit, 0.5)), np.log(np.where(s2 < 0, D, 1.0))
        )
    return -np.where(s2 < 0, from_complex, from_real)[()]


@checked
def critical_rho(learning_rate: Positive, eigenvalue: Positive) -> Floats:
    """Momentum at which heavy ball shrinks one mode fastest (critical damping), h = learning_rate eigenvalue below 4.

    rho = (1 - sqrt(h))^2; below it the mode is overdamped, above it underdamped: it shrinks by sqrt(rho) a step.

    Example:
      >>> print(f"{critical_rho(1.0, 0.1):.5f}")
      0.46754

    Reference: Goh, Why momentum really works, Distill 2017.
    """
    stable = Range("(0, 4)", "Beyond 4 no momentum below 1 converges.")
    return (1 - np.sqrt(stable("critical_rho", "learning_rate * eigenvalue", learning_rate * eigenvalue))) ** 2


@checked
def mode_value(
    steps: NumSteps,
    learning_rate: NonNegative,
    eigenvalue: Convex,
    rho: Momentum = 0.0,
    lookahead: Lookahead = 0.0,
) -> Floats:
    """Exact x_k of one mode started at rest from x = 1, in closed form at any whole number of steps.

    x_k = R^k (cos k theta + w sin(k theta) / |s|) for complex roots, the same with cosh and sinh for real ones;
    0 where it underflows, +-inf where it overflows.

    Example:
      >>> print(f"{mode_value(2, 1.0, 1.0, rho=0.9):.6f}")
      -0.900000

    Reference: Goh 2017; O'Donoghue and Candes 2015, section 4.
    """
    h = learning_rate * eigenvalue
    T, D, s2 = _roots(h, rho, lookahead)
    w = 1 - rho - h * (1 - lookahead)
    steps, T, D, s2, w, h = np.broadcast_arrays(steps, T, D, s2, w, h)
    log_radius = -np.broadcast_to(decay_rate(h, 1.0, rho, lookahead), steps.shape)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        scale = np.where(steps == 0, 1.0, np.exp(steps * log_radius))
        value = np.where(s2 < 0, _underdamped(steps, T, s2, w), _overdamped(steps, T, D, s2, w)) * scale
    value = np.where(steps == 0, 1.0, np.where(steps == 1, 1 - h, value))
    return np.where((scale == 0) & (steps > 1), 0.0, value)[()]


def _roots(h: Floats, rho: Floats, lookahead: Floats) -> tuple[Floats, Floats, Floats]:
    """T, D and s^2, which is free of the cancellation in T^2 - 4 D."""
    T = 1 + rho - h * (1 + lookahead)
    D = rho - h * lookahead
    s2 = (1 - rho) ** 2 - 2 * h * (1 + rho - lookahead * (1 - rho)) + (h * (1 + lookahead)) ** 2
    return T, D, s2


def _underdamped(steps: Floats, T: Floats, s2: Floats, w: Floats) -> Floats:
    """x_k / R^k for complex roots."""
    s = np.sqrt(np.where(s2 < 0, -s2, 1.0))
    angle = steps * np.arctan2(s, T)
    return np.cos(angle) + w / s * np.sin(angle)


def _overdamped(steps: Floats, T: Floats, D: Floats, s2: Floats, w: Floats) -> Floats:
    """x_k / R^k for real roots R = (|T| + s) / 2 in modulus and r = D / R; R^-k (c R^k + (1 - c) r^k), signed."""
    sign = np.where(T < 0, -1.0, 1.0)
    s = np.sqrt(np.maximum(s2, 0))
    size = np.maximum((np.abs(T) + s) / 2, np.finfo(float).tiny)
    ratio = D / size**2
    # Near a double root ratio -> 1: atanh and expm1 keep (1 - ratio^k) / s accurate; its limit is k / size.
    near = ratio > 0.5
    log_ratio = np.where(
        near,
        -2 * np.arctanh(np.where(near, s, 0.0) / np.where(near, np.abs(T), 1.0)),
        np.log(np.where(ratio > 0, ratio, 1.0)),
    )
    powers = np.where(ratio > 0, np.exp(steps * log_ratio), np.sign(ratio) ** (steps % 2) * np.abs(ratio) ** steps)
    apart = np.where(ratio > 0, -np.expm1(steps * log_ratio), 1 - powers)
    slope = np.where(s > 0, apart / np.where(s > 0, 2 * s, 1.0), steps / (2 * size))
    return np.where(steps % 2 == 1, sign, 1.0) * ((1 + powers) / 2 + sign * w * slope)
