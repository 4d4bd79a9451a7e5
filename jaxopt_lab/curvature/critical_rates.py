"""Critical sharpness: how far a step may go before it raises the loss, from a few losses and no second derivative.

    critical sharpness = 2 / (smallest rate at which f(w + rate d) > f(w)),        update = learning_rate d

On a quadratic it is d'Hd / (-g'd): along d = -g the curvature g'Hg / |g|^2. There the mean slope of the loss,

    (f(w + rate d) - f(w)) / rate = g'd + rate d'Hd / 2,

is a line in the rate whose zero is the critical rate. The search takes the secant of that slope, and tries the rates
beside its zero, between which the loss begins to be raised.

Reference: Kalra et al. 2026, A scalable measure of loss landscape curvature for analyzing the training dynamics of
LLMs, arXiv 2601.16979.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxopt_lab.core import Estimate, Problem, fail, vectors
from jaxopt_lab.core.errors import reason, require_between, require_count, require_positive
from jaxopt_lab.curvature import krylov
from jaxopt_lab.curvature.points import ExpectedLoss, Point, locate
from jaxopt_lab.curvature.sharpness import checked_update, require_gradient
from jaxopt_lab.curvature.streams import Source, mean_over_chunks

_LEAST_FORWARDS = 4
_GROWTH = 8.0  # of the rate where the secant says nothing
_MOST_GROWTH = 1e3  # of the rate where it does


def critical_sharpness(
    problem: Problem,
    params: Any,
    update: Any = None,
    *,
    learning_rate: float = 1.0,
    data: Source = None,
    chunk_size: int | None = None,
    tolerance: float = 1 / 32,
    max_forwards: int = 8,
) -> Estimate:
    """2 / (the smallest rate at which a step along an update raises the loss), from losses alone.

    Args:
      problem: its loss is taken with key None; it needs no second derivative.
      params: the point.
      update: what the rule would add to the parameters at `learning_rate`; None for -learning_rate times the gradient.
      learning_rate: the rate of `update`, and where the search starts; > 0. The result is in units of 1 / it.
      data: as in `hessian`; the batch that the step is taken on, or by default all data.
      chunk_size: examples at once.
      tolerance: of the rate, relative, in (0, 1): the search ends when it is known so well.
      max_forwards: the most evaluations of the loss, at least 4.

    Returns:
      The sharpness; its interval is that of the rates between which the loss, compared with the start and beyond
      rounding, begins to be raised. It is wider than the tolerance where the forwards did not do, or rounding hides
      it. Only rates that were tried are known: a loss that rises and falls again below them is not seen. The value is
      0 when no rate that was tried raises the loss, and inf when each does (the update climbs): the other end of the
      interval is then a bound. Cost: evaluations of the loss; without `update` one gradient besides.

    Raises:
      InputError: an argument out of its range, an update that is zero, not finite or not like the parameters, a loss
        that is the same up to rounding at every rate, or that `hessian` would not take.

    Example:
      >>> import jaxopt_lab as lab
      >>> bowl = lab.from_loss(lambda w, batch, key: w @ (jnp.array([4.0, 1.0]) * w) / 2, jnp.ones(2))
      >>> found = critical_sharpness(bowl, jnp.ones(2), learning_rate=0.1)  # 65 / 17
      >>> print(f"{found.value:.3f} {found.cost}")
      3.824 4
      >>> step = -0.1 * jnp.ones(2)  # a sign update: u'Hu / (-g'u) = 5 / 5
      >>> print(f"{critical_sharpness(bowl, jnp.ones(2), step, learning_rate=0.1).value:.3f}")
      1.000

    Reference: Kalra et al. 2026, who search by doubling and halving; here a secant on the mean slope does.
    """
    where = "critical_sharpness"
    require_positive(where, "learning_rate", learning_rate)
    require_between(where, "tolerance", tolerance, 0, 1, ends="()")
    require_count(where, "max_forwards", max_forwards, _LEAST_FORWARDS)
    if update is not None:
        update = checked_update(where, update, params)
    require = partial(_require_derivative, problem.name) if update is None else None
    point = locate(problem, params, data, chunk_size, require=require, differentiate=update is None)
    slope = None
    if update is None:
        require_gradient(where, point.gradient)
        update = vectors.scale(-learning_rate, point.gradient)
        slope = float(vectors.dot(point.gradient, update))
    search = _Search(slope)
    while search.num_tried < max_forwards - 1 and not search.high <= search.low * (1 + tolerance):
        rate = search.propose(tolerance)
        search.take(rate, *_change(point, update, rate))
    if search.low == 0 and search.high == math.inf:
        raise fail(
            where, f"the loss of {problem.name} is the same up to rounding at every rate along the update",
            "Give a larger learning_rate, or compute the loss in float64, see `lab.precision`.",
        )  # fmt: skip
    ends = search.root(), search.high, search.low
    value, low, high = (2 / (learning_rate * rate) if rate > 0 else math.inf for rate in ends)
    return Estimate(value, interval=(low, high), level=1.0, cost=1 + search.num_tried)


class _Search:
    """The rates that were tried, relative to the update, and what they say of the first one that raises the loss.

    Attributes:
      low: the largest rate below `high` that lowers the loss, 0 where none did.
      high: the smallest rate that raises it, inf where none did.
      num_tried: number of rates.
    """

    def __init__(self, slope: float | None) -> None:
        """A search before its first rate, with the slope of the loss at rate 0 where that is known."""
        self.low, self.high, self.num_tried = 0.0, math.inf, 0
        self._slopes = [] if slope is None else [(0.0, slope)]
        self._tried: list[float] = []

    def take(self, rate: float, change: float, rounding: float) -> None:
        """Adds a rate, by how much it changes the loss, and how much of that rounding may be."""
        self.num_tried += 1
        self._tried.append(rate)
        if not change <= rounding:  # a loss that is not finite is raised
            self.high = min(self.high, rate)
        elif change < -rounding and rate < self.high:
            self.low = max(self.low, rate)
        if math.isfinite(change) and abs(change) > rounding:
            self._slopes.append((rate, change / rate))

    def propose(self, tolerance: float) -> float:
        """The next rate: a little below or above the secant's zero, or far from all others where that does not do."""
        if not self._tried:
            return 1.0
        zero, margin = self._zero(), 1 + tolerance / 3
        if self.high == math.inf:
            reached = max(self._tried)
            return _GROWTH * reached if zero <= reached else min(margin * zero, _MOST_GROWTH * reached)
        if self.low == 0:
            reached = min(self._tried)
            return reached / _GROWTH if not 0 < zero / margin < reached else max(zero / margin, reached / _MOST_GROWTH)
        apart = 1 + tolerance / 10
        for rate in (zero / margin, zero * margin):
            is_new = not any(rate / apart < tried < rate * apart for tried in self._tried)
            if self.low < rate < self.high and is_new:
                return rate
        return math.sqrt(self.low * self.high)

    def root(self) -> float:
        """The rate at which the loss begins to be raised: 0 or inf where only one end is known."""
        if self.low == 0 or self.high == math.inf:
            return 0.0 if self.low == 0 else math.inf
        zero = self._zero()
        return zero if self.low <= zero <= self.high else math.sqrt(self.low * self.high)

    def _zero(self) -> float:
        """Where the line through the two mean slopes nearest to 0 is 0; 0 without such a place."""
        nearest = sorted(self._slopes, key=lambda pair: abs(pair[1]))[:2]
        if len(nearest) < 2:
            return 0.0
        (one, first), (other, second) = nearest
        if first == second:
            return 0.0
        zero = one - first * (other - one) / (second - first)
        return zero if 0 < zero < math.inf else 0.0


def _require_derivative(name: str, loss: ExpectedLoss, params: Any, batch: Any) -> None:
    try:
        jax.eval_shape(jax.grad(loss), params, batch)
    except Exception as error:
        raise fail(
            "critical_sharpness", f"the loss of {name} has no gradient {reason(error)}",
            "Give the update along which it is measured: losses alone then do.",
        ) from error  # fmt: skip


def _change(point: Point, update: Any, rate: float) -> tuple[float, float]:
    """By how much a step raises the loss, and how much of that rounding may be."""
    moved = mean_over_chunks(_loss_along, (point.loss, point.params, update, jnp.asarray(rate)), point.chunks)
    value = float(moved)
    rounding = krylov.ROUNDING * float(jnp.finfo(moved.dtype).eps) * max(abs(value), abs(point.value))
    return value - point.value, rounding


def _loss_along(constants: Any, batch: Any) -> Any:
    loss, params, update, rate = constants
    return loss(vectors.axpy(rate, update, params), batch)
