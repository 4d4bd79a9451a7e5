"""One lock: the kernel's on a file, so that it ends with its process, however that ends."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from jaxopt_lab.core import InputError, fail
from jaxopt_lab.storage.files import disk_errors, opened


class HeldError(InputError):
    """Another process holds the lock."""


@contextlib.contextmanager
def locked(path: Path, what: str, *, wait: bool = False) -> Iterator[None]:
    """Holds the lock of a file, which is made if need be and names the process.

    Args:
      path: the file.
      what: what is locked, for the error.
      wait: whether to wait for a lock that another process holds.

    Raises:
      HeldError: another process, or another thread of this one, holds it.
      InputError: the disk grants no locks, or the file cannot be written.
    """
    with contextlib.ExitStack() as stack:
        with disk_errors(path):
            file = stack.enter_context(opened(path, "a+"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            process = file.read(20).strip() or "unknown"
            remedy = "Let it finish, or stop it; then the same command continues."
            raise HeldError(str(fail(what, f"process {process} works on it", remedy))) from None
        except OSError as error:
            remedy = "Take a disk that does; Lustre is mounted with the option flock for it."
            raise fail(what, f"the disk of {path.parent} grants no lock ({error.strerror})", remedy) from error
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield
