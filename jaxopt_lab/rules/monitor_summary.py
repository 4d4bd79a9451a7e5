"""What the record of a `Monitor` says: its series in time order, and their summaries with errors."""

import dataclasses
from typing import Any

import numpy as np

from jaxopt_lab import theory
from jaxopt_lab.core import Estimate, fail
from jaxopt_lab.core.errors import require_positive
from jaxopt_lab.rules.monitor import FIELDS, find_monitor

_SHARE = 4
_MEDIAN = 1.2533
_FEWEST = 4


@dataclasses.dataclass(frozen=True)
class MonitorSummary:
    """Records of a run, oldest first; [m] each, NaN where a number was not given.

    Attributes:
      steps: when each was taken, counted from 1.
      losses: before that step.
      gradient_norms: of the gradient that came in.
      update_norms: of the update that went out.
      params_norms: of the parameters.
      cosines: of the update with the one before.
      sharpness: u'Hu / |u|^2 along the update u, on the batch of its step; NaN at records without one.
      edges: -2 g'u / |u|^2, the sharpness at which that step would leave its batch's loss as it is to second order; of
        SGD 2 / learning_rate.
      squares: mean squared norm of two gradients, and squared norm of their mean, [h, 2].
      from_halves: whether these two were halves of a batch; else gradients of successive steps.
      batch_size: examples in a batch, or None.
      first_wrong: the first step that was not finite, or None.
    """

    steps: np.ndarray
    losses: np.ndarray
    gradient_norms: np.ndarray
    update_norms: np.ndarray
    params_norms: np.ndarray
    cosines: np.ndarray
    sharpness: np.ndarray
    edges: np.ndarray
    squares: np.ndarray
    from_halves: bool
    batch_size: float | None
    first_wrong: int | None

    @property
    def update_cosine(self) -> Estimate:
        """Median over the last quarter of the records."""
        return _median(self.cosines)

    @property
    def update_ratio(self) -> Estimate:
        """Median of |update| / |parameters| over the last quarter."""
        with np.errstate(all="ignore"):
            return _median(self.update_norms / self.params_norms)

    @property
    def update_sharpness(self) -> Estimate:
        """Median of the sharpness along the update over the last quarter of those that were taken."""
        return _median(self.sharpness[np.isfinite(self.sharpness)])

    @property
    def relative_sharpness(self) -> Estimate:
        """Median of sharpness over edge, likewise; 1 where steps no longer lower the loss of their batch."""
        taken = np.isfinite(self.sharpness) & (self.edges != 0)
        return _median(self.sharpness[taken] / self.edges[taken])

    @property
    def loss_trend(self) -> Estimate:
        """Slope of ln loss per step over the last half, by least squares; its error takes residuals as independent."""
        half = len(self.steps) // 2
        steps, losses = self.steps[half:].astype(float), self.losses[half:]
        good = np.isfinite(losses) & (losses > 0)
        if good.sum() < _FEWEST:
            return Estimate(float("nan"), float("inf"), unit="1/step")
        away = steps[good] - steps[good].mean()
        logs = np.log(losses[good])
        slope = float(away @ logs / (away @ away))
        rest = logs - logs.mean() - slope * away
        error = float(np.sqrt(rest @ rest / (len(rest) - 2) / (away @ away)))
        return Estimate(slope, error, unit="1/step")

    @property
    def noise_scale(self) -> Estimate:
        """tr S / |G|^2 over the last quarter, in examples, or in batches without a batch size.

        Both are averaged first; the error is that of the ratio, the value infinite where |G|^2 cannot be told from 0.
        """
        pairs = self.squares[-max(len(self.squares) // _SHARE, min(len(self.squares), _FEWEST)) :]
        pairs = pairs[np.isfinite(pairs).all(axis=1)]
        unit = "batches" if self.batch_size is None else "examples"
        if len(pairs) < _FEWEST:
            return Estimate(float("nan"), float("inf"), unit=unit)
        size = (self.batch_size or 1.0) * (0.5 if self.from_halves else 1.0)
        found = theory.noise_scale.two_batch_estimate(pairs[:, 0], pairs[:, 1], size, 2 * size)
        squared, trace = found.squared_gradient, found.noise_trace
        means = squared.mean(), trace.mean()
        errors = [part.std(ddof=1) / np.sqrt(len(pairs)) for part in (squared, trace)]
        if means[0] <= 2 * errors[0] and means[1] > 0:
            least = max(means[1] - 2 * errors[1], 0.0) / (means[0] + 2 * errors[0]) if means[0] + errors[0] > 0 else 0.0
            return Estimate(float("inf"), interval=(float(least), float("inf")), unit=unit)
        ratio = means[1] / means[0] if means[0] > 0 else float("nan")
        error = (trace - ratio * squared).std(ddof=1) / means[0] / np.sqrt(len(pairs)) if means[0] > 0 else np.inf
        return Estimate(float(ratio), float(error), unit=unit)

    def __str__(self) -> str:
        if self.first_wrong is not None:
            return f"Not finite from step {self.first_wrong} on."
        if not len(self.steps):
            return "No record yet."
        source = "halves of a batch" if self.from_halves else "successive gradients: an upper estimate"
        lines = [
            f"steps {self.steps[0]} to {self.steps[-1]}, {len(self.steps)} records",
            f"update cosine  {self.update_cosine}",
            f"|update| / |parameters|  {self.update_ratio}",
            f"d ln loss / d step  {self.loss_trend}",
            f"noise scale  {self.noise_scale} ({source})",
        ]
        if np.isfinite(self.sharpness).any():
            edge = _median(self.edges[np.isfinite(self.edges)])
            lines.append(
                f"sharpness along the update  {self.update_sharpness}, {self.relative_sharpness} times its edge {edge}"
            )
        return "\n".join(lines)


def summarize_monitor(state: Any, batch_size: float | None = None) -> MonitorSummary:
    """Reads the monitor inside of an optax state.

    Args:
      state: the state of a rule with a `Monitor` in it, at any depth, of one run.
      batch_size: examples in a batch, > 0, for a noise scale in examples.

    Returns:
      The signs.

    Raises:
      InputError: the state holds no monitor, or those of several runs.
    """
    if batch_size is not None:
        require_positive("summarize_monitor", "batch_size", batch_size)
    kept = find_monitor("summarize_monitor", state)
    if np.ndim(kept.count):
        raise fail(
            "summarize_monitor", f"the state is that of {np.shape(kept.count)} runs",
            "Read one at a time: summarize_monitor(jax.tree.map(lambda leaf: leaf[0], state)).",
        )  # fmt: skip
    length, every = len(kept.records), int(kept.every)
    number = int(kept.count) // every
    order = _newest(number, length)
    records = np.asarray(kept.records, np.float64)[order]
    series = dict(zip(FIELDS, records.T, strict=True))
    observed = np.asarray(kept.observed, np.float64)[_newest(int(kept.num_observed), length)]
    squares = observed if len(observed) else np.stack([series["small"], series["large"]], axis=1)
    return MonitorSummary(
        steps=every * np.arange(max(number - length, 0) + 1, number + 1), losses=series["loss"],
        gradient_norms=series["gradient_norm"], update_norms=series["update_norm"], params_norms=series["params_norm"],
        cosines=series["cosine"], sharpness=series["sharpness"], edges=series["edge"], squares=squares,
        from_halves=len(observed) > 0 or bool(series["halves"].all()), batch_size=batch_size,
        first_wrong=int(kept.first_wrong) or None,
    )  # fmt: skip


def _newest(number: int, length: int) -> np.ndarray:
    """Places of what a ring holds, oldest first."""
    return np.arange(max(number - length, 0), number) % length


def _median(series: np.ndarray) -> Estimate:
    """Median of the last quarter, at least four, with the standard error that it has for normal numbers."""
    last = series[-max(len(series) // _SHARE, min(len(series), _FEWEST)) :]
    last = last[np.isfinite(last)]
    if not len(last):
        return Estimate(float("nan"), float("inf"))
    error = _MEDIAN * last.std(ddof=1) / np.sqrt(len(last)) if len(last) > 1 else np.inf
    return Estimate(float(np.median(last)), float(error))
