"""The results folder of one study: what lies where, and why a killed process never leaves a torn file.

    <study>-<hash of the config>/
      study.json      resolved config, versions, device, seconds, status, and the study's texts
      configs.jsonl   the scalars of the rows, a row a line
      curves/rows.npz the arrays of the rows
      verdicts.json   the list of verdicts
      figure.svg      the figure
      report.html     the page

Every file is written under a temporary name in its own folder, flushed to the disk, then renamed over the old one.
"""

import importlib.metadata
import io
import json
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxopt_lab.core import Verdict, fail
from jaxopt_lab.storage.encoding import config_hash, from_json, to_json

_MARK = "jaxopt_lab study"
SWEEP_MARK = "jaxopt_lab sweep"
COMPARISON_MARK = "jaxopt_lab comparison"
_NEEDED = {"study", "config", "status"}
_TEMPORARY = ".writing"
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "jaxopt_lab")


def folder_name(study_name: str, config: Any) -> str:
    """The folder's name: the study's name and 12 hexadecimal digits of its config's hash.

    Example:
      >>> folder_name("zigzag", {"kappa": 10.0})
      'zigzag-4d75dd2f195a'
    """
    return f"{study_name}-{config_hash(config)}"


def open_folder(out: Path | str, study_name: str, config: Any) -> Path:
    """Makes the folder of a run, or finds it when the same run was begun before.

    Args:
      out: the folder that holds all results.
      study_name: the study.
      config: its resolved config.

    Returns:
      The path of the folder, which exists.

    Raises:
      InputError: a file stands in the way, or the folder holds something that this run did not write.
    """
    folder = Path(out) / folder_name(study_name, config)
    check_folder(folder, study_name, config)
    (folder / "curves").mkdir(parents=True, exist_ok=True)
    return folder


def check_folder(folder: Path, study_name: str, config: Any) -> None:
    """Raises InputError unless `folder` is free, or holds this very run; writes nothing."""
    require_folders(folder)
    if not folder.exists() or not any(_files_of_others(folder)):
        return
    record = read_record(folder)
    if record["study"] != study_name or config_hash(record["config"]) != config_hash(config):
        raise fail(
            "results folder",
            f"{folder} holds another run ({record['study']} with another config)",
            "Choose another --out, or move that folder away; nothing was overwritten.",
        )


def require_folders(folder: Path) -> None:
    """Raises InputError when `folder`, or a folder above it, is a file."""
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise fail("results folder", f"{path} is a file", "Choose another --out.")


def read_record(folder: Path) -> dict[str, Any]:
    """Reads the `study.json` of a folder.

    Raises:
      InputError: there is none, it is torn, or this package did not write it.
    """
    path, remedy = folder / "study.json", "Choose another --out; nothing was overwritten."
    if not path.is_file():
        raise fail("results folder", f"{folder} is not ours: it is not empty and has no study.json", remedy)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise fail("results folder", f"{path} is torn or is not JSON ({error})", remedy) from None
    if not isinstance(record, dict) or record.get("kind") != _MARK or not record.keys() >= _NEEDED:
        raise fail("results folder", f"{path} was not written by jaxopt_lab", remedy)
    return record


def holds_sweep(folder: Path) -> bool:
    """Whether a folder is that of a sweep, as the `kind` in its `study.json` says."""
    return _kind(folder) == SWEEP_MARK


def holds_comparison(folder: Path) -> bool:
    """Whether a folder is that of a comparison."""
    return _kind(folder) == COMPARISON_MARK


def _kind(folder: Path) -> str | None:
    try:
        return json.loads((Path(folder) / "study.json").read_text(encoding="utf-8")).get("kind")
    except (OSError, ValueError, AttributeError):
        return None


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Writes the `study.json` of a folder."""
    write_json(folder / "study.json", {"kind": _MARK, **record})


def write_text(path: Path, text: str) -> None:
    """Writes a text file so that it is either the old one or the new one, whole."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name in the same folder, flushes it to the disk, then renames it."""
    temporary = path.with_name(f".{path.name}{_TEMPORARY}")
    with open(temporary, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)


def write_json(path: Path, value: Any) -> None:
    """Writes data as indented JSON; non-finite numbers become the strings inf, -inf, nan."""
    write_text(path, json.dumps(to_json(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_rows(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes the rows of a run: scalars to `configs.jsonl`, arrays to `curves/rows.npz`."""
    lines, arrays = [], {}
    for index, row in enumerate(rows):
        scalars = {name: value for name, value in row.items() if np.ndim(value) == 0}
        lines.append(json.dumps(to_json(scalars), allow_nan=False, ensure_ascii=False) + "\n")
        for name in row.keys() - scalars.keys():
            arrays[f"{index:06d}/{name}"] = np.asarray(row[name])
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: arrays[name] for name in sorted(arrays)})
    write_bytes(folder / "curves" / "rows.npz", buffer.getvalue())
    write_text(folder / "configs.jsonl", "".join(lines))


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Reads back what `write_rows` wrote."""
    lines = (folder / "configs.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [from_json(json.loads(line)) for line in lines]
    with np.load(folder / "curves" / "rows.npz", allow_pickle=False) as arrays:
        for key in arrays.files:
            index, name = key.split("/", 1)
            rows[int(index)][name] = arrays[key]
    return rows


def write_verdicts(folder: Path, verdicts: Sequence[Verdict]) -> None:
    """Writes `verdicts.json`."""
    write_json(folder / "verdicts.json", [verdict.to_json() for verdict in verdicts])


def read_verdicts(folder: Path) -> list[Verdict]:
    """Reads `verdicts.json`.

    Raises:
      InputError: it is missing or torn.
    """
    path, numbers = folder / "verdicts.json", ("predicted", "measured", "error", "tolerance")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return [Verdict(**(entry | {name: float(entry[name]) for name in numbers})) for entry in stored]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise fail("results folder", f"{path} cannot be read ({error})", "Run the study again.") from None


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


def _files_of_others(folder: Path) -> list[Path]:
    ours_in_the_making = {f".study.json{_TEMPORARY}"}
    return [
        path
        for path in folder.iterdir()
        if path.name not in ours_in_the_making and not (path.name == "curves" and not any(path.iterdir()))
    ]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
