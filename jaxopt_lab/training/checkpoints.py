"""`checkpoints_in`: where runs keep their checkpoints and resume from them by themselves."""

import contextlib
import contextvars
import os
import pathlib
from collections.abc import Iterator

_session: contextvars.ContextVar["_Session | None"] = contextvars.ContextVar("checkpoints", default=None)


class _Session:
    def __init__(self, folder: pathlib.Path) -> None:
        self.folder, self.count = folder, 0


@contextlib.contextmanager
def checkpoints_in(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Within the block the k-th `run` keeps its checkpoints in `folder`/run-k and resumes from them by itself."""
    token = _session.set(_Session(pathlib.Path(folder)))
    try:
        yield
    finally:
        _session.reset(token)


def next_folder() -> pathlib.Path | None:
    """The folder for the run that starts now, or None outside of `checkpoints_in`."""
    session = _session.get()
    if session is None:
        return None
    session.count += 1
    return session.folder / f"run-{session.count - 1:03d}"
