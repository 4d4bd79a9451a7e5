"""The figures of a sweep: curves of the best trials with bands over seeds, and slices through the objective."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.search.dimensions import EffectiveRate, Range, When
from jaxopt_lab.search.results import Sweep, Trials

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_CURVES = 40
_MOST_DOTS = 1000
_MOST_SLICES = 4
RED = "#c1121f"
FAINT = "#c9d1d9"


def draw_curves(sweep: Sweep, maker: FigureMaker) -> tuple["Figure", str] | None:
    """The best trial of each rule, its median with a band from the lowest to the highest seed; other trials faint."""
    if not any(trials.feasible.any() for trials in sweep.trials.values()):
        return None
    figure, axes = maker.axes()
    probe, drawn = sweep.objective, []
    for color, trials in enumerate(sweep.trials.values()):
        order = trials.ranking
        if not len(order):
            continue
        curves = trials.curves[probe]
        for trial in order[1:_MOST_CURVES]:
            axes.plot(sweep.steps, np.median(curves[trial], 0), color=FAINT, linewidth=0.7, zorder=1)
        best = curves[order[0]]
        if not trials.feasible[order[0]].any():
            continue
        axes.fill_between(sweep.steps, best.min(0), best.max(0), color=maker.color(color), alpha=0.2, linewidth=0)
        name = trials.rule if len(sweep.trials) > 1 else "best"
        maker.predicted(axes, sweep.steps, np.median(best, 0), color=color, label=name)
        drawn.append(best)
    values = np.concatenate([each.ravel() for each in drawn]) if drawn else np.ones(1)
    values = values[np.isfinite(values)]
    if values.size > 1 and values.min() == values.max():
        values = np.array([values[0] / 2, values[0] * 2]) if values[0] > 0 else values
    if values.size and values.min() > 0 and values.max() > 10 * values.min():
        axes.set_yscale("log")
    _frame(axes, values)
    axes.set_xlabel("steps")
    axes.set_ylabel(_words(probe))
    best_row = sweep.best()
    return figure, (
        f"The best trial ends at {best_row['median']:.4g} ({_words(probe)}, median of {len(sweep.seeds)} seeds; the"
        " band is from the lowest to the highest seed). Other trials are grey."
    )


def draw_slices(sweep: Sweep, trials: Trials, maker: FigureMaker) -> tuple["Figure", str] | None:
    """The objective against each of a few hyperparameters, a dot a run; infeasible runs are red crosses."""
    names = trials.space.searched
    if not trials.feasible.any() or len(names) > _MOST_SLICES:
        return None
    figure, rows = maker.axes(len(names), squeeze=False, height=2.6 * len(names))
    shown = thinned(trials)
    best = int(trials.ranking[0])
    level, log = levels(trials)
    active = trials.space.active(trials.columns)
    for axes, name in zip(rows[:, 0], names, strict=True):
        places = np.where(active[name], _place(trials, name), np.nan)
        for seed in range(trials.objective.shape[1]):
            good = trials.feasible[shown, seed]
            x, y = places[shown], trials.objective[shown, seed]
            visible = good & (y <= level[1]) & (y >= level[0])
            axes.plot(x[visible], y[visible], ".", color=maker.color(0), markersize=4, alpha=0.6, rasterized=True)
            missed = x[~good & trials.finished[shown]]
            missed = missed[np.isfinite(missed)]
            if len(missed):  # an empty one that is not clipped would lie at the figure's corner
                edge = np.full(len(missed), level[0] if trials.maximize else level[1])
                axes.plot(missed, edge, "x", color=RED, markersize=5, rasterized=True, clip_on=False)
        axes.plot(places[best], trials.medians[best], "o", color="none", markeredgecolor="black", markersize=9)
        if log:
            axes.set_yscale("log")
        axes.set_ylim(*level)
        _scale(axes, trials, name)
        axes.set_ylabel(_words(sweep.objective))
    share = trials.share_infeasible
    return figure, (
        f"{trials.rule}: the best of {int(trials.finished.sum())} trials (circle) has {_settings(trials, best)};"
        f" {share:.0%} of the runs diverged or ended worse than a constant predictor (red crosses)."
    )


def _place(trials: Trials, name: str) -> np.ndarray:
    """The coordinate that was searched: for an effective rate lr / (1 - rho)."""
    inner = inner_dimension(trials, name)
    if isinstance(inner, EffectiveRate):
        return trials.columns[name] / (1 - trials.columns[inner.momentum])
    if isinstance(inner, Range) and inner.scale == "one_minus_log_uniform":
        return 1 - trials.columns[name]
    return trials.columns[name].astype(float)


def _scale(axes: "Axes", trials: Trials, name: str) -> None:
    inner = inner_dimension(trials, name)
    label = name.replace("_", " ")
    if isinstance(inner, EffectiveRate):
        label = f"{label} / (1 \N{MINUS SIGN} {inner.momentum})"
        axes.set_xscale("log")
    elif isinstance(inner, Range) and inner.scale == "log_uniform":
        axes.set_xscale("log")
    elif isinstance(inner, Range) and inner.scale == "one_minus_log_uniform":
        label = f"1 \N{MINUS SIGN} {label}"
        axes.set_xscale("log")
    axes.set_xlabel(label)


def inner_dimension(trials: Trials, name: str) -> Any:
    """A dimension, without the condition under which it counts."""
    dimension = trials.space.dimensions[name]
    return dimension.inner if isinstance(dimension, When) else dimension


def extent(trials: Trials) -> tuple[tuple[float, float], bool]:
    """The smallest and the largest objective without the worst tenth, and whether a logarithmic axis suits them."""
    values = trials.objective[trials.feasible]
    if not values.size:
        return (0.0, 1.0), False
    low, high = (
        (float(np.quantile(values, 0.1)), float(values.max()))
        if trials.maximize
        else (float(values.min()), float(np.quantile(values, 0.9)))
    )
    return (low, high), low > 0 and high > 10 * low


def levels(trials: Trials) -> tuple[tuple[float, float], bool]:
    """The ends of the vertical axis, a little wider than `extent`, and whether it is logarithmic."""
    (low, high), log = extent(trials)
    if log:
        return (low / 1.3, high * 1.3), True
    room = 0.08 * (high - low) or 0.5
    return (low - room, high + room), False


def thinned(trials: Trials) -> np.ndarray:
    """The trials that are drawn: all, or the best hundred and as many others as a page can show."""
    order = trials.ranking
    if len(order) <= _MOST_DOTS:
        return order
    rest = order[100:]
    return np.concatenate([order[:100], rest[:: -(-len(rest) // (_MOST_DOTS - 100))]])


def _frame(axes: "Axes", values: np.ndarray) -> None:
    if not values.size:
        return
    low, high = float(values.min()), float(values.max())
    if axes.get_yscale() == "log":
        axes.set_ylim(low / 1.3, high * 1.3)
    else:
        room = 0.06 * (high - low) or 0.5
        axes.set_ylim(low - room, high + room)


def _settings(trials: Trials, trial: int) -> str:
    return ", ".join(f"{name} = {value:.3g}" for name, value in trials.hyperparameters(trial).items())


def _words(probe: str) -> str:
    return probe.replace("_", " ")
