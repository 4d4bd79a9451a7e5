"""A sweep as text, as one HTML page, and as one summary a trial for TensorBoard and for Weights & Biases.

The page shows the trials, curves, parallel coordinates, slices and how to redo it. The summaries hold hyperparameters
and where the trial ended: the curves stay in the sweep's folder, the other tools get what their tables and parallel
coordinates need. Neither is imported before it is asked for, and what was written before is not written again.
"""

import functools
import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxopt_lab.core import fail
from jaxopt_lab.core.errors import require_count
from jaxopt_lab.reporting.outcomes import Draw, command_of, inline_figures, record_of, shortened, write_folder_page
from jaxopt_lab.reporting.page import render_template
from jaxopt_lab.search.figures import draw_curves, draw_parallels, draw_slices
from jaxopt_lab.search.results import Sweep, load_sweep
from jaxopt_lab.search.trials import Trials, settings_of
from jaxopt_lab.storage.files import disk_errors

_Write = Callable[[str, dict[str, Any], dict[str, float]], None]

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


def write_summaries(
    folder: str | os.PathLike[str],
    *,
    tensorboard: str | os.PathLike[str] | None = None,
    wandb: str | None = None,
    most: int = 1000,
) -> int:
    """Writes a summary of each finished trial: its hyperparameters, and the median of its seeds at the end.

    Args:
      folder: a sweep's folder, finished or not.
      tensorboard: the log folder; a trial becomes a run in it, <sweep>/<rule>-<trial>. Needs the extra `tensorboard`.
      wandb: the project; a trial becomes a run of the sweep's group. Needs the extra `wandb`, and is sent where that
        package is told to send (WANDB_MODE=offline: nowhere).
      most: write the best so many trials.

    Returns:
      The number of trials, each counted once.

    Raises:
      InputError: neither was asked for, the package is missing, the folder holds no sweep, or the log folder cannot be
        written.
    """
    require_count("write_summaries", "most", most)
    if tensorboard is None and wandb is None:
        raise fail("write_summaries", "neither tensorboard nor wandb was asked for", "Give tensorboard=DIR.")
    writers = [] if tensorboard is None else [_tensorboard(Path(tensorboard) / Path(folder).resolve().name)]
    writers += [] if wandb is None else [_wandb(wandb, Path(folder).resolve().name)]
    sweep, count = load_sweep(folder), 0
    for name, hyperparameters, ends in _summaries(sweep, most):
        for write in writers:
            write(name, hyperparameters, ends)
        count += 1
    return count


def _summaries(sweep: Sweep, most: int) -> Iterator[tuple[str, dict[str, Any], dict[str, float]]]:
    """(name, hyperparameters, ends) of the best trials, best first."""
    for row in sweep.table(most):
        trials = sweep.trials[row["rule"]]
        settings = {"rule": row["rule"]} | row["hyperparameters"]
        ends = _ends(trials, row["trial"]) | {sweep.objective: row["median"]}
        yield f"{row['rule']}-{row['trial']:05d}", settings, _finite(ends)


def _ends(trials: Trials, trial: int) -> dict[str, float]:
    """The medians over the seeds of all that was recorded, at the end; and the share of seeds that came to nothing."""
    last = {name: float(np.median(curves[trial, :, -1])) for name, curves in trials.curves.items()}
    return last | {"share_infeasible": float(1 - trials.feasible[trial].mean())}


def _finite(ends: dict[str, float]) -> dict[str, float]:
    """A diverged trial has no loss: neither tool can plot an infinite one."""
    return {name: value for name, value in ends.items() if np.isfinite(value)}


def _tensorboard(folder: Path) -> _Write:
    writer = _module("tensorboardX", "tensorboard").SummaryWriter

    def write(name: str, hyperparameters: dict[str, Any], ends: dict[str, float]) -> None:
        if (folder / name).exists():
            return
        with disk_errors(folder), writer(str(folder), write_to_disk=False) as log:
            log.add_hparams(hyperparameters, ends, name=name)

    return write


def _wandb(project: str, group: str) -> _Write:
    package = _module("wandb", "wandb")

    def write(name: str, hyperparameters: dict[str, Any], ends: dict[str, float]) -> None:
        run = package.init(
            project=project, group=group, name=name, id=f"{group}-{name}", resume="allow", config=hyperparameters
        )
        run.summary.update(ends)
        run.finish()

    return write


def _module(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        remedy = f"Install it: pip install 'jaxopt_lab[{extra}]'."
        raise fail("write_summaries", f"{name} is not installed", remedy) from None
