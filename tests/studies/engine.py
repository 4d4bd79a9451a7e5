"""A stand-in for the engine's checkpoints and compilation cache, so that these tests train nothing."""

from pathlib import Path

import pytest

from jaxopt_lab import training
from jaxopt_lab.training import storage


def replace_engine(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replaces the engine's two hooks; returns the list to which the checkpoint folders are added."""
    asked: list[Path] = []

    def checkpoints(folder):
        asked.append(folder)
        folder.mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(storage, "Checkpoints", checkpoints)
    monkeypatch.setattr(training, "enable_compilation_cache", lambda: None, raising=False)
    return asked


def make_experiments(folder: Path, *names: str) -> Path:
    """Makes an experiments folder that holds the halving study, under its own name and further ones."""
    source = Path(__file__).with_name("halving.py").read_text(encoding="utf-8")
    (folder / "experiments" / "toys").mkdir(parents=True)
    for name in ("halving", *names):
        (folder / "experiments" / "toys" / f"{name}.py").write_text(source, encoding="utf-8")
    return folder / "experiments"
