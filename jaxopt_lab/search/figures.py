"""The figures of a sweep: curves of the best trials, slices through the objective, and parallel coordinates.

Parallel coordinates give each hyperparameter and the objective an axis, and each trial a line, the best ones dark.
Where the dark lines meet, the best trials agree, and the hyperparameter matters; where they fan out, it hardly does.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.reporting.numbers import format_number
from jaxopt_lab.search.dimensions import Choices, EffectiveRate, Integers, Range, When
from jaxopt_lab.search.results import Sweep
from jaxopt_lab.search.trials import Trials

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_CURVES = 40
_MOST_DOTS = 1000
_MOST_SLICES = 4
_BEST_SHARE = 0.1
_FEWEST_BEST, _MOST_BEST = 3, 20
_OFF = -0.09
_PALE = "#b9c2cb"
_RED = "#c1121f"
_FAINT = "#c9d1d9"


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
            axes.plot(sweep.steps, np.median(curves[trial], 0), color=_FAINT, linewidth=0.7, zorder=1)
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
    shown = _thinned(trials)
    best = int(trials.ranking[0])
    level, log = _levels(trials)
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
                axes.plot(missed, edge, "x", color=_RED, markersize=5, rasterized=True, clip_on=False)
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


def draw_parallels(sweep: Sweep, trials: Trials, maker: FigureMaker) -> tuple["Figure", str] | None:
    """All trials as lines across the axes; None for a single hyperparameter, or where no trial is feasible."""
    names = trials.space.searched
    if len(names) < 2 or not trials.feasible.any():
        return None
    from matplotlib.collections import LineCollection

    places, good = _places(trials), np.isfinite(trials.medians)
    shown = _thinned(trials)
    best = trials.ranking[good[trials.ranking]][: _num_best(trials)]
    figure, axes = maker.axes(height=4.2)
    rest = shown[good[shown] & ~np.isin(shown, best)]
    lost = shown[~good[shown]]
    for group, color, width in ((lost, _RED, 0.6), (rest, _PALE, 0.8), (best, maker.color(0), 1.6)):
        lines = [np.column_stack([np.arange(len(names) + 1), places[trial]]) for trial in group[::-1]]
        faint = 0.45 if color == _RED else 1.0
        axes.add_collection(
            LineCollection(lines, colors=color, linewidths=width, alpha=faint, rasterized=len(lines) > 50)
        )
    axes.plot(places[best[0]], "o", color="none", markeredgecolor="black", markersize=8, zorder=4)
    _draw_axes(axes, sweep, trials)
    return figure, _conclusion(trials, places, best)


def _place(trials: Trials, name: str) -> np.ndarray:
    """The coordinate that was searched: for an effective rate lr / (1 - rho)."""
    inner = _inner_dimension(trials, name)
    if isinstance(inner, EffectiveRate):
        return trials.columns[name] / (1 - trials.columns[inner.momentum])
    if isinstance(inner, Range) and inner.scale == "one_minus_log_uniform":
        return 1 - trials.columns[name]
    return trials.columns[name].astype(float)


def _scale(axes: "Axes", trials: Trials, name: str) -> None:
    inner = _inner_dimension(trials, name)
    label = name.replace("_", " ")
    low, high = axes.dataLim.intervalx
    if low == high > 0:  # a single value has no extent on a logarithmic axis
        axes.set_xlim(low / 2, high * 2)
    if isinstance(inner, EffectiveRate):
        label = f"{label} / (1 \N{MINUS SIGN} {inner.momentum})"
        axes.set_xscale("log")
    elif isinstance(inner, Range) and inner.scale == "log_uniform":
        axes.set_xscale("log")
    elif isinstance(inner, Range) and inner.scale == "one_minus_log_uniform":
        label = f"1 \N{MINUS SIGN} {label}"
        axes.set_xscale("log")
    axes.set_xlabel(label)


def _inner_dimension(trials: Trials, name: str) -> Any:
    """A dimension, without the condition under which it counts."""
    dimension = trials.space.dimensions[name]
    return dimension.inner if isinstance(dimension, When) else dimension


def _extent(trials: Trials) -> tuple[tuple[float, float], bool]:
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


def _levels(trials: Trials) -> tuple[tuple[float, float], bool]:
    """The ends of the vertical axis, a little wider than `_extent`, and whether it is logarithmic."""
    (low, high), log = _extent(trials)
    if log:
        return (low / 1.3, high * 1.3), True
    room = 0.08 * (high - low) or 0.5
    return (low - room, high + room), False


def _thinned(trials: Trials) -> np.ndarray:
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


def _places(trials: Trials) -> np.ndarray:
    """Heights on the axes [trials, hyperparameters + 1], from 0 to 1; a part that is not active lies below."""
    (low, high), log = _extent(trials)
    bend = np.log if log else np.asarray
    objective = (bend(np.clip(trials.medians, low, high)) - bend(low)) / ((bend(high) - bend(low)) or 1.0)
    points = np.nan_to_num(trials.space.points(trials.columns), nan=_OFF)
    return np.column_stack([points, np.where(np.isfinite(trials.medians), objective, 0 if trials.maximize else 1)])


def _num_best(trials: Trials) -> int:
    return int(np.clip(round(_BEST_SHARE * trials.finished.sum()), _FEWEST_BEST, _MOST_BEST))


def _draw_axes(axes: "Axes", sweep: Sweep, trials: Trials) -> None:
    """A vertical line with its ticks and its name for each coordinate."""
    names = trials.space.searched
    columns = [(_title(trials, name), _ticks(trials, name)) for name in names]
    columns.append((sweep.objective.replace("_", "\n", 1), _objective_ticks(trials)))
    parts = any(isinstance(trials.space.dimensions[name], When) for name in names)
    axes.set(xlim=(-0.35, len(names) + 0.45), ylim=(_OFF - 0.05 if parts else -0.05, 1.04))
    axes.set_axis_off()
    for place, (title, ticks) in enumerate(columns):
        axes.plot([place, place], [0, 1], color=_FAINT, linewidth=1.0, zorder=3)
        axes.annotate(title, (place, 1.0), xytext=(0, 9), textcoords="offset points", ha="center", va="bottom")
        for height, text in ticks:
            axes.annotate(
                text, (place, height), xytext=(4, 0), textcoords="offset points", va="center", fontsize=11, zorder=5,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6},
            )  # fmt: skip


def _title(trials: Trials, name: str) -> str:
    words = name.replace("_", "\n", 1)
    inner = _inner_dimension(trials, name)
    return f"{words} /\n(1 \N{MINUS SIGN} {inner.momentum})" if isinstance(inner, EffectiveRate) else words


def _ticks(trials: Trials, name: str) -> list[tuple[float, str]]:
    """(height, label) of the ends of a range and of round values between them."""
    inner = _inner_dimension(trials, name)
    if isinstance(inner, Choices):
        values = np.array(inner.options)
    elif isinstance(inner, EffectiveRate) or (isinstance(inner, Range) and inner.scale == "log_uniform"):
        values = _round_between(inner.low, inner.high)
    elif isinstance(inner, Range) and inner.scale == "one_minus_log_uniform":
        values = 1 - _round_between(1 - inner.high, 1 - inner.low)
    else:
        middle = (inner.low + inner.high) / 2
        values = np.array([inner.low, inner.high] if isinstance(inner, Integers) else [inner.low, middle, inner.high])
    heights = inner.places(values, _plain(trials, inner, len(values)))
    off = [(_OFF, "off")] if isinstance(trials.space.dimensions[name], When) else []
    return off + [(float(height), format_number(value, 4)) for height, value in zip(heights, values, strict=True)]


def _plain(trials: Trials, inner: Any, num: int) -> dict[str, np.ndarray]:
    """What the values of a dimension depend on, as it is without momentum."""
    return {inner.momentum: np.zeros(num)} if isinstance(inner, EffectiveRate) else {}


def _round_between(low: float, high: float) -> np.ndarray:
    """The two ends and the powers of ten well between them, at most six values."""
    first, last = np.ceil(np.log10(low) + 0.2), np.floor(np.log10(high) - 0.2)
    powers = 10.0 ** np.arange(first, last + 1)
    return np.array([low, *powers[:: max(1, -(-len(powers) // 4))], high])


def _objective_ticks(trials: Trials) -> list[tuple[float, str]]:
    (low, high), log = _extent(trials)
    middle = np.sqrt(low * high) if log else (low + high) / 2
    words = [format_number(float(value), 3) for value in (low, middle, high)]
    words[0 if trials.maximize else 2] += " or worse"
    return list(zip([0.0, 0.5, 1.0], words, strict=True))


def _conclusion(trials: Trials, places: np.ndarray, best: np.ndarray) -> str:
    """What the best trials agree on, as shares of the ranges."""
    names = trials.space.searched
    spreads = np.ptp(places[best][:, : len(names)], axis=0)
    order = np.argsort(spreads, kind="stable")
    words = ", ".join(f"{spreads[k]:.0%} of {names[k].replace('_', ' ')}" for k in order)
    closest = names[order[0]].replace("_", " ")
    agree = f"agree most on {closest}" if spreads[order[0]] < 0.5 else "agree on no hyperparameter"
    return (
        f"{trials.rule}: the best {len(best)} of {int(trials.finished.sum())} trials (dark; circles on the best of all)"
        f" {agree}: they span {words} as searched. Red trials diverged or ended worse than a constant predictor."
    )
