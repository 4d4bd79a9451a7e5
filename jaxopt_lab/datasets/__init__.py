"""Real data that ships in scikit-learn, split and preprocessed: nothing is downloaded."""

from jaxopt_lab.datasets.scaling import SCALINGS, Scaling, fit_scaling
from jaxopt_lab.datasets.tables import TABLES, Table, load_table, split_table

__all__ = ["SCALINGS", "TABLES", "Scaling", "Table", "fit_scaling", "load_table", "split_table"]
