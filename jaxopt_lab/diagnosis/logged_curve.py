"""What a logged curve tells on its own: little, and what that is.

    non-finite               a loss that is not a number, or infinite
    learning-rate-too-high   the loss ends above where it began by a tenth, or above ten times its lowest
    overfitting              the validation loss ends a quarter above its lowest, and the training loss fell by a tenth
                             since then
    schedule                 the loss falls by a tenth of all that it has fallen in the last tenth of the run

A curve that is flat may be a saddle, a plateau, noise, a dead network or a rate too low: that cannot be told from it.
`not_examined` says for each cause which measurement would tell.
"""

import csv
import importlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxopt_lab.core import fail
from jaxopt_lab.diagnosis.findings import CAUSES, Diagnosis, Finding, make_finding, measured
from jaxopt_lab.diagnosis.prescriptions import advise
from jaxopt_lab.storage import files

Column = tuple[np.ndarray, np.ndarray]
"""Rows and values, without those in which the column is empty."""

_HELD_OUT = ("val", "test", "eval")
_FEWEST = 4
_CLIMB, _BLOWN = 0.1, 10.0
_RISE, _STILL = 0.25, 0.1
_LATE = 0.1
_SETTLES = {
    "learning-rate-too-low": "the curvature along the run, or the same run at ten times the rate",
    "ill-conditioned": "the Hessian's spectrum",
    "gradient-noise": "the noise of one step's gradient, or the same run at a tenth of the rate",
    "saddle": "the most negative curvature",
    "plateau": "the loss along the line downhill",
    "local-minimum": "the smallest curvature, and runs from other starts",
    "underfitting": "the loss of the best constant output, and a larger model",
    "cannot-memorize": "a run on sixteen examples",
    "dead-units": "the layers' activations",
    "vanishing-signal": "the layers' signals",
    "exploding-signal": "the layers' signals",
    "bad-initialization": "the loss of the best constant output, and the layers' signals",
    "unnormalized-inputs": "the inputs",
    "unreachable-loss": "the loss with its outputs free",
    "unbounded-loss": "the loss with its outputs free",
    "no-gradient": "the gradient of each parameter",
    "mixed-examples": "the derivative with respect to each output",
    "uninformative-labels": "the inputs and the labels",
    "label-range": "the labels",
    "data-mismatch": "the training and the validation data",
    "train-eval-mismatch": "the loss in both modes on the same examples",
    "lost-updates": "one update, and the parameters' precision",
    "clipped-steps": "the rule's response to larger gradients",
}


def diagnose_log(path: str | os.PathLike[str]) -> Diagnosis:
    """Looks at a logged curve alone.

    Args:
      path: a CSV file with a header, JSON lines, or a folder or file of TensorBoard events (tensorboard must be
        installed). The training loss is the column "loss" or the first that holds "loss"; the validation loss the first
        with "val", "test" or "eval" in it.

    Returns:
      The diagnosis; `not_examined` tells what would settle each cause that the curve cannot tell.

    Raises:
      InputError: no such file, another format, no column of losses, or fewer than four of them.
    """
    place = Path(path)
    (rows, loss), held = _columns(_read(place), place)
    if len(loss) < _FEWEST:
        raise fail(str(place), f"a curve of {len(loss)} losses tells nothing", f"At least {_FEWEST} are needed.")
    found = [
        each
        for each in (_non_finite(loss), _climbs(loss), _overfits(rows, loss, held), _ends(loss))
        if each is not None
    ]
    if not found:
        text = "The curve shows no fault. Whether it could be lower or faster cannot be told from it."
        numbers = [measured("first loss", loss[0]), measured("last loss", loss[-1])]
        found = [make_finding("nothing-found", text, numbers, advise("Diagnose the problem itself."), 1.0)]
    told = {each.cause for each in found}
    missing = {cause: f"cannot be told from the curve; would settle it: {_SETTLES[cause]}"
               for cause in CAUSES if cause in _SETTLES and cause not in told}  # fmt: skip
    if held is None:
        missing["overfitting"] = "cannot be told from the curve; would settle it: a validation loss"
    return Diagnosis(place.name, "a rule that the curve does not tell", tuple(found), missing, 0.0, 0.0)


def _non_finite(loss: np.ndarray) -> Finding | None:
    wrong = np.flatnonzero(~np.isfinite(loss))
    if not wrong.size:
        return None
    text = f"The loss is {loss[wrong[0]]} at record {wrong[0]} of {len(loss)}."
    cure = advise("Give the problem to diagnose: it names the operation, or the example, that makes it so.")
    return make_finding("non-finite", text, [measured("first record that is not finite", wrong[0])], cure, float("inf"))


def _climbs(loss: np.ndarray) -> Finding | None:
    finite = loss[np.isfinite(loss)]
    if len(finite) < _FEWEST:
        return None
    first, last = np.median(finite[: max(1, len(finite) // 10)]), np.median(finite[-max(1, len(finite) // 10) :])
    lowest = float(finite.min())
    size = max(abs(first), 1e-300)
    climb, blown = (last - first) / size, last > _BLOWN * lowest > 0 and last > 0.5 * first
    if not (climb > _CLIMB or blown):
        return None
    text = f"The loss ends at {last:.3g} and began at {first:.3g}; its lowest was {lowest:.3g}."
    numbers = [
        measured("climb over the first loss", climb, _CLIMB),
        measured("last over lowest", last / lowest if lowest > 0 else np.nan, _BLOWN),
    ]
    return make_finding("learning-rate-too-high", text, numbers, advise("Reduce the learning rate 10x."), 10.0)


def _overfits(rows: np.ndarray, loss: np.ndarray, held: Column | None) -> Finding | None:
    if held is None or not np.isfinite(held[1]).all() or not np.isfinite(loss).all():
        return None
    values = held[1]
    best = int(values.argmin())
    there = float(np.interp(held[0][best], rows, loss))
    rise = (np.median(values[-max(1, len(values) // 10) :]) - values[best]) / max(abs(values[best]), 1e-300)
    fall = (there - loss[-1]) / max(abs(there), 1e-300)
    if not (rise > _RISE and fall > _STILL):
        return None
    text = f"The validation loss was lowest at record {held[0][best]} and has risen by {rise:.0%} since."
    numbers = [
        measured("rise of the validation loss since", rise, _RISE),
        measured("fall of the training loss since", fall, _STILL),
    ]
    cure = advise("Stop there, or regularize: weight decay, dropout, augmentation, more data.")
    return make_finding("overfitting", text, numbers, cure, 1 + rise, gain_in="validation loss")


def _ends(loss: np.ndarray) -> Finding | None:
    if not np.isfinite(loss).all() or len(loss) < 10:
        return None
    last = max(1, int(_LATE * len(loss)))
    before, behind = np.median(loss[-2 * last : -last]), np.median(loss[-last:])
    fall = (before - behind) / max(loss[0] - behind, 1e-300)
    if not (loss[0] > behind and fall > _LATE):
        return None
    text = "The run ends while its loss still falls as fast as before."
    numbers = [measured("fall in the last tenth, over all that it fell", fall, _LATE)]
    return make_finding("schedule", text, numbers, advise("Plan more steps."), 2.0)


def _read(place: Path) -> Mapping[str, Column]:
    if not place.exists():
        raise fail(str(place), "there is no such file", "Give a CSV file, JSON lines, or a folder of events.")
    if place.is_dir() or "tfevents" in place.name:
        return _events(place)
    lines = [line for line in files.read_text(place, "a log").splitlines() if line.strip()]
    if lines and lines[0].lstrip().startswith("{"):
        return _table(_json_rows(place, lines))
    return _table(list(csv.DictReader(io.StringIO("\n".join(lines)))))


def _json_rows(place: Path, lines: list[str]) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in lines]
    except ValueError as error:
        raise fail(str(place), "a line of it is no JSON", "One object a line, as {'step': 1, 'loss': 2.3}.") from error
    return [row for row in rows if isinstance(row, dict)]


def _table(rows: list[dict[str, Any]]) -> Mapping[str, Column]:
    """Each column without the rows in which it is empty."""
    columns: dict[str, list[tuple[int, float]]] = {}
    for place, row in enumerate(rows):
        for name, cell in row.items():
            value = _number(cell)
            if isinstance(name, str) and value is not None:
                columns.setdefault(name, []).append((place, value))
    tables = {name: np.array(pairs, float) for name, pairs in columns.items()}
    return {name: (table[:, 0].astype(int), table[:, 1]) for name, table in tables.items()}


def _number(cell: Any) -> float | None:
    """The number; None for an empty cell or another kind of entry. "nan" is a number that a run has logged."""
    try:
        return None if cell is None or cell == "" else float(cell)
    except (TypeError, ValueError):
        return None


def _events(place: Path) -> Mapping[str, Column]:
    try:
        reader = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    except ImportError as error:
        remedy = "Install tensorboard, or export the scalars as CSV."
        raise fail(str(place), "TensorBoard events need its reader", remedy) from error
    found = reader.EventAccumulator(str(place))
    found.Reload()
    scalars = {tag: found.Scalars(tag) for tag in found.Tags()["scalars"]}
    return {
        tag: (np.array([each.step for each in events]), np.array([each.value for each in events], float))
        for tag, events in scalars.items()
    }


def _columns(columns: Mapping[str, Column], place: Path) -> tuple[Column, Column | None]:
    named = [name for name in columns if "loss" in name.lower()]
    held = [name for name in named if any(word in name.lower() for word in _HELD_OUT)]
    own = [name for name in named if name not in held]
    if not own:
        listed = ", ".join(columns) or "none"
        raise fail(str(place), f"no column of training losses among: {listed}", "Name one of them 'loss'.")
    return columns["loss" if "loss" in own else own[0]], columns[held[0]] if held else None
