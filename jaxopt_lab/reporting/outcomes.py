"""What every outcome can be shown as: at most 40 lines of text, figures of a page, a data frame."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jaxopt_lab.core import fail
from jaxopt_lab.reporting.figures import FigureMaker, house_style, svg_text
from jaxopt_lab.reporting.svg import inline_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_LINES = 40


def shortened(lines: Sequence[str], most: int = _MOST_LINES) -> list[str]:
    """The lines, or the first of them and how many were left out.

    Example:
      >>> shortened(["a", "b", "c", "d"], 3)
      ['a', 'b', '... and 2 more lines']
    """
    if len(lines) <= most:
        return list(lines)
    return [*lines[: most - 1], f"... and {len(lines) - most + 1} more lines"]


def inline_figures(draws: Sequence[Callable[[FigureMaker], "tuple[Figure, str] | None"]]) -> list[dict[str, Any]]:
    """The figures of a page, each an "image" that stands in the page and a "caption".

    Args:
      draws: functions of a maker that give a figure with its caption, or None where there is nothing to draw.
    """
    found = []
    with house_style() as maker:
        drawn = [draw(maker) for draw in draws]
        for place, (figure, caption) in enumerate(pair for pair in drawn if pair is not None):
            image = inline_svg(svg_text(figure), prefix=f"figure-{place}", label=caption)
            found.append({"image": image, "caption": caption})
    return found


def to_dataframe(where: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    """The rows as a pandas DataFrame.

    Args:
      where: who asks, for the error.
      rows: column -> value.

    Raises:
      InputError: pandas is not installed.
    """
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        raise fail(where, "pandas is not installed", "Install it: pip install 'jaxopt_lab[pandas]'.") from None
    return pandas.DataFrame(list(rows))
