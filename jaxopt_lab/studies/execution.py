"""Runs a study into its results folder: the folder is checked first, and what is written is whole at any moment."""

import hashlib
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jaxopt_lab import reporting, storage
from jaxopt_lab.core import Verdict, fail, precision
from jaxopt_lab.core.errors import require_choice
from jaxopt_lab.reporting.figure_data import figure_data
from jaxopt_lab.reporting.figures import house_style, save_svg
from jaxopt_lab.reporting.numbers import format_duration
from jaxopt_lab.storage.encoding import to_json
from jaxopt_lab.storage.files import write_text
from jaxopt_lab.storage.folder import (
    RECORD,
    digests,
    environment,
    folder_name,
    open_folder,
    remove_folder,
    write_record,
    write_rows,
    write_verdicts,
)
from jaxopt_lab.studies.rows import Rows
from jaxopt_lab.studies.study import Study

_CHECKPOINTS = "checkpoints"
Log = Callable[[str], None]


def log_line(line: str) -> None:
    """Logs a line under the name `jaxopt_lab.studies`, at the level INFO."""
    logging.getLogger("jaxopt_lab.studies").info(line)


def print_line(line: str) -> None:
    """Prints a line at once; a terminal without Greek letters gets question marks."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(line.encode(encoding, "replace").decode(encoding) + "\n")
    sys.stdout.flush()


def prepare_engine() -> None:
    """Switches the persistent compilation cache on, so that a second run of the same programs compiles nothing."""
    from jaxopt_lab import training

    training.enable_compilation_cache()


class Outcome(NamedTuple):
    """Where a study's results lie, and what came out.

    Attributes:
      folder: the results folder.
      verdicts: the study's verdicts.
    """

    folder: Path
    verdicts: list[Verdict]

    @property
    def holds(self) -> bool:
        """True when every claim holds."""
        return all(verdict.holds for verdict in self.verdicts)


def execute(
    study: Study,
    config: Any,
    out: Path | str = "results",
    *,
    preset: str = "",
    command: str = "",
    place: str = "",
    folder: Path | None = None,
    log: Log | None = log_line,
) -> Outcome:
    """Runs a study, judges it, and writes everything into its results folder.

    A study that takes `checkpoints` keeps those of its runs in that folder; when the same study and config is executed
    again after an interruption, they continue. Arrays default to float64, and matrix products keep full
    accuracy, unless the config has a field `dtype` that says "float32".

    Args:
      study: the study.
      config: its resolved config, an instance of `study.config`.
      out: the folder that holds all results.
      preset: the preset that the config came from, for the record.
      command: what redoes it, for the record.
      place: printed before the study's name, such as "[3/11] ".
      folder: the results folder itself, in place of the one in `out` that the config's hash names.
      log: gets the question, the verdicts and the time, a line at a time; by default Python's `logging` does.

    Returns:
      The folder and the verdicts.

    Raises:
      InputError: the folder is not ours or holds another run; nothing is overwritten then.
    """
    from jaxopt_lab.training.storage import Checkpoints

    dtype, log = getattr(config, "dtype", "float64"), log or (lambda line: None)
    require_choice(study.name, "dtype", dtype, ("float32", "float64"))
    check_folder(study, config, out, folder)
    folder = open_folder(out, study.name, config, folder)
    log(f"{place}{study.name}: {study.question}")
    clock = _Clock(folder)
    record = _first_record(study, config, preset, command, dtype)
    write_record(folder, record | clock.times())
    try:
        with precision(dtype):
            rows = study.run(config, Checkpoints(folder / _CHECKPOINTS))
            write_rows(folder, rows)
            verdicts = _judged(study, config, rows)
            record |= {"caption": _caption(study, config, rows, verdicts), "facts": dict(study.facts(config, rows))}
            if study.slider is not None:
                record["slider"] = study.slider(config, rows)
    except BaseException:
        write_record(folder, record | clock.times())
        raise
    write_verdicts(folder, verdicts)
    if study.draw is not None:
        with house_style() as maker:
            figure = study.draw(config, rows, maker)
            save_svg(figure, folder / "figure.svg")
            write_text(folder / "figure.csv", figure_data(figure))
    write_record(folder, record | clock.times() | {"status": "done", "files": digests(folder)})
    remove_folder(folder / _CHECKPOINTS)
    reporting.write_page(folder / "report.html", [reporting.read_result(folder)])
    for verdict in verdicts:
        log(f"  {verdict}")
    log(f"  {format_duration(clock.times()['wall_seconds'])}, kept in {folder}")
    return Outcome(folder, verdicts)


def check_folder(study: Study, config: Any, out: Path | str, folder: Path | None = None) -> None:
    """Raises InputError unless the results folder is free, or this study wrote it; writes nothing.

    Files of one name are told apart by where they stand, unless what is in them is the same.
    """
    folder = Path(out) / folder_name(study.name, config) if folder is None else folder
    storage.folder.check_folder(folder, "study", config, study.name)
    if not (folder / RECORD).is_file():
        return
    record, own = storage.read_record(folder), _identity(study)
    if not {"file", "source"} <= record.keys() or any(record[name] == own[name] for name in own):
        return
    raise fail(
        str(folder), f"the folder holds the study {study.name} of another file, {record['file']}",
        f"Rename one of the two, or name another folder than {folder.parent}; nothing was overwritten.",
    )  # fmt: skip


def place_of(path: Path) -> str:
    """Where a study's file stands: from `experiments` on where it lies there, else in full."""
    path = path.resolve()
    return "/".join(path.parts[-3:]) if path.parent.parent.name == "experiments" else str(path)


def _identity(study: Study) -> dict[str, str]:
    """Where the study stands, and the digest of what stands there.

    A study in `experiments/<question>/` is found by its name, wherever that folder lies.
    """
    path = study.file.resolve()
    return {"file": place_of(path), "source": hashlib.sha256(path.read_bytes()).hexdigest()}


def _judged(study: Study, config: Any, rows: Rows) -> list[Verdict]:
    verdicts = list(study.judge(config, rows))
    if not verdicts:
        raise ValueError(f"{study.name}: judge returned no verdict, and a study ends in at least one.")
    return verdicts


def _caption(study: Study, config: Any, rows: Rows, verdicts: list[Verdict]) -> str:
    if study.caption is not None:
        return study.caption(config, rows)
    return f"{sum(verdict.holds for verdict in verdicts)} of {len(verdicts)} claims hold."


def _first_record(study: Study, config: Any, preset: str, command: str, dtype: str) -> dict[str, Any]:
    return {
        "study": study.name,
        "status": "running",
        "preset": preset,
        "command": command,
        **_identity(study),
        "config": to_json(config),
        "question": study.question,
        "belief": study.belief,
        "truth": study.truth,
        "reference": study.reference,
        "caption": "",
        "facts": {},
        "dtype": dtype,
        **environment(),
    }


class _Clock:
    """Wall and processor seconds, the earlier sessions of an interrupted run included."""

    def __init__(self, folder: Path) -> None:
        self.earlier = {"wall_seconds": 0.0, "cpu_seconds": 0.0}
        if (folder / "study.json").is_file():
            record = storage.read_record(folder)
            if record["status"] == "running":
                self.earlier = {name: record.get(name, 0.0) for name in self.earlier}
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def times(self) -> dict[str, float]:
        """Seconds spent so far."""
        passed = {"wall_seconds": time.perf_counter() - self.wall, "cpu_seconds": time.process_time() - self.cpu}
        return {name: round(self.earlier[name] + seconds, 3) for name, seconds in passed.items()}
