"""A sweep's results in their places, from chunks in memory or from a folder; needs neither problem nor rule."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxopt_lab.search.outcomes import NOT_RUN, Sweep, Trials
from jaxopt_lab.search.plans import Chunk
from jaxopt_lab.search.spaces import Space
from jaxopt_lab.search.stores import Store, read_sweep_record


def load_sweep(folder: str | os.PathLike[str]) -> Sweep:
    """The sweep that a folder holds, as far as it is finished; needs no problem.

    Args:
      folder: as given to `sweep`.

    Returns:
      The sweep.

    Raises:
      InputError: the folder holds none, or a file in it is torn.
    """
    folder = Path(folder)
    record = read_sweep_record(folder)
    config, settled = record["config"], record["settled"]
    store, table, names = Store(folder, config), Table(config, settled), settled["probes"]
    for chunk in table.chunks:
        arrays = store.read(chunk.number, names)
        if arrays is not None:
            table.put(chunk, arrays)
    return table.sweep(record.get("facts", {}), folder)


class Table:
    """The results of all chunks in their places; made of what `study.json` holds."""

    def __init__(self, config: Mapping[str, Any], settled: Mapping[str, Any]) -> None:
        self.config = config
        self.names, self.seeds = list(config["rules"]), np.asarray(config["seeds"])
        self.steps = np.array([*range(0, config["steps"], config["every"]), config["steps"]])
        self.spaces = {name: Space.from_json(config["rules"][name]["space"]) for name in self.names}
        self.columns = {
            name: {key: np.asarray(values) for key, values in settled["columns"][name].items()} for name in self.names
        }
        self.sizes = [len(next(iter(self.columns[name].values()))) for name in self.names]
        self.chunks = [Chunk(*entry) for entry in settled["chunks"]]
        self.status = [np.full((size, len(self.seeds)), NOT_RUN) for size in self.sizes]
        self.curves: list[dict[str, np.ndarray]] = [{} for _ in self.names]
        self.probes = list(settled["probes"])

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
