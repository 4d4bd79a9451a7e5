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

    def first_failure(self, losses: np.ndarray) -> tuple[int | None, Status]:
        """The record at which a configuration diverged, and how; (None, RUNNING) when it did not.

        Args:
          losses: losses by record so far, shape [records]; the first is the start.
        """
        non_finite = ~np.isfinite(losses)
        limit = self.blow_up * losses[0] if losses[0] > 0 and np.isfinite(losses[0]) else np.inf
        bad = np.flatnonzero(non_finite | (losses > limit))
        if not bad.size:
            return None, Status.RUNNING
        return int(bad[0]), Status.NON_FINITE if non_finite[bad[0]] else Status.BLOWN_UP

    def at_end(self, loss: float) -> Status:
        """The status of a configuration that ran all of its steps and ended at `loss`."""
        worse = self.baseline is not None and not loss <= self.baseline
        return Status.WORSE_THAN_BASELINE if worse else Status.COMPLETED
