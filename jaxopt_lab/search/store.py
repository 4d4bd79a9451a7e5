"""The folders of a sweep and of a comparison, safe against kills, full disks, and several processes at once.

    sweep-<problem>-<hash of the config>/
      study.json              config, K, versions, device, status, seconds
      curves/seg-00000.npz    the curves of one chunk of runs
      configs.jsonl           the trials, a line each, best first
      locks/claims.json       which process computes which chunk
      report.html             the page

    compare-<hash of the config>/
      study.json                              config, costs of a step, versions, device, status
      searches/<problem>/<rule>/              the folder of a sweep; so is searches/<problem>/baseline/
      final_runs/<problem>/<rule>.npz         the winner on fresh seeds; so is final_runs/<problem>/baseline.npz
      seconds/<problem>/<rule>.npz            what a step takes, and compiling
      configs.jsonl, verdicts.json            the table, a line each; the pairs of rules
      report.html                             the page

The first process settles K for all. Each file says whose it is; one that is damaged or of something else is set aside.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxopt_lab.core import InputError
from jaxopt_lab.search.plans import SweepPlan
from jaxopt_lab.storage import archives, files, read_record
from jaxopt_lab.storage.claims import Claims
from jaxopt_lab.storage.encoding import config_hash, to_json
from jaxopt_lab.storage.files import file_name
from jaxopt_lab.storage.folder import RECORD, check_folder, environment, write_lines, write_record
from jaxopt_lab.storage.locks import locked

BASELINE = "baseline"


class SweepStore:
    """The folder of one sweep.

    Args:
      folder: the results folder itself.
      config: all that can change a number.

    Raises:
      InputError: the folder holds something else.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder, self._identity = Path(folder), {"sweep": config_hash(config)}
        check_folder(self.folder, "sweep", config)

    @property
    def begun(self) -> bool:
        """Whether a process has settled the sweep."""
        return (self.folder / RECORD).exists()

    def settle(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Writes `study.json` unless another process did so first; returns the one that stands."""
        files.require_writable(self.folder / "curves")
        path, mine = self.folder / RECORD, self.folder / f".{RECORD}.{os.getpid()}.writing"
        if not path.exists():
            write_record(mine.parent, record, "sweep", name=mine.name)
            with contextlib.suppress(FileExistsError):
                os.link(mine, path)
            mine.unlink()
        return read_record(self.folder, "sweep")

    def settling(self) -> contextlib.AbstractContextManager[None]:
        """Holds the lock of what is settled first; others wait, so that K is timed once."""
        return locked(self.folder / "locks" / "settling", str(self.folder), wait=True)

    def claims(self) -> Claims:
        """The claims of this process on chunks."""
        return Claims(self.folder)

    def has(self, chunk: int) -> bool:
        """Whether there is a file of a chunk."""
        return self._segment(chunk).exists()

    @property
    def num_stored(self) -> int:
        """The files of chunks that are there."""
        return len(list(self._segment(0).parent.glob("seg-*.npz")))

    def read(self, chunk: int, like: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
        """The stored arrays of a chunk, with the names and shapes of `like`, or None where there are none.

        Raises:
          InputError: the file is damaged, or of another chunk or sweep.
        """
        path = self._segment(chunk)
        if not path.exists():
            return None
        return archives.load(path, dict(like), self._identity | {"chunk": chunk}, what=f"the curves of chunk {chunk}")

    def read_or_set_aside(
        self, chunk: int, like: Mapping[str, Any], log: Callable[[str], None]
    ) -> dict[str, np.ndarray] | None:
        """The stored arrays of a chunk, or None; a file that cannot be used is renamed, and it is told."""
        with contextlib.suppress(InputError):
            return self.read(chunk, like)
        with locked(self.folder / "locks" / "claiming", str(self.folder), wait=True):
            try:  # once more: another process may have set it aside and computed it by now
                return self.read(chunk, like)
            except InputError as error:
                aside = files.set_aside(self._segment(chunk))
                log(f"{error} It is kept as {aside.name}, and computed again.")
                return None

    def write(self, chunk: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Keeps the arrays of a chunk."""
        archives.save(self._segment(chunk), dict(sorted(arrays.items())), self._identity | {"chunk": chunk})

    def finish(self, rows: list[dict[str, Any]], changes: Mapping[str, Any], session: Mapping[str, Any]) -> None:
        """Writes the table of trials, and into `study.json` what changed and one session more."""
        with locked(self.folder / "locks" / "finishing", str(self.folder), wait=True):
            record = read_record(self.folder, "sweep")
            write_lines(self.folder / "configs.jsonl", rows)
            sessions = [*record.get("sessions", []), dict(session)]
            write_record(self.folder, record | dict(changes) | {"sessions": sessions}, "sweep")

    def _segment(self, chunk: int) -> Path:
        return self.folder / "curves" / f"seg-{chunk:05d}.npz"


class ComparisonStore:
    """Where a comparison keeps what is finished: a folder, or with None the memory.

    Args:
      folder: the comparison's own folder, or None.
      config: all that can change a number.
      log: gets a sentence for each damaged file, which then counts as not there; None: that is an error.

    Raises:
      InputError: the folder holds something else.
    """

    def __init__(
        self, folder: Path | None, config: Mapping[str, Any], log: Callable[[str], None] | None = None
    ) -> None:
        self.folder, self._identity, self._log = folder, {"comparison": config_hash(config)}, log
        self._memory: dict[tuple[str, str, str], tuple[dict[str, np.ndarray], dict[str, Any]]] = {}
        if folder is not None:
            check_folder(folder, "comparison", config)

    def settle(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Writes `study.json` unless there is one; returns the one that stands."""
        if self.folder is None:
            return dict(record)
        files.require_writable(self.folder)
        if not (self.folder / RECORD).exists():
            write_record(self.folder, record, "comparison")
        return read_record(self.folder, "comparison")

    def held(self) -> contextlib.AbstractContextManager[None]:
        """Holds the comparison's lock; raises InputError where another process does."""
        if self.folder is None:
            return contextlib.nullcontext()
        return locked(self.folder / "locks" / "running", str(self.folder))

    def search(self, problem: str, rule: str) -> Path | None:
        """The folder of one search."""
        if self.folder is None:
            return None
        return self.folder / "searches" / file_name(problem) / file_name(rule)

    def get(self, kind: str, problem: str, rule: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """(arrays, facts) of final runs or of one timing; None where there is none.

        Raises:
          InputError: the file is damaged, or belongs to something else.
        """
        if self.folder is None:
            return self._memory.get((kind, problem, rule))
        try:
            return self._stored(self._path(kind, problem, rule), self._whose(kind, problem, rule))
        except InputError as error:
            if self._log is None:
                raise
            self._log(f"{error} It counts as not there.")
            return None

    def _stored(self, path: Path, whose: dict[str, str]) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        if not path.exists():
            return None
        what = f"the {whose['kind']} of {whose['rule']} on {whose['problem']}"
        facts = archives.load_facts(path, what)
        with files.reading(path, what):
            like = dict.fromkeys(facts["names"], 0)
        return archives.load(path, like, whose, what=what), facts

    def put(
        self, kind: str, problem: str, rule: str, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]
    ) -> None:
        """Keeps the arrays and facts of final runs or of one timing."""
        stored = dict(sorted(arrays.items()))
        noted = to_json(dict(facts)) | {"names": list(stored)} | self._whose(kind, problem, rule)
        if self.folder is None:
            self._memory[kind, problem, rule] = (stored, noted)
        else:
            archives.save(self._path(kind, problem, rule), stored, noted)

    def set_aside_damaged(self, kind: str, problem: str, rule: str) -> str | None:
        """Renames the file of final runs or of a timing that cannot be used; returns the sentence that says why."""
        try:
            self.get(kind, problem, rule)
        except InputError as error:
            files.set_aside(self._path(kind, problem, rule))
            return str(error)
        return None

    def finish(self, outcome: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
        """Writes the table and the pairs, and into `study.json` what changed."""
        if self.folder is None:
            return
        write_lines(self.folder / "configs.jsonl", outcome["table"])
        files.write_json(self.folder / "verdicts.json", outcome["pairs"])
        record = read_record(self.folder, "comparison")
        write_record(self.folder, record | dict(changes), "comparison")

    def _whose(self, kind: str, problem: str, rule: str) -> dict[str, str]:
        return self._identity | {"kind": kind, "problem": problem, "rule": rule}

    def _path(self, kind: str, problem: str, rule: str) -> Path:
        assert self.folder is not None
        return self.folder / kind / file_name(problem) / f"{file_name(rule)}.npz"


def settled_by(plan: SweepPlan) -> dict[str, Any]:
    """What the first process decides for all of them."""
    return {
        "width": plan.width, "loop": plan.loop, "timed": [list(entry) for entry in plan.timed],
        "probes": [probe.name for probe in plan.probes],
        "chunks": [list(dataclasses.astuple(chunk)) for chunk in plan.chunks()],
        "columns": {arm.name: {name: column.tolist() for name, column in arm.columns.items()} for arm in plan.arms},
    }  # fmt: skip


def record_of(plan: SweepPlan, argv: tuple[str, ...]) -> dict[str, Any]:
    """What `study.json` holds of a sweep that begins; `argv` redoes it."""
    return {
        "study": f"sweep {plan.problem.name}", "status": "running", "config": plan.config, "settled": settled_by(plan),
        "argv": list(argv), "facts": {}, "sessions": [], **environment(),
    }  # fmt: skip


def as_settled(plan: SweepPlan, standing: Mapping[str, Any], log: Callable[[str], None]) -> SweepPlan:
    """The plan with the K and the loop that the folder's first process settled."""
    here = to_json(environment())
    if standing["versions"] != here["versions"]:
        log(f"The folder was begun with other versions: {standing['versions']}; last bits may differ.")
    if standing["device"]["kind"] != here["device"]["kind"]:
        log(f"The folder was begun on another device: {standing['device']['kind']}; last bits may differ.")
    settled = standing["settled"]
    tried = tuple(tuple(entry) for entry in settled.get("timed", ()))
    return plan.with_pair(settled["loop"], settled["width"], tried)
