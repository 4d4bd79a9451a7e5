"""Reads the options of a study: every field of its config is one, and the preset's values are the defaults.

A field is a number, a text, yes or no (`--crash`, `--no-crash`), a tuple of these (`--rates 0.1 0.2`), or a tuple of
pairs, which are given one after the other (`--networks 6 6 8 8`). A field of another kind keeps the preset's value.
"""

import argparse
import ast
import contextlib
import dataclasses
import difflib
import inspect
import io
import itertools
import textwrap
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxopt_lab.core import InputError, fail
from jaxopt_lab.core.errors import require_choice
from jaxopt_lab.studies.study import Study

_KINDS: dict[Any, str] = {int: "a whole number", float: "a number", str: "a text", Path: "a path"}
_METAVARS = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}


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
    preset = _preset(study, arguments)
    parser = _parser(study, preset, program)
    messages = io.StringIO()
    try:
        with contextlib.redirect_stderr(messages):
            parsed, unknown = parser.parse_known_args(list(arguments))
    except argparse.ArgumentError as error:
        raise fail(study.name, str(error).removeprefix("argument ").rstrip("."), "See --help.") from None
    except SystemExit as stop:
        if stop.code == 0:
            raise
        told = messages.getvalue().strip().rpartition("error: ")[2]
        raise fail(study.name, told.rstrip("."), "See --help.") from None
    if unknown:
        raise _unknown_option(study, unknown[0])
    given = vars(parsed)
    changes = {
        field.name: field.take(study.name, given[field.name])
        for field in _fields(study.config)
        if given[field.name] is not None
    }
    return dataclasses.replace(study.presets[preset], **changes), preset, parsed.out


@dataclasses.dataclass(frozen=True)
class _Field:
    """One field of a config: its name and meaning, and the shape that its words have.

    Attributes:
      kinds: what each word is, in turn; one for a plain value.
      repeats: whether any number of such groups is given.
      plain: whether the value is no tuple.
    """

    name: str
    about: str
    kinds: tuple[type, ...]
    repeats: bool
    plain: bool

    @property
    def option(self) -> str:
        """Its long option."""
        return "--" + self.name.replace("_", "-")

    def take(self, where: str, value: Any) -> Any:
        """The field's value: what stands in the words, each read as its kind.

        Raises:
          InputError: a word is not of its kind, or they do not come out even.
        """
        if self.kinds == (bool,):
            return value
        words = [value] if self.plain else value
        if len(words) % len(self.kinds) or (len(words) != len(self.kinds) and not self.repeats):
            how = "in groups of" if self.repeats else "as"
            raise fail(where, f"{self.option} takes its values {how} {len(self.kinds)}, got {len(words)}")
        read = [self._read(where, word, self.kinds[place % len(self.kinds)]) for place, word in enumerate(words)]
        if self.plain:
            return read[0]
        if not self.repeats or len(self.kinds) == 1:
            return tuple(read)
        size = len(self.kinds)
        return tuple(tuple(read[start : start + size]) for start in range(0, len(read), size))

    def _read(self, where: str, word: str, kind: type) -> Any:
        try:
            return kind(word)
        except ValueError:
            raise fail(where, f"{self.option} must be {_KINDS[kind]}, got {word!r}", "See --help.") from None


def _fields(config: type) -> list[_Field]:
    """The fields that can be given in words."""
    hints, meanings = typing.get_type_hints(config), _meanings(config)
    found = []
    for field in dataclasses.fields(config):
        shape = _shape(hints[field.name])
        if shape is not None:
            found.append(_Field(field.name, meanings.get(field.name, ""), *shape))
    return found


def _shape(hint: Any) -> tuple[tuple[type, ...], bool, bool] | None:
    """(kinds, repeats, plain) of an annotation; None for one that has no words.

    Example:
      >>> _shape(int), _shape(tuple[tuple[float, int], ...])
      (((<class 'int'>,), False, True), ((<class 'float'>, <class 'int'>), True, False))
    """
    if hint in _KINDS or hint is bool:
        return (hint,), False, True
    inner = typing.get_args(hint)
    if typing.get_origin(hint) is not tuple or not inner:
        return None
    repeats = inner[-1] is Ellipsis
    entries = inner[:-1] if repeats else inner
    if repeats and typing.get_origin(entries[0]) is tuple:
        entries = typing.get_args(entries[0])
    return (entries, repeats, False) if all(entry in _KINDS for entry in entries) else None


def _meanings(config: type) -> Mapping[str, str]:
    """What the text under each field says; nothing for a class whose source is not at hand."""
    found: dict[str, str] = {}
    for kind in reversed(config.__mro__[:-1]):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
        except (OSError, TypeError):
            continue
        (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
        for field, text in itertools.pairwise(body):
            told = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and text.value.value
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(told, str):
                found[field.target.id] = " ".join(told.split())
    return found


def _parser(study: Study, preset: str, program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program, description=f"{study.question} What is true: {study.truth}", allow_abbrev=False,
        exit_on_error=False,
    )  # fmt: skip
    presets = " | ".join(study.presets)
    parser.add_argument("--preset", metavar="NAME", help=f"where the values come from: {presets}")
    parser.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    values = study.presets[preset]
    for field in _fields(study.config):
        _add(parser.add_argument, field, getattr(values, field.name))
    return parser


def _add(add: Callable[..., Any], field: _Field, value: Any) -> None:
    """One option; without it the value stays as it is, and underscores are as good as hyphens."""
    names = list(dict.fromkeys([field.option, f"--{field.name}"]))
    about = f"{field.about} (default: {_shown(value)})".strip().replace("%", "%%")
    if field.kinds == (bool,):
        add(*names, action=argparse.BooleanOptionalAction, default=None, help=about)
        return
    metavars = tuple(_METAVARS[kind] for kind in field.kinds)
    if field.plain:
        add(*names, metavar=metavars[0], help=about)
    else:
        add(*names, nargs="*", metavar=" ".join(metavars), help=about)


def _shown(value: Any) -> str:
    """A default in the words that would give it."""
    if isinstance(value, tuple):
        return " ".join(map(_shown, value)) or "none"
    return str(value)


def _preset(study: Study, arguments: Sequence[str]) -> str:
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    early.add_argument("--preset", default=next(iter(study.presets)))
    try:
        preset = early.parse_known_args(list(arguments))[0].preset
    except argparse.ArgumentError:
        raise fail(study.name, "--preset needs a name", f"There are: {', '.join(study.presets)}.") from None
    require_choice(study.name, "preset", preset, study.presets)
    return preset


def _unknown_option(study: Study, option: str) -> InputError:
    known = ["--preset", "--out", *(field.option for field in _fields(study.config))]
    near = difflib.get_close_matches(option.replace("_", "-"), known, n=1)
    remedy = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}."
    return fail(study.name, f"unknown option {option}", remedy)
