"""Checkpoints of a run that several processes carry out together, each of which holds a part of the arrays.

    folder/process-0-of-2/run.json, curves/          as of a run of one process
    folder/process-0-of-2/checkpoint-0.npz, -1.npz   the last two states, as far as this process holds them

Each process keeps what it holds, under its own lock. The same number of processes and devices must go on.
"""

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from jaxopt_lab.core import InputError, fail
from jaxopt_lab.storage import archives, files
from jaxopt_lab.storage.shared import SLOTS, first_says, newest_of_all, part_name, together
from jaxopt_lab.training.groups import Group
from jaxopt_lab.training.steps import Program
from jaxopt_lab.training.storage import RECORD, RunStore


class SharedRunStore(RunStore):
    """The part of a run's folder that this process keeps.

    Args:
      folder: the run's.
      identity: which run it may hold, as far as this process can tell.

    Raises:
      InputError: in all processes, where the folder of any one holds something else or cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], identity: dict[str, str]) -> None:
        self._written = 0

        def begin() -> None:
            _require_same_number(pathlib.Path(folder), jax.process_count())
            super(SharedRunStore, self).__init__(pathlib.Path(folder) / part_name(), identity)

        together("run", begin)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """As `RunStore.held`; where one process cannot, none goes on."""
        with contextlib.ExitStack() as stack:
            together("run", lambda: stack.enter_context(super(SharedRunStore, self).held()))
            yield

    def is_due(self, is_late: bool) -> bool:
        """Whether the first process is late."""
        return first_says(is_late)

    def restore(
        self, program: Program, groups: list[Group], log: Callable[[str], None] | None = None
    ) -> tuple[list[Group], int, list[dict[str, np.ndarray]]]:
        """As `RunStore.restore`, from the newest checkpoint that every process has.

        Raises:
          InputError: in all processes, where a file of any one is damaged or of another run.
        """
        del log
        found: dict[int, pathlib.Path] = {}
        together("run", lambda: found.update(self._found()))
        newest = newest_of_all(found)
        if newest is None:
            return groups, 0, []
        self._written = 1 + int(newest.stem[-1])  # the other one is written over first
        stored: list[Any] = []
        together("run", lambda: stored.append(self._stored(program, groups, newest)))
        return stored[0]

    def _found(self) -> dict[int, pathlib.Path]:
        """The checkpoints that are there, segments -> file."""
        paths = [path for path in map(self._slot, range(SLOTS)) if path.exists()]
        return {int(archives.load_facts(path, "the checkpoint of a run")["segments"]): path for path in paths}

    def _next(self) -> pathlib.Path:
        self._written += 1
        return self._slot((self._written - 1) % SLOTS)

    def _slot(self, number: int) -> pathlib.Path:
        return self.folder / f"checkpoint-{number}.npz"


def _require_same_number(folder: pathlib.Path, count: int) -> None:
    """Raises InputError where the folder is of a run of another number of processes."""
    files.require_folders(folder)
    others = [path.name for path in folder.glob("process-*-of-*") if not path.name.endswith(f"-of-{count}")]
    number = others[0].rpartition("-")[2] if others else "1" if (folder / RECORD).exists() else None
    if number is not None:
        whose = "1 process" if number == "1" else f"{number} processes"
        raise fail(
            str(folder), f"the run in it was carried out by {whose}, not {count}",
            "Go on with as many, or name another folder.",
        )  # fmt: skip


def open_store(
    folder: str | os.PathLike[str], identity: dict[str, str], log: Callable[[str], None] | None, *, is_shared: bool
) -> RunStore:
    """The store of a run.

    Args:
      folder: where.
      identity: which run it may hold.
      log: gets a line where the folder holds another run or is damaged, and is set aside; None: that is an error.
      is_shared: whether several processes hold the run's arrays together; there it is an error too.

    Raises:
      InputError: as `RunStore`.
    """
    if is_shared:
        return SharedRunStore(folder, identity)
    try:
        return RunStore(folder, identity)
    except InputError as error:
        if log is None or files.is_free(pathlib.Path(folder)):
            raise
        log(f"{error} It is set aside, and the run begins anew.")
        files.set_aside(pathlib.Path(folder))
        return RunStore(folder, identity)
