"""What a diagnosis may spend: gradient-equivalents and seconds; what does not fit is named, not dropped in silence.

One gradient over all data costs 1, a loss 1/3, a Hessian product 2, a step on B of n examples B / n.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxopt_lab.core import InputError, Problem, fail, meshes, vectors
from jaxopt_lab.core.compilation import num_compiled
from jaxopt_lab.core.errors import require_positive
from jaxopt_lab.tracing.jaxprs import largest_value, lay_out

GRADIENT = 1.0
LOSS = 1 / 3
PRODUCT = 2.0
LEAST = 10.0
ASIDE = 2.0
_FEWEST_EXAMPLES = 128
_FEW, _LARGE, _WORK = 1000, 0.1, 1e6
_BATCHES = 4


class Skipped(NamedTuple):
    """A measurement that was not made.

    Attributes:
      reason: why.
      applies: False where there is nothing to measure, so that nothing is missed.
    """

    reason: str
    applies: bool = True


@dataclasses.dataclass
class Budget:
    """A running account.

    Attributes:
      total: gradient-equivalents in all.
      seconds: wall seconds in all.
      spent: gradient-equivalents so far.
      aside: those of the checks and of what was tried, which leave the rest what it has; at most twice the total.
      skipped: what was not measured -> why.
      gradient_seconds: that one gradient of all data takes; NaN before it is known.
      has_sampled: whether what is examined is a random part of the examples.
    """

    total: float = 200.0
    seconds: float = 120.0
    spent: float = 0.0
    aside: float = 0.0
    gradient_seconds: float = float("nan")
    has_sampled: bool = False
    skipped: dict[str, Skipped] = dataclasses.field(default_factory=dict)
    began: float = dataclasses.field(default_factory=time.monotonic)
    compiled_before: int = dataclasses.field(default_factory=num_compiled)

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

    @property
    def compiled(self) -> int:
        """Programs that were compiled since the beginning."""
        return num_compiled() - self.compiled_before

    def allows(self, what: str, cost: float) -> bool:
        """Whether there is enough left; if not, notes what is not done and why."""
        if cost > self.left:
            self.skip(what, f"it costs {cost:.0f} gradient-equivalents and {self.left:.0f} are left")
        elif self.elapsed > self.seconds:
            self.skip(what, f"{self.elapsed:.0f} s of {self.seconds:.0f} s are over")
        else:
            return True
        return False

    def skip(self, what: str, why: str) -> None:
        """Notes what is not measured."""
        self.skipped[what] = Skipped(why)

    def attempt(self, what: str, measure: Callable[[], Any]) -> Any:
        """What `measure` gives; None where it is refused, with the reason noted."""
        try:
            return measure()
        except InputError as error:
            self.skip(what, str(error).rstrip("."))
            return None

    def pace(self, seconds: float) -> None:
        """Lowers the total to what fits into the time, half of which compiling may take: one gradient takes so long."""
        fits = 0.5 * self.seconds / max(seconds, 1e-9)
        if fits < self.total:
            what = f"what costs more than {fits:.0f} gradient-equivalents"
            self.skip(what, f"a gradient takes {seconds:.2g} s and the limit is {self.seconds:.0f} s")
            self.total = max(fits, LEAST)

    def pay(self, cost: float) -> None:
        """Books a cost."""
        self.spent += cost

    def allows_aside(self, what: str, cost: float) -> bool:
        """Whether a check may be made; if not, notes why. What is allowed is booked."""
        if self.aside + cost > ASIDE * self.total:
            self.skip(what, f"it costs {cost:.0f} gradient-equivalents beside the {self.total:.0f} of the budget")
        elif self.elapsed > self.seconds:
            self.skip(what, f"{self.elapsed:.0f} s of {self.seconds:.0f} s are over")
        else:
            self.aside += cost
            return True
        return False


def step_cost(problem: Problem, batch_size: int | None) -> float:
    """Cost of one step on so many examples; fewer than a thousand cost as a part of a thousand.

    Of a model with few parameters a large batch costs as a tenth of the data, or as its examples times its parameters
    over a million where that is more: its gradient is done before a larger one has begun.
    """
    num = problem.num_examples
    if num is None:
        return 1.0
    share = min(batch_size or num, num) / max(num, _FEW)
    if share <= _LARGE:
        return share
    size = vectors.size(jax.eval_shape(problem.init, jax.random.key(0)))
    return max(_LARGE, share * min(1.0, num * size / _WORK))


def loss_size(problem: Problem, params: Any) -> int:
    """Numbers in the largest value that the loss of all data makes, traced, not computed; 0 where it cannot be."""
    try:
        return largest_value(lay_out(problem.freeze().full_loss, params, open_derivatives=False))
    except Exception:  # of the user's own code: the run says what is wrong
        return 0


def subsampled(problem: Problem, seconds: float, batch_size: int | None, budget: Budget, seed: int) -> Problem:
    """The problem with so many of its examples that the budget takes about half of its seconds; the rest may compile.

    Args:
      problem: any problem.
      seconds: that one gradient of all data takes.
      batch_size: examples a step in use; at least four batches are kept.
      budget: what is to be spent; is told what is left out.
      seed: seeds the draw.

    Returns:
      The problem itself where all examples fit, or where it has none.
    """
    num = problem.num_examples
    fits = budget.seconds / 2 / max(seconds, 1e-9)
    if num is None or fits >= budget.total:
        budget.pace(seconds)
        return problem
    kept = min(num, max(_FEWEST_EXAMPLES, _BATCHES * (batch_size or 0), round(num * fits / budget.total)))
    if kept < num:
        why = f"a gradient of all takes {seconds:.2g} s; what was measured is of a random part of {kept:,}"
        budget.skip(f"{num - kept:,} of the {num:,} examples", why)
        budget.has_sampled = True
    budget.pace(seconds * kept / num)
    validation = None if problem.validation is None else some_examples(problem.validation, kept, seed)
    return dataclasses.replace(problem, data=some_examples(problem.data, kept, seed), validation=validation)


def some_examples(data: Any, kept: int, seed: int) -> Any:
    """At most so many examples of the data, drawn at random, in their order; the data themselves where they fit."""
    num = jax.tree.leaves(data)[0].shape[0]
    if kept >= num:
        return data
    rows = np.sort(np.random.default_rng(seed).permutation(num)[:kept])
    return meshes.take(data, rows)
