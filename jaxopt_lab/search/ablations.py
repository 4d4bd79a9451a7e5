"""`ablate`: which of k changes to a training recipe help, by a fractional factorial design on paired seeds.

Every run has half of the changes, more or less, and every run tells of every change; where they are taken one at a
time, a run tells of one. The design has resolution IV: the mean effect of a change is free of the effects of pairs,
which are not told apart from each other.

References: Box, Hunter and Hunter, Statistics for Experimenters, 2005, chapter 6; Holm, 1979.
"""

import dataclasses
import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optax

from jaxopt_lab import training
from jaxopt_lab.core import Estimate, Problem, fail
from jaxopt_lab.core.errors import require_between, require_count
from jaxopt_lab.core.estimate import holm
from jaxopt_lab.reporting.outcomes import shortened
from jaxopt_lab.search.trials import Objective

HELPS, HARMS, NOT_SHOWN = "helps", "harms", "no effect shown"
_MOST = 32
_ROUNDING = 1e-6  # of the values: differences below it are float32's


@dataclasses.dataclass(frozen=True)
class Effect:
    """What one change does on average over the others being there and not.

    Attributes:
      technique: its name.
      change: the factor by which it multiplies the objective, or what it adds where that is maximized; NaN where a run
        missed, and ranks alone tell.
      p: two-sided, that the change is no larger than the smallest of interest, corrected for the number of techniques.
      verdict: "helps", "harms" or "no effect shown".
    """

    technique: str
    change: Estimate
    p: float
    verdict: str


@dataclasses.dataclass(frozen=True)
class Ablation:
    """What the runs of a design gave.

    Attributes:
      techniques: the names.
      design: which techniques each run has, bool [runs, techniques]; none in the first run, all in the last.
      values: the objective at the end, [runs, seeds]; infinite, or minus infinite, for a miss.
      effects: one a technique, in their order.
      objective: what was compared.
      maximize: whether a larger objective is better.
    """

    techniques: tuple[str, ...]
    design: np.ndarray
    values: np.ndarray
    effects: tuple[Effect, ...]
    objective: str
    maximize: bool

    @property
    def helpful(self) -> tuple[str, ...]:
        """The techniques that help."""
        return tuple(each.technique for each in self.effects if each.verdict == HELPS)

    def __repr__(self) -> str:
        return f"<Ablation of {len(self.techniques)} techniques, {self.values.size} runs>"

    def __str__(self) -> str:
        runs, seeds = self.values.shape
        lines = [f"{len(self.techniques)} techniques, {runs} combinations x {seeds} seeds: {self.objective} at the end"]
        width = max(map(len, self.techniques))
        for each in sorted(self.effects, key=lambda effect: effect.p):
            low, high = each.change.interval or (np.nan, np.nan)
            sign, times = ("+", "") if self.maximize else ("", "x")
            change = f"{each.change.value:{sign}.3g}{times} [{low:{sign}.3g}, {high:{sign}.3g}]"
            lines.append(f"  {each.technique:<{width}}  {change:<26} p {each.p:<8.2g} {each.verdict}")
        return "\n".join(shortened(lines))


def ablate(
    recipe: Callable[..., tuple[Problem, optax.GradientTransformation]],
    techniques: Sequence[str],
    *,
    steps: int,
    batch_size: int | None = None,
    seeds: int | Sequence[int] = 8,
    objective: str | Objective | None = None,
    smallest: float = 0.0,
    level: float = 0.05,
    execution: training.Execution | None = None,
    out: str | os.PathLike[str] | None = None,
) -> Ablation:
    """Tells which of k changes to a recipe help, from 2k to 4k combinations of them, each on the same seeds.

    Args:
      recipe: (technique=True or False, ...) -> (problem, rule): how training is set up with and without each.
      techniques: the names of its arguments that are switched, 1 to 32.
      steps: of each run.
      batch_size: examples a step; None for all.
      seeds: of initialization and data order: how many, or which, at least two. The test is over them, so that few
        seeds show large effects only.
      objective: "loss", "validation_loss" or a metric, as in `sweep`; None takes the validation loss where there is
        one. Where a technique changes the loss itself, take a metric.
      smallest: change of the objective that is of interest: a share of it (0.01 is a factor of 1.01 or 1 / 1.01), or
        what is added to an objective that is maximized or not positive. With 0 enough seeds show an effect of any size.
      level: chance that any technique without effect, or with a smaller one, is told to have one.
      execution: how each run is carried out.
      out: a folder that keeps each combination's run; one that was stopped goes on there. None keeps nothing.

    Returns:
      The effects, with the runs that they come from. An effect is a mean over the others being there and not: of a
      technique that helps only beside another, half is seen.

    Raises:
      InputError: the recipe does not take the techniques or gives no problem and rule, or an argument is out of range.

    Example:
      >>> from jaxopt_lab import objectives, rules, search
      >>> bowl = objectives.quadratic([1.0, 0.01])
      >>> def recipe(momentum, long_steps):
      ...     return bowl, rules.heavy_ball(1.0 if long_steps else 0.9, rho=0.8 if momentum else 0.0)
      >>> search.ablate(recipe, ["momentum", "long_steps"], steps=50).helpful
      ('momentum', 'long_steps')
    """
    techniques = _checked(recipe, techniques)
    seeds = range(seeds) if isinstance(seeds, int) else tuple(seeds)
    require_count("ablate", "the number of seeds", len(seeds), 2, "The test is over the seeds.")
    require_between("ablate", "level", level, 0, 1)
    require_between("ablate", "smallest", smallest, 0, np.inf, ends="[)")
    design = fractional_design(len(techniques))
    recipes = [_set_up(recipe, dict(zip(techniques, map(bool, row), strict=True))) for row in design]
    chosen = [_settled(objective, problem, steps, batch_size) for problem, _ in recipes]
    execution = dataclasses.replace(execution or training.Execution(progress=False), keep_final=False)
    values = np.array([
        _ends(*recipe_, goal, steps, batch_size, seeds, execution, None if out is None else Path(out) / f"{place:02d}")
        for place, (recipe_, goal) in enumerate(zip(recipes, chosen, strict=True))
    ])  # fmt: skip
    maximize = bool(chosen[0].maximize)
    effects = effects_of(techniques, design, values, maximize, level, smallest)
    return Ablation(techniques, design, values, effects, chosen[0].name, maximize)


def fractional_design(num_techniques: int) -> np.ndarray:
    """A two-level design of resolution IV: which run has which technique, bool [runs, techniques].

    The runs are the numbers below 2^m, 2^(m - 1) >= k; a technique is in those of which an odd number of the bits of
    its own mask are set, and a mask has an odd number of bits.

    Example:
      >>> fractional_design(3).sum(0).tolist(), fractional_design(8).shape
      ([4, 4, 4], (16, 8))
    """
    bits = max(num_techniques - 1, 0).bit_length() + 1
    masks = [mask for mask in range(2**bits) if mask.bit_count() % 2][:num_techniques]
    return np.array([[(run & mask).bit_count() % 2 == 1 for mask in masks] for run in range(2**bits)])


def effects_of(
    techniques: Sequence[str],
    design: np.ndarray,
    values: np.ndarray,
    maximize: bool,
    level: float = 0.05,
    smallest: float = 0.0,
) -> tuple[Effect, ...]:
    """The mean effect of each technique, tested over the seeds.

    Args:
      techniques: k names.
      design: bool [runs, k].
      values: what each run ended with on each seed, [runs, seeds]; infinite for a miss.
      maximize: whether more is better: then differences are tested, else those of logarithms where all are positive.
      level: of the whole family, by Holm's correction, and of one technique's interval.
      smallest: change that is of interest, as a share where logarithms are tested.

    Returns:
      The effects. Where a run missed, the ranks of a seed's runs are tested, a miss behind all others; ranks have no
      size, and `smallest` is not looked at.
    """
    from scipy import stats

    takes_logs, missed = not maximize and bool(np.all(values > 0)), not np.isfinite(values).all()
    numbers = stats.rankdata(values, axis=0) if missed else np.log(values) if takes_logs else values
    contrasts = (2 * design.T - 1.0) @ numbers * (2 / len(design))  # with less without, [k, seeds]
    num_seeds = values.shape[1]
    means, errors = contrasts.mean(1), contrasts.std(1, ddof=1) / np.sqrt(num_seeds)
    rounding = _ROUNDING * (1.0 if takes_logs else np.abs(numbers).max())
    least = 0.0 if missed else np.log1p(smallest) if takes_logs else smallest
    beyond = np.abs(means) - least
    exact = errors <= rounding  # every seed gives the same: nothing is left to chance
    p = np.where(beyond > rounding, 0.0, 1.0)
    p[~exact] = np.minimum(2 * stats.t.sf(beyond[~exact] / errors[~exact], num_seeds - 1), 1.0)
    reach = stats.t.isf(level / 2, num_seeds - 1) * errors
    found = []
    for name, mean, error, corrected in zip(techniques, means, reach, holm(p.tolist()), strict=True):
        ends = np.array([mean, mean - error, mean + error])
        shown = np.full(3, np.nan) if missed else np.exp(ends) if takes_logs else ends
        better = mean > 0 if maximize else mean < 0
        verdict = NOT_SHOWN if corrected > level else HELPS if better else HARMS
        change = Estimate(float(shown[0]), interval=(float(shown[1]), float(shown[2])), level=1 - level)
        found.append(Effect(name, change, corrected, verdict))
    return tuple(found)


def _checked(recipe: Callable[..., Any], techniques: Sequence[str]) -> tuple[str, ...]:
    if isinstance(techniques, str):
        techniques = (techniques,)
    techniques = tuple(techniques)
    require_count("ablate", "the number of techniques", len(techniques))
    if len(techniques) > _MOST or len(set(techniques)) < len(techniques):
        raise fail("ablate", f"{len(techniques)} techniques, some named twice or more than {_MOST}", "Name each once.")
    try:
        inspect.signature(recipe).bind(**dict.fromkeys(techniques, False))
    except TypeError as error:
        raise fail(
            "ablate", f"recipe cannot be called with the techniques alone: {error}",
            "It is called as recipe(warmup=True, dropout=False, ...), a name a technique.",
        ) from None  # fmt: skip
    return techniques


def _set_up(recipe: Callable[..., Any], flags: dict[str, bool]) -> tuple[Problem, optax.GradientTransformation]:
    given = recipe(**flags)
    kinds = (Problem, optax.GradientTransformation)
    if not (isinstance(given, tuple) and len(given) == 2 and all(map(isinstance, given, kinds))):
        on = ", ".join(name for name, has in flags.items() if has) or "no technique"
        raise fail("ablate", f"recipe gave {type(given).__name__} with {on}, not (Problem, rule)")
    return given


def _settled(objective: str | Objective | None, problem: Problem, steps: int, batch_size: int | None) -> Objective:
    if objective is None:
        objective = "loss" if problem.validation is None else "validation_loss"
    if isinstance(objective, str):
        objective = Objective(objective, baseline=None, every=steps)
    settled = objective.settled(problem, steps, batch_size)
    settled.probes(problem)
    return settled


def _ends(
    problem: Problem, rule: Any, objective: Objective, steps: int, batch_size: int | None, seeds: Sequence[int],
    execution: training.Execution, folder: Path | None,
) -> np.ndarray:  # fmt: skip
    """The objective where each seed's run ended, [seeds]; infinite, or minus infinite, for a miss."""
    trace = training.run(
        problem, rule, steps=steps, seeds=np.array(seeds), probes=objective.probes(problem),
        every=objective.every or steps, batch_size=batch_size, execution=execution, folder=folder,
    )  # fmt: skip
    ended = np.asarray(trace[objective.name][:, -1], float)
    return np.where(np.isfinite(ended), ended, -np.inf if objective.maximize else np.inf)
