"""A study that trains twice, and on request is killed in between: for the test that it continues afterwards."""

import dataclasses
import os
import signal

import numpy as np

from jaxopt_lab import objectives, rules, training
from jaxopt_lab.core import judge
from jaxopt_lab.studies import Study, main


@dataclasses.dataclass(frozen=True)
class Config:
    """All that can change a number."""

    learning_rate: float = 0.5
    """Of gradient descent, in units of 1 / L."""


def run(config, checkpoints):
    problem = objectives.quadratic([1.0, 0.1])
    rows = []
    for steps in (20, 40):
        place = checkpoints.of(f"{steps} steps")
        trace = training.run(problem, rules.sgd, {"learning_rate": config.learning_rate}, steps=steps, folder=place)
        rows.append({"steps": steps, "loss": np.asarray(trace["loss"][0])})
        if os.environ.get("KILL_AFTER") == str(steps):
            os.kill(os.getpid(), signal.SIGKILL)
    return rows


STUDY = Study(
    name="descent",
    question="Does it go down?",
    lecture="Yes.",
    truth="Yes.",
    reference="Cauchy 1847",
    config=Config,
    presets={"quick": Config()},
    run=run,
    judge=lambda config, rows: [
        judge("it goes down", "loss", rows[0]["loss"][0], rows[1]["loss"][-1], 0, kind="at-most")
    ],
    draw=lambda config, rows, maker: maker.axes()[0],
    caption=lambda config, rows: "It goes down.",
)

if __name__ == "__main__":
    raise SystemExit(main(STUDY))
