"""`Status`: how a run ended, as a code that compiled programs can return and a sentence for people."""

import enum


class Status(enum.IntEnum):
    """How one configuration ended."""

    RUNNING = 0
    COMPLETED = 1
    NON_FINITE = 2
    BLOWN_UP = 3
    WORSE_THAN_BASELINE = 4

    @property
    def feasible(self) -> bool:
        """False when the configuration diverged or ended worse than the constant predictor."""
        return self in (Status.RUNNING, Status.COMPLETED)

    def describe(self) -> str:
        """The status as a sentence.

        Example:
          >>> Status.BLOWN_UP.describe()
          'diverged: the loss grew past the allowed multiple of its start'
        """
        return _SENTENCES[self]


_SENTENCES = {
    Status.RUNNING: "still running",
    Status.COMPLETED: "ran all of its steps",
    Status.NON_FINITE: "diverged: the loss became infinite or NaN",
    Status.BLOWN_UP: "diverged: the loss grew past the allowed multiple of its start",
    Status.WORSE_THAN_BASELINE: "infeasible: ended worse than the constant predictor",
}
