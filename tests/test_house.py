"""What keeps the house in order: files, functions, arguments, public names and parts of records stay few and short."""

import ast
import dataclasses
import importlib
import inspect
import pathlib
import typing

import pytest

from jaxopt_lab.diagnosis import evidence

ROOT = pathlib.Path(__file__).parents[1] / "jaxopt_lab"
MOST_FILES = {"search": 18, "compare": 13, "diagnosis": 28}
MOST_NAMES = 200
MOST_LINES_OF_A_FILE, MOST_LINES_OF_A_FUNCTION, MOST_ARGUMENTS = 300, 40, 12
FILES = sorted(ROOT.rglob("*.py"))
# A step of a table, or a list of what a function takes, that does not get clearer in two pieces: at most 60 lines.
LONGER = {
    "_transformation", "measure_spectrum", "negative_curvature_step", "diagnose", "examine", "run", "execute",
    "_advance_part", "_travel",
}  # fmt: skip
MOST_LINES_OF_A_LONGER_FUNCTION = 60


def functions(text: str) -> list[tuple[str, int, int]]:
    """(name, lines without the docstring, arguments but for `self`) of each function and method."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            first = node.body[0]
            told = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) else 0
            given = node.args
            names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            found.append((node.name, node.end_lineno - node.lineno + 1 - told, len(set(names) - {"self", "cls"})))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_functions_and_argument_lists_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES_OF_A_FILE
    for name, lines, arguments in functions(text):
        assert lines <= (MOST_LINES_OF_A_LONGER_FUNCTION if name in LONGER else MOST_LINES_OF_A_FUNCTION), name
        assert arguments <= MOST_ARGUMENTS, name


@pytest.mark.parametrize(("folder", "most"), MOST_FILES.items())
def test_a_room_holds_few_files(folder, most):
    assert len(list((ROOT / folder).glob("*.py"))) <= most


def test_public_names_are_few_and_each_is_there():
    rooms = [importlib.import_module(f"jaxopt_lab.{path.parent.name}") for path in ROOT.glob("*/__init__.py")]
    assert all(hasattr(room, name) for room in rooms for name in room.__all__)
    names = [name for room in rooms for name in room.__all__ if not inspect.ismodule(getattr(room, name))]
    assert len(names) <= MOST_NAMES


def test_the_parts_of_a_diagnosis_have_few_fields():
    """At most ten parts; the setting holds what a user gives to `diagnose`, twelve things, the others ten at most."""
    assert len(dataclasses.fields(evidence.Evidence)) <= 10
    for field in dataclasses.fields(evidence.Evidence):
        kind = next(each for each in (*typing.get_args(field.type), field.type) if each is not type(None))
        assert len(dataclasses.fields(kind)) <= (12 if field.name == "setting" else 10), field.name


def test_the_counts_would_notice():
    text = "def f(a, /, b, *, c):\n    '''One.\n\n    Two.\n    '''\n    return a\n"
    assert functions(text) == [("f", 2, 3)]
