"""What keeps the rooms that were put in order so: files, functions, arguments and public names stay few and short."""

import ast
import importlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1] / "jaxopt_lab"
MOST_FILES = {"search": 18, "compare": 13}
MOST_NAMES = 45
MOST_LINES_OF_A_FILE, MOST_LINES_OF_A_FUNCTION, MOST_ARGUMENTS = 300, 40, 12
FILES = [path for folder in MOST_FILES for path in sorted((ROOT / folder).glob("*.py"))]


def functions(text: str) -> list[tuple[str, int, int]]:
    """(name, lines without the docstring, arguments) of each function and method."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            first = node.body[0]
            told = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) else 0
            given = node.args
            arguments = len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs)
            found.append((node.name, node.end_lineno - node.lineno + 1 - told, arguments))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_files_functions_and_argument_lists_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES_OF_A_FILE
    for name, lines, arguments in functions(text):
        assert lines <= MOST_LINES_OF_A_FUNCTION, name
        assert arguments <= MOST_ARGUMENTS, name


@pytest.mark.parametrize(("folder", "most"), MOST_FILES.items())
def test_a_room_holds_few_files(folder, most):
    assert len(list((ROOT / folder).glob("*.py"))) <= most


def test_public_names_are_few_and_each_is_there():
    names = [
        (folder, name) for folder in MOST_FILES for name in importlib.import_module(f"jaxopt_lab.{folder}").__all__
    ]
    assert len(names) <= MOST_NAMES
    for folder, name in names:
        assert hasattr(importlib.import_module(f"jaxopt_lab.{folder}"), name)


def test_the_counts_would_notice():
    text = "def f(a, /, b, *, c):\n    '''One.\n\n    Two.\n    '''\n    return a\n"
    assert functions(text) == [("f", 2, 3)]
