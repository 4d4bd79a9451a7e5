"""The command line of one study: `python path/to/mine.py --preset quick --out results`, or `jaxopt-lab study NAME ...`.

Every field of the config is an option, and the preset's values are the defaults. The exit code is 0 when all claims
hold, 1 when one fails, 2 for wrong input, 3 for anything else. The same command continues what was stopped.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxopt_lab import storage
from jaxopt_lab.core import fail
from jaxopt_lab.core.exits import FAILS, HOLDS, guarded
from jaxopt_lab.storage.encoding import config_from_json
from jaxopt_lab.storage.folder import RECORD, without_options
from jaxopt_lab.studies.discovery import find_study, list_studies, load_study
from jaxopt_lab.studies.execution import check_folder, execute, prepare_engine, print_line
from jaxopt_lab.studies.options import parse
from jaxopt_lab.studies.study import Study


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the study that the running script holds, as its command line asks.

    Args:
      argv: the arguments; by default those of the process.

    Returns:
      The exit code.

    Example: the last lines of a study's file are
      if __name__ == "__main__":
          raise SystemExit(main())
    """
    words = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: run_study(load_study(sys.modules["__main__"]), words, ["python", shown(sys.argv[0])]))


def run_study(study: Study, words: Sequence[str], program: Sequence[str]) -> int:
    """Runs a study as a command line asks.

    Args:
      study: the study.
      words: the options.
      program: the words before them, for help texts and the record.

    Returns:
      The exit code.

    Raises:
      InputError: a wrong option, or results that are not ours in the place of its own.
    """
    config, preset, out = parse(study, words, shlex.join(program))
    prepare_engine()
    command = shlex.join([*program, *without_options(words, "--out")])
    outcome = execute(study, config, out, preset=preset, command=command, log=print_line)
    print_line(f"Report: {outcome.folder / 'report.html'}")
    return HOLDS if outcome.holds else FAILS


def resume(folder: Path | str, experiments: Path | str = "experiments", file: Path | str | None = None) -> int:
    """Continues a study that was stopped, into the same folder and from its checkpoints.

    Args:
      folder: its results folder.
      experiments: the folder in which studies are found by name.
      file: the study's file, where it is not one of these. The folder names it too, but what a folder names is not run.

    Returns:
      The exit code.

    Raises:
      InputError: the folder is not ours, or was written by another version of the study.
    """
    folder = Path(folder).resolve()
    record = storage.read_record(folder)
    if record["status"] == "done":
        print_line(f"{folder.name} is finished; there is nothing to continue.")
        return HOLDS if all(verdict.holds for verdict in storage.read_verdicts(folder)) else FAILS
    study = load_study(_file_of(record, experiments) if file is None else file)
    with storage.files.reading(folder / RECORD, f"the record of {study.name}", "Run the study anew."):
        config = config_from_json(study.config, record["config"])
        preset, command = record["preset"], record["command"]
    check_folder(study, config, folder.parent, folder)
    prepare_engine()
    outcome = execute(study, config, folder.parent, preset=preset, command=command, folder=folder, log=print_line)
    return HOLDS if outcome.holds else FAILS


def shown(path: Path | str) -> str:
    """A path as the reader of a command may type it: from the current folder where it lies in there, else in full."""
    path = Path(path).resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _file_of(record: dict, experiments: Path | str) -> Path:
    """The file of a stopped study among the experiments; one that lies elsewhere must be named by the user."""
    place = record.get("file", "")
    if Path(place).is_absolute():
        known = list_studies(experiments) if Path(experiments).is_dir() else {}
        if known.get(record["study"], Path()).resolve() != Path(place):
            raise fail(
                "resume", f"{record['study']} is a study of the file {place}, which is not among {experiments}",
                f"A file that a folder names is not run unless you name it too: add --study {shlex.quote(place)}.",
            )  # fmt: skip
    return find_study(experiments, record["study"])
