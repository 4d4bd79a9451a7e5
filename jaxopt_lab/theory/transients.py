"""What momentum does before its asymptotic rate sets in: transients, overshoot, and a cycle that never ends.

The optimally tuned heavy ball first multiplies its fastest mode by sqrt(kappa) / e; an underdamped mode overshoots
the minimum; and beyond quadratics the same tuning may cycle forever.
"""

from typing import NamedTuple

import numpy as np

from jaxopt_lab.theory.arguments import (
    ConditionNumber,
    Floats,
    Lookahead,
    Momentum,
    NonNegative,
    NotNaN,
    Positive,
    checked,
)
from jaxopt_lab.theory.modes import mode_value, spectral_radius
from jaxopt_lab.theory.stability import nesterov_edge
from jaxopt_lab.theory.trajectories import mode_responses

__all__ = [
    "Peak",
    "cycling_gradient",
    "cycling_loss",
    "heavy_ball_cycle",
    "heavy_ball_peak",
    "heavy_ball_peak_asymptote",
    "heavy_ball_transient",
    "overshoot",
    "overshoot_of_oscillator",
    "overshoot_of_path",
    "overshoot_of_reported_point",
]


class Peak(NamedTuple):
    """The largest value of a transient.

    Attributes:
      height: max_k |x_k| / |x_0|.
      step: the k at which it is reached.
    """

    height: Floats
    step: Floats


@checked
def heavy_ball_transient(steps: NonNegative, kappa: ConditionNumber) -> Floats:
    """x_k of the optimally tuned heavy ball started at rest from 1 along the top eigenvector, at whole steps k.

    x_k = (1 + (1 + r) k) (-r)^k, r = sqrt(rho) = (sqrt(kappa) - 1) / (sqrt(kappa) + 1).

    Example:
      >>> print(f"{heavy_ball_transient(1, 9.0):.2f}")
      -1.25

    Reference: derived from the double root at the top eigenvalue; the phenomenon: Danilova, Kulakova, Polyak 2018,
      arXiv 1811.00658.
    """
    size, log_ratio = _transient(steps, kappa)
    return (np.where(steps % 2 == 1, -1.0, 1.0) * size * np.exp(log_ratio))[()]


@checked
def heavy_ball_peak(kappa: ConditionNumber) -> Peak:
    """The exact largest |x_k| of `heavy_ball_transient` over whole k, and the step where it is reached.

    The continuous maximum is at k = 1 / ln(1 / r) - 1 / (1 + r); the better of its two neighbours is taken. The loss of
    that mode grows by height^2.

    Example:
      >>> print(f"{heavy_ball_peak(1e6).height:.4f} at {heavy_ball_peak(1e6).step:.0f}")
      367.8797 at 499
    """
    root = np.sqrt(kappa)
    r = (kappa - 1) / (root + 1) ** 2
    decay = np.where(kappa > 1, -np.log1p(-np.minimum(2 / (root + 1), 1 - 1e-16)), np.inf)
    below = np.floor(np.maximum(1 / decay - 1 / (1 + r), 0))
    heights = [np.abs(heavy_ball_transient(step, kappa)) for step in (below, below + 1)]
    height = np.maximum(*heights)
    return Peak(height, np.where(heights[1] > heights[0], below + 1, below)[()])


@checked
def heavy_ball_peak_asymptote(kappa: ConditionNumber) -> Floats:
    """The height of `heavy_ball_peak` for large kappa: sqrt(kappa) / e, within 1 % from 100 on.

    Example:
      >>> print(f"{heavy_ball_peak_asymptote(1e4):.3f}")
      36.788
    """
    return np.sqrt(kappa) / np.e


@checked
def overshoot(learning_rate: Positive, eigenvalue: Positive, rho: Momentum = 0.0, lookahead: Lookahead = 0.0) -> Floats:
    """How far a mode started at rest from x = 1 runs past the minimum: minus its first minimum.

    With complex roots R exp(+-i theta), x_{k+1} - x_k is proportional to -sin((k + 1) theta), so the first minimum
    is exactly at k = ceil(pi / theta) - 1; with real roots it is at k = 1 or there is none. When theta is coarse a
    later minimum may be a little deeper: the deepest is -min over k of `trajectories.mode_responses`. It is 0 when x
    never changes sign, inf when it diverges.

    Example:
      >>> print(f"{overshoot(1.0, 0.1, rho=0.9):.3f} {overshoot(1.0, 0.1, rho=0.9, lookahead=0.9):.3f}")
      0.604 0.355

    Reference: derived here from the two-step recursion; rests on the roots of `modes`.
    """
    h, rho, lookahead = np.broadcast_arrays(learning_rate * eigenvalue, rho, lookahead)
    first = _first_minimum(h, rho, lookahead)
    depth = np.maximum(-mode_value(np.maximum(first, 0), h, 1.0, rho, lookahead), 0.0)
    depth = np.where(first < 0, 0.0, depth)
    # A radius that rounds to one step above 1 belongs to a mode exactly on the edge, which only oscillates.
    return np.where(spectral_radius(h, 1.0, rho, lookahead) > 1 + 1e-14, np.inf, depth)[()]


@checked
def overshoot_of_oscillator(
    learning_rate: Positive, eigenvalue: Positive, rho: Momentum, lookahead: Lookahead = 0.0
) -> Floats:
    """Overshoot of the damped oscillator that the method discretizes.

    exp(-pi z / sqrt(1 - z^2)) with damping ratio z = (1 - rho + lookahead h) / (2 sqrt(h)), h = learning_rate
    eigenvalue; 0 for z >= 1. Within 0.02 of `overshoot` for h <= 0.1 and rho >= 0.9.

    Example:
      >>> print(f"{overshoot_of_oscillator(1.0, 0.1, rho=0.9):.3f}")
      0.605

    Reference: Shi, Du, Jordan, Su 2018, high-resolution differential equations.
    """
    h = learning_rate * eigenvalue
    damping = (1 - rho + lookahead * h) / (2 * np.sqrt(h))
    inside = np.minimum(damping, 1 - 1e-16)
    return np.where(damping < 1, np.exp(-np.pi * inside / np.sqrt((1 - inside) * (1 + inside))), 0.0)[()]


@checked
def overshoot_of_path(path: NotNaN) -> float:
    """Minus the first local minimum of a path, 0 where it is not below zero.

    Args:
      path: one coordinate along a run, shape [t].

    Example:
      >>> overshoot_of_path(np.array([1.0, -0.2, 0.1, -0.5]))
      0.2
    """
    rising = np.flatnonzero(np.diff(path) > 0)
    lowest = path[rising[0]] if rising.size else path[-1]
    return max(-float(lowest), 0.0)


@checked
def overshoot_of_reported_point(learning_rates: Positive, rho: Momentum) -> Floats:
    """Overshoot of the point x_k + rho (x_k - x_{k-1}) that libraries report for Nesterov's method.

    Its first minimum is read off its exact path, mode by mode; the eigenvalue is 1.

    Args:
      learning_rates: shape [n], in units of 1 / eigenvalue.
      rho: momentum.

    Example:
      >>> overshoot_of_reported_point(np.array([1.0, 2.0]), 0.9).round(6).tolist()
      [0.9, inf]

    Cost: memory O(n / sqrt(the smallest rate)).
    """
    edge = nesterov_edge(rho)
    inside = np.minimum(learning_rates, 0.999 * edge)
    half_period = int(np.pi / np.sqrt(inside.min()))
    paths = mode_responses(inside, 1.0, 2 * half_period + 10, float(rho), float(rho))
    paths[1:] += rho * np.diff(paths, axis=0)
    depths = np.array([overshoot_of_path(path) for path in paths.T])
    return np.where(learning_rates < edge, depths, np.inf)


@checked
def cycling_loss(x: NotNaN) -> Floats:
    """A smooth strongly convex function of one variable (L = 25, mu = 1) on which heavy ball cycles.

    f = 25/2 x^2 for x < 1, x^2/2 + 24 x - 12 for 1 <= x < 2, 25/2 x^2 - 24 x + 36 above; minimum 0 at 0.

    Example:
      >>> cycling_loss([0.0, 1.0, 2.0]).tolist()
      [0.0, 12.5, 38.0]

    Reference: Lessard, Recht, Packard 2016, section 4.6.
    """
    return np.where(x < 1, 12.5 * x**2, np.where(x < 2, x**2 / 2 + 24 * x - 12, 12.5 * x**2 - 24 * x + 36))[()]


@checked
def cycling_gradient(x: NotNaN) -> Floats:
    """The derivative of `cycling_loss`: 25 x, x + 24 and 25 x - 24 on the three pieces.

    Example:
      >>> cycling_gradient([0.0, 1.0, 2.0]).tolist()
      [0.0, 25.0, 26.0]
    """
    return np.where(x < 1, 25 * x, np.where(x < 2, x + 24, 25 * x - 24))[()]


def heavy_ball_cycle() -> tuple[float, float, float]:
    """The 3-cycle of heavy ball on `cycling_loss` at its optimal tuning, learning_rate = 1/9 and rho = 4/9.

    (792, -2208, 2592) / 1225, in the order in which they are visited; reached from starts at rest in [3.07, 3.46]. They
    solve the linear equations that a cycle of period three obeys.

    Example:
      >>> print(" ".join(f"{x:.6f}" for x in heavy_ball_cycle()))
      0.646531 -1.802449 2.115918

    Reference: as `cycling_loss`.
    """
    return 792 / 1225, -2208 / 1225, 2592 / 1225


def _transient(steps: Floats, kappa: Floats) -> tuple[Floats, Floats]:
    """1 + (1 + r) k and k ln r."""
    root = np.sqrt(kappa)
    r = (kappa - 1) / (root + 1) ** 2
    # r is near 0 or near 1; each form is exact at its own end.
    log_r = np.where(
        r < 0.5, np.log(np.maximum(np.minimum(r, 0.5), 1e-300)), np.log1p(-np.minimum(2 / (root + 1), 0.5))
    )
    log_r = np.where(r > 0, log_r, -np.inf)
    with np.errstate(invalid="ignore"):
        return 1 + (1 + r) * steps, np.where(steps == 0, 0.0, steps * log_r)


def _first_minimum(h: Floats, rho: Floats, lookahead: Floats) -> Floats:
    """The step of the first minimum of a mode started at rest, -1 where it decreases forever without one."""
    T = 1 + rho - h * (1 + lookahead)
    s2 = (1 - rho) ** 2 - 2 * h * (1 + rho - lookahead * (1 - rho)) + (h * (1 + lookahead)) ** 2
    angle = np.arctan2(np.sqrt(np.where(s2 < 0, -s2, 1.0)), T)
    return np.where(s2 < 0, np.minimum(np.ceil(np.pi / angle) - 1, 1e15), np.where(T > 0, -1.0, 1.0))
