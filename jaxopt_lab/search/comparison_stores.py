"""The folder of a comparison: a sweep's folder for each search, a file for each re-run; after a kill it goes on there.

compare-<hash of the config>/
  study.json                              config, prices, versions, device, status, words
  searches/<problem>/<rule>/              the folder of a sweep; so is searches/<problem>/baseline/
  reruns/<problem>/<rule>.npz             the winner on fresh seeds; so is reruns/<problem>/baseline.npz
  seconds/<problem>/<rule>.npz            what a step takes, and compiling
  configs.jsonl, verdicts.json            the table, a line each; the claims
  report.html                             the page
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxopt_lab import storage
from jaxopt_lab.core import fail
from jaxopt_lab.search.stores import plain_errors, read_record
from jaxopt_lab.storage import files

BASELINE = "baseline"


class ComparisonStore:
    """Where a comparison keeps what is finished: a folder, or with None the memory.

    Args:
      folder: the comparison's own folder, or None.
      config: all that can change a number.

    Raises:
      InputError: the folder holds something else, or cannot be written.
    """

    def __init__(self, folder: Path | None, config: Mapping[str, Any]) -> None:
        self.folder, self.config = folder, storage.to_json(dict(config))
        self._memory: dict[str, tuple[dict[str, np.ndarray], dict[str, Any]]] = {}
        if folder is None:
            return
        record = folder / "study.json"
        if record.exists():
            if read_comparison_record(folder)["config"] != self.config:
                raise fail(
                    "compare", f"{folder} holds another comparison", "Name another folder; nothing was overwritten."
                )
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise fail(
                "compare", f"{folder} is not empty and holds no comparison", "Name another; nothing was written."
            )

    def settle(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Writes `study.json` unless there is one; returns the one that stands."""
        if self.folder is None:
            return dict(record)
        with plain_errors(self.folder, "compare"):
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / "study.json").exists():
                storage.write_json(self.folder / "study.json", {"kind": storage.COMPARISON_MARK, **record})
        return read_comparison_record(self.folder)

    def search(self, problem: str, rule: str) -> Path | None:
        """The folder of one search."""
        return None if self.folder is None else self.folder / "searches" / slug(problem) / slug(rule)

    def get(self, kind: str, problem: str, rule: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """(arrays, facts) of one re-run or timing; None where there is none.

        Raises:
          InputError: the file is torn.
        """
        if self.folder is None:
            return self._memory.get(f"{kind}/{problem}/{rule}")
        path = self._path(kind, problem, rule)
        if not path.exists():
            return None
        facts = files.load_facts(path)
        return files.load(path, dict.fromkeys(facts["names"], 0)), facts

    def put(
        self, kind: str, problem: str, rule: str, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]
    ) -> None:
        """Keeps the arrays and facts of one re-run or timing."""
        stored = dict(sorted(arrays.items()))
        noted = storage.to_json(dict(facts)) | {"names": list(stored)}
        if self.folder is None:
            self._memory[f"{kind}/{problem}/{rule}"] = (stored, noted)
            return
        with plain_errors(self.folder, "compare"):
            files.save(self._path(kind, problem, rule), stored, noted)

    def finish(self, outcome: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
        """Writes the table and the claims, and into `study.json` what changed."""
        if self.folder is None:
            return
        with plain_errors(self.folder, "compare"):
            lines = "".join(json.dumps(storage.to_json(row), ensure_ascii=False) + "\n" for row in outcome["table"])
            storage.write_text(self.folder / "configs.jsonl", lines)
            storage.write_json(self.folder / "verdicts.json", outcome["claims"])
            record = read_comparison_record(self.folder)
            storage.write_json(self.folder / "study.json", record | dict(changes))

    def _path(self, kind: str, problem: str, rule: str) -> Path:
        assert self.folder is not None
        return self.folder / kind / slug(problem) / f"{slug(rule)}.npz"


def read_comparison_record(folder: Path) -> dict[str, Any]:
    """The `study.json` of a comparison.

    Raises:
      InputError: there is none, it is torn, or it is not of a comparison.
    """
    return read_record(folder, storage.COMPARISON_MARK, "compare", "a comparison")


def slug(name: str) -> str:
    """A name as part of a path.

    Example:
      >>> slug("my/problem: one")
      'my-problem-one'
    """
    return re.sub(r"[^A-Za-z0-9._]+", "-", name)
