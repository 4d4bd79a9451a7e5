"""A progress bar in steps with an honest time left, in terminals and notebooks and nowhere else; and single lines."""

import contextlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_bar(label: str, total: int, done: int = 0, shown: bool | None = None) -> Iterator[Callable[[int], None]]:
    """Yields a function that takes the number of steps done so far.

    Args:
      label: what is running.
      total: number of steps in all.
      done: number of steps done before this process started; they do not count towards the speed.
      shown: True or False, or None for "in a terminal, and in a notebook that has ipywidgets".
    """
    if shown is None:
        shown = sys.stderr.isatty() or _in_notebook()
    if not shown:
        yield lambda steps: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total, completed=done)
        yield lambda steps: bar.update(task, completed=steps)


def _in_notebook() -> bool:
    """Whether a notebook's kernel runs this, with what it takes to show a bar."""
    if "ipykernel" not in sys.modules:
        return False
    from rich.console import Console

    return Console().is_jupyter and importlib.util.find_spec("ipywidgets") is not None


def warn(line: str) -> None:
    """Logs what a user should know, under the name `jaxopt_lab.training`."""
    logging.getLogger("jaxopt_lab.training").warning(line)


def log_line(line: str) -> None:
    """Writes a line at once, on standard error."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
