"""A child process for the tests of `ask_and_tell`: searches on a journal that others share.

Arguments: the journal's file, the trials in all, and optionally the number of batches after which it kills itself. It says
when it is ready, and begins when a line comes.
"""

import os
import signal
import sys
import time

import numpy as np

from jaxopt_lab import search

SPACE = search.Space(x=search.uniform(0.0, 1.0), kind=search.choices(0, 1))


def storage(path):
    import optuna

    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))


def find(path, num_trials, die_after=None, **options):
    calls = []

    def evaluate(columns, steps):
        calls.append(len(columns["x"]))
        if len(calls) == die_after:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.02)
        return np.where(columns["kind"] == 1, (columns["x"] - 0.3) ** 2, np.inf)

    return search.ask_and_tell(evaluate, SPACE, num_trials=num_trials, batch=4, storage=storage(path), **options), sum(
        calls
    )


if __name__ == "__main__":
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    _, asked = find(sys.argv[1], int(sys.argv[2]), *map(int, sys.argv[3:]))
    sys.stdout.write(f"{asked}\n")
