"""Claims: which of several processes works on which piece, so that the pieces of a dead one go to the others.

    locks/claiming        the lock under which pieces are claimed, held for a moment
    locks/claims.json     piece -> the process that works on it
    locks/workers/NAME    held by that process for its life, and touched every ten seconds: its heartbeat

A claim is void when its process is dead: when its lock is free, where both run on one machine; or when its heartbeat
is two minutes old by the disk's own clock, wherever it runs. A process that was only asleep may then go on with a piece
that another took too: pieces must be pure and their files whole or absent, so that this costs time, and no bit.
"""

import contextlib
import fcntl
import itertools
import json
import os
import pathlib
import platform
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from jaxopt_lab.core import InputError
from jaxopt_lab.storage.files import file_name, read_json, write_bytes
from jaxopt_lab.storage.locks import locked

BEAT_SECONDS = 10.0
PATIENCE_SECONDS = 120.0  # twice the longest time for which a client of a network disk may take old times for new ones
_numbers = itertools.count()


class Claims:
    """The claims of one worker on pieces of the work in a folder; a context manager, which holds the worker's own lock.

    Args:
      folder: the folder that all workers share.
      patience: seconds after which a heartbeat counts as stopped.
    """

    def __init__(self, folder: pathlib.Path, patience: float = PATIENCE_SECONDS) -> None:
        self._folder, self._patience = pathlib.Path(folder) / "locks", patience
        self._machine = _machine()
        self.worker = f"{self._machine}-{os.getpid()}-{next(_numbers)}"
        self._own, self._stopped = contextlib.ExitStack(), threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Claims":
        self._appear()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        self._path(self.worker).unlink(missing_ok=True)
        self._own.close()

    @contextlib.contextmanager
    def choosing(self) -> Iterator[tuple[frozenset[str], list[str]]]:
        """Holds the lock for a moment: (what living others work on, an empty list to fill with what this worker takes).

        What this worker claimed before is given back.

        Raises:
          InputError: the folder cannot be written.
        """
        with locked(self._folder / "claiming", str(self._folder), wait=True):
            if not self._path(self.worker).exists():  # it slept so long that another took it for dead
                self._own.close()
                self._appear()
            before = self._read()
            held = {piece: worker for piece, worker in before.items() if worker != self.worker}
            dead = {worker for worker in set(held.values()) if not self._lives(worker)}
            for worker in dead:
                self._path(worker).unlink(missing_ok=True)
            alive = {piece: worker for piece, worker in held.items() if worker not in dead}
            taken: list[str] = []
            yield frozenset(alive), taken
            after = alive | dict.fromkeys(taken, self.worker)
            if after != before:  # claims end with their processes, and so need not outlive the machine
                write_bytes(self._folder / "claims.json", json.dumps(after).encode(), durable=False)

    def _appear(self) -> None:
        self._own.enter_context(locked(self._path(self.worker), f"{self.worker} in {self._folder}"))

    def _read(self) -> dict[str, str]:
        """The claims that stand; a file that is damaged or of somebody else holds none, which costs time alone."""
        path = self._folder / "claims.json"
        if not path.exists():
            return {}
        try:
            found = read_json(path, "the claims of workers")
        except InputError:
            return {}
        pairs = found.items() if isinstance(found, dict) else ()
        return {piece: worker for piece, worker in pairs if isinstance(worker, str) and worker == file_name(worker)}

    def _lives(self, worker: str) -> bool:
        """Whether a worker's heart beats, and its lock is held where that can be seen."""
        try:
            with open(self._path(worker), "rb+") as file:  # opening asks a network disk for the newest times
                if worker.startswith(f"{self._machine}-") and _is_free(file):
                    return False
                return self._now() - os.fstat(file.fileno()).st_mtime < self._patience
        except FileNotFoundError:
            return False

    def _now(self) -> float:
        """The time by the clock of the disk, on which the heartbeats of all machines are told."""
        own = self._path(self.worker)
        os.utime(own)
        return own.stat().st_mtime

    def _beat(self) -> None:
        while not self._stopped.wait(min(BEAT_SECONDS, self._patience / 4)):
            with contextlib.suppress(OSError):  # a disk that is away for a while is no reason to end the work
                os.utime(self._path(self.worker))

    def _path(self, worker: str) -> pathlib.Path:
        return self._folder / "workers" / worker


def _is_free(file: Any) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(file, fcntl.LOCK_UN)
    return True


def _machine() -> str:
    """A name of this machine since it was started, in which no "/" stands."""
    started = pathlib.Path("/proc/sys/kernel/random/boot_id")
    digits = started.read_text()[:8] if started.exists() else ""
    return file_name(f"{platform.node()}-{digits}")
