"""A study is a question, a config, a run and its verdicts in one file, executed into a results folder.

In a study's file: `fields` (the config and its checks), `verdicts` (the forms of a claim), `measures` (numbers read off
curves and samples), `Rows`, `main`. To run studies from Python: `load_study`, `execute`, `run_suite`.
"""

from jaxopt_lab.studies import fields, measures, verdicts
from jaxopt_lab.studies.command_line import main
from jaxopt_lab.studies.discovery import list_studies, load_study
from jaxopt_lab.studies.execution import print_line
from jaxopt_lab.studies.rows import Row, Rows
from jaxopt_lab.studies.suite import run_suite

__all__ = [
    "Row",
    "Rows",
    "fields",
    "list_studies",
    "load_study",
    "main",
    "measures",
    "print_line",
    "run_suite",
    "verdicts",
]
