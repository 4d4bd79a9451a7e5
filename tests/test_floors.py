"""The floor law: a file imports only from floors below its own, and from its own folder; experiments import no private file."""

import ast
import importlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FLOORS = {
    "core": 0,
    "datasets": 1,
    "networks": 1,
    "objectives": 1,
    "storage": 1,
    "theory": 1,
    "tracing": 1,
    "reporting": 2,
    "curvature": 3,
    "rules": 4,
    "problems": 5,
    "training": 5,
    "search": 6,
    "studies": 6,
    "compare": 7,
    "diagnosis": 7,
    "testing": 8,
    "cli": 9,
}
FILES = sorted((ROOT / "jaxopt_lab").rglob("*.py"))


def imported(path: pathlib.Path) -> list[str]:
    """Every module of the package that the file imports, also inside functions, as dotted names."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the floor"
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.split(".")[0] in ("jaxopt_lab", "experiments")]


def public_names(folder: str) -> list[str]:
    """What the folder's `__all__` names, modules among it."""
    return importlib.import_module(f"jaxopt_lab.{folder}").__all__


def floor_of(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else None


def violations(own: str, names: list[str]) -> list[str]:
    """The imports that do not point down: to the same floor's other folders, or up, or to experiments."""
    wrong = [name for name in names if name.startswith("experiments")]
    for name in names:
        target = floor_of(name)
        if target in FLOORS and target != own and FLOORS[target] >= FLOORS[own]:
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("path", [path for path in FILES if path.parent != ROOT / "jaxopt_lab"], ids=str)
def test_imports_point_down_the_floors(path):
    assert violations(path.relative_to(ROOT / "jaxopt_lab").parts[0], imported(path)) == []


def test_every_folder_has_a_floor():
    folders = {path.name for path in (ROOT / "jaxopt_lab").iterdir() if (path / "__init__.py").exists()}
    assert folders <= set(FLOORS)


def test_the_floors_are_those_that_contributors_read():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    told = {}
    for row in re.findall(r"^\| (\d) \| (.*) \|$", text, flags=re.MULTILINE):
        told |= dict.fromkeys(re.findall(r"`(\w+)(?:\.py)?`(?=[,;:]| \(|$)", row[1]), int(row[0]))
    assert {name: told.get(name) for name in FLOORS} == FLOORS


def test_the_law_would_notice():
    assert violations("rules", ["jaxopt_lab.training"]) == ["jaxopt_lab.training"]
    assert violations("theory", ["jaxopt_lab.objectives.spectra"]) == ["jaxopt_lab.objectives.spectra"]
    assert violations("core", ["experiments.momentum"]) == ["experiments.momentum"]
    assert violations("training", ["jaxopt_lab.rules", "jaxopt_lab.core.errors"]) == []


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").rglob("*.py")), ids=str)
def test_experiments_import_public_folders_only(path):
    ours = [name for name in imported(path) if name.startswith("jaxopt_lab.")]
    modules = {
        f"jaxopt_lab.{file.relative_to(ROOT / 'jaxopt_lab').with_suffix('').as_posix().replace('/', '.')}"
        for file in FILES
    }
    private = {name for name in ours if name in modules and not name.endswith("__init__")}
    assert {name for name in private if name.rpartition(".")[2] not in public_names(name.split(".")[1])} == set()
