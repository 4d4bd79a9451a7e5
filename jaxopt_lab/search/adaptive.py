"""Adaptive searches as drivers over `evaluate(columns, steps) -> losses`; every round is kept, with why the box shrank.

The lecture searches coarse to fine: first wide, until the network "is kind of blowing up at either end of the range",
with few steps a trial; then narrower and longer. That divides the error by (N + 1) / 2 a stage, where N trials at once
divide it by N once. It is right where short runs rank hyperparameters as long ones do. Learning rates are the
exception: a short run prefers one that is too small, on noisy problems by a factor of ten (short-horizon bias), so that
a box chosen by short runs can exclude the best one. A best trial at such an edge is reported.

Reference: Wu, Ren, Liao and Grosse, Understanding short-horizon bias in stochastic meta-optimization, 2018.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from jaxopt_lab.core import fail
from jaxopt_lab.core.errors import require_between, require_count
from jaxopt_lab.search.history import Evaluate, SearchResult, SearchRound, edge_warnings, horizon_warning, open_ends
from jaxopt_lab.search.samplers import sample
from jaxopt_lab.search.spaces import Space


def coarse_to_fine(
    evaluate: Evaluate,
    space: Space,
    *,
    num_trials: int = 16,
    steps: Sequence[int] = (100, 300, 1000),
    sampler: str = "grid",
    seed: int = 0,
    max_widenings: int = 4,
) -> SearchResult:
    """The lecture's search: wide until both ends blow up, then a narrower box and longer runs, stage after stage.

    An end blows up when the best trial in the outer tenth of a range is no better than the median of those that did not
    diverge. A stage's box reaches from the best trial to its neighbours: 2 / (n + 1) of each range, where n is
    num_trials^(1 / D). That is where evenly spaced trials have them: random ones lose the best in one narrowing of six.
    It is a warning when the next stage is best at the edge of its box.

    Args:
      evaluate: (columns, steps) -> losses [trials], infinite where a trial diverged; see `evaluator`.
      space: the first box.
      num_trials: trials of each stage.
      steps: the length of the trials, by stage.
      sampler: a name of `SAMPLERS`.
      seed: of the sampler.
      max_widenings: how often the first box may be widened.

    Returns:
      The best trial of the last stage, every round, and warnings.

    Raises:
      InputError: a wrong argument, losses of another shape, or nothing but diverged trials.

    Cost: num_trials x (stages + widenings) trials.
    """
    _require_stages("coarse_to_fine", num_trials, steps)
    require_count("coarse_to_fine", "max_widenings", max_widenings, 0)
    rounds, warned = [], list(horizon_warning(steps))
    tried = _tried(evaluate, space, sampler, num_trials, seed, steps[0])
    for _ in range(max_widenings):
        growing = open_ends(tried)
        if not growing:
            break
        words = ", ".join(f"the {end} end of {name}" for name, end in growing)
        rounds.append(dataclasses.replace(tried, reason=f"widened, {words} does not blow up"))
        for name, end in growing:
            space = space.widened(name, end)
        tried = _tried(evaluate, space, sampler, num_trials, seed, steps[0])
    if open_ends(tried) and max_widenings:
        warned.append("the first box still does not blow up at every end; the best may lie outside of it")
    share = 2 / (num_trials ** (1 / space.dim) + 1)
    for stage, longer in enumerate(steps[1:], 1):
        inner = tried.space.narrowed(tried.best, share)
        rounds.append(dataclasses.replace(tried, reason=f"narrowed to {share:.3g} of each range around the best"))
        tried = _tried(evaluate, inner, sampler, num_trials, seed + stage, longer)
        warned += edge_warnings(tried, space, 0.5 / num_trials ** (1 / space.dim), steps[stage - 1], sampler)
    rounds.append(dataclasses.replace(tried, reason="the last stage"))
    return SearchResult(tried.best, float(tried.losses.min()), tuple(rounds), tuple(warned))


def block_coordinate(
    evaluate: Evaluate,
    space: Space,
    *,
    num_sweeps: int = 3,
    num_trials: int = 9,
    steps: int = 1000,
    shrink: float = 0.5,
    start: Mapping[str, float] | None = None,
) -> SearchResult:
    """The lecture's block coordinate descent: one hyperparameter at a time on a line through the best, the others held.

    Each sweep over all of them leaves r^2 of the error where two interact with correlation r: .96 for r = .99, as of a
    learning rate and a momentum; search the pair as `effective_rate` and rho instead.

    Args:
      evaluate: (columns, steps) -> losses [trials].
      space: what is searched.
      num_sweeps: passes over all hyperparameters.
      num_trials: trials on each line.
      steps: the length of each trial.
      shrink: share of each range that the lines of the next sweep keep.
      start: the first point; by default the middle of the space.

    Returns:
      The best trial, every line, and warnings.

    Raises:
      InputError: a wrong argument, losses of another shape, or nothing but diverged trials.
    """
    require_count("block_coordinate", "num_sweeps", num_sweeps)
    require_count("block_coordinate", "num_trials", num_trials, 2)
    require_between("block_coordinate", "shrink", shrink, 0, 1, ends="(]")
    middle = {name: column[0].item() for name, column in space.columns(np.full((1, space.dim), 0.5)).items()}
    values, rounds, share = dict(start) if start else middle, [], 1.0
    best = np.inf
    for number in range(num_sweeps):
        for place, name in enumerate(space.searched):
            (point,) = space.points({key: [value] for key, value in values.items()})
            points = np.tile(np.nan_to_num(point, nan=0.5), (num_trials, 1))
            low, high = max(0.0, point[place] - share / 2), min(1.0, point[place] + share / 2)
            points[:, place] = low + (high - low) * (np.arange(num_trials) + 0.5) / num_trials
            columns = space.columns(np.clip(points, 0, 1))
            losses = _losses(evaluate, columns, steps)
            tried = SearchRound(space, columns, losses, steps, f"sweep {number + 1} along {name}, the others held")
            rounds.append(tried)
            if losses.min() <= best:
                values, best = tried.best, float(losses.min())
        share *= shrink
    return SearchResult(values, best, tuple(rounds), ())


def successive_halving(
    evaluate: Evaluate,
    space: Space,
    *,
    num_trials: int = 64,
    steps: Sequence[int] = (100, 400, 1600),
    factor: int = 4,
    sampler: str = "random",
    seed: int = 0,
) -> SearchResult:
    """Many short trials, the best 1 / factor of them longer, and so on: for exploring, never for a comparison.

    Args:
      evaluate: (columns, steps) -> losses [trials].
      space: what is searched.
      num_trials: trials of the first round.
      steps: the length of the trials, by round.
      factor: by how much each round has fewer trials.
      sampler: a name of `SAMPLERS`.
      seed: of the sampler.

    Returns:
      The best trial of the last round, every round, and warnings.

    Raises:
      InputError: a wrong argument, losses of another shape, or nothing but diverged trials.

    Reference: Jamieson and Talwalkar, Non-stochastic best arm identification and hyperparameter optimization, 2016.
    """
    _require_stages("successive_halving", num_trials, steps)
    require_count("successive_halving", "factor", factor, 2)
    rounds, columns = [], space.columns(sample(sampler, space, num_trials, seed))
    for place, length in enumerate(steps):
        losses = _losses(evaluate, columns, length)
        kept = max(1, len(losses) // factor)
        last = place == len(steps) - 1
        reason = "the last round" if last else f"the best {kept} of {len(losses)} go on"
        rounds.append(SearchRound(space, columns, losses, length, reason))
        chosen = np.argsort(losses, kind="stable")[:kept]
        columns = {name: column[chosen] for name, column in columns.items()}
    return SearchResult(rounds[-1].best, float(rounds[-1].losses.min()), tuple(rounds), horizon_warning(steps))


def _tried(evaluate: Evaluate, space: Space, sampler: str, num_trials: int, seed: int, steps: int) -> SearchRound:
    columns = space.columns(sample(sampler, space, num_trials, seed))
    return SearchRound(space, columns, _losses(evaluate, columns, steps), steps, "")


def _losses(evaluate: Evaluate, columns: dict[str, np.ndarray], steps: int) -> np.ndarray:
    num = len(next(iter(columns.values())))
    losses = np.asarray(evaluate(columns, steps), float)
    if losses.shape != (num,):
        raise fail("search", f"evaluate must return one loss for each of {num} trials, got shape {losses.shape}")
    losses = np.where(np.isfinite(losses), losses, np.inf)
    if not np.isfinite(losses).any():
        raise fail("search", f"all {num} trials diverged", "Search smaller learning rates.")
    return losses


def _require_stages(where: str, num_trials: int, steps: Sequence[int]) -> None:
    require_count(where, "num_trials", num_trials, 2)
    if not len(steps):
        raise fail(where, "steps must hold the length of at least one stage")
    for length in steps:
        require_count(where, "steps", length)
