"""The results folder on disk, figures in one house style, and the self-contained HTML page."""

from jaxopt_lab.reporting.figure_data import figure_data
from jaxopt_lab.reporting.figures import FigureMaker, house_style, save_png, save_svg, svg_text
from jaxopt_lab.reporting.numbers import format_duration, format_number, plain_numbers
from jaxopt_lab.reporting.outcomes import Draw, Reported, inline_figures, plot_first, shortened, to_dataframe
from jaxopt_lab.reporting.page import (
    Failure,
    StudyResult,
    check_page,
    find_results,
    page_body,
    read_result,
    render_page,
    render_template,
    write_page,
)
from jaxopt_lab.reporting.svg import inline_svg

__all__ = [
    "Draw",
    "Failure",
    "FigureMaker",
    "Reported",
    "StudyResult",
    "check_page",
    "figure_data",
    "find_results",
    "format_duration",
    "format_number",
    "house_style",
    "inline_figures",
    "inline_svg",
    "page_body",
    "plain_numbers",
    "plot_first",
    "read_result",
    "render_page",
    "render_template",
    "save_png",
    "save_svg",
    "shortened",
    "svg_text",
    "to_dataframe",
    "write_page",
]
