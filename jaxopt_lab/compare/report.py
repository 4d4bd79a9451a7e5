"""A comparison as one self-contained HTML page: verdict first, a sortable table, figures, claims, how to redo it."""

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxopt_lab import reporting, storage
from jaxopt_lab.compare.comparison import GRADIENTS, Comparison
from jaxopt_lab.compare.figures import draw_curves, draw_ladder, draw_profiles, draw_sensitivity
from jaxopt_lab.compare.protocol import load_comparison
from jaxopt_lab.compare.statistics import seeds_for_misses
from jaxopt_lab.search.trials import settings_of
from jaxopt_lab.storage import files


def write_comparison_page(folder: str | os.PathLike[str], log: Callable[[str], None] | None = None) -> Path:
    """Writes `report.html` into a comparison's folder, from what is stored there.

    Args:
      folder: a comparison's folder, finished or not.
      log: gets a sentence for each damaged file, without which the page is made; None: that is an error.

    Returns:
      The page.

    Raises:
      InputError: the folder holds no comparison, or a file in it is damaged.
    """
    folder = Path(folder)
    record, comparison = storage.read_record(folder, "comparison"), load_comparison(folder, log)
    with files.reading(folder / storage.RECORD, "the record of a comparison", "What lies beside it is untouched."):
        page = page_of(comparison, record)
    storage.write_text(folder / "report.html", page)
    return folder / "report.html"


def page_of(comparison: Comparison, record: dict[str, Any]) -> str:
    """The page as text.

    Args:
      comparison: what was found.
      record: the `study.json` of its folder.

    Returns:
      HTML that asks for nothing from elsewhere.
    """
    rows = [row | {"settings": settings_of(row), "measure": comparison.measure(row["problem"])}
            for row in comparison.table()]  # fmt: skip
    command = shlex.join(["jaxopt-lab", "compare", *record["argv"]]) if record["argv"] else ""
    measures = {problem: (comparison.measure(problem), GRADIENTS) for problem in comparison.problems}
    return reporting.render_template(
        "comparison.html.j2", comparison=comparison, record=record, rows=rows, command=command,
        needed=seeds_for_misses(len(comparison.rules), record["config"]["level"]), verdict=comparison.verdict(),
        figures=_figures(comparison) if rows else [], measures=measures,
        space_of={name: rule["space"] for name, rule in record["config"]["rules"].items()},
    )  # fmt: skip


def _figures(comparison: Comparison) -> list[dict[str, Any]]:
    found = []
    with reporting.house_style() as maker:
        drawn = [draw_profiles(comparison, maker)]
        for problem in comparison.problems:
            drawn += [draw(comparison, problem, maker) for draw in (draw_curves, draw_ladder, draw_sensitivity)]
        for place, (figure, caption) in enumerate(pair for pair in drawn if pair is not None):
            image = reporting.inline_svg(reporting.svg_text(figure), prefix=f"figure-{place}", label=caption)
            found.append({"image": image, "caption": caption})
    return found
