"""The figures of a comparison: curves with bands, performance profiles, ladders of budgets, sensitivity to the rate."""

from typing import TYPE_CHECKING

import numpy as np

from jaxopt_lab.compare.comparison import Comparison
from jaxopt_lab.compare.rule_results import RuleResult
from jaxopt_lab.reporting import FigureMaker

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Drawn = tuple["Figure", str]
_RED, _GREEN, _SOFT = "#c1121f", "#009e73", "#8a94a0"
_STYLES = ("-", "--", ":")
_NUM_COLORS = 6  # of the palette, ink left out; then the line's style changes


def draw_curves(comparison: Comparison, problem: str, maker: FigureMaker) -> Drawn | None:
    """What is reported against the gradients spent: median over the fresh seeds, band of their middle 80 %."""
    shown = {rule: each.final_runs for rule, each in comparison.of(problem).items() if each.final_runs is not None}
    if not shown:
        return None
    figure, axes = maker.axes(height=4.6)
    entry = comparison.config["problems"][problem]
    target = comparison.targets[problem].report if problem in comparison.targets else float("nan")
    kept = {rule: final_runs.counts.mean(0) > 0.5 for rule, final_runs in shown.items()}
    drawn = {rule: _quantiles(final_runs.so_far(entry["selection"], entry["report"])[:, kept[rule]])
             for rule, final_runs in shown.items()}  # fmt: skip
    floor = _floor(np.concatenate([[target], *(np.concatenate([low, middle]) for low, middle, _ in drawn.values())]))
    for rule, bands in drawn.items():
        low, middle, high = (np.maximum(each, floor) for each in bands)
        x, (color, style) = np.median(shown[rule].spent, 0)[kept[rule]], _look(comparison, rule)
        axes.fill_between(x, low, high, color=maker.color(color), alpha=0.13, linewidth=0)
        maker.predicted(axes, x, middle, color=color, label=rule, linestyle=style)
    if np.isfinite(target):
        height = max(target, floor)
        axes.axhline(height, color=_SOFT, linewidth=1, linestyle=(0, (2, 2)))
        axes.annotate("target", (0.6, height), xycoords=("axes fraction", "data"), color=_SOFT, va="center",
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0})  # fmt: skip
    if floor > 0:
        _log_y(axes, floor / 1.15, np.nanmax([target, *np.concatenate([each[1] for each in drawn.values()])]) * 1.15)
    axes.set(xlabel="gradients spent", ylabel=f"{comparison.measure(problem)}, at the best moment so far")
    return figure, f"{problem}: " + _first_words(comparison, problem)


def draw_profiles(comparison: Comparison, maker: FigureMaker) -> Drawn | None:
    """Share of (problem, seed) on which a rule needs at most tau times the gradients of the best."""
    tau, profiles = comparison.profile()
    if not profiles or not any(share[-1] > 0 for share in profiles.values()):
        return None
    figure, axes = maker.axes(height=4.2)
    end = max(float(tau[-1]) * 1.1, 1.2)
    for rule, share in profiles.items():
        color, style = _look(comparison, rule)
        x, y = np.append(tau, end), np.append(share, share[-1])
        axes.step(x, y, where="post", color=maker.color(color), linestyle=style)
        maker.label(axes, end, float(y[-1]), rule, color=color)
    axes.set(xlim=(1, end), ylim=(-0.02, 1.02), xlabel="gradients to the target / those of the best rule",
             ylabel="share of problems and seeds")  # fmt: skip
    if end > 10:
        axes.set_xscale("log")
    best = max(profiles, key=lambda rule: (profiles[rule][0], profiles[rule][-1]))
    return figure, (
        f"{best} is the first at the target most often, on {profiles[best][0]:.0%} of problems and seeds; the right end"
        " is the share of them on which a rule gets there at all."
    )


def draw_ladder(comparison: Comparison, problem: str, maker: FigureMaker) -> Drawn | None:
    """What the best of k trials gives: the median over searches of k trials, with the middle 80 %."""
    shown = {rule: comparison.ladder(problem, rule) for rule in comparison.of(problem)}
    ends = [row["median"] for rows in shown.values() for row in rows if np.isfinite(row["median"])]
    if not ends:
        return None
    figure, axes = maker.axes(height=4.2)
    floor = _floor(np.array(ends))
    for rule, rows in shown.items():
        color, style = _look(comparison, rule)
        k, low, middle, high = (np.array([row[name] for row in rows]) for name in ("trials", "low", "median", "high"))
        kept, low, middle = np.isfinite(middle), np.maximum(low, floor), np.maximum(middle, floor)
        top = np.where(np.isfinite(high), high, 10 * max(ends))
        axes.fill_between(k[kept], low[kept], top[kept], color=maker.color(color), alpha=0.1, linewidth=0)
        maker.predicted(axes, k[kept], middle[kept], color=color, label=rule, linestyle=style)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    if floor > 0:
        _log_y(axes, floor / 1.3, max(ends) * 1.3)
    selection = comparison.config["problems"][problem]["selection"].replace("_", " ")
    axes.set(xlabel="trials of the search", ylabel=f"{selection} of the best")
    last = {rule: rows[-1]["median"] for rule, rows in shown.items() if rows}
    first = {rule: rows[min(2, len(rows) - 1)]["median"] for rule, rows in shown.items() if rows}
    few, many = (min(each, key=lambda rule: each[rule]) for each in (first, last))
    trials = next(rows for rows in shown.values() if rows)
    low, high = int(trials[min(2, len(trials) - 1)]["trials"]), int(trials[-1]["trials"])
    best = f"{few} at {low} trials, with {many} at {high}"
    if few == many:
        best = f"{many}, at {low} trials" + (f" and at {high}" if high > low else "")
    return figure, (
        f"{problem}: the search finds the lowest loss with {best}; a line begins where half of the searches find a"
        " feasible trial."
    )


def draw_sensitivity(comparison: Comparison, problem: str, maker: FigureMaker) -> Drawn | None:
    """The loss that selects against the learning rate, a dot a trial; infeasible ones are red crosses at the top."""
    shown = {rule: each for rule, each in comparison.of(problem).items() if each.trials is not None}
    values = (
        np.concatenate([each.trials.medians for each in shown.values() if each.trials is not None])
        if shown
        else np.ones(0)
    )
    level = comparison.targets[problem].selection if problem in comparison.targets else float("nan")
    floor = _floor(np.append(values, level))
    if floor < 0 or not np.isfinite(values).any():
        return None
    figure, rows = maker.axes(len(shown), squeeze=False, height=0.7 + 1.25 * len(shown), sharex=True)
    low, high = floor / 1.4, max(np.quantile(values[np.isfinite(values)], 0.95), floor) * 1.6
    for axes, (rule, result) in zip(rows[:, 0], shown.items(), strict=True):
        _sensitivity(axes, result, level, (float(low), float(high)), maker.color(_look(comparison, rule)[0]))
        axes.set_title(f"{rule}: {result.decades(level):.1f} decades", fontsize=11, pad=3)
    rows[-1, 0].set_xlabel("learning rate; for momentum lr / (1 \N{MINUS SIGN} rho)")
    figure.supylabel(comparison.config["problems"][problem]["selection"].replace("_", " "), fontsize=11)
    return figure, f"{problem}: {_widths({rule: each.decades(level) for rule, each in shown.items()}, level)}" + (
        "" if all(np.isfinite(each.trials.medians).all() for each in shown.values() if each.trials is not None)
        else " Red crosses are trials that diverged or ended worse than a constant predictor."
    )  # fmt: skip


def _widths(widths: dict[str, float], level: float) -> str:
    """The widths of the good intervals, a sentence."""
    widest, narrowest = max(widths, key=lambda rule: widths[rule]), min(widths, key=lambda rule: widths[rule])
    if np.isnan(level):
        return "there is no target."
    if not widths[widest]:
        return "no rule reaches the target (dashed) at more than one of the learning rates tried."
    least = f", {widths[narrowest]:.1f} with {narrowest}" if len(widths) > 1 else ""
    return (
        "the target (dashed) is reached at learning rates that span"
        f" {widths[widest]:.1f} decades with {widest}{least} (green)."
    )


def _sensitivity(axes: "Axes", result: RuleResult, level: float, ends: tuple[float, float], color: str) -> None:
    trials = result.trials
    assert trials is not None
    good = trials.medians <= level
    finite = np.isfinite(trials.medians)
    if good.sum() > 1:
        axes.axvspan(result.rates[good].min(), result.rates[good].max(), color=_GREEN, alpha=0.15, linewidth=0)
    if np.isfinite(level):
        axes.axhline(max(level, ends[0]), color=_SOFT, linewidth=1, linestyle=(0, (2, 2)))
    heights = np.clip(trials.medians[finite], ends[0] * 1.05, ends[1] / 1.05)
    axes.plot(result.rates[finite], heights, ".", color=color, markersize=6)
    if not finite.all():
        missed = result.rates[~finite]
        axes.plot(missed, np.full(len(missed), ends[1]), "x", color=_RED, markersize=5, clip_on=False)
    axes.set(xscale="log")
    axes.tick_params("x", which="minor", bottom=False)
    _log_y(axes, *ends, most=3)


def _log_y(axes: "Axes", low: float, high: float, most: int = 6) -> None:
    """A logarithmic axis from low to high with at most about so many ticks, all of them labelled."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    decades = np.log10(high / low)
    within = (1.0, 2.0, 5.0) if 3 * decades <= most else (1.0, 3.0) if 2 * decades <= most else (1.0,)
    axes.set(yscale="log", ylim=(low, high))
    axes.yaxis.set_major_locator(LogLocator(subs=within, numticks=most))
    axes.yaxis.set_minor_locator(NullLocator())
    if low > 1e-4 and high < 1e4:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _floor(values: np.ndarray) -> float:
    """What a logarithmic axis shows at its lower end, where zeros lie; minus infinity where it has to be linear."""
    finite = values[np.isfinite(values)]
    positive = finite[finite > 0]
    if not positive.size or finite.min() < 0:
        return -np.inf
    return float(positive.min()) / (1 if finite.min() > 0 else 3)


def _quantiles(values: np.ndarray) -> list[np.ndarray]:
    """The 10 % quantile over seeds, the median and the 90 % quantile, misses among them, NaN in place of infinite."""
    low, high = (np.quantile(values, share, 0, method="inverted_cdf") for share in (0.1, 0.9))
    return [np.where(np.isfinite(each), each, np.nan) for each in (low, np.median(values, 0), high)]


def _look(comparison: Comparison, rule: str) -> tuple[int, str]:
    place = comparison.rules.index(rule)
    return place % _NUM_COLORS, _STYLES[place // _NUM_COLORS % len(_STYLES)]


def _first_words(comparison: Comparison, problem: str) -> str:
    """The verdict on a problem without its name."""
    said = next(line for line in comparison.verdict()[1:] if line.startswith(f"{problem}:"))
    return said.partition(": ")[2]
