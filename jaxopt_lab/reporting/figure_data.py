"""The numbers that a figure shows, as CSV: panel, curve, x, y."""

import csv
import io
import urllib.parse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_IN_A_PAGE = 40_000  # characters


def figure_data(figure: "Figure") -> str:
    """The curves and dots of a figure, a point a line; "" for one that shows none.

    A curve is named by its label, or else counted; images and bands are left out.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["panel", "curve", "x", "y"])
    empty = buffer.tell()
    for place, axes in enumerate(figure.axes, 1):
        panel = axes.get_title(loc="left") or axes.get_ylabel() or str(place)
        for curve, (x, y) in _curves(axes):
            writer.writerows([panel, curve, _written(a), _written(b)] for a, b in zip(x, y, strict=True))
    return buffer.getvalue() if buffer.tell() > empty else ""


def data_address(data: str) -> str:
    """The address under which a page offers the data, which then lie in the page; "" where they are many."""
    return "data:text/csv;charset=utf-8," + urllib.parse.quote(data) if 0 < len(data) <= _MOST_IN_A_PAGE else ""


def _curves(axes: "Axes") -> Iterator[tuple[str, tuple[Any, Any]]]:
    from matplotlib.collections import PathCollection

    for place, line in enumerate(axes.lines, 1):
        x, y = (np.ravel(np.asarray(line.convert_xunits(each))) for each in line.get_data(orig=True))
        if line.get_transform().contains_branch(axes.transData) and len(x) == len(y):
            yield _name(line.get_label(), f"curve {place}"), (x, y)
    for place, dots in enumerate(axes.collections, 1):
        if isinstance(dots, PathCollection):
            yield _name(dots.get_label(), f"dots {place}"), np.asarray(dots.get_offsets()).T  # pyrefly: ignore


def _name(label: Any, otherwise: str) -> str:
    return str(label) if label and not str(label).startswith("_") else otherwise


def _written(value: Any) -> str:
    try:
        return f"{float(value):.9g}"
    except (TypeError, ValueError):
        return str(value)
