"""The report: one self-contained HTML page in which each claim stands as predicted number against measured number.

Nothing on the page comes from elsewhere: the style and the figures are inside. The same results give the same page.
"""

import dataclasses
import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from jaxopt_lab.core import InputError, Verdict, fail
from jaxopt_lab.reporting.figure_data import data_address
from jaxopt_lab.reporting.numbers import format_duration, format_number, format_setting, plain_numbers
from jaxopt_lab.reporting.sliders import require_slider
from jaxopt_lab.reporting.svg import again, inline_svg
from jaxopt_lab.storage import files, read_record, read_verdicts
from jaxopt_lab.storage.files import require_folders, write_text
from jaxopt_lab.storage.folder import RECORD, kind_of, require_unchanged

_GENERATOR = '<meta name="generator" content="jaxopt_lab">'


@dataclasses.dataclass(frozen=True)
class StudyResult:
    """What a results folder holds, as far as the page shows it.

    Attributes:
      folder: the folder's name.
      record: the contents of `study.json`.
      verdicts: the verdicts; empty while the study is not finished.
      figure: the SVG text, or "".
      data: the numbers of the figure as CSV, or "".
    """

    folder: str
    record: dict[str, Any]
    verdicts: Sequence[Verdict] = ()
    figure: str = ""
    data: str = ""

    @property
    def num_holding(self) -> int:
        """How many claims hold."""
        return sum(verdict.holds for verdict in self.verdicts)

    @property
    def outcome(self) -> str:
        """How many claims hold, in words; or that the study is not finished."""
        if self.record["status"] != "done":
            return "not finished"
        num = len(self.verdicts)
        return f"{self.num_holding} of {num} claim{'s' * (num != 1)} hold{'s' * (num == 1)}"


@dataclasses.dataclass(frozen=True)
class Failure:
    """A study that raised instead of ending in verdicts."""

    study: str
    message: str


def read_result(folder: Path) -> StudyResult:
    """Reads a results folder, whoever wrote it.

    Raises:
      InputError: the folder holds no study, or a file in it is damaged.
    """
    record = read_record(folder)
    result = StudyResult(folder.name, record)
    if record["status"] == "done":
        require_unchanged(folder, record)
        figure = folder / "figure.svg"
        svg, data = (
            files.read_text(path, "a figure") if path.is_file() else "" for path in (figure, folder / "figure.csv")
        )
        result = StudyResult(folder.name, record, read_verdicts(folder), svg, data)
    with files.reading(folder / RECORD, "the record of a study", "Run the study again."):
        render_page([result])
    return result


def find_results(folder: Path) -> tuple[list[StudyResult], list[Failure]]:
    """Reads a results folder, or all of those that lie right under `folder`, in the order of their names.

    Args:
      folder: a study's folder, or one with folders of studies.

    Returns:
      The studies, and for each folder that cannot be read why.

    Raises:
      InputError: there is none, or the only one cannot be read.
    """
    if (folder / RECORD).is_file():
        return [read_result(folder)], []
    found = sorted(path.parent for path in folder.glob(f"*/{RECORD}")) if folder.is_dir() else []
    inside = [path for path in found if kind_of(path) not in ("sweep", "comparison")]  # these have their own pages
    if not inside:
        raise fail("report", f"{folder} holds no results", "Name a study's folder, or the one given as --out.")
    results, failures = [], []
    for path in inside:
        try:
            results.append(read_result(path))
        except InputError as error:
            failures.append(Failure(path.name, str(error)))
    return results, failures


def check_page(path: Path) -> None:
    """Raises InputError when a file that this package did not write stands where the page should go."""
    require_folders(path.parent)
    if path.is_dir() or (path.is_file() and _GENERATOR not in path.read_text(encoding="utf-8", errors="replace")):
        raise fail("report", f"{path} exists and is not one of our reports", "Choose another --out.")


def write_page(
    path: Path, results: Sequence[StudyResult], failures: Sequence[Failure] = (), *, command: str = ""
) -> None:
    """Writes the page.

    Args:
      path: the HTML file.
      results: the studies, in the order in which they are shown.
      failures: studies that raised.
      command: what redoes the whole page.

    Raises:
      InputError: `path` is a file that this package did not write.
    """
    check_page(path)
    write_text(path, render_page(results, failures, command=command))


def page_body(page: str) -> str:
    """What stands between <body> and </body> of a page, with its style kept to itself, for a notebook.

    It is dark on white there too, whatever the notebook's theme is, whose rules for tables and code it outweighs.
    """
    body = page[page.index("<body>") + len("<body>") : page.rindex("</body>")].strip()
    style = page[page.index("<style>") + len("<style>") : page.index("</style>")]
    nested = re.sub(r"(?m)^(\s*)(?::root|body) \{", r"\1& {", re.sub(r"(?m)^html \{.*\}$", "", style))
    return f'<style>{3 * ".jaxopt-lab"} {{{nested}}}</style>\n<div class="jaxopt-lab">\n{body}\n</div>'


def render_page(results: Sequence[StudyResult], failures: Sequence[Failure] = (), *, command: str = "") -> str:
    """The page as text; arguments as in `write_page`."""
    verdicts = [verdict for result in results for verdict in result.verdicts]
    return render_template(
        "report.html.j2",
        results=results,
        failures=failures,
        command=command,
        verdicts=verdicts,
        num_holding=sum(result.num_holding for result in results),
        seconds=sum(result.record.get("wall_seconds") or 0.0 for result in results),
        images={result.folder: _image(result) for result in results if result.figure},
        sliders={result.folder: require_slider(result.record["slider"]) for result in results if _slides(result)},
        again=again,
        data_address=data_address,
        title=_title(results),
    )


def _slides(result: StudyResult) -> bool:
    return result.record["status"] == "done" and "slider" in result.record


def _image(result: StudyResult) -> Markup:
    return inline_svg(result.figure, prefix=result.folder, label=result.record.get("caption", ""))


def render_template(name: str, **values: Any) -> str:
    """One of the package's pages as text.

    Args:
      name: a file of `reporting/templates`.
      **values: what it shows; text in them is escaped.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "number": format_number, "setting": format_setting, "duration": _unbroken_duration,
        "plain": functools.partial(plain_numbers, powers=True), "code": _with_code,
    }  # fmt: skip
    return environment.get_template(name).render(generator=_GENERATOR, **values)


def _unbroken_duration(seconds: float) -> str:
    return format_duration(seconds).replace(" ", "\N{NO-BREAK SPACE}")


def _with_code(text: str) -> Markup:
    """The text with what stands in backticks set as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _title(results: Sequence[StudyResult]) -> str:
    return results[0].record["study"].replace("_", " ") if len(results) == 1 else "Claims and measurements"
