"""A chain of saddles, the octopus: what each saddle costs, by the ratio of exit times or, with perturbations, in steps.

The stable eigenvalues are 2 L, that of the escape is -2 gamma; a saddle is passed at 2 tau, the next lies at 4 tau.

Reference: Du, Jin, Lee, Jordan, Poczos, Singh 2017, Gradient descent can take exponential time to escape saddle points,
arXiv 1705.10412.
"""

import numpy as np
from numpy.typing import ArrayLike

from jaxopt_lab.core.errors import fail, require_count
from jaxopt_lab.theory.arguments import Floats, between, positive
from jaxopt_lab.theory.escapes import growth_factor, perturbed_escape_time
from jaxopt_lab.theory.modes import decay_rate

__all__ = ["octopus_exit_times", "octopus_perturbed_steps", "octopus_ratio"]


def octopus_ratio(
    learning_rate: ArrayLike,
    smoothness: ArrayLike,
    curvature: ArrayLike,
    rho: ArrayLike = 0.0,
    lookahead: ArrayLike = 0.0,
) -> Floats:
    """Ratio of successive exit times along a chain of saddles, the octopus.

    While a rule leaves one saddle, it shrinks the coordinate along which it is to leave the next, whose
    escape takes longer by as much: 1 + decay rate at 2 L / ln of the growth factor at -2 gamma; for gradient descent
    1 + ln(1 / (1 - 2 lr L)) / ln(1 + 2 lr gamma).

    Args:
      learning_rate: > 0; at the eigenvalue 2 L it must be stable.
      smoothness: L > 0.
      curvature: gamma > 0.
      rho: momentum in [0, 1).
      lookahead: 0 for heavy ball, rho for Nesterov.

    Returns:
      The ratio, (L + gamma) / gamma in the limit of small rates; broadcast.

    Raises:
      InputError: an argument out of its range, or a rate that is unstable at 2 L, or shrinks to zero in a step.

    Example:
      >>> octopus_ratio(1 / 8, 1.0, [1.0, 1 / 1.5, 0.5]).round(3).tolist()
      [2.289, 2.866, 3.442]
      >>> octopus_ratio(1 / 8, 1.0, 1.0, 0.9, [0.0, 0.9]).round(3).tolist()
      [1.115, 1.362]

    Reference: Du, Jin, Lee, Jordan, Poczos, Singh 2017, Gradient descent can take exponential time to escape saddle
    points, arXiv 1705.10412, for small rates without momentum.
    """
    where = "octopus_ratio"
    stable = 2 * positive(where, "smoothness", smoothness)
    descending = 2 * positive(where, "curvature", curvature)
    shrink = decay_rate(positive(where, "learning_rate", learning_rate), stable, rho, lookahead)
    if not np.all(np.isfinite(shrink) & (shrink > 0)):
        raise fail(
            where, "2 learning_rate smoothness must be stable and not 1 without momentum", "Lower the learning rate."
        )
    return 1 + shrink / np.log(growth_factor(np.multiply(learning_rate, descending), rho, lookahead))


def octopus_exit_times(
    count: int,
    learning_rate: float,
    smoothness: float = 1.0,
    curvature: float = 1.0,
    rho: float = 0.0,
    lookahead: float = 0.0,
    scale: float = np.e,
) -> Floats:
    """About when each of the first saddles of the octopus is left from a start in [-1, 1]^d, [count].

    The first is left after (ln(2 tau) + 1) / ln(growth factor) steps, as E ln(1 / |x_1|) = 1; each later one takes the
    `octopus_ratio` times as long and as much again: T_k = T_1 (ratio^k - 1) / (ratio - 1). Right to about a tenth: the
    way from tau to 2 tau and the oscillations of momentum are left out.

    Args:
      count: number of saddles, >= 1.
      learning_rate: as in `octopus_ratio`, and so are smoothness, curvature, rho and lookahead.
      smoothness: L > 0.
      curvature: gamma > 0.
      rho: momentum in [0, 1).
      lookahead: 0 for heavy ball, rho for Nesterov.
      scale: tau > 0.

    Returns:
      The steps, real numbers.

    Raises:
      InputError: an argument out of its range.

    Example:
      >>> octopus_exit_times(6, 1 / 8).round().tolist()
      [12.0, 40.0, 103.0, 248.0, 579.0, 1338.0]
    """
    require_count("octopus_exit_times", "count", count)
    reach = np.log(2 * positive("octopus_exit_times", "scale", scale)) + 1
    ratio = octopus_ratio(learning_rate, smoothness, curvature, rho, lookahead)
    first = reach / np.log(growth_factor(2 * learning_rate * curvature, rho, lookahead))
    return first * (ratio ** np.arange(1, count + 1) - 1) / (ratio - 1)


def octopus_perturbed_steps(
    learning_rate: float,
    dim: ArrayLike,
    radius: ArrayLike,
    threshold: ArrayLike,
    smoothness: float = 1.0,
    curvature: float = 1.0,
    scale: float = np.e,
    negative_curvature: bool = False,
) -> Floats:
    """Steps that perturbed gradient descent takes for each saddle of the octopus, the same for all but the first three.

    From 2 tau it settles until the gradient's norm is below the threshold, is perturbed, and grows from
    there to 2 tau; what an earlier perturbation has left is forgotten. A step along the negative curvature is not
    diluted by the dimension.

    Args:
      learning_rate: > 0, below 1 / (2 L).
      dim: d >= 1.
      radius: of the ball of perturbations, > 0, far below tau.
      threshold: norm of the gradient below which it is perturbed, in (0, 4 L tau).
      smoothness: L > 0.
      curvature: gamma > 0.
      scale: tau > 0.
      negative_curvature: whether the perturbation goes along the escape direction, with length `radius`.

    Returns:
      The mean number of steps, broadcast over dim, radius and threshold. The way from tau to 2 tau, where growth is
      not exponential, is counted step by step.

    Raises:
      InputError: an argument out of its range.

    Example:
      >>> steps = octopus_perturbed_steps(1 / 8, [10, 1000], 0.01, 0.01)
      >>> f"{steps[0]:.0f}, and {steps[1] - steps[0]:.1f} more"
      '62, and 10.3 more'
    """
    where = "octopus_perturbed_steps"
    numbers = {"learning_rate": learning_rate, "smoothness": smoothness, "curvature": curvature, "scale": scale}
    for name, number in numbers.items():
        positive(where, name, number)
    shrink = 2 * learning_rate * smoothness
    between(where, "2 learning_rate smoothness", shrink, 0, 1, ends="()", why="Lower the learning rate.")
    share = positive(where, "threshold", threshold) / (4 * smoothness * scale)
    settling = np.log(between(where, "threshold / (4 L tau)", share, 0, 1, ends="()")) / np.log1p(-shrink)
    h = 2 * learning_rate * curvature
    if negative_curvature:
        escape = np.log(1 / np.asarray(radius)) / np.log1p(h)
    else:
        escape = perturbed_escape_time(h, dim, radius).mean
    return settling + 1 + escape + _crossing(learning_rate, smoothness, curvature, scale)  # 1: the perturbation


def _crossing(rate: float, smoothness: float, curvature: float, scale: float) -> float:
    """Steps of one coordinate alone from a small distance to 2 tau, less those of pure growth from there to 1."""
    growth = 1 + 2 * rate * curvature
    y = 1e-6 * growth ** np.linspace(0, 1, 200, endpoint=False)  # averaged over where in a step the growth begins
    pure, steps = -np.log(y) / np.log(growth), np.zeros_like(y)
    while (y <= 2 * scale).any():
        over = np.maximum(y - scale, 0) / scale
        bend = (14 * smoothness - 10 * curvature) * over**2 + (6 * curvature - 10 * smoothness) * over**3
        steps += y <= 2 * scale
        y = np.where(y > 2 * scale, y, y + rate * (2 * curvature * y + scale * bend))
    return float((steps - pure).mean())
