"""A sweep as one self-contained HTML page: the trials, curves, parallel coordinates, slices, how to redo it."""

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxopt_lab import reporting, storage
from jaxopt_lab.search.figures import draw_curves, draw_parallels, draw_slices
from jaxopt_lab.search.results import Sweep, load_sweep
from jaxopt_lab.search.trials import Trials
from jaxopt_lab.storage import files

_MOST_ROWS = 500


def write_sweep_page(folder: str | os.PathLike[str], log: Callable[[str], None] | None = None) -> Path:
    """Writes `report.html` into a sweep's folder, from what is stored there.

    Args:
      folder: a sweep's folder, finished or not.
      log: gets a sentence for each damaged file, without which the page is made; None: that is an error.

    Returns:
      The page.

    Raises:
      InputError: the folder holds no sweep, or a file in it is damaged.
    """
    folder = Path(folder)
    record, sweep = storage.read_record(folder, "sweep"), load_sweep(folder, log)
    with files.reading(folder / storage.RECORD, "the record of a sweep", "The chunks beside it are untouched."):
        page = page_of(sweep, record)
    storage.write_text(folder / "report.html", page)
    return folder / "report.html"


def page_of(sweep: Sweep, record: dict[str, Any]) -> str:
    """The page as text.

    Args:
      sweep: what was found.
      record: the `study.json` of its folder.

    Returns:
      HTML that asks for nothing from elsewhere.
    """
    rows, num_rows = sweep.table(_MOST_ROWS), sum(int(each.finished.sum()) for each in sweep.trials.values())
    names = list(dict.fromkeys(name for row in rows for name in row["hyperparameters"]))
    shares = [_share(sweep, trials) for trials in sweep.trials.values()]
    return reporting.render_template(
        "sweep.html.j2", sweep=sweep, record=record, rows=rows, num_rows=num_rows, names=names,
        shares=shares, figures=_figures(sweep) if rows else [], command=_command(record),
        objective=sweep.objective.replace("_", " "),
        seconds=sum(session["wall_seconds"] for session in record.get("sessions", [])),
    )  # fmt: skip


def _share(sweep: Sweep, trials: Trials) -> dict[str, Any]:
    """What the head of the page says of one rule."""
    found = bool(trials.finished.any()) and bool(np.isfinite(trials.medians[trials.ranking[0]]))
    return {
        "rule": trials.rule,
        "finished": int(trials.finished.sum()),
        "infeasible": f"{trials.share_infeasible:.0%}" if trials.finished.any() else "",
        "best": sweep.best(trials.rule) if found else None,
        "edges": sweep.near_edge(trials.rule) if found else {},
    }


def _command(record: dict[str, Any]) -> str:
    return shlex.join(["jaxopt-lab", "sweep", *record["argv"]]) if record["argv"] else ""


def _figures(sweep: Sweep) -> list[dict[str, Any]]:
    found = []
    with reporting.house_style() as maker:
        rules = [each for each in sweep.trials.values() if each.finished.any()]
        drawn = [draw_curves(sweep, maker)]
        drawn += [draw(sweep, each, maker) for each in rules for draw in (draw_parallels, draw_slices)]
        for place, (figure, caption) in enumerate(pair for pair in drawn if pair is not None):
            svg = reporting.svg_text(figure)
            image = reporting.inline_svg(svg, prefix=f"figure-{place}", label=caption)
            found.append({"image": image, "caption": caption})
    return found
