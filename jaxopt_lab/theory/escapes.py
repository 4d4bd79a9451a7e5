"""How many steps a rule needs to leave a saddle: growth along a negative eigenvalue, from a known or a random start.

    y+ = y + rho (y - y_) + h (y + gamma (y - y_)),   h = learning rate |eigenvalue|
    k  = ln(distance / (c offset)) / ln r

gamma = 0 is heavy ball, gamma = rho Nesterov, rho = 0 gradient descent; r is the growing root, c the share of the
growing mode in a start at rest.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import digamma, polygamma

from jaxopt_lab.theory.arguments import FORGETS, Floats, between, positive

__all__ = [
    "EscapeTime",
    "degenerate_escape_steps",
    "escape_steps",
    "growth_factor",
    "noisy_escape_time",
    "perturbed_escape_time",
    "random_escape_time",
]


class EscapeTime(NamedTuple):
    """The number of steps until a random start has left a saddle.

    Attributes:
      mean: mean over starts, in steps.
      deviation: standard deviation over starts, in steps.
    """

    mean: Floats
    deviation: Floats


def growth_factor(h: ArrayLike, rho: ArrayLike = 0.0, lookahead: ArrayLike = 0.0) -> Floats:
    """Growth per step along a negative eigenvalue.

    Args:
      h: learning rate times |eigenvalue|, > 0.
      rho: momentum in [0, 1).
      lookahead: 0 for heavy ball, rho for Nesterov, in [0, 1).

    Returns:
      r > 1, broadcast.

    Raises:
      InputError: an argument out of its range.

    Example:
      >>> growth_factor(0.01, [0.0, 0.9, 0.9], [0.0, 0.0, 0.9]).round(8).tolist()
      [1.01, 1.06465856, 1.06738999]

    Reference: O'Neill and Wright 2018, Behavior of accelerated gradient methods near critical points of nonconvex
    functions, arXiv 1706.07993.
    """
    return _roots("growth_factor", h, rho, lookahead)[0]


def escape_steps(
    h: ArrayLike, offset: ArrayLike, distance: ArrayLike = 1.0, rho: ArrayLike = 0.0, lookahead: ArrayLike = 0.0
) -> Floats:
    """Steps from rest at a known offset along one negative direction to a distance.

    Args:
      h: learning rate times |eigenvalue|, > 0.
      offset: where it starts along the direction, > 0.
      distance: where it has left, > 0, in the unit of the offset.
      rho: momentum in [0, 1).
      lookahead: 0 for heavy ball, rho for Nesterov.

    Returns:
      The steps, a real number at least 0, broadcast.

    Raises:
      InputError: an argument out of its range.

    Example:
      >>> escape_steps(1e-3, 1e-8, 1.0, [0.0, 0.9]).round(1).tolist()
      [18429.9, 2010.9]
    """
    offset = positive("escape_steps", "offset", offset, "An exact saddle is never left in exact arithmetic.")
    distance = positive("escape_steps", "distance", distance)
    growing, share = _mode("escape_steps", h, rho, lookahead)
    return np.maximum(np.log(distance / (share * offset)) / np.log(growing), 0.0)


def random_escape_time(
    h: ArrayLike,
    scale: ArrayLike,
    distance: ArrayLike = 1.0,
    rho: ArrayLike = 0.0,
    lookahead: ArrayLike = 0.0,
    num_negative: ArrayLike = 1,
) -> EscapeTime:
    """Steps from a Gaussian start with `num_negative` equal negative directions, each coordinate of deviation `scale`.

    Args:
      h: learning rate times |eigenvalue|, > 0.
      scale: standard deviation of each coordinate of the start, > 0.
      distance: norm along the negative directions at which the saddle is left, > 0.
      rho: momentum in [0, 1).
      lookahead: 0 for heavy ball, rho for Nesterov.
      num_negative: m >= 1 negative directions.

    Returns:
      Mean and deviation. E ln chi_m = (psi(m / 2) + ln 2) / 2, and its variance psi'(m / 2) / 4.

    Raises:
      InputError: an argument out of its range.

    Example:
      >>> law = random_escape_time(0.01, 1.0, np.exp(1.0))
      >>> [f"{number:.3f}" for number in (law.mean * np.log(1.01), law.deviation * np.log(1.01))]
      ['1.635', '1.111']
    """
    count = between("random_escape_time", "num_negative", num_negative, 1, np.inf, ends="[)")
    scale = positive("random_escape_time", "scale", scale)
    distance = positive("random_escape_time", "distance", distance)
    growing, share = _mode("random_escape_time", h, rho, lookahead)
    log_start = 0.5 * (digamma(count / 2) + np.log(2))
    spread = 0.5 * np.sqrt(polygamma(1, count / 2))
    rate = np.log(growing)
    return EscapeTime((np.log(distance / (share * scale)) - log_start) / rate, spread / rate)


def perturbed_escape_time(h: ArrayLike, dim: ArrayLike, radius: ArrayLike, distance: ArrayLike = 1.0) -> EscapeTime:
    """Steps of gradient descent from a random point of a ball around a saddle with one negative direction.

    In high dimension a coordinate of that point is Gaussian with deviation radius / sqrt(d): six decades of dimension
    cost (1/2) ln(1e6) / ln(1 + h) steps.

    Args:
      h: learning rate times |eigenvalue|, > 0.
      dim: d >= 1.
      radius: of the ball, > 0.
      distance: along the direction, > 0.

    Returns:
      Mean and deviation.

    Raises:
      InputError: an argument out of its range.

    Example:
      >>> laws = perturbed_escape_time(0.01, [1e2, 1e8], 1e-3)
      >>> round(float(laws.mean[1] - laws.mean[0]))
      694

    Reference: Jin, Ge, Netrapalli, Kakade, Jordan 2017, How to escape saddle points efficiently, arXiv 1703.00887.
    """
    dim = between("perturbed_escape_time", "dim", dim, 1, np.inf, ends="[)")
    radius = positive("perturbed_escape_time", "radius", radius)
    return random_escape_time(h, radius / np.sqrt(dim), distance)


def noisy_escape_time(
    h: ArrayLike, learning_rate: ArrayLike, noise: ArrayLike, distance: ArrayLike = 1.0
) -> EscapeTime:
    """Steps of gradient descent from the saddle itself, driven by gradient noise of deviation `noise` per coordinate.

    The noise adds up to a Gaussian of deviation learning_rate noise / sqrt((1 + h)^2 - 1) that grows like a start.

    Args:
      h: learning rate times |eigenvalue|, > 0.
      learning_rate: > 0.
      noise: standard deviation of the gradient's noise along the direction, > 0.
      distance: > 0.

    Returns:
      Mean and deviation.

    Raises:
      InputError: an argument out of its range.

    Example:
      >>> law = noisy_escape_time(0.01, 0.01, 1e-6, 1.0)
      >>> bool(law.mean > 1000)
      True
    """
    h = positive("noisy_escape_time", "h", h)
    learning_rate = positive("noisy_escape_time", "learning_rate", learning_rate)
    noise = positive("noisy_escape_time", "noise", noise)
    return random_escape_time(h, learning_rate * noise / np.sqrt(np.square(1 + h) - 1), distance)


def degenerate_escape_steps(learning_rate: ArrayLike, offset: ArrayLike, degree: ArrayLike) -> Floats:
    """Steps of gradient descent to leave f = -y^p / p, p > 2, from an offset: a power of it, not its logarithm.

    Args:
      learning_rate: > 0, small against the steps' number.
      offset: y_0 in (0, 1).
      degree: p > 2; at p = 2 the saddle is strict, see `escape_steps`.

    Returns:
      y_0^(2 - p) / ((p - 2) learning_rate), the time of the gradient flow to infinity over the rate.

    Raises:
      InputError: an argument out of its range.

    Example:
      >>> float(degenerate_escape_steps(0.1, 0.01, 4.0).round(6))
      50000.0
    """
    degree = between(
        "degenerate_escape_steps", "degree", degree, 2, np.inf, ends="()", why="A strict saddle has p = 2."
    )
    offset = between("degenerate_escape_steps", "offset", offset, 0, 1, ends="()")
    learning_rate = positive("degenerate_escape_steps", "learning_rate", learning_rate)
    return offset ** (2 - degree) / ((degree - 2) * learning_rate)


def _roots(where: str, h: ArrayLike, rho: ArrayLike, lookahead: ArrayLike) -> tuple[Floats, Floats]:
    """The growing and the other root of r^2 - (1 + rho + h (1 + gamma)) r + rho + h gamma."""
    h = positive(where, "h", h)
    rho = between(where, "rho", rho, 0, 1, ends="[)", why=FORGETS)
    lookahead = between(where, "lookahead", lookahead, 0, 1, ends="[)")
    total, product = 1 + rho + h * (1 + lookahead), rho + h * lookahead
    growing = 0.5 * (total + np.sqrt(np.square(total) - 4 * product))
    return growing, product / growing


def _mode(where: str, h: ArrayLike, rho: ArrayLike, lookahead: ArrayLike) -> tuple[Floats, Floats]:
    """The growing root, and its share in a start at rest: a / r + b / s = a + b = 1 for the other root s."""
    growing, other = _roots(where, h, rho, lookahead)
    return growing, growing * (1 - other) / (growing - other)
