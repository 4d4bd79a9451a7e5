"""Saddles of a two-layer linear network, all of them known: f = |W2 W1 - A|^2 / 2 with A of rank r, hidden width h.

A critical point fits a subset S of A's singular triples and leaves the others at zero:

    loss     (1/2) sum of s_i^2 over i not in S
    index    (r - |S|)(h - |S|) + number of pairs (i not in S, j in S) with s_i > s_j
    smallest Hessian eigenvalue   - max of s_i over i not in S

Training from small weights passes the saddles that fit the largest values first; it leaves each along the largest value
that is still missing, an escape with h = learning rate s. Of deep nets with L layers, `depth`, the aligned, balanced
modes are known under the gradient flow: da/dt = L a^(2 - 2 / L) (s - a) for the strength a of the product, from a_0,
the `start`; time is learning rate times steps.

Reference: Baldi and Hornik 1989, Neural networks and principal component analysis; Saxe, McClelland, Ganguli 2013,
arXiv 1312.6120, for the modes; Achour, Malgouyres, Gerchinovitz 2021, arXiv 2107.13289.
"""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
from scipy.special import hyp2f1
from typing_extensions import TypeAliasType

from jaxopt_lab.core.errors import fail
from jaxopt_lab.theory.arguments import (
    Count,
    Floats,
    FractionBelowOne,
    Momentum,
    NonNegative,
    OpenFraction,
    Positive,
    Range,
    checked,
)
from jaxopt_lab.theory.escapes import growth_factor

__all__ = [
    "LinearSaddle",
    "deep_learning_time",
    "deep_plateau_time",
    "linear_network_saddle",
    "mode_exit_steps",
    "mode_strength",
    "plateau_exit_steps",
    "plateau_losses",
]

Depth = TypeAliasType("Depth", Annotated[Any, Range("[2, inf)")])


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


@checked
def linear_network_saddle(singular_values: Positive, fitted: Sequence[int], width: Count) -> LinearSaddle:
    """The critical point that fits the given singular triples.

    Args:
      singular_values: the r different singular values of A, in any order.
      fitted: places of the triples that are fitted, each once.
      width: hidden width h, at least r.

    Example:
      >>> [linear_network_saddle([3.0, 2.0, 1.0], fitted, 4).index for fitted in ([], [0], [0, 1], [0, 1, 2], [2])]
      [12, 6, 2, 0, 8]
    """
    where, values = "linear_network_saddle", np.atleast_1d(singular_values)
    if len(np.unique(values)) < len(values):
        raise fail(where, f"singular_values must differ from each other, got {values.tolist()}")
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


@checked
def plateau_losses(singular_values: Positive) -> Floats:
    """Losses of the plateaus from small weights to the minimum, when the k largest values are fitted, [r + 1].

    (1/2) sum of s_i^2 over the values that are still missing, in decreasing order, the last 0.

    Example:
      >>> plateau_losses([3.0, 2.0, 1.0]).tolist()
      [7.0, 2.5, 0.5, 0.0]
    """
    values = np.sort(np.atleast_1d(singular_values))
    return np.concatenate([np.cumsum(0.5 * np.square(values))[::-1], [0.0]])


@checked
def plateau_exit_steps(
    singular_values: Positive,
    start: Positive,
    learning_rate: Positive,
    rho: Momentum = 0.0,
    lookahead: FractionBelowOne = 0.0,
) -> Floats:
    """Steps after which each singular value is learned, from weights of size `start`: ln(sqrt(s) / a) / ln r(lr s).

    a < sqrt(s) is the size of the weights' initial component along a triple. Constants of order one in the logarithm
    are left out: they nearly cancel.

    Example:
      >>> plateau_exit_steps([16.0, 1.0], 1e-6, 0.005).round(1).tolist()
      [197.5, 2770.0]
    """
    root = np.sqrt(singular_values)
    Range("(0, 1)", "Start smaller.")("plateau_exit_steps", "start / sqrt(s)", start / root)
    return np.log(root / start) / np.log(growth_factor(learning_rate * singular_values, rho, lookahead))


@checked
def mode_exit_steps(
    singular_values: Positive,
    components: Positive,
    learning_rate: Positive,
    rho: Momentum = 0.0,
    lookahead: FractionBelowOne = 0.0,
) -> Floats:
    """Steps after which each mode alone has lost half of its loss: equal weights w in both layers, run to the end.

    Args:
      singular_values: s of the modes, shape [r].
      components: the growing part of the start of each, sqrt(2) w, shape [..., r].
      learning_rate: step size.
      rho: momentum.
      lookahead: 0 for heavy ball, rho for Nesterov's reported point.

    Returns:
      Real steps, between two of which the loss is taken for a straight line, shape [..., r].

    Example:
      >>> mode_exit_steps([4.0, 1.0], [1e-6, 1e-6], 0.01).round(1).tolist()
      [367.3, 1378.7]

    Cost: O(size of components) a step.
    """
    values, weight = singular_values, np.sqrt(0.5) * components
    velocity, times, middle = np.zeros(weight.shape), np.zeros(weight.shape), 0.25 * values**2
    after = np.broadcast_to(0.5 * values**2, times.shape)
    while (after > middle).any():
        push = -learning_rate * (weight**2 - values) * weight
        velocity = rho * velocity + push
        weight = weight + (lookahead * velocity + push if lookahead else velocity)
        before, after = after, np.where(after > middle, 0.5 * (values - weight**2) ** 2, after)
        share = (before - middle) / np.where(before > after, before - after, 1)
        times += np.where(before > middle, np.minimum(share, 1), 0)
    return times


@checked
def mode_strength(time: NonNegative, singular_value: Positive, start: Positive) -> Floats:
    """Strength of a mode of a two-layer net at a time: a(t) = s e^{2 s t} / (e^{2 s t} - 1 + s / a_0), a_0 <= s.

    Example:
      >>> mode_strength([0.0, 100.0], 2.0, 0.01).round(6).tolist()
      [0.01, 2.0]

    Reference: Saxe, McClelland, Ganguli 2013, arXiv 1312.6120, section 1.
    """
    decay = np.exp(-2 * singular_value * time)
    return singular_value / (1 - decay + singular_value / start * decay)


@checked
def deep_plateau_time(depth: Depth, start: OpenFraction) -> Floats:
    """Time on the first plateau of a deep linear net with L layers, in units of 1 / s at s = 1.

    ln(1 / a_0) / 2 for two layers, a_0^-(1 - 2 / L) / (L - 2) for more: the leading term at small a_0 of the integral
    of da / (L a^(2 - 2 / L)).

    Example:
      >>> deep_plateau_time([3, 4, 8], 1e-6).round(1).tolist()
      [100.0, 500.0, 5270.5]
    """
    excess = np.maximum(depth - 2, 1e-300)
    return np.where(depth > 2, start ** -(1 - 2 / depth) / excess, 0.5 * np.log(1 / start))


@checked
def deep_learning_time(
    depth: Depth, start: Positive, singular_value: Positive = 1.0, share: OpenFraction = 0.5
) -> Floats:
    """Time until a mode of a deep linear net has learned a share of s: `deep_plateau_time`, and what follows it.

    The start is below share s.

    Example:
      >>> deep_learning_time([2, 4], 1e-2).round(3).tolist()
      [2.298, 4.683]
    """
    ratio = Range("(0, 1)")("deep_learning_time", "start / (share s)", start / (share * singular_value))
    flow = _flow_time(depth, share) - _flow_time(depth, ratio * share)
    return flow / (depth * singular_value ** (2 - 2 / depth))


def _flow_time(depth: Floats, share: Floats) -> Floats:
    """An antiderivative of b^-(2 - 2 / L) / (1 - b): ln(b / (1 - b)) at L = 2, else a hypergeometric function."""
    power = np.where(depth > 2, 2 / depth - 1, -0.5)
    deep = share**power / power * hyp2f1(1, power, 1 + power, share)
    return np.where(depth > 2, deep, np.log(share / (1 - share)))
