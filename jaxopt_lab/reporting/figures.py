"""Figures in one house style: the prediction is a line, the measurement is dots, and labels stand beside the curves.

Matplotlib is imported only when something is drawn, and its global state is left alone: the style holds inside
`house_style` only, and figures are made without pyplot. The same rows give the same SVG, byte for byte.
"""

import contextlib
import functools
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxopt_lab.reporting.figure_data import mark_curves, with_values
from jaxopt_lab.reporting.numbers import plain_numbers
from jaxopt_lab.storage.folder import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, Color Universal Design, 2008, in an order that also differs in lightness; yellow is left out.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#1f2933")
INK, FAINT = "#1f2933", "#8a94a0"
WIDTH = 5.1  # inches: on a page of 400 pixels the smallest text is 11 pixels high
LEAST_CONTRAST = 4.5  # of text, WCAG 2.2, success criterion 1.4.3
_END_LABEL = "end label"
_NEARLY_WHITE = 1.3
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_STYLE = {
    "svg.hashsalt": "jaxopt_lab",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11.5,
    "axes.labelsize": 11.5,
    "axes.titlesize": 11.5,
    "axes.titlelocation": "left",
    "xtick.labelsize": 11.5,
    "ytick.labelsize": 11.5,
    "legend.fontsize": 11.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e8ec",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "axes.unicode_minus": True,
    "image.cmap": "cividis",
}


class FigureMaker:
    """Makes the figures of a study; `draw` gets one as its third argument."""

    def axes(self, num_rows: int = 1, num_columns: int = 1, *, height: float | None = None, **options: Any) -> Any:
        """An empty figure with its axes.

        The width is fixed, so that the text stays legible on a narrow page: stack panels in rows rather than columns.

        Args:
          num_rows: panels from top to bottom.
          num_columns: panels from left to right.
          height: of the whole figure, inches; by default 3.7 a row.
          **options: further options of `matplotlib.figure.Figure.subplots`, such as sharex=True.

        Returns:
          (figure, axes), axes an array of shape [num_rows, num_columns] unless there is only one row or column.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(WIDTH, height or 3.7 * num_rows), layout="constrained")
        return figure, figure.subplots(num_rows, num_columns, **options)

    def color(self, index: int) -> str:
        """Colour number `index` of the palette, which the colour-blind can tell apart."""
        return PALETTE[index % len(PALETTE)]

    def predicted(self, axes: "Axes", x: Any, y: Any, *, color: int = 0, label: str = "", **options: Any) -> None:
        """Draws a prediction as a line, with its label at the right end."""
        axes.plot(x, y, color=self.color(color), zorder=2, **options)
        if label:
            self.label_end(axes, x, y, label, color=color)

    def measured(self, axes: "Axes", x: Any, y: Any, *, color: int = 0, label: str = "", **options: Any) -> None:
        """Draws measurements as dots, with their label beside the last one."""
        dots: dict[str, Any] = {"linestyle": "none", "marker": "o", "markeredgecolor": "white", "markeredgewidth": 0.5}
        axes.plot(x, y, color=self.color(color), zorder=3, **(dots | options))
        if label:
            self.label_end(axes, x, y, label, color=color)

    def label_end(self, axes: "Axes", x: Any, y: Any, text: str, *, color: int = 0) -> None:
        """Writes `text` to the right of the last finite point of a curve."""
        x, y = np.ravel(np.asarray(x, float)), np.ravel(np.asarray(y, float))
        finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        if finite.size:
            self.label(axes, x[finite[-1]], y[finite[-1]], text, color=color)

    def label(self, axes: "Axes", x: float, y: float, text: str, *, color: int | None = None) -> None:
        """Writes `text` just to the right of a point, in a dark shade of its curve's colour.

        Labels that collide move apart.
        """
        shade = INK if color is None else self.color(color)
        offset: dict[str, Any] = {
            "xytext": (6, 0),
            "textcoords": "offset points",
            "va": "center",
            "annotation_clip": False,
        }
        axes.annotate(text, (x, y), color=shade, zorder=4, label=_END_LABEL, **offset)


@contextlib.contextmanager
def house_style() -> Iterator[FigureMaker]:
    """Within the block, figures are drawn in the house style; outside, matplotlib's settings are as they were."""
    import matplotlib

    with matplotlib.rc_context():
        defaults = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
        matplotlib.rcParams.update(defaults)  # reading or setting the backend would import pyplot
        matplotlib.rcParams.update(_STYLE)
        yield FigureMaker()


def save_svg(figure: "Figure", path: Path) -> None:
    """Writes a figure as SVG; the same figure gives the same bytes. Call it inside `house_style`."""
    write_bytes(path, _rendered(figure, "svg"))


def save_png(figure: "Figure", path: Path, *, dots_per_inch: int = 150) -> None:
    """Writes a figure as PNG, for looking at. Call it inside `house_style`."""
    write_bytes(path, _rendered(figure, "png", dpi=dots_per_inch))


def svg_text(figure: "Figure") -> str:
    """A figure as the text of an SVG file. Call it inside `house_style`."""
    return _rendered(figure, "svg").decode("utf-8")


def finish(figure: "Figure") -> None:
    """Makes ticks, texts and labels final, as saving does. Call it inside `house_style`, when all is drawn."""
    for axes in figure.axes:
        _plain_ticks(axes)
        _wrap_titles(axes)
    _make_texts_legible(figure)
    figure.draw_without_rendering()
    for axes in figure.axes:
        _spread_labels(axes)


def _rendered(figure: "Figure", kind: str, **options: Any) -> bytes:
    finish(figure)
    buffer = io.BytesIO()
    if kind != "svg":
        figure.savefig(buffer, format=kind, **options)
        return buffer.getvalue()
    mark_curves(figure)
    figure.savefig(buffer, format=kind, metadata={"Date": None, "Creator": None}, **options)
    return with_values(buffer.getvalue().decode("utf-8"), figure).encode("utf-8")


def _wrap_titles(axes: "Axes") -> None:
    """A title longer than its figure is wide goes on in the next line."""
    from matplotlib.text import Text

    titles = {axes.get_title(loc=place) for place in ("left", "center", "right")} - {""}
    for text in axes.findobj(Text):
        if text.get_text() in titles:
            text.set_wrap(True)  # pyrefly: ignore


def contrast_on_white(color: Any) -> float:
    """How much a colour stands out from white, 1 to 21, by WCAG 2.2.

    Example:
      >>> f"{contrast_on_white('#56b4e9'):.2f}, {contrast_on_white('black'):.0f}"
      '2.31, 21'
    """
    from matplotlib.colors import to_rgb

    parts = np.array(to_rgb(color))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05))


def _make_texts_legible(figure: "Figure") -> None:
    """Text is dark enough, its numbers are as people write them, and names are text whatever signs they hold.

    Only tick labels, which matplotlib writes, may be formulas; text that is nearly white stands on something dark.
    """
    from matplotlib.text import Text

    written = set()
    for axis in (each for axes in figure.axes for each in (axes.xaxis, axes.yaxis)):
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        written |= {axis.get_offset_text(), *(label for tick in ticks for label in (tick.label1, tick.label2))}
    for text in figure.findobj(Text):
        if contrast_on_white(text.get_color()) > _NEARLY_WHITE:
            text.set_color(_dark_enough(text.get_color()))
        if text not in written:
            text.set_parse_math(False)
            text.set_text(plain_numbers(text.get_text(), powers=True))


def _dark_enough(color: Any) -> Any:
    """The colour, or a shade of it that can be read as text on white."""
    from matplotlib.colors import to_hex, to_rgb

    shade = np.array(to_rgb(color))
    while contrast_on_white(shade) < LEAST_CONTRAST:
        shade = 0.97 * shade
    return to_hex(tuple(map(float, shade)))  # pyrefly: ignore


def _spread_labels(axes: "Axes") -> None:
    """Moves labels that overlap apart, up and down by equal amounts, until each can be read."""
    from matplotlib.text import Annotation

    labels = [text for text in axes.texts if isinstance(text, Annotation) and text.get_label() == _END_LABEL]
    boxes = np.array([label.get_window_extent().extents for label in labels]).reshape(-1, 4)
    shift, order = np.zeros(len(labels)), np.argsort(boxes[:, 1], kind="stable")
    for _ in range(100):
        for position, lower in enumerate(order):
            for upper in order[position + 1 :]:
                beside = boxes[lower, 2] <= boxes[upper, 0] or boxes[upper, 2] <= boxes[lower, 0]
                overlap = boxes[lower, 3] + shift[lower] - boxes[upper, 1] - shift[upper]
                if overlap > 0 and not beside:
                    shift[lower] -= overlap / 2
                    shift[upper] += overlap / 2
    for label, pixels in zip(labels, shift, strict=True):
        label.set_position((label.get_position()[0], label.get_position()[1] + pixels * 72 / axes.figure.dpi))


def _plain_ticks(axes: "Axes") -> None:
    """Labels logarithmic axes with Unicode powers or plain numbers, which stay ordinary text in an SVG."""
    from matplotlib.ticker import FuncFormatter, LogFormatterSciNotation

    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() != "log":
            continue
        if isinstance(axis.get_major_formatter(), LogFormatterSciNotation):
            axis.set_major_formatter(FuncFormatter(_power_of_ten))
        minor = axis.get_minor_formatter()
        if isinstance(minor, LogFormatterSciNotation):
            minor.set_locs(axis.get_minorticklocs())
            shown = {float(f"{value:.6g}") for value in axis.get_minorticklocs() if minor(value)}
            axis.set_minor_formatter(FuncFormatter(functools.partial(_plain_tick, shown)))


def _plain_tick(shown: set[float], value: float, _position: int | None = None) -> str:
    """A label between two powers of ten, where the axis is so short that matplotlib writes one."""
    return plain_numbers(f"{value:g}", powers=True) if float(f"{value:.6g}") in shown else ""


def _power_of_ten(value: float, _position: int | None = None) -> str:
    """A tick label for a logarithmic axis.

    Example:
      >>> _power_of_ten(1000.0), _power_of_ten(1e-6), _power_of_ten(2.0)
      ('10³', '10⁻⁶', '2')
    """
    if value <= 0:
        return ""
    exponent = round(np.log10(value))
    if not np.isclose(value, 10.0**exponent, rtol=1e-9):
        return f"{value:g}"
    return "1" if exponent == 0 else "10" + str(exponent).translate(_SUPERSCRIPTS)
