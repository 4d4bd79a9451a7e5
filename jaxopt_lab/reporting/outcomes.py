"""What every outcome can be shown as: at most 40 lines of text, figures of a page, a data frame."""

import importlib
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from jaxopt_lab.core import fail
from jaxopt_lab.reporting.figure_data import data_address, figure_data
from jaxopt_lab.reporting.figures import FigureMaker, finish, house_style, svg_text
from jaxopt_lab.reporting.numbers import plain_numbers
from jaxopt_lab.reporting.page import page_body
from jaxopt_lab.reporting.svg import inline_svg
from jaxopt_lab.storage import files, read_record
from jaxopt_lab.storage.encoding import to_json
from jaxopt_lab.storage.files import write_text
from jaxopt_lab.storage.folder import RECORD, environment

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_LINES = 40
Draw = Callable[[FigureMaker], "tuple[Figure, str] | None"]


class Reported:
    """What prints, shows, draws and saves itself.

    A subclass names in `_report` the module that has `lines_of`, `page_of` and `draws_of`, functions of it; the module
    is imported when it is needed.
    """

    _report: ClassVar[str]

    def _part(self, name: str) -> Callable[..., Any]:
        return getattr(importlib.import_module(self._report), name)

    def __str__(self) -> str:
        return plain_numbers("\n".join(self._part("lines_of")(self)))

    def _repr_html_(self) -> str:
        return page_body(self._part("page_of")(self))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the HTML page.

        Raises:
          InputError: the place cannot be written, or a file in the folder that it is read from is damaged.
        """
        write_text(Path(path), self._part("page_of")(self))

    def plot(self) -> "Figure":
        """The first figure of the page.

        Returns:
          A matplotlib figure: a notebook shows it, `savefig` keeps it.

        Raises:
          InputError: nothing was measured that can be drawn.
        """
        return plot_first(f"{type(self).__name__}.plot", self._part("draws_of")(self))


def shortened(lines: Sequence[str], most: int = _MOST_LINES) -> list[str]:
    """The lines, or the first of them and how many were left out.

    Example:
      >>> shortened(["a", "b", "c", "d"], 3)
      ['a', 'b', '... and 2 more lines']
    """
    if len(lines) <= most:
        return list(lines)
    return [*lines[: most - 1], f"... and {len(lines) - most + 1} more lines"]


def inline_figures(draws: Sequence[Draw]) -> list[dict[str, Any]]:
    """The figures of a page, each an "image" that stands in the page, a "caption", and the address of its "data".

    Args:
      draws: functions of a maker that give a figure with its caption, or None where there is nothing to draw.
    """
    found = []
    with house_style() as maker:
        drawn = [draw(maker) for draw in draws]
        for place, (figure, caption) in enumerate(pair for pair in drawn if pair is not None):
            image = inline_svg(svg_text(figure), prefix=f"figure-{place}", label=caption)
            found.append({"image": image, "caption": caption, "data": data_address(figure_data(figure))})
    return found


def write_folder_page(
    folder: str | os.PathLike[str], kind: str, load: Callable[[Path], Any], page_of: Callable[..., str], remedy: str
) -> Path:
    """Writes `report.html` into a sweep's or a comparison's folder, from what is stored there.

    Args:
      folder: it, finished or not.
      kind: "sweep" or "comparison".
      load: folder -> what was found.
      page_of: (what was found, the record) -> HTML.
      remedy: what is said where the record is damaged.

    Returns:
      The page.

    Raises:
      InputError: the folder holds nothing of the kind, or a file in it is damaged.
    """
    folder = Path(folder)
    record, found = read_record(folder, kind), load(folder)
    with files.reading(folder / RECORD, f"the record of a {kind}", remedy):
        page = page_of(found, record)
    write_text(folder / "report.html", page)
    return folder / "report.html"


def record_of(folder: Path | None, kind: str, unkept: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """The record in a folder; where nothing was kept, what one would hold, of which `unkept` gives what is its own."""
    if folder is not None:
        return read_record(folder, kind)
    return {"argv": [], **unkept(), **to_json(environment())}


def command_of(record: Mapping[str, Any], verb: str) -> str:
    """The command line that redoes what a record tells of; "" where a Python program began it."""
    return shlex.join(["jaxopt-lab", verb, *record["argv"]]) if record["argv"] else ""


def plot_first(where: str, draws: Sequence[Draw]) -> "Figure":
    """The first figure that there is something to draw for, ready to be shown or saved.

    Args:
      where: who asks, for the error.
      draws: as in `inline_figures`.

    Raises:
      InputError: there is nothing to draw.
    """
    with house_style() as maker:
        for draw in draws:
            drawn = draw(maker)
            if drawn is not None:
                finish(drawn[0])
                return drawn[0]
    raise fail(where, "there is nothing to draw", "What would be drawn was not measured.")


def to_dataframe(where: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    """The rows as a pandas DataFrame.

    Args:
      where: who asks, for the error.
      rows: column -> value.

    Raises:
      InputError: pandas is not installed.
    """
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        raise fail(where, "pandas is not installed", "Install it: pip install 'jaxopt_lab[pandas]'.") from None
    return pandas.DataFrame(list(rows))
