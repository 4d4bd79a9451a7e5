"""The command line of one study: `python experiments/<question>/<name>.py --preset quick --out results`.

Every field of the config is an option, and the preset's values are the defaults. The exit code is 0 when all claims
hold, 1 when one fails, 2 for wrong input, 3 for anything else. The same command continues what was stopped.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxopt_lab import storage
from jaxopt_lab.core.exits import FAILS, HOLDS, guarded
from jaxopt_lab.studies.discovery import find_study, load_study
from jaxopt_lab.studies.execution import execute, log
from jaxopt_lab.studies.options import parse
from jaxopt_lab.studies.study import Study


def main(study: Study, argv: Sequence[str] | None = None, *, program: str = "") -> int:
    """Runs a study as the command line asks.

    Args:
      study: the study.
      argv: the arguments; by default those of the process.
      program: what the command starts with in help texts and in the record; by default the script.

    Returns:
      The exit code.

    Example: the last lines of a study's file are
      if __name__ == "__main__":
          raise SystemExit(main(STUDY))
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    program = program or f"python {shlex.quote(_shown(sys.argv[0]))}"
    return guarded(lambda: _main(study, arguments, program))


def resume(folder: Path | str, experiments: Path | str = "experiments") -> int:
    """Continues a study that was stopped, into the same folder and from its checkpoints.

    Args:
      folder: its results folder.
      experiments: the folder with the studies.

    Returns:
      The exit code.

    Raises:
      InputError: the folder is not ours, or was written by another version of the study.
    """
    folder = Path(folder).resolve()
    record = storage.read_record(folder)
    if record["status"] == "done":
        log(f"{folder.name} is finished; there is nothing to continue.")
        return HOLDS if all(verdict.holds for verdict in storage.read_verdicts(folder)) else FAILS
    study = load_study(find_study(experiments, record["study"]))
    with storage.files.reading(folder / storage.RECORD, f"the record of {study.name}", "Run the study anew."):
        config = storage.config_from_json(study.config, record["config"])
        preset, command = record["preset"], record["command"]
    prepare_engine()
    outcome = execute(study, config, folder.parent, preset=preset, command=command, folder=folder)
    return HOLDS if outcome.holds else FAILS


def prepare_engine() -> None:
    """Switches the persistent compilation cache on, so that a second run of the same programs compiles nothing."""
    from jaxopt_lab import training

    training.enable_compilation_cache()


def _main(study: Study, arguments: list[str], program: str) -> int:
    config, preset, out = parse(study, arguments, program)
    prepare_engine()
    command = shlex.join([*shlex.split(program), *storage.without_options(arguments, "--out")])
    outcome = execute(study, config, out, preset=preset, command=command)
    log(f"Report: {outcome.folder / 'report.html'}")
    return HOLDS if outcome.holds else FAILS


def _shown(script: str) -> str:
    path = Path(script).resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name
