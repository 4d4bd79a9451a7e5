"""Counts what keeps a house easy to walk through: names, files, lines, arguments. `make house` prints the table."""

import ast
import dataclasses
import importlib
import inspect
import pathlib
import statistics

from jaxopt_lab.diagnosis.evidence import Evidence

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "jaxopt_lab"


def rooms() -> list[str]:
    """The folders of the package."""
    return sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists())


def lines_of_code(path: pathlib.Path) -> tuple[int, int]:
    """Lines that are neither empty nor docstring nor comment, and all lines."""
    text = path.read_text()
    told: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            told |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = text.splitlines()
    kept = [line for place, line in enumerate(lines, 1) if line.strip() and place not in told]
    return sum(not line.strip().startswith("#") for line in kept), len(lines)


def widest() -> tuple[int, str]:
    """The most arguments that a function takes, and whose they are."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                given = node.args
                found.append((len(given.posonlyargs + given.args + given.kwonlyargs), node.name))
    return max(found)


def main() -> None:
    """Prints the table."""
    loaded = [importlib.import_module(f"jaxopt_lab.{room}") for room in rooms()]
    names = [getattr(room, name) for room in loaded for name in room.__all__]
    modules = sum(map(inspect.ismodule, names))
    top = len(importlib.import_module("jaxopt_lab").__all__)
    files = {room: len(list((PACKAGE / room).glob("*.py"))) for room in rooms()}
    code = [lines_of_code(path) for path in PACKAGE.rglob("*.py")]
    theory = [lines_of_code(path) for path in (PACKAGE / "theory").glob("*.py")]
    studies = [lines_of_code(path)[1] for path in (ROOT / "experiments").glob("*/*.py") if path.name != "__init__.py"]
    most, function = widest()
    rows = {
        "public names, the package's own": top,
        "public names, all rooms": f"{len(names) - modules}, and {modules} modules used by their name",
        "files in diagnosis, search, compare": ", ".join(
            str(files[room]) for room in ("diagnosis", "search", "compare")
        ),
        "lines of the package, of which code": f"{sum(whole for _, whole in code)}, {sum(part for part, _ in code)}",
        "share of code in theory": f"{sum(part for part, _ in theory) / sum(whole for _, whole in theory):.0%}",
        "parts of a diagnosis' evidence": len(dataclasses.fields(Evidence)),
        "arguments of the widest function": f"{most} ({function})",
        "lines of a study, in the median": round(statistics.median(studies)),
        "words of the README": len((ROOT / "README.md").read_text().split()),
    }
    for name, value in rows.items():
        print(f"{name:<40} {value}")


if __name__ == "__main__":
    main()
