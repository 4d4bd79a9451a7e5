"""Real data from packages on disk and procedural data, split and preprocessed: nothing is downloaded."""

from jaxopt_lab.datasets.images import IMAGES, Images, load_images
from jaxopt_lab.datasets.scaling import SCALINGS, Scaling, fit_scaling
from jaxopt_lab.datasets.signals import digit_signals
from jaxopt_lab.datasets.tables import TABLES, Table, load_table, split_table
from jaxopt_lab.datasets.text import Windows, load_text, markov_text

__all__ = [
    "IMAGES",
    "SCALINGS",
    "TABLES",
    "Images",
    "Scaling",
    "Table",
    "Windows",
    "digit_signals",
    "fit_scaling",
    "load_images",
    "load_table",
    "load_text",
    "markov_text",
    "split_table",
]
