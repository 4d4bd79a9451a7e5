"""A trace as text, and as one HTML page: where each configuration ended, and a curve for each scalar probe."""

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxopt_lab.core import Status
from jaxopt_lab.core.errors import require_choice
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.reporting.numbers import format_duration
from jaxopt_lab.reporting.outcomes import Draw, inline_figures, shortened
from jaxopt_lab.reporting.page import render_template
from jaxopt_lab.training.trace import Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN_ROWS, _MOST_ROWS, _MOST_CURVES = 20, 500, 40


def lines_of(trace: Trace) -> list[str]:
    """The trace as text of at most 40 lines: how it ran, then where the best configurations ended."""
    rows = rows_of(trace, _SHOWN_ROWS)
    width = max((len(row["settings"]) for row in rows), default=0)
    found = [_head(trace), *(f"  {row['settings']:<{width}}  {row['text']}, {row['status']}" for row in rows)]
    left = len(trace.seeds) - len(rows)
    return shortened([*found, *([f"... and {left} more configurations"] if left else [])])


def rows_of(trace: Trace, most: int) -> list[dict[str, Any]]:
    """At most the best `most` configurations as rows, least loss first; in their order where there is no loss."""
    scalars = _scalars(trace)
    last = scalars["loss"][:, -1] if "loss" in scalars else np.zeros(len(trace.seeds))
    order = np.argsort(np.where(np.isfinite(last), last, np.inf), kind="stable")[:most]
    found = []
    for place in map(int, order):
        values = trace.hyperparameters_of(place) | {"seed": int(trace.seeds[place])}
        found.append({
            "settings": ", ".join(f"{name} = {value:.4g}" for name, value in values.items()),
            "ends": {name: float(each[place, -1]) for name, each in scalars.items()},
            "text": ", ".join(_course(trace.steps, name, each[place]) for name, each in scalars.items()),
            "status": trace.status[place].name.lower().replace("_", " "),
        })  # fmt: skip
    return found


def _course(steps: np.ndarray, name: str, values: np.ndarray) -> str:
    """From where to where a probe went; of a diverged configuration, up to its last finite record."""
    finite = np.flatnonzero(np.isfinite(values))
    if not len(finite):
        return f"{_words(name)} never finite"
    last = finite[-1]
    when = "" if last == len(steps) - 1 else f" at step {int(steps[last])}"
    return f"{_words(name)} {values[finite[0]]:.4g} to {values[last]:.4g}{when}"


def page_of(trace: Trace) -> str:
    """The page as HTML that asks for nothing from elsewhere."""
    scalars = _scalars(trace)
    draws = [draw for name in scalars for draw in draws_of(trace, name)]
    return render_template(
        "trace.html.j2", head=_head(trace), names=list(scalars), rows=rows_of(trace, _MOST_ROWS),
        num=len(trace.seeds), figures=inline_figures(draws),
    )  # fmt: skip


def draws_of(trace: Trace, probe: str) -> list[Draw]:
    """The figure of one probe.

    Raises:
      InputError: there is no such probe of one number a record.
    """
    require_choice("Trace.plot", "probe", probe, _scalars(trace))
    return [functools.partial(_draw, trace, probe)]


def _scalars(trace: Trace) -> dict[str, np.ndarray]:
    """The probes of one number a record, name -> [N, R]."""
    return {name: values for name, values in trace.metrics.items() if values.ndim == 2}


def _head(trace: Trace) -> str:
    """How many configurations ran for how long, how, and how many were not feasible."""
    num, facts = len(trace.seeds), trace.facts
    missed = sum(status is not Status.COMPLETED for status in trace.status)
    return (
        f"{num} configuration{'s' * (num != 1)}, {int(trace.steps[-1])} steps, {len(trace.steps)} records, {missed}"
        f" infeasible; loop {facts['loop']}, K = {facts['width']}, {format_duration(facts['seconds'])}"
    )


def _draw(trace: Trace, name: str, maker: FigureMaker) -> tuple["Figure", str] | None:
    """One probe against the steps, a line a configuration."""
    curves = trace[name]
    if not np.isfinite(curves).any():
        return None
    figure, axes = maker.axes()
    for place, curve in enumerate(curves[:_MOST_CURVES]):
        axes.plot(trace.steps, curve, color=maker.color(place), linewidth=0.9)
    values = curves[:_MOST_CURVES][np.isfinite(curves[:_MOST_CURVES])]
    if values.size and values.min() > 0 and values.max() > 10 * values.min():
        axes.set_yscale("log")
    axes.set_xlabel("steps")
    axes.set_ylabel(_words(name))
    shown = "each configuration" if len(curves) <= _MOST_CURVES else f"the first {_MOST_CURVES} configurations"
    ends = curves[:, -1][np.isfinite(curves[:, -1])]
    told = f"; the ends lie between {ends.min():.4g} and {ends.max():.4g}" if ends.size else ""
    return figure, f"The {_words(name)} of {shown}{told}."


def _words(name: str) -> str:
    return name.replace("_", " ")
