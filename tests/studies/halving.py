"""A tiny study for tests: x halves at every step, so that after t steps it is 2^-t."""

import dataclasses

import numpy as np

from jaxopt_lab.core import judge, require_positive
from jaxopt_lab.studies import Study, main


@dataclasses.dataclass(frozen=True)
class Config:
    """All that can change a number."""

    steps: int = 8
    """Number of halvings."""
    starts: tuple[float, ...] = (1.0, 3.0)
    """Where x starts, pure numbers."""
    factor: float = 0.5
    """What x is multiplied with; the claim is 1/2."""
    crash: bool = False
    """Raise instead of running."""

    def __post_init__(self) -> None:
        require_positive("halving", "steps", self.steps, "Nothing happens in no steps.")


def run(config):
    if config.crash:
        raise RuntimeError("the bench caught fire")
    steps = np.arange(config.steps + 1)
    return [{"start": start, "x": start * config.factor**steps} for start in config.starts]


def verdicts(config, rows):
    claim = "x halves at every step"
    return [
        judge(claim, f"x after {config.steps} steps", row["start"] * 0.5**config.steps, row["x"][-1], 1e-12)
        for row in rows
    ]


def draw(config, rows, maker):
    figure, axes = maker.axes()
    for index, row in enumerate(rows):
        steps = np.arange(config.steps + 1)
        maker.predicted(axes, steps, row["start"] * 0.5**steps, color=index, label=f"start {row['start']:g}")
        maker.measured(axes, steps, row["x"], color=index)
    axes.set(xlabel="step", ylabel="x", yscale="log")
    return figure


STUDY = Study(
    name="halving",
    question="Does x halve?",
    lecture="It gets smaller.",
    truth="It is exactly 2^-t of its start.",
    reference="arithmetic",
    config=Config,
    presets={"quick": Config(), "full": Config(steps=20)},
    run=run,
    judge=verdicts,
    draw=draw,
    caption=lambda config, rows: "Every dot lies on its line: x halves at every step.",
    facts=lambda config, rows: {"side by side (K)": len(rows)},
)

if __name__ == "__main__":
    raise SystemExit(main(STUDY))
