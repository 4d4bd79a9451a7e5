"""A sweep's results in their places, from chunks in memory or from a folder; needs neither problem nor rule."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxopt_lab.core import InputError
from jaxopt_lab.search.plans import Chunk
from jaxopt_lab.search.results import NOT_RUN, Sweep, Trials
from jaxopt_lab.search.spaces import Space
from jaxopt_lab.search.store import SweepStore
from jaxopt_lab.storage import RECORD, files, read_record

_MOST_RECORDS = 10**6


def load_sweep(folder: str | os.PathLike[str], log: Callable[[str], None] | None = None) -> Sweep:
    """The sweep that a folder holds, as far as it is finished; needs no problem.

    Args:
      folder: as given to `sweep`.
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
