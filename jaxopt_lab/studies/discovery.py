"""Finds studies in an `experiments` folder: `experiments/<question>/<name>.py` has a module-level `STUDY`."""

import difflib
import importlib.util
import sys
from pathlib import Path

from jaxopt_lab.core import fail
from jaxopt_lab.studies.study import Study


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

    Raises:
      InputError: there is no such study; the message names the nearest one.
    """
    known = list_studies(experiments)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        remedy = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."
        raise fail("studies", f"there is no study {name!r} in {experiments}", remedy)
    return known[name]


def load_study(path: Path | str) -> Study:
    """Imports a study's file and returns its `STUDY`.

    Raises:
      InputError: the file has no `STUDY`, or the study has another name than the file.
    """
    path = Path(path)
    module_name = f"experiments.{path.parent.name}.{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise fail("studies", f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        raise fail("studies", f"{path} has no STUDY", "A study's file ends with `STUDY = Study(...)`.")
    if study.name != path.stem:
        raise fail("studies", f"the study in {path} is named {study.name!r}", "Name it like its file.")
    return study
