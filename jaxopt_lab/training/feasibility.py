"""`Feasibility`: when a configuration counts as diverged. NaN alone misses most divergence.

A configuration is infeasible when its loss is not finite, or has blown up against its start, or ends worse than the
constant predictor.
"""

import dataclasses

import numpy as np

from jaxopt_lab.core import Status, require_positive


@dataclasses.dataclass(frozen=True)
class Feasibility:
    """The limits of a run.

    Attributes:
      blow_up: a loss above this multiple of its (positive) start has diverged; infinity switches the test off.
      baseline: the constant predictor's loss; a run that ends above it is infeasible. None switches the test off.
    """

    blow_up: float = 1e6
    baseline: float | None = None

    def __post_init__(self) -> None:
        if self.blow_up != np.inf:
            require_positive("Feasibility", "blow_up", self.blow_up)

    def first_failures(self, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The record at which each configuration diverged, and how.

        Args:
          losses: losses by record so far, shape [N, records]; the first is the start.

        Returns:
          (record, status), int [N] each; for those that did not diverge the number of records, and RUNNING.
        """
        start = losses[:, :1]
        limit = np.where((start > 0) & np.isfinite(start), self.blow_up * start, np.inf)
        non_finite = ~np.isfinite(losses)
        bad = non_finite | (losses > limit)
        record = np.where(bad.any(1), bad.argmax(1), losses.shape[1])
        how = np.where(non_finite[np.arange(len(losses)), bad.argmax(1)], Status.NON_FINITE, Status.BLOWN_UP)
        return record, np.where(bad.any(1), how, Status.RUNNING)

    def at_end(self, loss: float) -> Status:
        """The status of a configuration that ran all of its steps and ended at `loss`."""
        worse = self.baseline is not None and not loss <= self.baseline
        return Status.WORSE_THAN_BASELINE if worse else Status.COMPLETED
