"""The rounds of an adaptive search: how trials are judged, what each held, its open ends, what to doubt."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from jaxopt_lab import training
from jaxopt_lab.core import Problem
from jaxopt_lab.core.errors import require_count
from jaxopt_lab.reporting.outcomes import shortened
from jaxopt_lab.search.dimensions import EffectiveRate, Range
from jaxopt_lab.search.plans import Rule
from jaxopt_lab.search.spaces import Space

Evaluate = Callable[[dict[str, np.ndarray], int], np.ndarray]

_OUTER = 0.1


@dataclasses.dataclass(frozen=True)
class SearchRound:
    """One round of a search.

    Attributes:
      space: what was searched.
      columns: the trials, name -> [trials].
      losses: [trials]; infinite for a diverged trial.
      steps: the length of each trial.
      reason: why the search went on as it did.
    """

    space: Space
    columns: dict[str, np.ndarray]
    losses: np.ndarray
    steps: int
    reason: str

    def __repr__(self) -> str:
        return f"<SearchRound of {len(self.losses)} trials, {self.steps} steps>"

    @property
    def best(self) -> dict[str, float]:
        """The hyperparameters of the smallest loss."""
        place = int(np.argmin(self.losses))
        return {name: column[place].item() for name, column in self.columns.items()}

    def __str__(self) -> str:
        ranges = ", ".join(
            f"{name} {column.min():.4g} to {column.max():.4g}"
            for name, column in self.columns.items() if name in self.space.searched
        )  # fmt: skip
        return f"{len(self.losses)} trials of {self.steps} steps, {ranges}: best {self.losses.min():.6g}; {self.reason}"


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """What an adaptive search found.

    Attributes:
      values: the best hyperparameters of the longest trials.
      loss: their loss.
      rounds: every round, in order.
      warnings: what to doubt.
    """

    values: dict[str, float]
    loss: float
    rounds: tuple[SearchRound, ...]
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<SearchResult of {self.num_trials} trials in {len(self.rounds)} rounds, best {self.loss:.6g}>"

    @property
    def num_trials(self) -> int:
        """Trials of all rounds together."""
        return sum(len(each.losses) for each in self.rounds)

    @property
    def num_steps(self) -> int:
        """Steps of all trials together."""
        return sum(len(each.losses) * each.steps for each in self.rounds)

    def __str__(self) -> str:
        chosen = ", ".join(f"{name} = {value:.6g}" for name, value in self.values.items())
        rounds = [f"{number}. {each}" for number, each in enumerate(self.rounds, 1)]
        warned = [f"warning: {text}" for text in self.warnings]
        return "\n".join([*shortened(rounds, 30), f"best: {self.loss:.6g} at {chosen}", *warned])


def evaluator(
    problem: Problem,
    rule: Rule,
    *,
    num_seeds: int = 1,
    seed: int = 0,
    batch_size: int | None = None,
    validate: bool = False,
) -> Evaluate:
    """A function (columns, steps) -> losses for `coarse_to_fine` and its relatives.

    Args:
      problem: what to minimize.
      rule: a factory, hyperparameters -> rule.
      num_seeds: runs of each trial; their median counts; it is infinite where half of them diverged.
      seed: the first of the seeds.
      batch_size: examples a step, or None for all.
      validate: whether the loss on the validation data counts instead of that on the training data.

    Returns:
      The function; a trial that diverged has an infinite loss. All trials of a call are one compiled program, which
      calls with as many trials share, whatever their steps.

    Raises:
      InputError: num_seeds or seed is no such number.

    Example:
      >>> from jaxopt_lab import objectives, rules, search
      >>> bowl = objectives.quadratic([1.0, 0.1], start=1.0)
      >>> space = search.Space(learning_rate=search.log_uniform(1e-4, 1e-3))
      >>> found = search.coarse_to_fine(search.evaluator(bowl, rules.sgd), space, num_trials=8, steps=(10, 20, 40))
      >>> 1.6 < found.values["learning_rate"] < 1.9  # from far off to near the best, 1.8
      True
    """
    require_count("evaluator", "num_seeds", num_seeds)
    require_count("evaluator", "seed", seed, 0)
    probes = (training.loss(), training.validation_loss()) if validate else (training.loss(),)

    def evaluate(columns: dict[str, np.ndarray], steps: int) -> np.ndarray:
        losses = []
        for number in range(seed, seed + num_seeds):
            trace = training.run(
                problem, rule, columns, steps=steps, seeds=number, probes=probes, every=steps, batch_size=batch_size,
                execution=training.Execution(keep_final=False, share_batches=True),
            )  # fmt: skip
            ended = trace[probes[-1].name][:, -1].astype(float)
            feasible = np.array([status.feasible for status in trace.status])
            losses.append(np.where(feasible & np.isfinite(ended), ended, np.inf))
        return np.median(losses, 0)

    return evaluate


def open_ends(tried: SearchRound) -> list[tuple[str, str]]:
    """The movable ends of ranges whose outer tenth holds a trial better than the finite trials' median."""
    places, found = tried.space.points(tried.columns), []
    usual = np.median(tried.losses[np.isfinite(tried.losses)])
    for name, place in zip(tried.space.searched, places.T, strict=True):
        ends = (("low", place <= max(_OUTER, place.min())), ("high", place >= min(1 - _OUTER, place.max())))
        for (end, outer), movable in zip(ends, tried.space.dimensions[name].movable, strict=True):
            if movable and tried.losses[outer].min() < usual:
                found.append((name, end))
    return found


def edge_warnings(tried: SearchRound, first: Space, margin: float, shorter: int, sampler: str) -> list[str]:
    """A warning for each edge, drawn by the stage before, at which this one is best: the best may lie outside."""
    outside = first.near_edge(tried.best, 0.0)
    found = tried.space.near_edge(tried.best, margin * 1.001) | _outermost(tried)
    reasons = ["short-horizon bias, search this one with long runs"] if tried.steps > shorter else []
    if sampler != "grid":
        reasons.append(f"{sampler} trials are not evenly spaced, and none may have been near the best one")
    return [
        f"{name}: trials of {tried.steps} steps are best at the {end} edge of the box that trials of {shorter} steps"
        f" drew; {' or '.join(reasons) or 'the best may lie outside of it'}"
        for name, end in found.items()
        if name not in outside
    ]


def horizon_warning(steps: Sequence[int]) -> tuple[str, ...]:
    """A warning where trials chose among those that are three times as long, or longer."""
    if steps[0] * 3 > steps[-1]:
        return ()
    return (
        f"trials of {steps[0]} steps chose among those of {steps[-1]}: short runs prefer learning rates that are too"
        " small, on noisy problems tenfold",
    )


def _outermost(tried: SearchRound) -> dict[str, str]:
    """The continuous hyperparameters in which no trial lies farther out than the best one."""
    places, best, found = tried.space.points(tried.columns), int(np.argmin(tried.losses)), {}
    for name, place in zip(tried.space.searched, places.T, strict=True):
        low_moves, high_moves = tried.space.dimensions[name].movable
        if not isinstance(tried.space.dimensions[name], Range | EffectiveRate):
            continue
        if low_moves and place[best] == place.min():
            found[name] = "low"
        elif high_moves and place[best] == place.max():
            found[name] = "high"
    return found
