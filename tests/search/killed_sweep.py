"""A child process for the kill tests: a sweep that kills itself at a given moment, or goes on to its end.

Arguments: folder, the moment ("never", "chunk:K" before the K-th chunk is computed, "write:K" in the middle of the K-th
write of a file, "wait:K" to say so before the K-th chunk and sit there), and optionally the
steps and the number of devices. By hand, `python -m tests.search.killed_sweep FOLDER random:20` kills at 20 random moments and compares with an unbroken
sweep.
"""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

from jaxopt_lab import objectives, rules, search, training
from jaxopt_lab.search.plans import plan_sweep
from jaxopt_lab.search.sweeps import run_sweep
from jaxopt_lab.storage import files

GIVEN = {
    "num_trials": 6, "num_seeds": 2, "steps": 40, "batch_size": None, "sampler": "sobol", "seed": 0,
    "name": "loss", "baseline": "auto", "every": 10, "loop": "auto", "width": 2, "devices": 1, "log": None,
}  # fmt: skip


def problem():
    """Two dimensions with noise."""
    return objectives.with_noise(objectives.quadratic([1.0, 0.1], start=1.0), "gaussian", 0.01)


def run(folder, **options):
    """The sweep of the tests, in a folder of any name: 2 dimensions, 6 trials x 2 seeds in 6 chunks of 2."""
    space = options.pop("space", None) or search.Space(
        learning_rate=search.log_uniform(0.1, 10.0), rho=search.uniform(0.0, 0.9)
    )
    given = GIVEN | options
    execution = training.Execution(**{name: given.pop(name) for name in ("loop", "width", "devices", "log")})
    objective = search.Objective(**{name: given.pop(name) for name in ("name", "baseline", "every")})
    plan = plan_sweep(problem(), rules.heavy_ball, space, objective=objective, execution=execution, **given)
    return run_sweep(plan, folder)


def bits(folder) -> dict[str, bytes]:
    """The result files, byte by byte."""
    written = [*pathlib.Path(folder).glob("curves/*.npz"), pathlib.Path(folder) / "configs.jsonl"]
    return {file.name: file.read_bytes() for file in written}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(folder: str, moment: str, steps: str = "40", devices: str = "1") -> None:
    kind, _, number = moment.partition(":")
    calls = {"chunk": 0, "write": 0}
    training_run, fsync = training.run, os.fsync

    def counted_run(*arguments, **options):
        calls["chunk"] += 1
        if kind == "wait" and calls["chunk"] == int(number or 1):
            sys.stdout.write("waiting\n")
            sys.stdout.flush()
            time.sleep(60)
        if kind == "chunk" and calls["chunk"] == int(number):
            die()
        return training_run(*arguments, **options)

    def counted_fsync(file):
        calls["write"] += 1
        if kind == "write" and calls["write"] == int(number):
            os.truncate(file, os.fstat(file).st_size // 2)
            die()
        return fsync(file)

    training.run, files.os.fsync = counted_run, counted_fsync
    training.enable_compilation_cache(pathlib.Path(__file__).parents[2] / ".cache" / "xla")
    run(folder, steps=int(steps), every=max(1, int(steps) // 4), devices=int(devices))


def many(folder: str, kills: int) -> None:
    """Kills a sweep `kills` times, each at a random moment after it made its folder, and compares."""
    words = ["never", "200000"]
    command = [sys.executable, "-m", "tests.search.killed_sweep"]
    began = time.monotonic()
    subprocess.run([*command, f"{folder}/whole", *words], check=True)
    moments, longest = random.Random(0), 0.6 * (time.monotonic() - began)
    for attempt in range(kills):
        broken = pathlib.Path(folder) / f"broken-{attempt}"
        child = subprocess.Popen([*command, str(broken), *words])
        while not (broken / "study.json").exists():
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, longest))
        child.kill()
        child.wait()
        done = len(list(broken.glob("curves/*.npz")))
        subprocess.run([*command, str(broken), *words], check=True)
        same = bits(f"{folder}/broken-{attempt}") == bits(f"{folder}/whole")
        sys.stdout.write(f"killed after {done} chunks: {'the same bits' if same else 'DIFFERENT'}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[2].startswith("random:"):
        many(sys.argv[1], int(sys.argv[2].partition(":")[2]))
    else:
        main(*sys.argv[1:])
