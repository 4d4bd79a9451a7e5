"""Two sets of paired runs against each other: how fast, how far, how bad on the way, how good on unseen examples.

Each is a ratio for every seed, above 1 where the second set is better; its mean is geometric, its interval that of
Student's t for the logarithms.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from jaxopt_lab.core import Estimate, mean_of_samples

BETTER, WORSE = 1.05, 0.95
_FLOOR = 1e-4  # of the loss that training is about: below it two runs are alike
_HELD = 0.1
_PART, _CONVERGED = 0.9, 1e-12


@dataclasses.dataclass(frozen=True)
class Curves:
    """Losses of paired runs.

    Attributes:
      training: [seeds, R].
      validation: [seeds, R], or None.
      unit: by which losses are divided.
    """

    training: np.ndarray
    validation: np.ndarray | None
    unit: float = 1.0


@dataclasses.dataclass(frozen=True)
class Judgement:
    """One ratio.

    Attributes:
      name: "steps", "loss at the end", "worst loss on the way" or "validation loss at the end".
      before: median over the seeds, without the change.
      after: median over the seeds, with it.
      ratio: above 1 where the change is better, with its 95 % interval.
    """

    name: str
    before: float
    after: float
    ratio: Estimate

    @property
    def is_better(self) -> bool:
        """Whether the whole interval lies above 1, or the value of one seed."""
        low, _ = self.ratio.interval or (self.ratio.value, self.ratio.value)
        return low > 1 and self.ratio.value > BETTER

    @property
    def is_worse(self) -> bool:
        """Whether it cannot be said that the change is no worse: below 1 by a twentieth, interval or not."""
        return not self.ratio.value >= WORSE

    def __str__(self) -> str:
        low, high = self.ratio.interval or (np.nan, np.nan)
        within = "" if np.isnan(low) else f", in [{low:.3g}, {high:.3g}]"
        return (
            f"{self.name}: {self.after:.3g} instead of {self.before:.3g} ({self.ratio.value:.3g} times better{within})"
        )


def judge_runs(
    steps: np.ndarray, before: Curves, after: Curves, *, minimum: float | None = None, baseline: float | None = None
) -> tuple[Judgement, ...]:
    """Judges the runs with a change against those without.

    Args:
      steps: at each record, [R].
      before: without the change.
      after: with it, of the same seeds.
      minimum: the smallest possible loss, where it is known.
      baseline: the loss of the best constant output; to come down to it is no gain.

    Returns:
      Three judgements; four where there are validation losses.
    """
    losses, others = before.training / before.unit, after.training / after.unit
    base = None if baseline is None else baseline / before.unit
    minimum = None if minimum is None else minimum / before.unit
    lower = minimum or 0.0
    floor = _FLOOR * max(abs(base) if base is not None else 0.0, float(np.nanmax(np.abs(losses[:, 0]))), 1e-300)
    tail, late = max(1, len(steps) // 4), int(_HELD * len(steps))
    pairs = list(zip(losses, others, strict=True))
    found = [_judgement("steps", [(float(steps[-1]), _steps_of(steps, *pair, base, minimum)) for pair in pairs])]
    ends = [tuple(_end(curve, tail) - lower + floor for curve in pair) for pair in pairs]
    found.append(_judgement("loss at the end", ends))
    worst = [tuple(_worst(curve[late:]) - lower + floor for curve in pair) for pair in pairs]
    found.append(_judgement("worst loss on the way", worst))
    if before.validation is not None and after.validation is not None:
        pairs = list(zip(before.validation / before.unit, after.validation / after.unit, strict=True))
        ends = [tuple(_end(curve, tail) - lower + floor for curve in pair) for pair in pairs]
        found.append(_judgement("validation loss at the end", ends))
    return tuple(found)


def steps_to_reach(steps: np.ndarray, losses: np.ndarray, target: float) -> float:
    """First step at which a curve is at or below the target, straight lines between records; inf for a miss."""
    below = np.flatnonzero(losses <= target)
    if not below.size:
        return float("inf")
    place = int(below[0])
    if place == 0:
        return float(steps[0])
    high, low = losses[place - 1], losses[place]
    if not np.isfinite(high) or high <= low:
        return float(steps[place])
    return float(steps[place - 1] + (steps[place] - steps[place - 1]) * (high - target) / (high - low))


def goal_of(begin: float, end: float, minimum: float | None = None) -> float:
    """The loss at which the steps of two runs are compared: after 90 % of the fall of one of them.

    90 %, because two runs that both converge differ at their ends by rounding alone. Where the smallest possible loss
    is known, it is the fall of the logarithm of what lies above it.

    Example:
      >>> round(goal_of(10.0, 0.0), 6), round(goal_of(2.0, 1.0 + 1e-10, minimum=1.0) - 1.0, 12)
      (1.0, 1e-09)
    """
    if minimum is None or not begin > minimum:
        return begin - _PART * (begin - end)
    above = max(end - minimum, _CONVERGED * (begin - minimum))
    return minimum + (begin - minimum) * (above / (begin - minimum)) ** _PART


def speed_up(
    steps: np.ndarray, before: np.ndarray, after: np.ndarray, known_by_none: float | None = None,
    minimum: float | None = None,
) -> float:  # fmt: skip
    """How many times fewer steps `after` takes than `before` to `goal_of` that one; below 1 the other way round.

    To come down to what a constant output earns is no gain.

    Args:
      steps: [R], beginning with 0.
      before: losses [R].
      after: losses [R].
      known_by_none: the loss of the best constant output, or None where there is none.
      minimum: the smallest possible loss, where it is known.

    Returns:
      The ratio, in [1 / steps, steps]: `steps` where only `after` gains anything; NaN when both diverged.

    Example:
      >>> round(speed_up(np.arange(5), np.array([4.0, 3.0, 2.0, 1.0, 0.0]), np.array([4.0, 0.4, 0.2, 0.1, 0.0])), 6)
      3.6
    """
    last = float(steps[-1])
    ends = [curve[-1] if np.isfinite(curve[-1]) else np.inf for curve in (before, after)]
    if np.isinf(ends[0]) and np.isinf(ends[1]):
        return float("nan")
    begin = before[0] if known_by_none is None or not before[0] > known_by_none else known_by_none
    if np.isinf(ends[0]) or ends[0] >= begin:
        return last if ends[1] < begin or not np.isfinite(begin) else 1.0
    target = goal_of(begin, ends[0], minimum)
    reached = steps_to_reach(steps, after, target)
    if np.isfinite(reached):
        return float(steps_to_reach(steps, before, target) / max(reached, 1.0))
    back = steps_to_reach(steps, before, ends[1])
    return max(back, 1.0) / last if np.isfinite(back) else 1 / last


def geometric(ratios: np.ndarray) -> Estimate:
    """Geometric mean with the t-interval of the logarithms; of one seed the value alone; NaN where one is not known."""
    known = ratios[np.isfinite(ratios) & (ratios > 0)]
    if len(known) < len(ratios) or not known.size:
        return Estimate(float("nan"))
    logs = mean_of_samples(np.log(known))
    if len(known) < 2:
        return Estimate(float(np.exp(logs.value)))
    half = float(stdtrit(len(known) - 1, 0.975)) * (logs.standard_error or 0.0)
    return Estimate(float(np.exp(logs.value)), interval=tuple(np.exp([logs.value - half, logs.value + half]).tolist()))


def _judgement(name: str, pairs: Sequence[tuple[float, ...]]) -> Judgement:
    table = np.array(pairs, float)
    with np.errstate(all="ignore"):
        ratios = table[:, 0] / table[:, 1]
    before, after = np.median(table, axis=0).tolist()
    if np.isinf(table[:, 1]).any() and not np.isinf(table[:, 0]).all():
        return Judgement(name, before, after, Estimate(0.0))
    finite = np.where(np.isinf(table[:, 0]) & np.isfinite(table[:, 1]), 1e6, ratios)
    return Judgement(name, before, after, geometric(np.where(table.sum(1) == 0, 1.0, finite)))


def _steps_of(
    steps: np.ndarray, before: np.ndarray, after: np.ndarray, baseline: float | None, minimum: float | None
) -> float:  # fmt: skip
    """Steps that the run with the change takes to what the other gains in all of its own."""
    return float(steps[-1]) / max(speed_up(steps, before, after, baseline, minimum), 1e-300)


def _end(curve: np.ndarray, tail: int) -> float:
    value = float(np.mean(curve[-tail:]))
    return value if np.isfinite(value) else float("inf")


def _worst(curve: np.ndarray) -> float:
    value = float(np.max(curve))
    return value if np.isfinite(value) else float("inf")
