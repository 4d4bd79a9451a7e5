"""The report: one self-contained HTML page in which each claim stands as predicted number against measured number.

Nothing on the page comes from elsewhere: the style and the figures are inside. The same results give the same page.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxopt_lab.core import InputError, Verdict, fail
from jaxopt_lab.reporting.svg import inline_svg
from jaxopt_lab.storage import (
    RECORD,
    files,
    from_json,
    kind_of,
    read_record,
    read_verdicts,
    require_folders,
    require_unchanged,
    write_text,
)

_GENERATOR = '<meta name="generator" content="jaxopt_lab">'


@dataclasses.dataclass(frozen=True)
class StudyResult:
    """What a results folder holds, as far as the page shows it.

    Attributes:
      folder: the folder's name.
      record: the contents of `study.json`.
      verdicts: the verdicts; empty while the study is not finished.
      figure: the SVG text, or "".
    """

    folder: str
    record: dict[str, Any]
    verdicts: Sequence[Verdict] = ()
    figure: str = ""


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
        svg = files.read_text(figure, "a figure") if figure.is_file() else ""
        result = StudyResult(folder.name, record, read_verdicts(folder), svg)
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
    """What stands between <body> and </body> of a page, for a notebook."""
    return page[page.index("<body>") + len("<body>") : page.rindex("</body>")].strip()


def render_page(results: Sequence[StudyResult], failures: Sequence[Failure] = (), *, command: str = "") -> str:
    """The page as text; arguments as in `write_page`."""
    verdicts = [verdict for result in results for verdict in result.verdicts]
    return render_template(
        "report.html.j2",
        results=results,
        failures=failures,
        command=command,
        verdicts=verdicts,
        num_holding=sum(verdict.holds for verdict in verdicts),
        seconds=sum(result.record.get("wall_seconds") or 0.0 for result in results),
        inline_figure=lambda result: inline_svg(
            result.figure, prefix=result.folder, label=result.record.get("caption", "")
        ),
        title=_title(results),
    )


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
    environment.filters |= {"number": format_number, "setting": format_setting, "duration": _unbroken_duration}
    return environment.get_template(name).render(generator=_GENERATOR, **values)


def format_number(value: float, digits: int = 6) -> str:
    """A number as the page shows it.

    Example:
      >>> [format_number(x) for x in (6.5e6, 0.9801980198, 1000.0, float("inf"))]
      ['6.5e6', '0.980198', '1000', '∞']
      >>> format_number(0.0123456, 2)
      '0.012'
    """
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else ("∞" if value > 0 else "\N{MINUS SIGN}∞")
    small = 0 < abs(value) < 1e-3
    mantissa, _, exponent = f"{value:.{digits - 1 if small else digits}{'e' if small else 'g'}}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if small else mantissa
    return (f"{mantissa}e{int(exponent)}" if exponent else mantissa).replace("-", "\N{MINUS SIGN}")


def format_setting(value: Any) -> str:
    """A config's entry as the page shows it.

    Example:
      >>> format_setting([10.0, 1e6, "inf"]), format_setting(True)
      ('10, 1e6, ∞', 'yes')
    """
    value = from_json(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(format_setting, value))
    if isinstance(value, dict):
        return "; ".join(f"{key}: {format_setting(item)}" for key, item in value.items())
    if isinstance(value, float):
        return format_number(value, 6 if float(f"{value:.6g}") == value else 12)
    return str(value)


def format_duration(seconds: float) -> str:
    """Seconds in words of a fitting size.

    Example:
      >>> format_duration(0.25), format_duration(12.34), format_duration(184.0)
      ('0.25 s', '12.3 s', '3 min 4 s')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _unbroken_duration(seconds: float) -> str:
    return format_duration(seconds).replace(" ", "\N{NO-BREAK SPACE}")


def _title(results: Sequence[StudyResult]) -> str:
    return results[0].record["study"].replace("_", " ") if len(results) == 1 else "Claims and measurements"
