"""How much longer do several workers take than the ideal, with and without kills?

    python -m benchmarks.workers [--workers 8] [--kills 3] [--chunks 160] [--seconds 0.5]

Each chunk of a small sweep sleeps for a while besides, so that processes on few cores do not wait for each other. The
ideal is the time after which the workers together, less what the killed ones had begun, have slept for all chunks: the
work is cut as fine as one likes, and claiming, writing and noticing a death cost nothing. Measured is the time until
the first worker has found all chunks and written the table.
"""

import argparse
import pathlib
import random
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

from jaxopt_lab import objectives, rules, search, training
from jaxopt_lab.search.plans import SweepPlan, plan_sweep
from jaxopt_lab.search.runner import Runner
from jaxopt_lab.search.sweeps import run_sweep

LOOKS = 0.01
PROBLEM = objectives.quadratic([1.0, 0.1], start=1.0)  # one for all plans of a process, so that it compiles once


def main() -> None:
    """Prints a line without kills and one with them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--chunks", type=int, default=160)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--child", type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        child(options.child, options.chunks, options.seconds)
        return
    for kills in dict.fromkeys((0, options.kills)):
        taken, ideal, lost = measured(options, kills)
        print(
            f"{options.chunks} chunks of {options.seconds} s, {options.workers} workers, {kills} killed: {taken:.2f} s,"
            f" ideal {ideal:.2f} s, {100 * (taken / ideal - 1):.1f} % longer; {lost} chunks lost",
            flush=True,
        )


def plan_of(chunks: int) -> SweepPlan:
    """A sweep of so many chunks of one trial each."""
    return plan_sweep(
        PROBLEM, rules.sgd,
        search.Space(learning_rate=search.log_uniform(0.1, 1.0)), num_trials=chunks, num_seeds=1, steps=8,
        batch_size=None, sampler="sobol", seed=0, objective=search.Objective(every=8),
        execution=training.Execution(width=1, devices=1),
    )  # fmt: skip


def child(folder: pathlib.Path, chunks: int, seconds: float) -> None:
    """A worker that says when it is ready, and begins when it is told so."""
    plan, arrays = plan_of(chunks), Runner.arrays
    with tempfile.TemporaryDirectory() as out:
        run_sweep(plan_of(1), pathlib.Path(out) / "sweep")  # compiles

    def slow(self: Runner, *given: Any, **options: Any) -> Any:
        time.sleep(seconds)
        return arrays(self, *given, **options)

    Runner.arrays = slow
    print("ready", flush=True)
    sys.stdin.readline()
    run_sweep(plan, folder / "sweep")


def measured(options: argparse.Namespace, kills: int) -> tuple[float, float, int]:
    """(seconds, ideal seconds, chunks that are missing at the end)."""
    moments = random.Random(0)
    with tempfile.TemporaryDirectory() as out:
        words = ["--child", out, "--chunks", str(options.chunks), "--seconds", str(options.seconds)]
        command = [sys.executable, "-m", "benchmarks.workers", *words]
        team = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(options.workers)
        ]
        for each in team:
            assert each.stdout is not None
            each.stdout.readline()
        whole = options.chunks * options.seconds
        ends = [moments.uniform(0, 0.8 * whole / options.workers) for _ in range(kills)]
        began = time.perf_counter()
        for each in team:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        for each, moment in zip(team, sorted(ends), strict=False):
            time.sleep(max(0.0, began + moment - time.perf_counter()))
            each.kill()
        while not (pathlib.Path(out) / "sweep" / "configs.jsonl").exists():  # the table, once all chunks are there
            time.sleep(LOOKS)
        taken = time.perf_counter() - began
        for each in team:
            each.wait()
        stored = len(list(pathlib.Path(out).glob("sweep/curves/seg-*.npz")))
    return taken, ideal_seconds(whole, options.seconds, options.workers, np.array(ends)), options.chunks - stored


def ideal_seconds(whole: float, chunk: float, workers: int, ends: np.ndarray) -> float:
    """The time at which those that live have done what the killed ones did not end."""
    done = (ends // chunk * chunk).sum()
    return (whole - done) / (workers - len(ends))


if __name__ == "__main__":
    main()
