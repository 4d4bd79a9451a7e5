"""What several processes under `jax.distributed` keep together: each its part, all of the same moment.

Each process writes what it holds, in files of its own, when the first one's clock says so. It can be at most one file
ahead of another process when they are killed: the last two files are kept, and all go on from the newest that each has.
"""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxopt_lab.core import InputError, fail

SLOTS = 2


def part_name() -> str:
    """What names the files of this process.

    Example:
      >>> part_name()
      'process-0-of-1'
    """
    return f"process-{jax.process_index()}-of-{jax.process_count()}"


def first_says(value: bool) -> bool:
    """What the first process says, in all of them."""
    return bool(multihost_utils.broadcast_one_to_all(np.asarray(value)))


def together(where: str, step: Callable[[], Any]) -> None:
    """Takes a step in every process, and raises in all of them where one fails: none waits for another one's sums.

    Raises:
      InputError: the step raised it, here or elsewhere.
    """
    error: InputError | None = None
    try:
        step()
    except InputError as raised:
        error = raised
    failed = np.asarray(multihost_utils.process_allgather(np.asarray(error is not None))).reshape(-1)
    if error is not None:
        raise error
    if failed.any():
        raise fail(where, f"process {int(failed.argmax())} cannot go on", "It says why.")


def newest_of_all(found: Mapping[int, pathlib.Path]) -> pathlib.Path | None:
    """The file of the latest moment of which every process has one; None where there is none.

    Args:
      found: moment >= 0 -> file, at most two, of this process.
    """
    mine = np.full(SLOTS, -1)
    mine[: len(found)] = sorted(found)
    everyone = np.asarray(multihost_utils.process_allgather(mine)).reshape(-1, SLOTS)
    common = set.intersection(*(set(row.tolist()) for row in everyone)) - {-1}
    return found[max(common)] if common else None
