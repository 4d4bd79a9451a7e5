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
from jaxopt_lab.core import Problem, fail, require_choice, require_count, require_finite, require_trainable
from jaxopt_lab.search.samplers import SAMPLERS, sample
from jaxopt_lab.search.spaces import Space
from jaxopt_lab.storage import problem_fingerprint
from jaxopt_lab.training.execution import Workload, alternatives, choose_loop, choose_width, measure_workload
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
      every: steps between records.
      batch_size: examples a step, or None.
      objective: the name of the probe that is compared.
      probes: what is recorded.
      maximize: whether a larger objective is better.
      baseline: the loss of the best constant output, or None.
      loop: how the engine goes through a chunk.
      width: K.
      devices: chunks that go at once, each on a device of its own.
      work: the size of a step.
      config: all that can change a number, as JSON data; K and the loop stand there only where they were given.
      timed: what was timed before K was chosen: (loop, K, seconds of the sweep); empty where a rule chose.
    """

    problem: Problem
    arms: tuple[Arm, ...]
    seeds: np.ndarray
    steps: int
    every: int
    batch_size: int | None
    objective: str
    probes: tuple[training.Probe, ...]
    maximize: bool
    baseline: float | None
    loop: str
    width: int
    devices: int
    work: Workload
    config: dict[str, Any]
    timed: tuple[tuple[str, int, float], ...] = ()

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

    def hyperparameters(self, chunk: Chunk) -> dict[str, np.ndarray]:
        """The hyperparameters of a chunk, name -> [runs]."""
        return {name: column[chunk.low : chunk.high] for name, column in self.arms[chunk.arm].columns.items()}

    def alternatives(self) -> list[tuple[str, int]]:
        """The pairs (loop, K) that could be timed; none where K was given, or a loop that leaves no choice."""
        if self.config["width"] is not None or self.loop == "step":
            return []
        trials = max(arm.num_trials for arm in self.arms)
        return alternatives(self.work, self.config["loop"], trials, _busy(trials, len(self.seeds), self.devices))

    def what(self) -> str:
        """What will run, as a printed line."""
        num_trials = " + ".join(f"{arm.num_trials} trials of {arm.name}" for arm in self.arms)
        batch = f", batches of {self.batch_size}" if self.batch_size else ""
        return (
            f"{self.problem.name}, {self.work.num_parameters} parameters{batch}: {num_trials} x {len(self.seeds)}"
            f" seeds = {self.num_runs} runs of {self.steps} steps"
        )

    def how(self) -> list[str]:
        """How it will run, as printed lines."""
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


def make_plan(
    problem: Problem,
    rule: Rule | Mapping[str, tuple[Rule, Space]],
    space: Space | None,
    *,
    trials: int,
    seeds: int,
    steps: int,
    batch_size: int | None,
    sampler: str,
    seed: int,
    every: int | None,
    objective: str,
    maximize: bool | None,
    baseline: float | str | None,
    loop: str,
    width: int | None,
    devices: int | None = None,
) -> SweepPlan:
    """Checks the arguments of `sweep` and settles what they leave open."""
    for name, value in (("trials", trials), ("seeds", seeds), ("steps", steps)):
        require_count("sweep", name, value)
    require_count("sweep", "seed", seed, 0)
    require_choice("sweep", "loop", loop, LOOPS)
    require_choice("sweep", "sampler", sampler, SAMPLERS)
    if width is not None:
        require_count("sweep", "width", width)
    if every is not None:
        require_count("sweep", "every", every)
    if batch_size is not None and (problem.num_examples is None or not 1 <= batch_size <= problem.num_examples):
        raise fail(
            "sweep", f"batch_size {batch_size} needs as many examples, {problem.name} has {problem.num_examples}"
        )
    arms = tuple(
        Arm(name, factory, each, each.columns(sample(sampler, each, trials, seed)))
        for name, (factory, each) in _rules(rule, space).items()
    )
    probes = _probes(problem, objective)
    larger = objective.endswith("accuracy") if maximize is None else maximize
    level = training.constant_loss(problem)[0] if baseline == "auto" else baseline
    if isinstance(level, str):
        raise fail("sweep", f"baseline must be a number, None or 'auto', got {baseline!r}")
    require_finite("sweep", "baseline", level or 0.0)
    used = every or _usual_interval(problem, steps, batch_size)
    seed_list = seed + np.arange(seeds)
    work = measure_workload(problem, batch_size, loop, many_trials=True)
    chosen = choose_loop(loop, work)
    config = {
        "problem": problem.name, "problem_fingerprint": problem_fingerprint(problem), "steps": steps, "every": used,
        "seeds": seed_list.tolist(), "batch_size": batch_size, "trials": trials, "sampler": sampler, "seed": seed,
        "objective": objective, "maximize": larger, "baseline": None if level is None else float(level),
        "dtype": str(jnp.zeros((), float).dtype), "loop": loop, "width": width,
        "rules": {arm.name: _arm_record(arm, problem, probes, batch_size) for arm in arms},
    }  # fmt: skip
    most = max(arm.num_trials for arm in arms)
    at_once = _devices(devices, chosen, most * seeds)
    wide = width or choose_width(work, chosen, most, _busy(most, seeds, at_once))
    return SweepPlan(
        problem, arms, seed_list, steps, used, batch_size, objective, probes, larger, level, chosen, wide, at_once,
        work, config,
    )  # fmt: skip


def _devices(devices: int | None, loop: str, runs: int) -> int:
    """How many devices take a chunk each: all, but no more than runs; a loop in Python keeps to one."""
    local = len(jax.local_devices())
    if devices is not None:
        require_count("sweep", "devices", devices)
        if devices > local:
            raise fail("sweep", f"devices must be at most {local}, got {devices}", "There are no more here.")
    return 1 if loop == "step" else min(devices or local, runs)


def _busy(trials: int, seeds: int, devices: int) -> int:
    """The largest K with which every device has a chunk."""
    return -(-trials * seeds // devices)


def _arm_record(arm: Arm, problem: Problem, probes: Any, batch_size: int | None) -> dict[str, Any]:
    first = {name: column[0] for name, column in arm.columns.items()}
    params = jax.eval_shape(problem.init, jax.random.key(0))
    require_trainable("sweep", params)
    training.require_rule("sweep", arm.factory, first, params)
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
        if not isinstance(pair, tuple) or len(pair) != 2 or not callable(pair[0]) or not isinstance(pair[1], Space):
            raise fail(
                "sweep", f"rule {name} must come as (factory, Space), got {pair!r}",
                "Example: sweep(problem, rules.sgd, Space(learning_rate=log_uniform(1e-3, 1))).",
            )  # fmt: skip
    if not found:
        raise fail("sweep", "there is no rule")
    return found


def _name(rule: Any) -> str:
    inner = getattr(rule, "func", getattr(rule, "factory", rule))
    return str(getattr(inner, "__name__", type(inner).__name__)).replace("_", "-")


def _probes(problem: Problem, objective: str) -> tuple[training.Probe, ...]:
    metrics = {name if on == "training" else f"validation_{name}": training.metric(name, on)
               for name in problem.metrics for on in ("training", "validation")}  # fmt: skip
    known = {"loss": training.loss(), "validation_loss": training.validation_loss()} | metrics
    require_choice("sweep", "objective", objective, known)
    if objective.startswith("validation_") and problem.validation is None:
        raise fail("sweep", f"objective {objective} needs validation data, {problem.name} has none", "Compare 'loss'.")
    return (training.loss(),) if objective == "loss" else (training.loss(), known[objective])


def _usual_interval(problem: Problem, steps: int, batch_size: int | None) -> int:
    """Steps between records such that these cost about a tenth of the steps; between 4 and 50 records."""
    examples = problem.num_examples or 1
    records = 0.1 * steps * 3 * (batch_size or examples) / examples
    return max(1, -(-steps // int(np.clip(records, 4, 50))))
