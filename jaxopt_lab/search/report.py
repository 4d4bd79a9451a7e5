"""A sweep as text, and as one HTML page: the trials, curves, parallel coordinates, slices, how to redo it."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxopt_lab.reporting.outcomes import Draw, command_of, inline_figures, record_of, shortened, write_folder_page
from jaxopt_lab.reporting.page import render_template
from jaxopt_lab.search.figures import draw_curves, draw_parallels, draw_slices
from jaxopt_lab.search.results import Sweep, load_sweep
from jaxopt_lab.search.trials import Trials, settings_of

_MOST_ROWS = 500
_SHOWN_ROWS = 10


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
    load = functools.partial(load_sweep, log=log)
    return write_folder_page(folder, "sweep", load, page_of, "The chunks beside it are untouched.")


def lines_of(sweep: Sweep) -> list[str]:
    """The sweep as text of at most 40 lines: the best trials, what diverged, and what to doubt."""
    num = len(sweep.seeds)
    level = f", {1 - 2.0 ** (1 - num):.0%} interval" if 1 < num < 6 else ""
    seeds = f"median of {num} seeds{level}" if num > 1 else "one seed"
    found = [f"{sweep.problem}: {sweep.objective} after {int(sweep.steps[-1])} steps, {seeds}"]
    for place, row in enumerate(sweep.table(_SHOWN_ROWS), 1):
        missed = f" ({row['missed']} of {num} seeds missed)" if row["missed"] else ""
        low, high = row["interval"]
        value = f"{row['median']:<11.5g} [{low:.4g}, {high:.4g}]"
        found.append(f"{place:>3}. {value}  {row['rule']}: {settings_of(row)}{missed}")
    return shortened(found + [line for trials in sweep.trials.values() for line in _doubts(sweep, trials)])


def _doubts(sweep: Sweep, trials: Trials) -> list[str]:
    """How many trials of a rule are finished, how many diverged, and whether its space was too narrow."""
    if not len(trials.ranking):
        return [f"{trials.rule}: no trial is finished"]
    done, all_of_them = int(trials.finished.sum()), len(trials.finished)
    head = f"{trials.rule}: {done} of {all_of_them} trials, {trials.share_infeasible:.0%} of runs infeasible"
    if not np.isfinite(trials.medians[trials.ranking[0]]):
        return [head, "  no trial is feasible: search other values, for learning rates smaller ones"]
    return [head] + [
        f"  {name} is best near the {end} end of its range: widen it before anything is concluded"
        for name, end in sweep.near_edge(trials.rule).items()
    ]


def page_of(sweep: Sweep, record: dict[str, Any] | None = None) -> str:
    """The page as HTML that asks for nothing from elsewhere.

    Args:
      sweep: what was found.
      record: the `study.json` of its folder; None reads it, or does without where nothing was kept.
    """
    record = record_of(sweep.folder, "sweep", lambda: _unkept(sweep)) if record is None else record
    rows, num_rows = sweep.table(_MOST_ROWS), sum(int(each.finished.sum()) for each in sweep.trials.values())
    names = list(dict.fromkeys(name for row in rows for name in row["hyperparameters"]))
    shares = [_share(sweep, trials) for trials in sweep.trials.values()]
    return render_template(
        "sweep.html.j2", sweep=sweep, record=record, rows=rows, num_rows=num_rows, names=names,
        shares=shares, figures=inline_figures(draws_of(sweep)) if rows else [], command=command_of(record, "sweep"),
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


def _unkept(sweep: Sweep) -> dict[str, Any]:
    facts = sweep.facts
    settled = {"loop": facts["loop"], "width": facts["width"], "chunks": range(facts["chunks"]), "timed": []}
    return {"config": sweep.config, "settled": settled, "facts": facts, "sessions": [facts]}


def draws_of(sweep: Sweep) -> list[Draw]:
    """The figures of the page: curves, then for each rule parallel coordinates and slices."""
    rules = [each for each in sweep.trials.values() if each.finished.any()]
    draws: list[Draw] = [functools.partial(draw_curves, sweep)]
    draws += [functools.partial(draw, sweep, each) for each in rules for draw in (draw_parallels, draw_slices)]
    return draws
