"""Real data from packages on disk and procedural data, split and preprocessed: nothing is downloaded."""

from jaxopt_lab.datasets.images import load_images
from jaxopt_lab.datasets.scaling import SCALINGS, fit_scaling
from jaxopt_lab.datasets.signals import digit_signals
from jaxopt_lab.datasets.tables import TABLES, load_table, split_table
from jaxopt_lab.datasets.text import load_text, markov_text

__all__ = [
    "SCALINGS",
    "TABLES",
    "digit_signals",
    "fit_scaling",
    "load_images",
    "load_table",
    "load_text",
    "markov_text",
    "split_table",
]
