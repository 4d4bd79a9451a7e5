"""The results folder on disk, figures in one house style, and the self-contained HTML page."""

from jaxopt_lab.reporting import sliders
from jaxopt_lab.reporting.figures import FigureMaker
from jaxopt_lab.reporting.page import find_results, read_result, write_page

__all__ = [
    "FigureMaker",
    "find_results",
    "read_result",
    "sliders",
    "write_page",
]
