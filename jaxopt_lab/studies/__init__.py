"""A study is a claim, a config, a run and its verdicts, executed into a results folder by a command line of its own."""

from jaxopt_lab.studies.command_line import main, prepare_engine, resume
from jaxopt_lab.studies.discovery import find_study, list_studies, load_study
from jaxopt_lab.studies.execution import Outcome, execute, log
from jaxopt_lab.studies.fits import contraction_per_step, lowest_point
from jaxopt_lab.studies.study import Rows, Study
from jaxopt_lab.studies.suite import run_suite

__all__ = [
    "Outcome",
    "Rows",
    "Study",
    "contraction_per_step",
    "execute",
    "find_study",
    "list_studies",
    "load_study",
    "lowest_point",
    "main",
    "prepare_engine",
    "resume",
    "run_suite",
    "log",
]
