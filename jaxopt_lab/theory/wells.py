"""Runs on losses with minima of known sharpness, iterated exactly: which well holds a run, and where a catapult lands.

Two layers of n weights, f = u.v / sqrt(n), loss f^2 / 2, sharpness lambda = (|u|^2 + |v|^2) / n: under gradient descent
all 2 n weights follow two numbers exactly,

    f <- f (1 - lr lambda + lr^2 f^2 / n),      lambda <- lambda + lr (f^2 / n) (lr lambda - 4).
"""

import numpy as np

from jaxopt_lab.theory.arguments import Count, Finite, Floats, FractionBelowOne, Momentum, Positive, checked

__all__ = ["share_that_stays", "two_layers_sharpness"]


@checked
def two_layers_sharpness(
    output: Finite, sharpness: Positive, width: Count, learning_rate: Positive, steps: Count
) -> float:
    """The sharpness of two layers after steps of gradient descent; NaN where it diverges.

    Args:
      output: f at the start.
      sharpness: lambda at the start.
      width: weights in a layer, n.
      learning_rate: below 2 / lambda the sharpness stays, up to 4 / lambda the run is thrown where it is lower.
      steps: number of steps.

    Example:
      >>> [round(two_layers_sharpness(1.0, 1.0, 4096, rate, 200), 3) for rate in (1.0, 2.5, 4.5)]
      [0.999, 0.512, nan]

    Reference: Lewkowycz, Bahri, Dyer, Sohl-Dickstein, Gur-Ari 2020, arXiv 2003.02218, section 2.
    """
    value, curvature, rate = np.float64(output), np.float64(sharpness), np.float64(learning_rate)
    for _ in range(steps):
        square = value**2 / width
        value, curvature = (
            value * (1 - rate * curvature + rate**2 * square),
            curvature + rate * square * (rate * curvature - 4),
        )
        if not np.isfinite(value) or abs(value) > 1e8:
            return float("nan")
    return float(curvature)


@checked
def share_that_stays(
    learning_rate: Positive,
    sharp: Positive,
    flat: Positive,
    spread: Positive,
    steps: Count,
    rho: Momentum = 0.0,
    lookahead: FractionBelowOne = 0.0,
    num_starts: Count = 4000,
) -> float:
    """The chance that a run from around a sharp well stays there, where a flat well lies at distance 2.

    The loss is the lower one of sharp x^2 / 2 and flat (x - 2)^2 / 2; starts are N(0, spread^2). The set of starts that
    stay has many pieces: the map is iterated on an even number of starts over 16 standard deviations, none of them 0.

    Args:
      learning_rate: step size.
      sharp: eigenvalue of the well at 0.
      flat: eigenvalue of the well at 2.
      spread: standard deviation of the start.
      steps: number of steps.
      rho: momentum.
      lookahead: 0 for heavy ball, rho for Nesterov's reported point.
      num_starts: starts of the quadrature.

    Example:
      >>> [round(share_that_stays(h / 25, 25.0, 1.0, 0.1, 300), 3) for h in (1.0, 1.9, 2.1)]
      [1.0, 0.999, 0.0]

    Cost: O(num_starts steps).
    Reference: Wu, Ma, E 2018, How SGD selects the global minima, for the race of two wells.
    """
    starts = np.linspace(-8, 8, num_starts) * spread
    weights = np.exp(-0.5 * np.square(starts / spread))
    position, velocity = starts.copy(), np.zeros(num_starts)
    for _ in range(steps):
        position, velocity = _moved(position, velocity, learning_rate, sharp, flat, rho, lookahead)
    return float(weights[np.abs(position) < 1e-3].sum() / weights.sum())


def _moved(
    position: Floats, velocity: Floats, rate: Floats, sharp: Floats, flat: Floats, rho: Floats, lookahead: Floats
) -> tuple[Floats, Floats]:
    """One step of the reported point and of the velocity."""
    to_flat = position - 2.0
    in_sharp = sharp * np.square(position) < flat * np.square(to_flat)
    gradient = np.where(in_sharp, sharp * position, flat * to_flat)
    velocity = rho * velocity + gradient
    return position - rate * (gradient + lookahead * velocity if lookahead else velocity), velocity
