"""Real data from packages on disk and procedural data, split and preprocessed: nothing is downloaded."""

from jaxopt_lab.datasets.images import IMAGES, Images, load_images
from jaxopt_lab.datasets.scaling import SCALINGS, Scaling, fit_scaling
from jaxopt_lab.datasets.tables import TABLES, Table, load_table, split_table

__all__ = [
    "IMAGES",
    "SCALINGS",
    "TABLES",
    "Images",
    "Scaling",
    "Table",
    "fit_scaling",
    "load_images",
    "load_table",
    "split_table",
]
