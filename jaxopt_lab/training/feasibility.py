"""`Feasibility`: when a configuration counts as diverged. NaN alone misses most divergence.

A configuration is infeasible when its loss is not finite, or has blown up, or ends worse than the constant predictor.
Losses may have any sign and any unit, so that growth is measured in what the loss can range over:

    loss - best > blow_up max(|start|, |best|, |baseline|, reach)

with the best loss so far, and where it matters the reach: the losses of a constant output and at the problem's start.
"""

import dataclasses

import numpy as np

from jaxopt_lab.core import Status
from jaxopt_lab.core.errors import require_positive


@dataclasses.dataclass(frozen=True)
class Feasibility:
    """The limits of a run.

    Attributes:
      blow_up: a loss this many times its range above its best has diverged; infinity switches the test off.
      baseline: the constant predictor's loss; a run that ends above it is infeasible. None switches the test off.
    """

    blow_up: float = 1e6
    baseline: float | None = None

    def __post_init__(self) -> None:
        if self.blow_up != np.inf:
            require_positive("Feasibility", "blow_up", self.blow_up)

    def first_failures(self, losses: np.ndarray, reach: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """The record at which each configuration diverged, and how.

        Args:
          losses: losses by record so far, shape [N, records]; the first is the start.
          reach: a further magnitude of the loss that is known, >= 0.

        Returns:
          (record, status), int [N] each; for those that did not diverge the number of records, and RUNNING. A loss
          that has been nothing but 0 has no range yet.
        """
        non_finite = ~np.isfinite(losses)
        seen = np.where(non_finite, np.inf, losses).astype(np.float64)
        best = np.minimum.accumulate(seen, 1)
        known = max(abs(self.baseline or 0.0), reach)
        scale = np.maximum(np.maximum(np.abs(seen[:, :1]), np.abs(best)), known)
        with np.errstate(over="ignore", invalid="ignore"):
            limit = np.where((scale > 0) & np.isfinite(scale), best + self.blow_up * scale, np.inf)
        bad = non_finite | (losses > limit)
        record = np.where(bad.any(1), bad.argmax(1), losses.shape[1])
        how = np.where(non_finite[np.arange(len(losses)), bad.argmax(1)], Status.NON_FINITE, Status.BLOWN_UP)
        return record, np.where(bad.any(1), how, Status.RUNNING)

    def at_end(self, loss: float) -> Status:
        """The status of a configuration that ran all of its steps and ended at `loss`."""
        worse = self.baseline is not None and not loss <= self.baseline
        return Status.WORSE_THAN_BASELINE if worse else Status.COMPLETED
