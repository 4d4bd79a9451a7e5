"""The folder of a sweep, safe against kills, full disks, and several processes at once.

    sweep-<problem>-<hash of the config>/
      study.json              config, K, versions, device, status, seconds
      curves/seg-00000.npz    the curves of one chunk of runs
      configs.jsonl           the trials, a line each, best first
      locks/shard-0-of-1      held by the process that computes this share
      report.html             the page

Every file is complete or absent: it is written under a name of its own, flushed, and renamed. The first process settles
K for all; a lock is the kernel's, so that it ends with its process.
"""

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxopt_lab import storage
from jaxopt_lab.core import InputError, fail
from jaxopt_lab.storage import files

_UNWRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR}
_FULL = {errno.ENOSPC, errno.EDQUOT}


class Store:
    """The folder of one sweep.

    Args:
      folder: the results folder itself.
      config: all that can change a number.

    Raises:
      InputError: the folder holds something else, or cannot be written.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder, self.config = Path(folder), storage.to_json(dict(config))
        with plain_errors(self.folder):
            blocked = next((path for path in (self.folder, *self.folder.parents) if path.is_file()), None)
            if blocked is not None:
                raise fail("sweep", f"{blocked} is a file", "Name another folder.")
            record = self.folder / "study.json"
            if self.folder.exists() and not record.exists() and _strangers(self.folder):
                raise fail(
                    "sweep",
                    f"{self.folder} is not empty and holds no sweep",
                    "Name another folder; nothing was written.",
                )
            if record.exists() and read_sweep_record(self.folder)["config"] != self.config:
                raise fail(
                    "sweep", f"{self.folder} holds another sweep", "Name another folder; nothing was overwritten."
                )
            for name in ("curves", "locks"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)

    @property
    def begun(self) -> bool:
        """Whether a process has settled the sweep."""
        return (self.folder / "study.json").exists()

    def settle(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Writes `study.json` unless another process did so first; returns the one that stands."""
        path, mine = self.folder / "study.json", self.folder / f".study.json.{os.getpid()}"
        with plain_errors(self.folder):
            if not path.exists():
                storage.write_json(mine, {"kind": storage.SWEEP_MARK, **record})
                with contextlib.suppress(FileExistsError):
                    os.link(mine, path)
                mine.unlink()
        return read_sweep_record(self.folder)

    @contextlib.contextmanager
    def shard(self, index: int, count: int) -> Iterator[None]:
        """Holds the lock of one shard; a lock whose process is gone is free.

        Raises:
          InputError: another process holds it.
        """
        path = self.folder / "locks" / f"shard-{index}-of-{count}"
        with _locked(path, wait=False) as held:
            if not held:
                process = path.read_text().strip() or "unknown"
                raise fail(
                    "sweep", f"process {process} works on shard {index}/{count} of {self.folder}",
                    "Let it finish, or stop it; then the same command continues.",
                )  # fmt: skip
            yield

    def read(self, chunk: int, names: list[str]) -> dict[str, np.ndarray] | None:
        """The stored arrays of a chunk, or None where there are none.

        Raises:
          InputError: the file is torn.
        """
        path = self._segment(chunk)
        if not path.exists():
            return None
        return files.load(path, dict.fromkeys([*names, "status"], 0))

    def write(self, chunk: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Keeps the arrays of a chunk."""
        with plain_errors(self.folder):
            files.save(self._segment(chunk), dict(sorted(arrays.items())), {"chunk": chunk})

    def finish(self, rows: list[dict[str, Any]], changes: Mapping[str, Any], session: Mapping[str, Any]) -> None:
        """Writes the table of trials, and into `study.json` what changed and one session more."""
        with plain_errors(self.folder), _locked(self.folder / "locks" / "finishing", wait=True):
            record = read_sweep_record(self.folder)
            lines = "".join(json.dumps(storage.to_json(row), ensure_ascii=False) + "\n" for row in rows)
            storage.write_text(self.folder / "configs.jsonl", lines)
            sessions = [*record.get("sessions", []), dict(session)]
            storage.write_json(self.folder / "study.json", record | dict(changes) | {"sessions": sessions})

    def _segment(self, chunk: int) -> Path:
        return self.folder / "curves" / f"seg-{chunk:05d}.npz"


def read_sweep_record(folder: Path) -> dict[str, Any]:
    """The `study.json` of a sweep.

    Raises:
      InputError: there is none, it is torn, or it is not of a sweep.
    """
    return read_record(folder, storage.SWEEP_MARK, "sweep", "a sweep")


def read_record(folder: Path, mark: str, area: str, what: str) -> dict[str, Any]:
    """The `study.json` of a folder, if it is of the kind with this mark; errors name the area and what it should be."""
    path = Path(folder) / "study.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise fail(area, f"{path} cannot be read ({error})", f"Name the folder of {what}.") from None
    if not isinstance(record, dict) or record.get("kind") != mark:
        raise fail(area, f"{path} is not of {what}", f"Name the folder of {what}.")
    return record


@contextlib.contextmanager
def plain_errors(folder: Path, area: str = "sweep") -> Iterator[None]:
    """Within the block a full disk and a folder that cannot be written become one sentence each."""
    try:
        yield
    except OSError as error:
        if isinstance(error, InputError):
            raise
        if error.errno in _FULL:
            raise fail(
                area, f"the disk of {folder} is full",
                "Make room; the same command continues, nothing finished is lost.",
            ) from error  # fmt: skip
        if error.errno in _UNWRITABLE:
            raise fail(
                area, f"{folder} cannot be written ({error.strerror})",
                "Give write access or name another folder; nothing finished is lost.",
            ) from error  # fmt: skip
        raise


@contextlib.contextmanager
def _locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Holds an exclusive lock on a file that names the process; yields whether it was to be had."""
    with plain_errors(path.parent), open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield True


def _strangers(folder: Path) -> bool:
    return any(
        path.name not in ("curves", "locks") and not path.name.startswith((".study.json", "..study.json"))
        for path in folder.iterdir()
    )
