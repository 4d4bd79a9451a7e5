"""Parallel coordinates: an axis for each hyperparameter and one for the objective, a line a trial, the best ones dark.

Where the dark lines meet, the best trials agree, and the hyperparameter matters; where they fan out, it hardly does.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxopt_lab.reporting import FigureMaker, format_number
from jaxopt_lab.search.dimensions import Choices, EffectiveRate, Integers, Range, When
from jaxopt_lab.search.figures import FAINT, RED, extent, inner_dimension, thinned
from jaxopt_lab.search.results import Sweep, Trials

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BEST_SHARE = 0.1
_FEWEST_BEST, _MOST_BEST = 3, 20
_OFF = -0.09
_PALE = "#b9c2cb"


def draw_parallels(sweep: Sweep, trials: Trials, maker: FigureMaker) -> tuple["Figure", str] | None:
    """All trials as lines across the axes; None for a single hyperparameter, or where no trial is feasible."""
    names = trials.space.searched
    if len(names) < 2 or not trials.feasible.any():
        return None
    from matplotlib.collections import LineCollection

    places, good = _places(trials), np.isfinite(trials.medians)
    shown = thinned(trials)
    best = trials.ranking[good[trials.ranking]][: _num_best(trials)]
    figure, axes = maker.axes(height=4.2)
    rest = shown[good[shown] & ~np.isin(shown, best)]
    lost = shown[~good[shown]]
    for group, color, width in ((lost, RED, 0.6), (rest, _PALE, 0.8), (best, maker.color(0), 1.6)):
        lines = [np.column_stack([np.arange(len(names) + 1), places[trial]]) for trial in group[::-1]]
        faint = 0.45 if color == RED else 1.0
        axes.add_collection(
            LineCollection(lines, colors=color, linewidths=width, alpha=faint, rasterized=len(lines) > 50)
        )
    axes.plot(places[best[0]], "o", color="none", markeredgecolor="black", markersize=8, zorder=4)
    _draw_axes(axes, sweep, trials)
    return figure, _conclusion(trials, places, best)


def _places(trials: Trials) -> np.ndarray:
    """Heights on the axes [trials, hyperparameters + 1], from 0 to 1; a part that is not active lies below."""
    (low, high), log = extent(trials)
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
        axes.plot([place, place], [0, 1], color=FAINT, linewidth=1.0, zorder=3)
        axes.annotate(title, (place, 1.0), xytext=(0, 9), textcoords="offset points", ha="center", va="bottom")
        for height, text in ticks:
            axes.annotate(
                text, (place, height), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9.5, zorder=5,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6},
            )  # fmt: skip


def _title(trials: Trials, name: str) -> str:
    words = name.replace("_", "\n", 1)
    inner = inner_dimension(trials, name)
    return f"{words} /\n(1 \N{MINUS SIGN} {inner.momentum})" if isinstance(inner, EffectiveRate) else words


def _ticks(trials: Trials, name: str) -> list[tuple[float, str]]:
    """(height, label) of the ends of a range and of round values between them."""
    inner = inner_dimension(trials, name)
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
    (low, high), log = extent(trials)
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
