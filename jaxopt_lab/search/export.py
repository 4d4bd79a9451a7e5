"""One summary a trial for TensorBoard and for Weights & Biases: hyperparameters and where the trial ended, no curves.

The curves stay in the sweep's folder; the other tools get what their tables and parallel coordinates need. Neither is
imported before it is asked for. What was written before is not written again.
"""

import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxopt_lab.core import fail
from jaxopt_lab.core.errors import require_count
from jaxopt_lab.search.results import Sweep, load_sweep
from jaxopt_lab.search.trials import Trials
from jaxopt_lab.storage.files import disk_errors

_Write = Callable[[str, dict[str, Any], dict[str, float]], None]


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
