"""What a run keeps on disk: metrics by segment, and the last complete state; and what makes two runs the same run.

folder/run.json              the run's identity, for people and for the check
folder/curves/seg-00000.npz  the metrics of one segment
folder/checkpoint.npz        the state after the last stored segment
"""

import hashlib
import json
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Problem, fail
from jaxopt_lab.storage import files
from jaxopt_lab.training.groups import Group, assemble, stacked_lanes
from jaxopt_lab.training.planning import Plan
from jaxopt_lab.training.program import Inputs, Program, advance, advance_one, measure_one


class Store:
    """The folder of one run; `identity` says which run it may hold."""

    def __init__(self, folder: str | os.PathLike[str], identity: dict[str, str]) -> None:
        self.folder, self.identity = pathlib.Path(folder), identity
        self.checkpoint = self.folder / "checkpoint.npz"
        self._pending: list[tuple[int, dict[str, np.ndarray]]] = []
        if self.folder.exists() and any(self.folder.iterdir()) and not (self.folder / "run.json").exists():
            raise fail(
                str(self.folder), "the folder is not empty and holds no run of jaxopt_lab", "Name another folder."
            )
        if (self.folder / "run.json").exists():
            self._require_same(json.loads((self.folder / "run.json").read_text()))
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            files.write_text(self.folder / "run.json", json.dumps(identity, indent=1))

    def restore(self, program: Program, groups: list[Group]) -> tuple[list[Group], int, list[dict[str, np.ndarray]]]:
        """The groups, the number of finished segments and their metrics; the given groups if nothing is stored."""
        if not self.checkpoint.exists():
            return groups, 0, []
        facts = files.load_facts(self.checkpoint)
        like = (np.zeros(1), stacked_lanes(groups[0]), groups[0].hyperparameters)
        stored = files.load(self.checkpoint, [like] * facts["num_groups"])
        owned = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True) if isinstance(leaf, np.ndarray) else leaf, stored)
        restored = [assemble(program, np.asarray(members), *rest) for members, *rest in owned]
        names = dict.fromkeys(facts["metrics"], 0)
        finished = [files.load(self._segment(k), names) for k in range(facts["segments"])]
        return restored, facts["segments"], finished

    def add(self, segment: int, metrics: dict[str, np.ndarray]) -> None:
        """Remembers the metrics of one segment until the next `save`."""
        self._pending.append((segment, metrics))

    def save(self, groups: list[Group], segments: int) -> None:
        """Writes the remembered metrics, then the state after `segments` segments."""
        names = sorted(self._pending[-1][1]) if self._pending else []
        for segment, metrics in self._pending:
            files.save(self._segment(segment), dict(sorted(metrics.items())), {})
        self._pending.clear()
        tree = [(group.members, stacked_lanes(group), group.hyperparameters) for group in groups]
        facts = {"segments": segments, "num_groups": len(groups), "metrics": names}
        files.save(self.checkpoint, tree, facts)

    def _segment(self, number: int) -> pathlib.Path:
        return self.folder / "curves" / f"seg-{number:05d}.npz"

    def _require_same(self, found: dict[str, str]) -> None:
        different = sorted(name for name in {*found, *self.identity} if found.get(name) != self.identity.get(name))
        if different:
            raise fail(
                str(self.folder),
                f"the folder holds another run: it differs in {', '.join(different)}",
                "Name another folder, or remove this one.",
            )


def identity(plan: Plan, problem: Problem, inputs: Inputs, group: Group) -> dict[str, str]:
    """What makes two runs the same: a digest for each thing that can change a bit of the result."""
    program, lanes, lowered = plan.program, stacked_lanes(group), ""
    if program.loop in ("vmap", "map"):
        start, counts = jnp.zeros((), jnp.int32), jnp.asarray(plan.counts[0], jnp.int32)
        lowered = advance.lower(program, inputs, group.lanes, group.hyperparameters, start, counts).as_text()
    elif program.loop == "step":
        one, hyper = jax.tree.map(lambda leaf: leaf[0], (lanes, group.hyperparameters))
        lowered = advance_one.lower(program, inputs, one, hyper, jnp.zeros((), jnp.int32)).as_text()
        lowered += measure_one.lower(program, inputs, one).as_text()
    hyperparameters = [part for name, values in sorted(plan.hyperparameters.items()) for part in (name, values)]
    return {
        "problem": problem.name,
        "program": _digest(lowered),
        "probes": ", ".join(probe.name for probe in program.probes),
        "loop": program.loop,
        "width": str(plan.width),
        "batch_size": str(program.batch_size),
        "records": _digest(plan.counts),
        "seeds": _digest(plan.seeds),
        "hyperparameters": _digest(*hyperparameters),
        "data": _digest(*jax.tree.leaves((inputs.data, inputs.loss, inputs.evaluation))),
        "start": _digest(*jax.tree.leaves((lanes.params, lanes.model_state))),
        "versions": f"jax {jax.__version__}",
    }


def _digest(*parts: Any) -> str:
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            total.update(part.encode())
            continue
        if isinstance(part, jax.Array) and jnp.issubdtype(part.dtype, jax.dtypes.prng_key):
            part = jax.random.key_data(part)
        array = np.ascontiguousarray(np.asarray(part))
        total.update(f"{array.dtype}{array.shape}".encode())
        total.update(array.reshape(-1).view(np.uint8).data)
    return total.hexdigest()[:16]
