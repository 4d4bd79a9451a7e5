"""Does x halve?

What is believed: it gets smaller.

What is true: it is exactly 2^-t of its start.

Source: arithmetic
"""

from typing import Annotated

import numpy as np

from jaxopt_lab.studies import main
from jaxopt_lab.studies.fields import AboveZero, configclass
from jaxopt_lab.studies.verdicts import relative


@configclass
class Config:
    """All that can change a number."""

    steps: Annotated[int, AboveZero(why="Nothing happens in no steps.")] = 8
    """Number of halvings."""
    starts: tuple[float, ...] = (1.0, 3.0)
    """Where x starts, pure numbers."""
    factor: float = 0.5
    """What x is multiplied with; the claim is 1/2."""
    crash: bool = False
    """Raise instead of running."""


PRESETS = {"quick": Config(), "full": Config(steps=20)}


def run(config):
    if config.crash:
        raise RuntimeError("the bench caught fire")
    steps = np.arange(config.steps + 1)
    return [{"start": start, "x": start * config.factor**steps} for start in config.starts]


def judge(config, rows):
    claim, quantity = "x halves at every step", f"x after {config.steps} steps"
    return [relative(claim, quantity, row["start"] * 0.5**config.steps, row["x"][-1], 1e-12) for row in rows]


def draw(config, rows, maker):
    figure, axes = maker.axes()
    for index, row in enumerate(rows):
        steps = np.arange(config.steps + 1)
        maker.predicted(axes, steps, row["start"] * 0.5**steps, color=index, label=f"start {row['start']:g}")
        maker.measured(axes, steps, row["x"], color=index)
    axes.set(xlabel="step", ylabel="x", yscale="log")
    return figure


def caption(config, rows):
    return "Every dot lies on its line: x halves at every step."


def facts(config, rows):
    return {"side by side (K)": len(rows)}


if __name__ == "__main__":
    raise SystemExit(main())
