"""Rounds: chunks that go through the engine at once, one on each device, and what a sweep of them will take."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from jaxopt_lab import training
from jaxopt_lab.search.plans import Chunk, SweepPlan
from jaxopt_lab.search.store import SweepStore
from jaxopt_lab.storage.claims import Claims
from jaxopt_lab.training.feasibility import Feasibility

_SHARE_OF_TIMING = 0.1
_WORTH_A_CHANGE = 0.85
_REPEATS = 3
_LOOKS_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Round:
    """Chunks of one rule, at most as many as there are devices."""

    chunks: tuple[Chunk, ...]

    @property
    def name(self) -> str:
        """Its name on disk."""
        return "-".join(f"{chunk.number:05d}" for chunk in dict.fromkeys((self.chunks[0], self.chunks[-1])))


def rounds_of(plan: SweepPlan, chunks: Sequence[Chunk]) -> list[Round]:
    """The chunks in their order, as many at a time as there are devices, each time of one rule."""
    found: list[list[Chunk]] = []
    for chunk in chunks:
        if not found or len(found[-1]) == plan.devices or found[-1][0].arm != chunk.arm:
            found.append([])
        found[-1].append(chunk)
    return [Round(tuple(each)) for each in found]


def claimed_rounds(
    plan: SweepPlan, waiting: Sequence[Chunk], store: SweepStore, claims: Claims, take_in: Callable[[Chunk], bool],
    log: Callable[[str], None] | None, *, wait: bool,
) -> Iterator[Round]:  # fmt: skip
    """Rounds of chunks that no living process works on, until all are there.

    Args:
      plan: of the sweep.
      waiting: the chunks that were not there when it began.
      store: the sweep's.
      claims: of this process.
      take_in: what takes in a chunk that another process stored; False where its file cannot be used.
      log: gets a line where this process waits for others, or None.
      wait: whether to wait for chunks that others work on, and to take those of the ones that die.

    Returns:
      An iterator; a round is given back when the next one is asked for.
    """
    left, told = {str(chunk.number): chunk for chunk in waiting}, False
    while left:
        stored = []
        with claims.choosing() as (held, taken):
            for name, chunk in left.items():
                if name in held:
                    continue
                if store.has(chunk.number):
                    stored.append(name)
                elif len(taken) == plan.devices or (taken and left[taken[0]].arm != chunk.arm):
                    break
                else:
                    taken.append(name)
        arrived = [name for name in stored if take_in(left[name])]
        for name in arrived:
            del left[name]
        if taken:
            yield Round(tuple(left.pop(name) for name in taken))
        elif not wait:
            return
        elif left and not arrived:
            if not told and log is not None:
                log(f"the last {len(left)} chunks are with other processes, which this one waits for")
            told = True
            time.sleep(_LOOKS_SECONDS)


class Runner:
    """Takes rounds through the engine; keeps the initial parameters of each seed."""

    def __init__(self, plan: SweepPlan, starts: dict[int, Any] | None = None) -> None:
        self.plan, self._starts = plan, {} if starts is None else starts

    def following(self, plan: SweepPlan) -> "Runner":
        """The same for a plan of another K."""
        return Runner(plan, self._starts)

    def arrays(self, each: Round, **options: Any) -> list[dict[str, np.ndarray]]:
        """What is kept of each chunk of a round: its curves and how its runs ended."""
        level = self.plan.objective.baseline
        assert not isinstance(level, str), "it is settled"
        trace = self.trace(each, self.plan.execution, feasibility=Feasibility(baseline=level), **options)
        status = np.array([int(status) for status in trace.status], np.int8)
        found = {name: np.asarray(values) for name, values in trace.metrics.items()} | {"status": status}
        width = self.plan.width
        return [
            {name: values[place * width :][: chunk.high - chunk.low] for name, values in found.items()}
            for place, chunk in enumerate(each.chunks)
        ]

    def trace(self, each: Round, execution: training.Execution, **options: Any) -> training.Trace:
        """One run of the engine; a short chunk is filled up with its first trial, a short round by the engine."""
        plan = self.plan
        columns = [plan.hyperparameters(chunk) for chunk in each.chunks]
        filled = [{name: _filled(column, plan.width) for name, column in each.items()} for each in columns]
        hyper = {name: np.concatenate([part[name] for part in filled]) for name in filled[0]}
        seeds = [int(plan.seeds[chunk.seed]) for chunk in each.chunks]
        of_run = dataclasses.replace(execution.without_workers(), keep_final=False, share_batches=True, log=None)
        given: dict[str, Any] = {"steps": plan.steps, "every": plan.every} | options
        return training.run(
            plan.problem, plan.arms[each.chunks[0].arm].factory, hyper, seeds=np.repeat(seeds, plan.width),
            params=self._start(seeds[0]) if len(set(seeds)) == 1 else None, probes=plan.probes,
            batch_size=plan.batch_size, execution=of_run, **given,
        )  # fmt: skip

    def _start(self, seed: int) -> Any:
        """The initial parameters of a seed, as the engine makes them."""
        if seed not in self._starts:
            self._starts[seed] = self.plan.problem.init(jax.random.fold_in(jax.random.key(seed), 0))
        return self._starts[seed]


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of a whole round, from a short segment; and seconds that the measurement took, compiling included."""

    round_seconds: float
    spent: float


def timed(runner: Runner, each: Round, repeats: int = 1) -> Timing:
    """Times a round by short runs of the very program that the sweep runs; the first compiles it, the quickest counts.

    What a round costs besides its steps counts too: the fewer a round has, the more rounds there are.
    """
    plan, began = runner.plan, time.perf_counter()
    short = dataclasses.replace(plan.execution, segments=2, progress=False)
    per_segment = 1 << (-(-len(plan.records) // 20) - 1).bit_length()
    interval = max(1, min(plan.every, plan.steps // (30 * per_segment)))
    seconds, besides = np.inf, np.inf
    for number, spacing in enumerate((1, *(interval,) * repeats)):
        steps, started = (2 * per_segment - 1) * spacing, time.perf_counter()
        spent = runner.trace(each, short, steps=steps, every=spacing).facts["seconds"]
        if number:
            seconds, besides = min(seconds, spent), min(besides, time.perf_counter() - started - spent)
    examples = plan.problem.num_examples or 1
    record = examples / (3 * (plan.batch_size or examples))  # in steps: a loss is a third of a gradient and its loss
    work = (2 * per_segment - 1) * interval + 2 * per_segment * record
    whole = besides + seconds * (plan.steps + len(plan.records) * record) / work
    return Timing(whole, time.perf_counter() - began)


def with_timed_width(runner: Runner, first: Timing) -> tuple[Runner, Timing]:
    """The runner with the cheapest K and loop of a few, where the sweep is so long that timing them pays.

    Each other pair has to be compiled, which takes about as long as the first did; together they may take a tenth of
    the sweep. Another pair than the usual one is taken only where it is 15 % cheaper, so that noise seldom decides.

    Args:
      runner: of the plan with the usual K.
      first: what a round of it takes.

    Returns:
      The runner, and what a round of it takes.
    """
    plan = runner.plan
    usual = (plan.loop, plan.width)
    pairs = dict.fromkeys([usual, *plan.alternatives()])
    whole = first.round_seconds * len(rounds_of(plan, plan.chunks()))
    if len(pairs) == 1 or (len(pairs) - 1) * first.spent > _SHARE_OF_TIMING * whole:
        return runner, first
    timings, totals = {}, {}
    for loop, width in pairs:
        each = plan.with_pair(loop, width)
        rounds = rounds_of(each, each.chunks())
        timings[loop, width] = timed(runner.following(each), rounds[0], _REPEATS)
        totals[loop, width] = timings[loop, width].round_seconds * len(rounds)
    best = min(totals, key=lambda pair: totals[pair])
    chosen = best if totals[best] < _WORTH_A_CHANGE * totals[usual] else usual
    record = tuple((loop, width, seconds) for (loop, width), seconds in totals.items())
    return runner.following(plan.with_pair(chosen[0], chosen[1], record)), timings[chosen]


def _filled(column: np.ndarray, width: int) -> np.ndarray:
    return np.concatenate([column, np.repeat(column[:1], width - len(column))])
