"""The results folder: what lies where, whose it is, and that every file in it is the one that was written.

    <name>-<hash of the config>/
      study.json      kind, resolved config, versions, device, seconds, status, and the digests of the other files
      configs.jsonl   the scalars of the rows, a row a line
      curves/rows.npz the arrays of the rows
      verdicts.json   the list of verdicts
      figure.svg      the figure, and in figure.csv the numbers that it shows
      report.html     the page

`study.json` comes last. A file that is not the one whose digest stands there is damaged, or another study's.
"""

import hashlib
import importlib.metadata
import io
import json
import os
import platform
import shutil
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxopt_lab.core import Verdict, fail
from jaxopt_lab.core.errors import require_choice
from jaxopt_lab.storage.archives import read_member
from jaxopt_lab.storage.encoding import config_hash, from_json, to_json
from jaxopt_lab.storage.files import (
    disk_errors,
    file_name,
    is_free,
    read_json,
    read_text,
    reading,
    require_folders,
    require_writable,
    write_bytes,
    write_json,
    write_text,
)

KINDS = ("study", "sweep", "comparison")
RECORD = "study.json"
_NEEDED: dict[str, type | tuple[type, ...]] = {"study": str, "config": dict, "status": str}
_TYPES: dict[str, type | tuple[type, ...]] = _NEEDED | {
    "preset": str, "command": str, "file": str, "source": str, "question": str, "belief": str, "truth": str,
    "reference": str, "caption": str, "dtype": str, "facts": dict, "versions": dict, "device": dict, "prng": str,
    "argv": list, "sessions": list, "files": dict, "settled": dict, "step_costs": dict, "wall_seconds": (int, float),
    "cpu_seconds": (int, float),
}  # fmt: skip
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "jaxopt_lab")
_DATA = ("configs.jsonl", "curves/rows.npz", "verdicts.json", "figure.svg", "figure.csv")


def folder_name(name: str, config: Any) -> str:
    """The folder's name: the study's name and 12 hexadecimal digits of its config's hash.

    Example:
      >>> folder_name("zigzag", {"kappa": 10.0})
      'zigzag-4d75dd2f195a'
    """
    return f"{file_name(name)}-{config_hash(config)}"


def open_folder(out: Path | str, name: str, config: Any, folder: Path | None = None) -> Path:
    """Makes the folder of a study's run, or finds it when the same run was begun before.

    Args:
      out: the folder that holds all results.
      name: the study.
      config: its resolved config.
      folder: the folder itself, in place of the one in `out` that the config's hash names.

    Returns:
      The path of the folder, which can be written.

    Raises:
      InputError: a file stands in the way, the folder holds something that this run did not write, or the place is
        full or cannot be written.
    """
    folder = Path(out) / folder_name(name, config) if folder is None else folder
    check_folder(folder, "study", config, name)
    require_writable(folder / "curves")
    return folder


def check_folder(folder: Path, kind: str, config: Any, name: str | None = None) -> None:
    """Raises InputError unless `folder` is free, or holds this very thing; writes nothing.

    Args:
      folder: the results folder itself.
      kind: one of `KINDS`.
      config: all that can change a number.
      name: the study's name; None for any.
    """
    require_folders(folder)
    if is_free(folder):
        return
    if not (folder / RECORD).is_file():
        raise fail(
            str(folder), f"the folder is not empty and holds no {kind}",
            "Name another folder; nothing was overwritten.",
        )  # fmt: skip
    record = read_record(folder, kind)
    if (name is not None and record["study"] != name) or config_hash(record["config"]) != config_hash(config):
        differing = _differences(to_json(config), record["config"])
        raise fail(
            str(folder), f"the folder holds another {kind}: it differs in {', '.join(differing) or 'its name'}",
            "Name another folder, or move that one away; nothing was overwritten.",
        )  # fmt: skip


def kind_of(folder: Path) -> str | None:
    """One of `KINDS` for a results folder, None for anything else; a record that cannot be read counts as none."""
    try:
        kind = json.loads((Path(folder) / RECORD).read_text(encoding="utf-8"))["kind"]
        return next((each for each in KINDS if kind == _mark(each)), None)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_record(folder: Path, kind: str = "study") -> dict[str, Any]:
    """The `study.json` of a folder.

    Args:
      folder: the results folder itself.
      kind: what it must hold, one of `KINDS`.

    Raises:
      InputError: there is none, it is damaged, or it is of another kind.
    """
    require_choice("read_record", "kind", kind, KINDS)
    path, remedy = Path(folder) / RECORD, f"Name the folder of a {kind}; nothing was overwritten."
    if not path.is_file():
        there = "does not exist" if not Path(folder).exists() else f"holds no {RECORD}"
        raise fail(str(folder), there, remedy)
    record = read_json(path, f"the record of a {kind}", remedy)
    with reading(path, f"the record of a {kind}", remedy):
        if not isinstance(record, dict) or record.get("kind") != _mark(kind):
            raise ValueError(f"it is not of a {kind} of jaxopt_lab")
        for name in _NEEDED:
            _ = record[name]
        for name, types in _TYPES.items():
            if name in record and not isinstance(record[name], types):
                raise ValueError(f"{name} is a {type(record[name]).__name__}")
    return record


def write_record(folder: Path, record: Mapping[str, Any], kind: str = "study", *, name: str = RECORD) -> None:
    """Writes the `study.json` of a folder, or under another name what is to become it."""
    write_json(Path(folder) / name, dict(record) | {"kind": _mark(kind)})


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each data file that a study's folder holds, for its record."""
    paths = {name: folder / name for name in _DATA}
    return {name: _digest(path) for name, path in paths.items() if path.is_file()}


def require_unchanged(folder: Path, record: Mapping[str, Any], names: Iterable[str] = _DATA) -> None:
    """Raises InputError when a data file of a finished study is not the one whose digest its record holds."""
    for name in names:
        path, expected = folder / name, record.get("files", {}).get(name)
        if expected is None:
            continue
        with reading(path, "what the study wrote", "Run the study again."):
            if _digest(path) != expected:
                raise ValueError(f"it is damaged, or another study's: its digest is not the one in {RECORD}")


def write_rows(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes the rows of a run: scalars to `configs.jsonl`, arrays to `curves/rows.npz`."""
    lines, arrays = [], {}
    for index, row in enumerate(rows):
        scalars = {name: value for name, value in row.items() if np.ndim(value) == 0}
        lines.append(scalars)
        for name in row.keys() - scalars.keys():
            arrays[f"{index:06d}/{name}"] = np.asarray(row[name])
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: arrays[name] for name in sorted(arrays)})
    write_bytes(folder / "curves" / "rows.npz", buffer.getvalue())
    write_lines(folder / "configs.jsonl", lines)


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes rows as JSON, a line each."""
    text = "".join(json.dumps(to_json(row), allow_nan=False, ensure_ascii=False) + "\n" for row in rows)
    write_text(path, text)


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Reads back what `write_rows` wrote.

    Raises:
      InputError: a file is missing or damaged.
    """
    path, remedy = folder / "configs.jsonl", "Run the study again."
    lines = read_text(path, "the rows of a study", remedy).splitlines()
    with reading(path, "the rows of a study", remedy):
        rows = [dict(from_json(json.loads(line))) for line in lines]
    path = folder / "curves" / "rows.npz"
    with reading(path, "the curves of a study", remedy), zipfile.ZipFile(path) as stored:
        for name in stored.namelist():
            index, _, field = name.removesuffix(".npy").partition("/")
            rows[int(index)][field] = read_member(stored, name, None, None, path.stat().st_size)
    return rows


def write_verdicts(folder: Path, verdicts: Sequence[Verdict]) -> None:
    """Writes `verdicts.json`."""
    write_json(folder / "verdicts.json", [verdict.to_json() for verdict in verdicts])


def read_verdicts(folder: Path) -> list[Verdict]:
    """Reads `verdicts.json`.

    Raises:
      InputError: it is missing or damaged.
    """
    path = folder / "verdicts.json"
    stored = read_json(path, "the verdicts of a study", "Run the study again.")
    with reading(path, "the verdicts of a study", "Run the study again."):
        return [Verdict.from_json(from_json(entry)) for entry in stored]


def remove_folder(folder: Path) -> None:
    """Removes a folder of our own with all that is in it; that it is not there is no error."""
    shutil.rmtree(folder, ignore_errors=True)


def environment() -> dict[str, Any]:
    """The versions, the device and the random number generator that a run depends on."""
    devices = jax.devices()
    return {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES},
        "device": {"kind": devices[0].device_kind, "count": len(devices), "processors": os.cpu_count()},
        "prng": str(jax.random.key_impl(jax.random.key(0))),
    }


def _mark(kind: str) -> str:
    return f"jaxopt_lab {kind}"


def _differences(ours: Any, theirs: Any) -> list[str]:
    """The names under which two configs differ."""
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        return []
    return sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))


def _digest(path: Path) -> str:
    with disk_errors(path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def without_options(words: Sequence[str], *options: str) -> list[str]:
    """A command line's words as a record keeps them: without some options and their values.

    Example:
      >>> without_options(["digits-mlp", "--out", "here", "--seed=1"], "--out", "--seed")
      ['digits-mlp']
    """
    kept, skip = [], False
    for word in words:
        if not skip and word not in options and not word.startswith(tuple(f"{option}=" for option in options)):
            kept.append(word)
        skip = word in options
    return kept
