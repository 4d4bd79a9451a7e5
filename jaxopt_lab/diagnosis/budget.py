"""What a diagnosis may spend: gradient-equivalents and seconds; what does not fit is named, not dropped in silence.

One gradient over all data costs 1, a loss 1/3, a Hessian product 2, a step on B of n examples B / n.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from jaxopt_lab.core import InputError, fail, require_positive

GRADIENT = 1.0
LOSS = 1 / 3
PRODUCT = 2.0
LEAST = 10.0


@dataclasses.dataclass
class Budget:
    """A running account.

    Attributes:
      total: gradient-equivalents in all.
      seconds: wall seconds in all.
      spent: gradient-equivalents so far.
      refused: what -> why it was not paid for.
    """

    total: float = 200.0
    seconds: float = 60.0
    spent: float = 0.0
    refused: dict[str, str] = dataclasses.field(default_factory=dict)
    began: float = dataclasses.field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        require_positive("diagnose", "budget", self.total)
        require_positive("diagnose", "seconds", self.seconds)
        if self.total < LEAST:
            raise fail(
                "diagnose", f"a budget of {self.total:g} gradient-equivalents is too small for anything",
                f"The least is {LEAST:g}: a loss, a gradient, a few steps; 200 examines everything.",
            )  # fmt: skip

    @property
    def left(self) -> float:
        """Gradient-equivalents that are left."""
        return self.total - self.spent

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    def allows(self, what: str, cost: float) -> bool:
        """Whether there is enough left; if not, notes what is not done and why."""
        if cost > self.left:
            self.refused[what] = f"it costs {cost:.0f} gradient-equivalents and {self.left:.0f} are left"
        elif self.elapsed > self.seconds:
            self.refused[what] = f"{self.elapsed:.0f} s of {self.seconds:.0f} s are over"
        else:
            return True
        return False

    def attempt(self, what: str, measure: Callable[[], Any]) -> Any:
        """What `measure` gives; None where it is refused, with the reason noted."""
        try:
            return measure()
        except InputError as error:
            self.refused[what] = str(error).rstrip(".")
            return None

    def pace(self, seconds: float) -> None:
        """Lowers the total to what fits into the time, half of which compiling may take: one gradient takes so long."""
        fits = 0.5 * self.seconds / max(seconds, 1e-9)
        if fits < self.total:
            self.refused[f"what costs more than {fits:.0f} gradient-equivalents"] = (
                f"a gradient takes {seconds:.2g} s and the limit is {self.seconds:.0f} s"
            )
            self.total = max(fits, LEAST)

    def pay(self, cost: float) -> None:
        """Books a cost."""
        self.spent += cost
