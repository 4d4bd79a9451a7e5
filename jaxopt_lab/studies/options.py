"""Reads the options of a study: every field of its config is one, and the preset's values are the defaults."""

import argparse
import contextlib
import dataclasses
import difflib
import io
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from jaxopt_lab.core import InputError, fail, require_choice
from jaxopt_lab.studies.study import Study


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

    preset = _preset(study, arguments)
    options, chosen = _options(study, preset)
    messages = io.StringIO()
    try:
        with contextlib.redirect_stderr(messages):
            parsed, unknown = tyro.cli(
                options,
                args=list(arguments),
                default=chosen,
                prog=program,
                description=f"{study.question} What is true: {study.truth}",
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if stop.code == 0:
            raise
        raise fail(study.name, _first_sentence(messages.getvalue()), "See --help.") from None
    if unknown:
        raise _unknown_option(study, unknown[0])
    return parsed.config, preset, parsed.out


def _preset(study: Study, arguments: Sequence[str]) -> str:
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    early.add_argument("--preset", default=next(iter(study.presets)))
    try:
        preset = early.parse_known_args(list(arguments))[0].preset
    except argparse.ArgumentError:
        raise fail(study.name, "--preset needs a name", f"There are: {', '.join(study.presets)}.") from None
    require_choice(study.name, "preset", preset, study.presets)
    return preset


def _options(study: Study, preset: str) -> tuple[type, Any]:
    """A dataclass of all options, and the instance that holds the defaults."""
    import tyro

    presets = " | ".join(study.presets)
    options = dataclasses.make_dataclass(
        "Options",
        [
            ("preset", Annotated[str, tyro.conf.arg(help=f"Where the values come from: {presets}.", metavar="NAME")]),
            ("out", Annotated[Path, tyro.conf.arg(help="The folder that holds all results.")]),
            ("config", Annotated[study.config, tyro.conf.arg(name="")]),
        ],
    )
    return options, options(preset, Path("results"), study.presets[preset])


def _unknown_option(study: Study, option: str) -> InputError:
    known = ["--preset", "--out", *(f"--{field.name}" for field in dataclasses.fields(study.config))]
    known = [name.replace("_", "-") for name in known]
    near = difflib.get_close_matches(option.replace("_", "-"), known, n=1)
    remedy = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}."
    return fail(study.name, f"unknown option {option}", remedy)


def _first_sentence(boxed: str) -> str:
    """What a titled box of tyro says before its first inner rule, as one line; the box may be drawn in ASCII."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", boxed).strip()
    untitled = [line.strip(" │|╭╮╰╯─-") for line in plain.splitlines()[1:]]
    paragraphs = [list(lines) for filled, lines in itertools.groupby(untitled, bool) if filled]
    return " ".join(paragraphs[0]).rstrip(".") if paragraphs else "wrong options"
