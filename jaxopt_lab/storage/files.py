"""Files that are either complete or absent: one writer, and one reader that turns every damage into one sentence.

A file is written under a name of its own, flushed to the disk and renamed, so that a process killed at any moment
leaves the last complete one. What is read may come from anybody, and nothing of it is executed.
"""

import contextlib
import errno
import hashlib
import itertools
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from jaxopt_lab.core import InputError, fail
from jaxopt_lab.storage.encoding import to_json

_TEMPORARY = ".writing"
_UNWRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LEAST_FREE = 2**20
_LONGEST_NAME = 80
_MOST_TEXT = 2**28
_TRIES = 3
_numbers = itertools.count()


def file_name(name: str) -> str:
    """The name of a problem, rule or study as the name of a file or folder: one part of a path, on every system.

    Letters, digits and "._-" stay; all else becomes "-". A name that would be too long, hidden or empty is cut and
    gets eight digits of its hash.

    Example:
      >>> file_name("heavy_ball"), file_name("my/problem: one"), file_name("../../x")
      ('heavy_ball', 'my-problem-one', 'x-9cdf6a50')
    """
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", str(name))
    short = plain.lstrip(".-")[:_LONGEST_NAME].rstrip(".")
    if short and short == plain:
        return plain
    digits = hashlib.sha256(str(name).encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{short}-{digits}" if short else digits


@contextlib.contextmanager
def disk_errors(place: Path | str) -> Iterator[None]:
    """Within the block a full disk, and a place that cannot be written, become one sentence each.

    Raises:
      InputError: in their stead.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            remedy = "Make room; the same command continues, nothing finished is lost."
            raise fail(str(place), "the disk is full", remedy) from error
        if error.errno in _UNWRITABLE:
            remedy = "Give write access or name another folder; nothing finished is lost."
            raise fail(str(place), f"cannot be written ({error.strerror})", remedy) from error
        raise


def require_writable(folder: Path | str) -> None:
    """Makes the folder, writes a file there and removes both again: a wrong place is found before any compute.

    Raises:
      InputError: the folder cannot be made or written, a file stands in its way, or less than a MiB is free.
    """
    folder = Path(folder)
    require_folders(folder)
    with disk_errors(folder):
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        probe = folder / f".{os.getpid()}-{next(_numbers)}{_TEMPORARY}"
        try:
            with opened(probe, "wb") as file:
                file.write(b"writable")
        finally:
            probe.unlink(missing_ok=True)
            free = shutil.disk_usage(folder).free
            for path in made:
                with contextlib.suppress(OSError):  # another process may be using it by now
                    path.rmdir()
        if free < _LEAST_FREE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def require_folders(folder: Path) -> None:
    """Raises InputError when `folder`, or a folder above it, is a file."""
    if "\0" in str(folder):
        raise fail(repr(str(folder)), "is no name for a folder (it holds a zero byte)", "Name another folder.")
    with disk_errors(folder):
        blocked = next((path for path in (folder, *folder.parents) if path.exists() and not path.is_dir()), None)
    if blocked is not None:
        raise fail(str(folder), f"{blocked} is a file", "Name another folder.")


def opened(path: Path, mode: str) -> IO[Any]:
    """The file, opened in a folder that is made where it is missing, also when another process just removed it."""
    for _ in range(_TRIES):
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            return open(path, mode, encoding=None if "b" in mode else "utf-8")
    return open(path, mode, encoding=None if "b" in mode else "utf-8")


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """A file to write to, which takes the place of `path` when the block ends well; else nothing of it stays.

    The folder is made where it is missing. What need not outlive the machine is not `durable`, and waits for no disk.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{next(_numbers)}{_TEMPORARY}")
    with disk_errors(path):
        try:
            with opened(temporary, "wb") as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def is_free(folder: Path) -> bool:
    """Whether a folder is not there, or holds no more than what a killed process was making: locks and torn writes."""
    return not folder.exists() or not any(map(_counts, folder.iterdir()))


def remove_torn(folder: Path) -> None:
    """Removes what killed processes were writing in a folder that this process has locked."""
    for path in (each for pattern in (".*", "*/.*") for each in folder.glob(pattern) if _is_torn(each)):
        path.unlink(missing_ok=True)


def _is_torn(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(_TEMPORARY)


def _counts(path: Path) -> bool:
    return not (_is_torn(path) or path.parent.name == "locks" or (path.name in ("curves", "locks") and is_free(path)))


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Writes a file, completely or not at all."""
    with replacing(path, durable=durable) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, completely or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Writes data as indented JSON; non-finite numbers become the strings inf, -inf, nan."""
    write_text(path, json.dumps(to_json(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def set_aside(path: Path) -> Path:
    """Renames a damaged or foreign file, so that another can be written and nothing is lost; returns its place."""
    for number in itertools.count(1):
        aside = path.with_name(f"{path.name}.damaged-{number}")
        if not aside.exists():
            with disk_errors(path):
                os.replace(path, aside)
            return aside
    raise AssertionError


@contextlib.contextmanager
def reading(path: Path | str, what: str, remedy: str = "") -> Iterator[None]:
    """Within the block, in which a file is read and understood, every damage of it becomes one sentence.

    Args:
      path: the file.
      what: what it should be, such as "a sweep's record".
      remedy: what to do.

    Raises:
      InputError: in place of whatever the contents cause.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = str(error).strip().rstrip(".") or type(error).__name__
        reason = f"there is no {reason}" if isinstance(error, KeyError) else reason
        raise fail(str(path), f"cannot be read as {what} ({_first_line(reason)})", remedy) from error


def read_text(path: Path, what: str, remedy: str = "") -> str:
    """The text of a file of at most 256 MiB.

    Raises:
      InputError: it cannot be read.
    """
    with reading(path, what, remedy):
        if path.stat().st_size > _MOST_TEXT:
            raise ValueError(f"it holds more than {_MOST_TEXT >> 20} MiB")
        return path.read_text(encoding="utf-8")


def read_json(path: Path, what: str, remedy: str = "") -> Any:
    """The data of a JSON file.

    Raises:
      InputError: it cannot be read, or is not JSON.
    """
    text = read_text(path, what, remedy)
    with reading(path, what, remedy):
        return json.loads(text, parse_constant=_refused)


def _refused(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else text
