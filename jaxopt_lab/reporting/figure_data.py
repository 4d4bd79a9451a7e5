"""The numbers that a figure shows: as CSV (panel, curve, x, y), and in its SVG beneath the pointer."""

import base64
import csv
import functools
import gzip
import html
import io
import re
import urllib.parse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxopt_lab.reporting.numbers import format_number

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_PLAIN = 40_000  # characters
_DOT = re.compile(r'(<use [^>]*x="([-\d.]+)" y="([-\d.]+)"[^>]*)/>')
_SAME_PLACE = 0.01  # points; a file has six decimals


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
        for _, curve, (x, y) in _curves(axes):
            writer.writerows([panel, curve, _written(a), _written(b)] for a, b in zip(x, y, strict=True))
    return buffer.getvalue() if buffer.tell() > empty else ""


def data_address(data: str) -> str:
    """The address under which a page offers the data, which then lie in the page: gzipped where they are many."""
    if len(data) <= _MOST_PLAIN:
        return data and "data:text/csv;charset=utf-8," + urllib.parse.quote(data)
    return "data:application/gzip;base64," + base64.b64encode(gzip.compress(data.encode(), mtime=0)).decode()


def mark_curves(figure: "Figure") -> None:
    """Gives each curve and group of dots an id in the SVG file, under which `with_values` finds it."""
    for place, (_, artist, _, _) in enumerate(_all_curves(figure), 1):
        artist.set_gid(f"values_{place}")


def with_values(svg: str, figure: "Figure") -> str:
    """The SVG file with a <title> in each dot, its values, and in each curve, its name and the values at its ends.

    Args:
      svg: the file that was saved after `mark_curves`; its points are 1/72 inch.
      figure: what was saved.
    """
    height = 72 * figure.get_size_inches()[1]
    for axes, artist, name, points in _all_curves(figure):
        opening = f'<g id="{artist.get_gid()}">\n'
        before, _, rest = svg.partition(opening)
        indent = before.rpartition("\n")[2]
        drawn, closing, after = rest.partition(f"\n{indent}</g>")
        x, y = (values.astype(float) for values in points)
        places = axes.transData.transform(np.column_stack([x, y])) * 72 / figure.dpi * [1, -1] + [0, height]
        finite = np.flatnonzero(np.isfinite(places).all(1))
        if not (closing and len(finite)):  # nothing of it was drawn
            continue
        drawn = _DOT.sub(functools.partial(_with_title, name, np.column_stack([x, y]), places), drawn)
        ends = " to ".join(_pair(x[k], y[k]) for k in finite[[0, -1]])
        told = name if "<use " in drawn else f"{name}: {ends}"
        svg = f"{before}{opening}{indent} {_title(told)}\n{drawn}{closing}{after}"
    return svg


def _with_title(name: str, points: np.ndarray, places: np.ndarray, use: re.Match[str]) -> str:
    """A dot with its values, where it stands on the place of a point; what was moved to the edge is not one."""
    away = np.abs(places - [float(use[2]), float(use[3])]).max(1)
    k = int(np.argmin(np.where(np.isnan(away), np.inf, away)))
    return f"{use[1]}>{_title(f'{name}: {_pair(*points[k])}')}</use>" if away[k] < _SAME_PLACE else use[0]


def _title(text: str) -> str:
    return f"<title>{html.escape(text, quote=False)}</title>"


def _pair(x: float, y: float) -> str:
    return f"{format_number(x, 3)}, {format_number(y, 3)}"


def _all_curves(figure: "Figure") -> "Iterator[tuple[Axes, Artist, str, tuple[Any, Any]]]":
    return ((axes, *curve) for axes in figure.axes for curve in _curves(axes))


def _curves(axes: "Axes") -> "Iterator[tuple[Artist, str, tuple[Any, Any]]]":
    from matplotlib.collections import PathCollection

    for place, line in enumerate(axes.lines, 1):
        pairs = zip((axes.xaxis, axes.yaxis), line.get_data(orig=True), strict=True)
        x, y = (np.ravel(np.asarray(axis.convert_units(values))) for axis, values in pairs)
        if line.get_transform().contains_branch(axes.transData) and len(x) == len(y):
            yield line, _name(line.get_label(), f"curve {place}"), (x, y)
    for place, dots in enumerate(axes.collections, 1):
        if isinstance(dots, PathCollection):
            yield dots, _name(dots.get_label(), f"dots {place}"), np.asarray(dots.get_offsets()).T  # pyrefly: ignore


def _name(label: Any, otherwise: str) -> str:
    return str(label) if label and not str(label).startswith("_") else otherwise


def _written(value: Any) -> str:
    try:
        return f"{float(value):.9g}"
    except (TypeError, ValueError):
        return str(value)
