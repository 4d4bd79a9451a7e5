"""The rounds of an adaptive search: what each box held, at which ends it is open, and what to doubt of it."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from jaxopt_lab.search.dimensions import EffectiveRate, Range
from jaxopt_lab.search.spaces import Space

Evaluate = Callable[[dict[str, np.ndarray], int], np.ndarray]

_OUTER = 0.1


@dataclasses.dataclass(frozen=True)
class Box:
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

    @property
    def best(self) -> dict[str, float]:
        """The hyperparameters of the smallest loss."""
        place = int(np.argmin(self.losses))
        return {name: column[place].item() for name, column in self.columns.items()}

    def line(self) -> str:
        """The box as one printed line."""
        ranges = ", ".join(
            f"{name} {column.min():.4g} to {column.max():.4g}"
            for name, column in self.columns.items() if name in self.space.searched
        )  # fmt: skip
        return f"{len(self.losses)} trials of {self.steps} steps, {ranges}: best {self.losses.min():.6g}; {self.reason}"


@dataclasses.dataclass(frozen=True)
class Found:
    """What an adaptive search found.

    Attributes:
      values: the best hyperparameters of the longest trials.
      loss: their loss.
      boxes: every round, in order.
      warnings: what to doubt.
    """

    values: dict[str, float]
    loss: float
    boxes: tuple[Box, ...]
    warnings: tuple[str, ...]

    @property
    def num_trials(self) -> int:
        """Trials of all rounds together."""
        return sum(len(box.losses) for box in self.boxes)

    @property
    def num_steps(self) -> int:
        """Steps of all trials together."""
        return sum(len(box.losses) * box.steps for box in self.boxes)

    def lines(self) -> list[str]:
        """The record as printed lines."""
        chosen = ", ".join(f"{name} = {value:.6g}" for name, value in self.values.items())
        rounds = [f"{number}. {box.line()}" for number, box in enumerate(self.boxes, 1)]
        return [*rounds, f"best: {self.loss:.6g} at {chosen}", *(f"warning: {text}" for text in self.warnings)]


def open_ends(box: Box) -> list[tuple[str, str]]:
    """The movable ends of ranges whose outer tenth holds a trial better than the finite trials' median."""
    places, found = box.space.points(box.columns), []
    usual = np.median(box.losses[np.isfinite(box.losses)])
    for name, place in zip(box.space.searched, places.T, strict=True):
        ends = (("low", place <= max(_OUTER, place.min())), ("high", place >= min(1 - _OUTER, place.max())))
        for (end, outer), movable in zip(ends, box.space.dimensions[name].movable, strict=True):
            if movable and box.losses[outer].min() < usual:
                found.append((name, end))
    return found


def edge_warnings(box: Box, first: Space, margin: float, shorter: int, sampler: str) -> list[str]:
    """A warning for each edge, drawn by the stage before, at which this one is best: the best may lie outside."""
    outside = first.near_edge(box.best, 0.0)
    found = box.space.near_edge(box.best, margin * 1.001) | _outermost(box)
    reasons = ["short-horizon bias, search this one with long runs"] if box.steps > shorter else []
    if sampler != "grid":
        reasons.append(f"{sampler} trials are not evenly spaced, and none may have been near the best one")
    return [
        f"{name}: trials of {box.steps} steps are best at the {end} edge of the box that trials of {shorter} steps"
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


def _outermost(box: Box) -> dict[str, str]:
    """The continuous hyperparameters in which no trial lies farther out than the best one."""
    places, best, found = box.space.points(box.columns), int(np.argmin(box.losses)), {}
    for name, place in zip(box.space.searched, places.T, strict=True):
        low_moves, high_moves = box.space.dimensions[name].movable
        if not isinstance(box.space.dimensions[name], Range | EffectiveRate):
            continue
        if low_moves and place[best] == place.min():
            found[name] = "low"
        elif high_moves and place[best] == place.max():
            found[name] = "high"
    return found
