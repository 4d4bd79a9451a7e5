"""The command line of one study: `python experiments/<question>/<name>.py --preset quick --out results`.

Every field of the config is an option, and the preset's values are the defaults. The exit code is 0 when all claims
hold, 1 when one fails, 2 for wrong input, 130 when stopped. The same command continues what was stopped.
"""

import argparse
import contextlib
import dataclasses
import difflib
import io
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import jaxopt_lab.reporting as reporting
from jaxopt_lab.core import InputError, fail, require_choice
from jaxopt_lab.studies.discovery import find_study, load_study
from jaxopt_lab.studies.execution import execute, say
from jaxopt_lab.studies.study import Study

HOLDS, FAILS, WRONG_INPUT, STOPPED = 0, 1, 2, 130


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
      InputError: the folder is not ours, was renamed, or was written by another version of the study.
    """
    folder = Path(folder).resolve()
    record = reporting.read_record(folder)
    expected = reporting.folder_name(record["study"], record["config"])
    if folder.name != expected:
        raise fail("resume", f"{folder} was renamed", f"Name it {expected} again.")
    if record["status"] == "done":
        say(f"{folder.name} is finished; there is nothing to continue.")
        return HOLDS if all(verdict.holds for verdict in reporting.read_verdicts(folder)) else FAILS
    study = load_study(find_study(experiments, record["study"]))
    config = reporting.config_from_json(study.config, record["config"])
    prepare_engine()
    outcome = execute(study, config, folder.parent, preset=record["preset"], command=record["command"])
    return HOLDS if outcome.holds else FAILS


def guarded(action: Callable[[], int]) -> int:
    """Runs `action` and returns its exit code; wrong input becomes one sentence on stderr and exit code 2."""
    try:
        return action()
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return WRONG_INPUT
    except KeyboardInterrupt:
        sys.stderr.write("Stopped. What was finished is kept; the same command continues from there.\n")
        return STOPPED


def prepare_engine() -> None:
    """Switches the persistent compilation cache on, so that a second run of the same programs compiles nothing."""
    from jaxopt_lab import training

    training.enable_compilation_cache()


def parse(study: Study, arguments: Sequence[str], program: str) -> tuple[Any, str, Path]:
    """Reads a study's options.

    Args:
      study: the study.
      arguments: the words after the program's name.
      program: the program's name, for help texts.

    Returns:
      (config, preset, out).

    Raises:
      InputError: an unknown preset or option, or a value of the wrong type or out of range.
      SystemExit: with code 0, after --help.
    """
    import tyro

    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    early.add_argument("--preset", default=next(iter(study.presets)))
    try:
        preset = early.parse_known_args(list(arguments))[0].preset
    except argparse.ArgumentError:
        raise fail(study.name, "--preset needs a name", f"There are: {', '.join(study.presets)}.") from None
    require_choice(study.name, "preset", preset, study.presets)
    presets = " | ".join(study.presets)
    options = dataclasses.make_dataclass(
        "Options",
        [
            ("preset", Annotated[str, tyro.conf.arg(help=f"Where the values come from: {presets}.", metavar="NAME")]),
            ("out", Annotated[Path, tyro.conf.arg(help="The folder that holds all results.")]),
            ("config", Annotated[study.config, tyro.conf.arg(name="")]),
        ],
    )
    chosen = options(preset, Path("results"), study.presets[preset])
    messages = io.StringIO()
    try:
        with contextlib.redirect_stderr(messages):
            parsed, unknown = tyro.cli(
                options,
                args=list(arguments),
                default=chosen,
                prog=program,
                description=f"{study.question} What the lecture says: {study.lecture}",
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if stop.code == 0:
            raise
        raise fail(study.name, _first_sentence(messages.getvalue()), "See --help.") from None
    if unknown:
        raise _unknown_option(study, unknown[0])
    return parsed.config, preset, parsed.out


def _main(study: Study, arguments: list[str], program: str) -> int:
    config, preset, out = parse(study, arguments, program)
    prepare_engine()
    command = shlex.join([*shlex.split(program), *_without_out(arguments)])
    outcome = execute(study, config, out, preset=preset, command=command)
    say(f"Report: {outcome.folder / 'report.html'}")
    return HOLDS if outcome.holds else FAILS


def _unknown_option(study: Study, option: str) -> InputError:
    known = ["--preset", "--out", *(f"--{field.name}" for field in dataclasses.fields(study.config))]
    known = [name.replace("_", "-") for name in known]
    near = difflib.get_close_matches(option.replace("_", "-"), known, n=1, cutoff=0.4)
    remedy = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}."
    return fail(study.name, f"unknown option {option}", remedy)


def _first_sentence(boxed: str) -> str:
    """What an error box of tyro says before its first rule, as one line."""
    lines = [line.strip(" │") for line in re.sub(r"\x1b\[[0-9;]*m", "", boxed).splitlines()]
    inside = [line for line in lines if line and line[0] not in "╭╰"]
    rule = next((index for index, line in enumerate(inside) if set(line) == {"─"}), len(inside))
    return " ".join(inside[:rule]).rstrip(".")


def _without_out(arguments: list[str]) -> list[str]:
    kept, skip = [], False
    for word in arguments:
        if not skip and word != "--out" and not word.startswith("--out="):
            kept.append(word)
        skip = word == "--out"
    return kept


def _shown(script: str) -> str:
    path = Path(script).resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name
