"""How many steps a rule needs to leave a saddle: growth along a negative eigenvalue, from a known or a random start.

    y+ = y + rho (y - y_) + h (y + gamma (y - y_)),   h = learning rate |eigenvalue|
    k  = ln(distance / (c offset)) / ln r

gamma, the lookahead, is 0 for heavy ball and rho for Nesterov, rho = 0 is gradient descent; r is the growing root, c
the share of the growing mode in a start at rest. The saddle is left at `distance`.
"""

from typing import Annotated, Any, NamedTuple

import numpy as np
from scipy.special import digamma, polygamma
from typing_extensions import TypeAliasType

from jaxopt_lab.theory.arguments import (
    AtLeastOne,
    Floats,
    FractionBelowOne,
    Momentum,
    OpenFraction,
    Positive,
    Range,
    checked,
)

__all__ = [
    "EscapeTime",
    "degenerate_escape_steps",
    "escape_steps",
    "growth_factor",
    "noisy_escape_time",
    "perturbed_escape_time",
    "random_escape_time",
]

_EXACT = "An exact saddle is never left in exact arithmetic."
Offset = TypeAliasType("Offset", Annotated[Any, Range("(0, inf)", _EXACT)])
Degree = TypeAliasType("Degree", Annotated[Any, Range("(2, inf)", "A strict saddle has p = 2.")])


class EscapeTime(NamedTuple):
    """The number of steps until a random start has left a saddle.

    Attributes:
      mean: mean over starts, in steps.
      deviation: standard deviation over starts, in steps.
    """

    mean: Floats
    deviation: Floats


@checked
def growth_factor(h: Positive, rho: Momentum = 0.0, lookahead: FractionBelowOne = 0.0) -> Floats:
    """Growth r > 1 per step along a negative eigenvalue.

    Example:
      >>> growth_factor(0.01, [0.0, 0.9, 0.9], [0.0, 0.0, 0.9]).round(8).tolist()
      [1.01, 1.06465856, 1.06738999]

    Reference: O'Neill and Wright 2018, Behavior of accelerated gradient methods near critical points of nonconvex
    functions, arXiv 1706.07993.
    """
    return _roots(h, rho, lookahead)[0]


@checked
def escape_steps(
    h: Positive, offset: Offset, distance: Positive = 1.0, rho: Momentum = 0.0, lookahead: FractionBelowOne = 0.0
) -> Floats:
    """Steps from rest at a known offset along one negative direction to a distance; a real number at least 0.

    Example:
      >>> escape_steps(1e-3, 1e-8, 1.0, [0.0, 0.9]).round(1).tolist()
      [18429.9, 2010.9]
    """
    growing, share = _mode(h, rho, lookahead)
    return np.maximum(np.log(distance / (share * offset)) / np.log(growing), 0.0)


@checked
def random_escape_time(
    h: Positive,
    scale: Positive,
    distance: Positive = 1.0,
    rho: Momentum = 0.0,
    lookahead: FractionBelowOne = 0.0,
    num_negative: AtLeastOne = 1,
) -> EscapeTime:
    """Steps from a Gaussian start with `num_negative` equal negative directions, each coordinate of deviation `scale`.

    `distance` is the norm along the m negative directions. E ln chi_m = (psi(m / 2) + ln 2) / 2, and its variance is
    psi'(m / 2) / 4.

    Example:
      >>> law = random_escape_time(0.01, 1.0, np.exp(1.0))
      >>> [f"{number:.3f}" for number in (law.mean * np.log(1.01), law.deviation * np.log(1.01))]
      ['1.635', '1.111']
    """
    growing, share = _mode(h, rho, lookahead)
    log_start = 0.5 * (digamma(num_negative / 2) + np.log(2))
    spread = 0.5 * np.sqrt(polygamma(1, num_negative / 2))
    rate = np.log(growing)
    return EscapeTime((np.log(distance / (share * scale)) - log_start) / rate, spread / rate)


@checked
def perturbed_escape_time(h: Positive, dim: AtLeastOne, radius: Positive, distance: Positive = 1.0) -> EscapeTime:
    """Steps of gradient descent from a random point of a ball around a saddle with one negative direction.

    In high dimension a coordinate of that point is Gaussian with deviation radius / sqrt(d): six decades of dimension
    cost (1/2) ln(1e6) / ln(1 + h) steps.

    Example:
      >>> laws = perturbed_escape_time(0.01, [1e2, 1e8], 1e-3)
      >>> round(float(laws.mean[1] - laws.mean[0]))
      694

    Reference: Jin, Ge, Netrapalli, Kakade, Jordan 2017, How to escape saddle points efficiently, arXiv 1703.00887.
    """
    return random_escape_time(h, radius / np.sqrt(dim), distance)


@checked
def noisy_escape_time(h: Positive, learning_rate: Positive, noise: Positive, distance: Positive = 1.0) -> EscapeTime:
    """Steps of gradient descent from the saddle itself, driven by gradient noise of deviation `noise` per coordinate.

    The noise adds up to a Gaussian of deviation learning_rate noise / sqrt((1 + h)^2 - 1) that grows like a start.

    Example:
      >>> law = noisy_escape_time(0.01, 0.01, 1e-6, 1.0)
      >>> bool(law.mean > 1000)
      True
    """
    return random_escape_time(h, learning_rate * noise / np.sqrt(np.square(1 + h) - 1), distance)


@checked
def degenerate_escape_steps(learning_rate: Positive, offset: OpenFraction, degree: Degree) -> Floats:
    """Steps of gradient descent to leave f = -y^p / p, p > 2, from an offset: a power of it, not its logarithm.

    y_0^(2 - p) / ((p - 2) learning_rate), the time of the gradient flow to infinity over the rate, which must be small
    against the number of steps. At p = 2 the saddle is strict, see `escape_steps`.

    Example:
      >>> float(degenerate_escape_steps(0.1, 0.01, 4.0).round(6))
      50000.0
    """
    return offset ** (2 - degree) / ((degree - 2) * learning_rate)


def _roots(h: Floats, rho: Floats, lookahead: Floats) -> tuple[Floats, Floats]:
    """The growing and the other root of r^2 - (1 + rho + h (1 + gamma)) r + rho + h gamma."""
    total, product = 1 + rho + h * (1 + lookahead), rho + h * lookahead
    growing = 0.5 * (total + np.sqrt(np.square(total) - 4 * product))
    return growing, product / growing


def _mode(h: Floats, rho: Floats, lookahead: Floats) -> tuple[Floats, Floats]:
    """The growing root, and its share in a start at rest: a / r + b / s = a + b = 1 for the other root s."""
    growing, other = _roots(h, rho, lookahead)
    return growing, growing * (1 - other) / (growing - other)
