"""The results folder on disk, figures in one house style, and the self-contained HTML page."""

from jaxopt_lab.reporting.encoding import config_from_json, config_hash, from_json, to_json
from jaxopt_lab.reporting.figures import FigureMaker, house_style, save_png, save_svg
from jaxopt_lab.reporting.folders import (
    check_folder,
    environment,
    folder_name,
    open_folder,
    read_record,
    read_rows,
    read_verdicts,
    remove_folder,
    write_json,
    write_rows,
    write_text,
    write_verdicts,
)
from jaxopt_lab.reporting.page import (
    Failure,
    StudyResult,
    check_page,
    find_results,
    format_number,
    read_result,
    render_page,
    write_page,
)

__all__ = [
    "Failure",
    "FigureMaker",
    "StudyResult",
    "check_folder",
    "check_page",
    "config_from_json",
    "config_hash",
    "environment",
    "find_results",
    "folder_name",
    "format_number",
    "from_json",
    "house_style",
    "open_folder",
    "read_record",
    "read_result",
    "read_rows",
    "read_verdicts",
    "remove_folder",
    "render_page",
    "save_png",
    "save_svg",
    "to_json",
    "write_json",
    "write_page",
    "write_rows",
    "write_text",
    "write_verdicts",
]
