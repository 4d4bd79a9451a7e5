"""`Sweep`: what a sweep found; and the same from chunks in memory or in a folder, without the problem and the rules."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np

from jaxopt_lab import reporting
from jaxopt_lab.core import InputError, fail
from jaxopt_lab.core.errors import require_choice
from jaxopt_lab.reporting.outcomes import Reported
from jaxopt_lab.search.plans import Chunk
from jaxopt_lab.search.spaces import Space
from jaxopt_lab.search.store import SweepStore
from jaxopt_lab.search.trials import NOT_RUN, Trials
from jaxopt_lab.storage import files, read_record
from jaxopt_lab.storage.folder import RECORD

_MOST_RECORDS = 10**6


@dataclasses.dataclass(frozen=True)
class Sweep(Reported):
    """The outcome of a sweep.

    Attributes:
      problem: the problem's name.
      objective: what was compared.
      trials: rule name -> its trials.
      steps: steps done at each record, [records].
      seeds: [seeds].
      config: all that can change a number.
      facts: how it ran: loop, width K, chunks, seconds.
      folder: where it is kept, or None.
    """

    _report: ClassVar[str] = "jaxopt_lab.search.report"

    problem: str
    objective: str
    trials: dict[str, Trials]
    steps: np.ndarray
    seeds: np.ndarray
    config: Mapping[str, Any]
    facts: Mapping[str, Any]
    folder: Path | None = None

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(each.finished)} trials of {name}" for name, each in self.trials.items())
        return (
            f"<Sweep of {self.problem}: {sizes} x {len(self.seeds)} seeds{'' if self.complete else ', not finished'}>"
        )

    def to_dataframe(self) -> Any:
        """The finished trials as a pandas DataFrame, best first: a column for each hyperparameter.

        Raises:
          InputError: pandas is not installed.
        """
        kept = ("rule", "trial", "median", "level", "missed")
        rows = [
            {name: row[name] for name in kept} | dict(zip(("low", "high"), row["interval"], strict=True))
            | row["hyperparameters"] for row in self.table()
        ]  # fmt: skip
        return reporting.outcomes.to_dataframe("Sweep.to_dataframe", rows)

    @property
    def complete(self) -> bool:
        """Whether every run of every rule is finished."""
        return all(each.finished.all() for each in self.trials.values())

    def of(self, rule: str | None = None) -> Trials:
        """The trials of one rule; without a name, of the only one, or of the rule whose best trial is best."""
        if rule is not None:
            require_choice("Sweep", "rule", rule, self.trials)
            return self.trials[rule]
        ranked = [each for each in self.trials.values() if len(each.ranking)]
        if not ranked:
            raise fail("Sweep", "no trial is finished", "Run the same sweep again to continue it.")
        sign = -1 if ranked[0].maximize else 1
        return min(ranked, key=lambda each: sign * each.medians[each.ranking[0]])

    def best(self, rule: str | None = None) -> dict[str, Any]:
        """The best finished trial as a row: rule, trial, hyperparameters, median, interval, objective by seed."""
        trials = self.of(rule)
        if not len(trials.ranking):
            raise fail("Sweep", f"no trial of {trials.rule} is finished", "Run the same sweep again to continue it.")
        return trials.row(int(trials.ranking[0]))

    def near_edge(self, rule: str | None = None) -> dict[str, str]:
        """The hyperparameters of the best trial near an end of their range: then widen before anything is concluded."""
        trials = self.of(rule)
        return trials.space.near_edge(self.best(trials.rule)["hyperparameters"])

    def table(self, most: int | None = None) -> list[dict[str, Any]]:
        """The finished trials of all rules as rows, best first; at most the best `most`."""
        rows = [each.row(int(trial)) for each in self.trials.values() for trial in each.ranking[:most]]
        sign = -1 if any(each.maximize for each in self.trials.values()) else 1
        return sorted(rows, key=lambda row: sign * row["median"])[:most]

    def to_json(self) -> dict[str, Any]:
        """The sweep as JSON data, without its curves."""
        return {
            "problem": self.problem, "objective": self.objective, "config": dict(self.config),
            "facts": dict(self.facts), "trials": self.table(),
            "share_infeasible": {name: each.share_infeasible for name, each in self.trials.items()},
        }  # fmt: skip


def load_sweep(folder: str | os.PathLike[str], log: Callable[[str], None] | None = None) -> Sweep:
    """The sweep that a folder holds, as far as it is finished; needs no problem.

    Args:
      folder: the sweep's own folder.
      log: gets a sentence for each file that is damaged, whose runs then count as not finished; None: that is an error.

    Returns:
      The sweep.

    Raises:
      InputError: the folder holds none, or a file in it is damaged.
    """
    folder = Path(folder)
    record = read_record(folder, "sweep")
    with files.reading(folder / RECORD, "the record of a sweep", "The chunks beside it are untouched."):
        table = Table(record["config"], record["settled"])
    store = SweepStore(folder, record["config"])
    for chunk in table.chunks:
        try:
            arrays = store.read(chunk.number, table.like(chunk))
        except InputError as error:
            if log is None:
                raise
            log(f"{error} Its runs count as not finished.")
            continue
        if arrays is not None:
            table.put(chunk, arrays)
    with files.reading(folder / RECORD, "the record of a sweep", "The chunks beside it are untouched."):
        return table.sweep(record.get("facts", {}), folder)


class Table:
    """The results of all chunks in their places; made of what `study.json` holds.

    Raises:
      Exception: of any kind where the record is not what this package wrote.
    """

    def __init__(self, config: Mapping[str, Any], settled: Mapping[str, Any]) -> None:
        self.config = config
        self.names, self.seeds = list(config["rules"]), np.asarray(config["seeds"])
        records = range(0, config["steps"], config["every"])
        if len(records) > _MOST_RECORDS or len(self.seeds) > _MOST_RECORDS:
            raise ValueError(f"it names more than {_MOST_RECORDS} records or seeds")
        self.steps = np.array([*records, config["steps"]])
        self.spaces = {name: Space.from_json(config["rules"][name]["space"]) for name in self.names}
        self.columns = {
            name: {key: np.asarray(values) for key, values in settled["columns"][name].items()} for name in self.names
        }
        self.sizes = [len(next(iter(self.columns[name].values()))) for name in self.names]
        self.chunks = [Chunk(*entry) for entry in settled["chunks"]]
        self.status = [np.full((size, len(self.seeds)), NOT_RUN) for size in self.sizes]
        self.curves: list[dict[str, np.ndarray]] = [{} for _ in self.names]
        self.probes = [str(name) for name in settled["probes"]]
        for chunk in self.chunks:
            if not (0 <= chunk.low < chunk.high <= self.sizes[chunk.arm] and 0 <= chunk.seed < len(self.seeds)):
                raise ValueError(f"chunk {chunk.number} lies outside of the trials")

    def like(self, chunk: Chunk) -> dict[str, jax.ShapeDtypeStruct]:
        """Names and shapes of a chunk's arrays."""
        runs = chunk.high - chunk.low
        curves = dict.fromkeys(self.probes, jax.ShapeDtypeStruct((runs, len(self.steps)), np.float32))
        return curves | {"status": jax.ShapeDtypeStruct((runs,), np.int8)}

    def put(self, chunk: Chunk, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes in the arrays of one chunk."""
        place = (slice(chunk.low, chunk.high), chunk.seed)
        self.status[chunk.arm][place] = arrays["status"]
        for name in self.probes:
            kept = self.curves[chunk.arm]
            if name not in kept:
                kept[name] = np.full((*self.status[chunk.arm].shape, len(self.steps)), np.nan, arrays[name].dtype)
            kept[name][place] = arrays[name]

    def has(self, chunk: Chunk) -> bool:
        """Whether the arrays of a chunk were taken in."""
        return bool(self.status[chunk.arm][chunk.low, chunk.seed] != NOT_RUN)

    def sweep(self, facts: Mapping[str, Any], folder: Path | None = None) -> Sweep:
        """What is there so far."""
        found = {}
        for place, name in enumerate(self.names):
            shape = (self.sizes[place], len(self.seeds))
            empty = np.full((*shape, len(self.steps)), np.nan)
            curves = {
                probe: values.copy() for probe, values in self.curves[place].items()
            } or dict.fromkeys(self.probes, empty)  # fmt: skip
            last = curves[self.config["objective"]][:, :, -1].astype(float)
            found[name] = Trials(
                name, self.spaces[name], self.columns[name], last, self.status[place].copy(), curves,
                self.config["maximize"],
            )  # fmt: skip
        return Sweep(
            self.config["problem"],
            self.config["objective"],
            found,
            self.steps,
            self.seeds,
            self.config,
            dict(facts),
            folder,
        )
