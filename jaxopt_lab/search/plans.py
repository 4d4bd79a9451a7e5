"""What a sweep will do, settled and told before any compute is spent.

A sweep is cut into chunks: K trials of one rule with one seed, which go side by side and share their batches. The cut
and K are part of the plan, so that a sweep that was killed, or that several machines share, gives the bits of an
unbroken one. With several devices, as many chunks of one rule go at once, one on each: their number changes no bit.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab import training
from jaxopt_lab.core import Problem, fail
from jaxopt_lab.core.batches import materialized, require_batch_size
from jaxopt_lab.core.errors import require_choice, require_count
from jaxopt_lab.core.leaves import require_trainable
from jaxopt_lab.problems import load_problem
from jaxopt_lab.problems.parsing import find_rule
from jaxopt_lab.search.samplers import SAMPLERS, sample
from jaxopt_lab.search.spaces import Space
from jaxopt_lab.search.trials import Objective
from jaxopt_lab.storage.fingerprints import problem_fingerprint
from jaxopt_lab.storage.folder import folder_name
from jaxopt_lab.training.devices import choose_devices
from jaxopt_lab.training.execution import (
    Execution,
    Workload,
    alternatives,
    choose_loop,
    choose_width,
    measure_workload,
)
from jaxopt_lab.training.failures import require_rule
from jaxopt_lab.training.storage import rule_fingerprint

Rule = Callable[..., optax.GradientTransformation]
LOOPS = ("auto", "vmap", "map", "step")


@dataclasses.dataclass(frozen=True)
class Arm:
    """One rule of a sweep: its name, its factory, its space, and its trials, name -> [trials]."""

    name: str
    factory: Rule
    space: Space
    columns: dict[str, np.ndarray]

    @property
    def num_trials(self) -> int:
        """Number of trials."""
        return len(next(iter(self.columns.values())))


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Trials low .. high - 1 of one rule with one seed, at most K of them, which go side by side."""

    number: int
    arm: int
    seed: int
    low: int
    high: int


@dataclasses.dataclass(frozen=True)
class SweepPlan:
    """A sweep, settled.

    Attributes:
      problem: what is minimized.
      arms: the rules.
      seeds: [seeds].
      steps: of each run.
      batch_size: examples a step, or None.
      objective: what is compared, settled.
      probes: what is recorded.
      execution: how it is carried out, settled: the loop, K, and how many chunks go at once, each on its own device.
      work: the size of a step.
      config: all that can change a number, as JSON data; K and the loop stand there only where they were given.
      timed: what was timed before K was chosen: (loop, K, seconds of the sweep); empty where a rule chose.
    """

    problem: Problem
    arms: tuple[Arm, ...]
    seeds: np.ndarray
    steps: int
    batch_size: int | None
    objective: Objective
    probes: tuple[training.Probe, ...]
    execution: Execution
    work: Workload
    config: dict[str, Any]
    timed: tuple[tuple[str, int, float], ...] = ()

    @property
    def folder_name(self) -> str:
        """The name of its own folder among results."""
        return folder_name(f"sweep-{self.problem.name}", self.config)

    @property
    def loop(self) -> str:
        """How the engine goes through a chunk."""
        return self.execution.loop

    @property
    def width(self) -> int:
        """K."""
        return self.execution.width or 1

    @property
    def devices(self) -> int:
        """Chunks that go at once."""
        return self.execution.devices or 1

    @property
    def every(self) -> int:
        """Steps between records."""
        return self.objective.every or self.steps

    @property
    def records(self) -> np.ndarray:
        """Steps done at each record."""
        return np.array([*range(0, self.steps, self.every), self.steps])

    @property
    def num_runs(self) -> int:
        """Trials times seeds, of all rules."""
        return sum(arm.num_trials for arm in self.arms) * len(self.seeds)

    def chunks(self) -> list[Chunk]:
        """All chunks in order: rule by rule, K trials at a time, and each of those seed by seed."""
        places = [
            (place, seed, low, min(low + self.width, arm.num_trials))
            for place, arm in enumerate(self.arms)
            for low in range(0, arm.num_trials, self.width)
            for seed in range(len(self.seeds))
        ]
        return [Chunk(number, *place) for number, place in enumerate(places)]

    def with_pair(self, loop: str, width: int, timed: tuple[tuple[str, int, float], ...] = ()) -> "SweepPlan":
        """The same with another loop and K, and what was timed before they were chosen."""
        return dataclasses.replace(
            self, execution=dataclasses.replace(self.execution, loop=loop, width=width), timed=timed
        )

    def hyperparameters(self, chunk: Chunk) -> dict[str, np.ndarray]:
        """The hyperparameters of a chunk, name -> [runs]."""
        return {name: column[chunk.low : chunk.high] for name, column in self.arms[chunk.arm].columns.items()}

    def alternatives(self) -> list[tuple[str, int]]:
        """The pairs (loop, K) that could be timed; none where K was given, or a loop that leaves no choice."""
        if self.config["width"] is not None or self.loop == "step":
            return []
        trials = max(arm.num_trials for arm in self.arms)
        return alternatives(self.work, self.config["loop"], trials, _busy(trials, len(self.seeds), self.devices))

    def __str__(self) -> str:
        return "\n".join([self._work(), *self._manner()])

    def _work(self) -> str:
        num_trials = " + ".join(f"{arm.num_trials} trials of {arm.name}" for arm in self.arms)
        batch = f", batches of {self.batch_size}" if self.batch_size else ""
        return (
            f"{self.problem.name}, {self.work.num_parameters} parameters{batch}: {num_trials} x {len(self.seeds)}"
            f" seeds = {self.num_runs} runs of {self.steps} steps"
        )

    def _manner(self) -> list[str]:
        state = 4 * self.work.num_parameters * 4 * self.width / 2**20
        programs = f"{len(self.arms)} compiled {'program' if len(self.arms) == 1 else 'programs'}"
        each = f" on each of {self.devices} devices" if self.devices > 1 else ""
        lines = [
            f"{programs}, K = {self.width} runs {_MANNER[self.loop]}{each}, {len(self.chunks())} chunks, about"
            f" {max(state, 0.1):.1f} MiB of state at a time{' on each' if each else ''}"
        ]
        if self.timed:
            tried = ", ".join(f"{width} {_MANNER[loop]} {seconds:.3g} s" for loop, width, seconds in self.timed)
            lines.append(f"timed, for the whole sweep: {tried}; the usual K, first, stays unless one is 15 % cheaper")
        return lines


_MANNER = {
    "vmap": "side by side",
    "map": "one after the other in one program",
    "step": "one after the other, step by step",
}


def plan_sweep(
    problem: Problem | str,
    rule: Rule | str | Mapping[str, tuple[Rule | str, Space]],
    space: Space | None,
    *,
    num_trials: int,
    num_seeds: int,
    steps: int,
    batch_size: int | None,
    sampler: str,
    seed: int,
    objective: str | Objective,
    execution: Execution,
) -> SweepPlan:
    """Checks the arguments of `sweep` and settles what they leave open."""
    for name, value in (("num_trials", num_trials), ("num_seeds", num_seeds), ("steps", steps)):
        require_count("sweep", name, value)
    require_count("sweep", "seed", seed, 0)
    require_choice("sweep", "loop", execution.loop, LOOPS)
    require_choice("sweep", "sampler", sampler, SAMPLERS)
    problem = _problem(problem, batch_size)
    arms = tuple(
        Arm(name, factory, each, each.columns(sample(sampler, each, num_trials, seed)))
        for name, (factory, each) in _rules(rule, space).items()
    )
    asked = Objective(objective) if isinstance(objective, str) else objective
    probes = asked.probes(problem)
    chosen, seeds = asked.settled(problem, steps, batch_size), seed + np.arange(num_seeds)
    work = measure_workload(problem, batch_size, execution.loop, many_trials=True)
    config = {
        "problem": problem.name, "problem_fingerprint": problem_fingerprint(problem), "steps": steps,
        "every": chosen.every, "seeds": seeds.tolist(), "batch_size": batch_size, "num_trials": num_trials,
        "sampler": sampler, "seed": seed, "objective": chosen.name, "maximize": chosen.maximize,
        "baseline": None if chosen.baseline is None else float(chosen.baseline),
        "dtype": str(jnp.zeros((), float).dtype), "loop": execution.loop, "width": execution.width,
        "rules": {arm.name: _arm_record(arm, problem, probes, batch_size) for arm in arms},
    }  # fmt: skip
    settled = _settled(execution, work, max(arm.num_trials for arm in arms), num_seeds)
    return SweepPlan(problem, arms, seeds, steps, batch_size, chosen, probes, settled, work, config)


def _problem(given: Problem | str, batch_size: int | None) -> Problem:
    """The problem, which may be named; it must have as many examples as a batch."""
    problem = load_problem(given) if isinstance(given, str) else given
    problem = dataclasses.replace(problem, data=materialized("sweep", problem.name, problem.data))
    require_batch_size("sweep", batch_size, problem.name, problem.num_examples)
    return problem


def _settled(execution: Execution, work: Workload, trials: int, seeds: int) -> Execution:
    """The loop, K, and how many devices take a chunk each: all, but no more than runs; a Python loop keeps to one."""
    loop = choose_loop(execution.loop, work)
    devices = min(choose_devices("sweep", execution.devices, len(jax.local_devices())), trials * seeds)
    devices = 1 if loop == "step" else devices
    width = execution.width or choose_width(work, loop, trials, _busy(trials, seeds, devices))
    return dataclasses.replace(execution, loop=loop, width=width, devices=devices)


def _busy(trials: int, seeds: int, devices: int) -> int:
    """The largest K with which every device has a chunk."""
    return -(-trials * seeds // devices)


def _arm_record(arm: Arm, problem: Problem, probes: Any, batch_size: int | None) -> dict[str, Any]:
    first = {name: column[0] for name, column in arm.columns.items()}
    params = jax.eval_shape(problem.init, jax.random.key(0))
    require_trainable("sweep", params)
    require_rule("sweep", arm.factory, first, params)
    digits = rule_fingerprint(problem, arm.factory, first, probes, batch_size)
    return {"fingerprint": digits, "space": arm.space.to_json()}


def _rules(rule: Any, space: Space | None) -> dict[str, tuple[Rule, Space]]:
    if isinstance(rule, Mapping):
        if space is not None:
            raise fail("sweep", "a mapping of rules brings its spaces, and space was given too", "Leave space out.")
        found: dict[str, Any] = dict(rule)
    else:
        found = {_name(rule): (rule, space)}
    for name, pair in found.items():
        if isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str):
            found[name] = pair = (find_rule(pair[0], "sweep"), pair[1])
        if not isinstance(pair, tuple) or len(pair) != 2 or not callable(pair[0]) or not isinstance(pair[1], Space):
            raise fail(
                "sweep", f"rule {name} must come as (factory, Space), got {pair!r}",
                "Example: sweep(problem, rules.sgd, Space(learning_rate=log_uniform(1e-3, 1))).",
            )  # fmt: skip
    if not found:
        raise fail("sweep", "there is no rule")
    return found


def _name(rule: Any) -> str:
    if isinstance(rule, str):
        return rule
    inner = getattr(rule, "func", getattr(rule, "factory", rule))
    return str(getattr(inner, "__name__", type(inner).__name__)).replace("_", "-")
