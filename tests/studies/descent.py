"""Does it go down?

What is true: yes. On request it is killed in between, for the test that it continues afterwards.

Source: Cauchy 1847
"""

import os
import signal

import numpy as np

from jaxopt_lab import objectives, rules, training
from jaxopt_lab.studies import main
from jaxopt_lab.studies.fields import configclass
from jaxopt_lab.studies.verdicts import at_most


@configclass
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


def judge(config, rows):
    return [at_most("it goes down", "loss", rows[0]["loss"][0], rows[1]["loss"][-1])]


if __name__ == "__main__":
    raise SystemExit(main())
