"""Saddles of a two-layer linear network, all of them known: f = |W2 W1 - A|^2 / 2 with A of rank r, hidden width h.

A critical point fits a subset S of A's singular triples and leaves the others at zero:

    loss     (1/2) sum of s_i^2 over i not in S
    index    (r - |S|)(h - |S|) + number of pairs (i not in S, j in S) with s_i > s_j
    smallest Hessian eigenvalue   - max of s_i over i not in S

Training from small weights passes the saddles that fit the largest values first; it leaves each along the largest value
that is still missing, an escape with h = learning rate s.

Reference: Baldi and Hornik 1989, Neural networks and principal component analysis; Saxe, McClelland, Ganguli 2013,
arXiv 1312.6120; Achour, Malgouyres, Gerchinovitz 2021, arXiv 2107.13289.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import hyp2f1

from jaxopt_lab.core.errors import fail, require_count
from jaxopt_lab.theory.arguments import Floats, between, positive
from jaxopt_lab.theory.escapes import growth_factor

__all__ = [
    "LinearSaddle",
    "deep_learning_time",
    "deep_plateau_time",
    "linear_network_saddle",
    "mode_strength",
    "plateau_exit_steps",
    "plateau_losses",
]


class LinearSaddle(NamedTuple):
    """A critical point of a two-layer linear network.

    Attributes:
      loss: its loss.
      index: number of negative Hessian eigenvalues, at a point of full rank in the fitted triples.
      smallest: smallest Hessian eigenvalue; 0 at a minimum.
    """

    loss: float
    index: int
    smallest: float


def linear_network_saddle(singular_values: ArrayLike, fitted: Sequence[int], width: int) -> LinearSaddle:
    """The critical point that fits the given singular triples.

    Args:
      singular_values: the r positive, different singular values of A, in any order.
      fitted: places of the triples that are fitted, each once.
      width: hidden width h, at least r.

    Returns:
      Its loss, index and smallest eigenvalue.

    Raises:
      InputError: a value that is not positive, equal values, a place that does not exist, or a width below the rank.

    Example:
      >>> [linear_network_saddle([3.0, 2.0, 1.0], fitted, 4).index for fitted in ([], [0], [0, 1], [0, 1, 2], [2])]
      [12, 6, 2, 0, 8]
    """
    where = "linear_network_saddle"
    values = np.atleast_1d(positive(where, "singular_values", singular_values))
    if len(np.unique(values)) < len(values):
        raise fail(where, f"singular_values must differ from each other, got {values.tolist()}")
    require_count(where, "width", width)
    if width < len(values):
        raise fail(where, f"width must be at least the rank {len(values)}, got {width}", "A narrower net cannot fit A.")
    chosen = sorted(set(fitted))
    if len(chosen) < len(fitted) or any(place not in range(len(values)) for place in chosen):
        raise fail(where, f"fitted must name places below {len(values)}, each once, got {list(fitted)}")
    missing = np.delete(values, chosen)
    swaps = int((missing[:, None] > values[chosen]).sum())
    index = len(missing) * (width - len(chosen)) + swaps
    smallest = -float(missing.max()) if len(missing) else 0.0
    return LinearSaddle(float(0.5 * np.square(missing).sum()), index, smallest)


def plateau_losses(singular_values: ArrayLike) -> Floats:
    """Losses of the plateaus from small weights to the minimum, when the k largest values are fitted, [r + 1].

    Args:
      singular_values: the r singular values of A, in any order.

    Returns:
      (1/2) sum over the values that are still missing, in decreasing order, the last 0.

    Raises:
      InputError: a value that is not positive.

    Example:
      >>> plateau_losses([3.0, 2.0, 1.0]).tolist()
      [7.0, 2.5, 0.5, 0.0]
    """
    values = np.sort(np.atleast_1d(positive("plateau_losses", "singular_values", singular_values)))
    return np.concatenate([np.cumsum(0.5 * np.square(values))[::-1], [0.0]])


def plateau_exit_steps(
    singular_values: ArrayLike,
    start: ArrayLike,
    learning_rate: ArrayLike,
    rho: ArrayLike = 0.0,
    lookahead: ArrayLike = 0.0,
) -> Floats:
    """Steps after which each singular value is learned, from weights of size `start`: ln(sqrt(s) / a) / ln r(lr s).

    Args:
      singular_values: s > 0.
      start: a, the size of the weights' initial component along a triple, in (0, sqrt(s)).
      learning_rate: > 0.
      rho: momentum in [0, 1).
      lookahead: 0 for heavy ball, rho for Nesterov.

    Returns:
      The steps, broadcast. Constants of order one in the logarithm are left out: they nearly cancel.

    Raises:
      InputError: an argument out of its range.

    Example:
      >>> plateau_exit_steps([16.0, 1.0], 1e-6, 0.005).round(1).tolist()
      [197.5, 2770.0]
    """
    values = positive("plateau_exit_steps", "singular_values", singular_values)
    start = positive("plateau_exit_steps", "start", start)
    between("plateau_exit_steps", "start / sqrt(s)", start / np.sqrt(values), 0, 1, ends="()", why="Start smaller.")
    factor = growth_factor(positive("plateau_exit_steps", "learning_rate", learning_rate) * values, rho, lookahead)
    return np.log(np.sqrt(values) / start) / np.log(factor)


def mode_strength(time: ArrayLike, singular_value: ArrayLike, start: ArrayLike) -> Floats:
    """Strength of an aligned, balanced mode of a two-layer linear net under the gradient flow, at a time.

    Args:
      time: learning rate times steps, >= 0.
      singular_value: s > 0.
      start: strength a_0 of the product at time 0, in (0, s].

    Returns:
      a(t) = s e^{2 s t} / (e^{2 s t} - 1 + s / a_0), broadcast.

    Raises:
      InputError: an argument out of its range.

    Example:
      >>> mode_strength([0.0, 100.0], 2.0, 0.01).round(6).tolist()
      [0.01, 2.0]

    Reference: Saxe, McClelland, Ganguli 2013, arXiv 1312.6120, section 1.
    """
    time = between("mode_strength", "time", time, 0, np.inf, ends="[)")
    value = positive("mode_strength", "singular_value", singular_value)
    start = positive("mode_strength", "start", start)
    decay = np.exp(-2 * value * time)
    return value / (1 - decay + value / start * decay)


def deep_plateau_time(depth: ArrayLike, start: ArrayLike) -> Floats:
    """Time on the first plateau of a deep linear net with L layers, in units of 1 / s at s = 1.

    Args:
      depth: L >= 2, a whole number.
      start: strength a_0 of the product at time 0, in (0, 1).

    Returns:
      ln(1 / a_0) / 2 for two layers, a_0^-(1 - 2 / L) / (L - 2) for more: the leading term at small a_0.

    Raises:
      InputError: an argument out of its range.

    Example:
      >>> deep_plateau_time([3, 4, 8], 1e-6).round(1).tolist()
      [100.0, 500.0, 5270.5]

    Reference: integral of da / (L a^(2 - 2 / L)) for small a.
    """
    depth = between("deep_plateau_time", "depth", depth, 2, np.inf, ends="[)")
    start = between("deep_plateau_time", "start", start, 0, 1, ends="()")
    excess = np.maximum(depth - 2, 1e-300)
    return np.where(depth > 2, start ** -(1 - 2 / depth) / excess, 0.5 * np.log(1 / start))


def deep_learning_time(
    depth: ArrayLike, start: ArrayLike, singular_value: ArrayLike = 1.0, share: ArrayLike = 0.5
) -> Floats:
    """Time of the gradient flow until an aligned, balanced mode of a deep linear net has learned a share of s.

    da/dt = L a^(2 - 2 / L) (s - a): the plateau of `deep_plateau_time`, and what follows it.

    Args:
      depth: L >= 2 layers, a whole number.
      start: strength a_0 of the product at time 0, in (0, share s).
      singular_value: s > 0.
      share: a / s at the end, in (0, 1).

    Returns:
      The time, learning rate times steps, broadcast.

    Raises:
      InputError: an argument out of its range.

    Example:
      >>> deep_learning_time([2, 4], 1e-2).round(3).tolist()
      [2.298, 4.683]

    Reference: Saxe, McClelland, Ganguli 2013, arXiv 1312.6120, for the equation.
    """
    where = "deep_learning_time"
    depth = between(where, "depth", depth, 2, np.inf, ends="[)")
    value = positive(where, "singular_value", singular_value)
    share = between(where, "share", share, 0, 1, ends="()")
    first = (
        between(where, "start / (share s)", positive(where, "start", start) / (share * value), 0, 1, ends="()") * share
    )
    return (_flow_time(depth, share) - _flow_time(depth, first)) / (depth * value ** (2 - 2 / depth))


def _flow_time(depth: Floats, share: Floats) -> Floats:
    """An antiderivative of b^-(2 - 2 / L) / (1 - b): ln(b / (1 - b)) at L = 2, else a hypergeometric function."""
    power = np.where(depth > 2, 2 / depth - 1, -0.5)
    deep = share**power / power * hyp2f1(1, power, 1 + power, share)
    return np.where(depth > 2, deep, np.log(share / (1 - share)))
