"""Finds and loads studies: by name in an `experiments` folder, `experiments/<question>/<name>.py`, or by their path.

The studies of this package lie beside it in a checkout, and in it, as `jaxopt_lab.experiments`, where it is installed.
"""

import difflib
import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from jaxopt_lab.core import fail
from jaxopt_lab.studies.study import Study, study_of

_PACKAGE = Path(__file__).resolve().parents[1]


def studies_folder() -> Path:
    """Where studies are looked for by name: `experiments` right here, or else the studies of this package."""
    here = Path("experiments")
    if here.is_dir():
        return here
    shipped = _PACKAGE / "experiments"
    return shipped if shipped.is_dir() else _PACKAGE.parent / "experiments"


def is_shipped(path: Path) -> bool:
    """Whether a study's file is one of the installed package, which is found by its name from any folder."""
    return path.resolve().is_relative_to(_PACKAGE / "experiments")


def list_studies(experiments: Path | str) -> dict[str, Path]:
    """The studies of a folder by name, read off the file names; nothing is imported.

    Args:
      experiments: the folder with one folder a question.

    Returns:
      name -> path, sorted by question, then by name.

    Raises:
      InputError: there is no such folder, it holds no study, or two studies share a name.
    """
    experiments = Path(experiments)
    paths = sorted(path for path in experiments.glob("*/*.py") if not path.name.startswith("_"))
    if not paths:
        raise fail(
            "studies", f"{experiments} holds no studies", "Run this where the experiments folder lies, or name it."
        )
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem in found:
            raise fail("studies", f"{found[path.stem]} and {path} share a name", "Rename one of them.")
        found[path.stem] = path
    return found


def find_study(experiments: Path | str, name: str) -> Path:
    """The path of one study.

    Args:
      experiments: the folder with one folder a question.
      name: a study's name there; or the path of a file anywhere, which ends with ".py".

    Raises:
      InputError: there is no such study; the message names the nearest one.
    """
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise fail("studies", f"there is no file {name}", "Name the file of a study, or a study of --list.")
        return Path(name)
    own = Path(f"{name}.py").is_file()
    if own and not Path(experiments).is_dir():
        raise fail("studies", f"{experiments} holds no studies", f"Did you mean the file {name}.py?")
    known = list_studies(experiments)
    if name not in known:
        if own:
            raise fail("studies", f"there is no study {name!r} in {experiments}", f"Did you mean the file {name}.py?")
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        remedy = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."
        raise fail("studies", f"there is no study {name!r} in {experiments}", remedy)
    return known[name]


def load_study(source: Path | str | ModuleType) -> Study:
    """The study of a file, or of a module that is already there.

    A file is run as Python runs a script: modules beside it can be imported; where it lies in a package, as those of
    the experiments do, the modules of the package as well.

    Args:
      source: the path of the file, or the module.

    Raises:
      InputError: it is no study; the message says what is missing and what to write.
    """
    if isinstance(source, ModuleType):
        return study_of(source)
    path = Path(source)
    spec = importlib.util.spec_from_file_location(_module_name(path), path.resolve()) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise fail("studies", f"{path} is not a Python file", "Name the file of a study.")
    root = str(_root(path))
    if root not in sys.path:
        sys.path.insert(0, root)
    if spec.parent and is_shipped(path):
        importlib.import_module(spec.parent)  # which gives its files the name under which they import one another
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return study_of(module)


def _root(path: Path) -> Path:
    """The folder from which the file's imports start: its own, or the one that holds its outermost package."""
    folder = path.resolve().parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _module_name(path: Path) -> str:
    """The dotted name inside of a package; elsewhere one that no other module has, whatever the file is named."""
    dotted = path.resolve().relative_to(_root(path)).with_suffix("").parts
    if len(dotted) > 1:
        return ".".join(dotted)
    return f"study_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
