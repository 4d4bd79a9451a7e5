"""A child process for the kill test: a run that kills itself at a given moment, or goes on to its end.

Arguments: folder, the moment ("never", "segment:K" before the K-th segment is moved, "write:K" in the middle of the K-th
checkpoint write), and the file for the final bits.
"""

import os
import pathlib
import signal
import sys

import numpy as np

from jaxopt_lab import objectives, rules, training
from jaxopt_lab.storage import archives
from jaxopt_lab.training import groups


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(folder: str, moment: str, result: str) -> None:
    kind, _, number = moment.partition(":")
    calls = {"segment": 0, "write": 0}
    move, savez = groups.move, np.savez

    def counted_move(*arguments):
        calls["segment"] += 1
        if kind == "segment" and calls["segment"] == int(number):
            die()
        return move(*arguments)

    def counted_savez(file, **arrays):
        if "checkpoint" in getattr(file, "name", ""):
            calls["write"] += 1
            if kind == "write" and calls["write"] == int(number):
                savez(file, **dict(list(arrays.items())[: len(arrays) // 2]))
                file.flush()
                die()
        return savez(file, **arrays)

    groups.move, archives.np.savez = counted_move, counted_savez
    training.enable_compilation_cache(pathlib.Path(__file__).parents[2] / ".cache" / "xla")
    quadratic = objectives.quadratic(objectives.spectra.log_uniform(50, 100.0))
    trace = training.run(
        objectives.with_noise(quadratic, "gaussian", 0.1),
        rules.heavy_ball,
        {"learning_rate": np.array([0.5, 0.1, 80.0]), "rho": 0.9},
        steps=160,
        every=4,
        seeds=[0, 1, 2],
        execution=training.Execution(segments=16, checkpoint_seconds=0, width=2),
        folder=folder,
        probes=(training.loss(), training.update_cosine()),
    )
    savez(result, params=trace.params, velocity=trace.state.velocity, loss=trace["loss"], cosine=trace["update_cosine"])


if __name__ == "__main__":
    main(*sys.argv[1:])
