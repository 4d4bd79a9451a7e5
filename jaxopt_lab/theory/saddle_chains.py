"""A chain of saddles, the octopus: what each saddle costs, by the ratio of exit times or, with perturbations, in steps.

The stable eigenvalues are 2 L, that of the escape is -2 gamma; a saddle is passed at 2 tau, the next lies at 4 tau:
`smoothness` is L, `curvature` gamma and `scale` tau.

Reference: Du, Jin, Lee, Jordan, Poczos, Singh 2017, Gradient descent can take exponential time to escape saddle points,
arXiv 1705.10412.
"""

import numpy as np

from jaxopt_lab.core.errors import fail
from jaxopt_lab.theory.arguments import AtLeastOne, Count, Floats, FractionBelowOne, Momentum, Positive, Range, checked
from jaxopt_lab.theory.escapes import growth_factor, perturbed_escape_time
from jaxopt_lab.theory.modes import decay_rate

__all__ = ["octopus_exit_times", "octopus_perturbed_steps", "octopus_ratio"]


@checked
def octopus_ratio(
    learning_rate: Positive,
    smoothness: Positive,
    curvature: Positive,
    rho: Momentum = 0.0,
    lookahead: FractionBelowOne = 0.0,
) -> Floats:
    """Ratio of successive exit times along a chain of saddles, the octopus.

    While a rule leaves one saddle, it shrinks the coordinate along which it is to leave the next, whose escape takes
    longer by as much: 1 + decay rate at 2 L / ln of the growth factor at -2 gamma; for gradient descent
    1 + ln(1 / (1 - 2 lr L)) / ln(1 + 2 lr gamma), in the limit of small rates (L + gamma) / gamma. The learning rate
    must be stable at the eigenvalue 2 L.

    Example:
      >>> octopus_ratio(1 / 8, 1.0, [1.0, 1 / 1.5, 0.5]).round(3).tolist()
      [2.289, 2.866, 3.442]
      >>> octopus_ratio(1 / 8, 1.0, 1.0, 0.9, [0.0, 0.9]).round(3).tolist()
      [1.115, 1.362]

    Reference: Du et al. 2017, arXiv 1705.10412, for small rates without momentum.
    """
    shrink = decay_rate(learning_rate, 2 * smoothness, rho, lookahead)
    if not np.all(np.isfinite(shrink) & (shrink > 0)):
        problem = "2 learning_rate smoothness must be stable and not 1 without momentum"
        raise fail("octopus_ratio", problem, "Lower the learning rate.")
    return 1 + shrink / np.log(growth_factor(learning_rate * (2 * curvature), rho, lookahead))


@checked
def octopus_exit_times(
    count: Count,
    learning_rate: Positive,
    smoothness: Positive = 1.0,
    curvature: Positive = 1.0,
    rho: Momentum = 0.0,
    lookahead: FractionBelowOne = 0.0,
    scale: Positive = np.e,
) -> Floats:
    """About when each of the first saddles of the octopus is left from a start in [-1, 1]^d, in steps, [count].

    The first is left after (ln(2 tau) + 1) / ln(growth factor) steps, as E ln(1 / |x_1|) = 1; each later one takes the
    `octopus_ratio` times as long and as much again: T_k = T_1 (ratio^k - 1) / (ratio - 1). Right to about a tenth: the
    way from tau to 2 tau and the oscillations of momentum are left out.

    Example:
      >>> octopus_exit_times(6, 1 / 8).round().tolist()
      [12.0, 40.0, 103.0, 248.0, 579.0, 1338.0]
    """
    reach = np.log(2 * scale) + 1
    ratio = octopus_ratio(learning_rate, smoothness, curvature, rho, lookahead)
    first = reach / np.log(growth_factor(2 * learning_rate * curvature, rho, lookahead))
    return first * (ratio ** np.arange(1, count + 1) - 1) / (ratio - 1)


@checked
def octopus_perturbed_steps(
    learning_rate: Positive,
    dim: AtLeastOne,
    radius: Positive,
    threshold: Positive,
    smoothness: Positive = 1.0,
    curvature: Positive = 1.0,
    scale: Positive = np.e,
    negative_curvature: bool = False,
) -> Floats:
    """Mean steps of perturbed gradient descent for each saddle of the octopus, the same for all but the first three.

    From 2 tau it settles until the gradient's norm is below the threshold, is perturbed, and grows from there to 2 tau;
    what an earlier perturbation has left is forgotten. A step along the negative curvature is not diluted by the
    dimension. The way from tau to 2 tau, where growth is not exponential, is counted step by step.

    Args:
      learning_rate: below 1 / (2 L).
      dim: d.
      radius: of the ball of perturbations, far below tau.
      threshold: norm of the gradient below which it is perturbed, below 4 L tau.
      smoothness: L.
      curvature: gamma.
      scale: tau.
      negative_curvature: whether the perturbation goes along the escape direction, with length `radius`.

    Example:
      >>> steps = octopus_perturbed_steps(1 / 8, [10, 1000], 0.01, 0.01)
      >>> f"{steps[0]:.0f}, and {steps[1] - steps[0]:.1f} more"
      '62, and 10.3 more'
    """
    where, shrink = "octopus_perturbed_steps", 2 * learning_rate * smoothness
    Range("(0, 1)", "Lower the learning rate.")(where, "2 learning_rate smoothness", shrink)
    share = Range("(0, 1)")(where, "threshold / (4 L tau)", threshold / (4 * smoothness * scale))
    settling = np.log(share) / np.log1p(-shrink)
    h = 2 * learning_rate * curvature
    escape = np.log(1 / radius) / np.log1p(h) if negative_curvature else perturbed_escape_time(h, dim, radius).mean
    return settling + 1 + escape + _crossing(learning_rate, smoothness, curvature, scale)  # 1: the perturbation


def _crossing(rate: Floats, smoothness: Floats, curvature: Floats, scale: Floats) -> float:
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
