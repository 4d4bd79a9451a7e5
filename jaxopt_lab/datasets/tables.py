"""Tables of real data as plain arrays with names: digits, breast_cancer, diabetes, wine."""

import dataclasses

import numpy as np

from jaxopt_lab.core import fail
from jaxopt_lab.core.errors import require_between, require_choice, require_count


@dataclasses.dataclass(frozen=True)
class Table:
    """Examples in rows.

    Attributes:
      name: one of `TABLES`.
      features: X, float64 [n, d], as they were measured.
      targets: y, [n]: float64 numbers, or int64 class numbers from 0.
      feature_names: d names.
      class_names: one name a class; empty for a regression.
    """

    name: str
    features: np.ndarray
    targets: np.ndarray
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.targets)


TABLES = {
    "digits": "1797 images of digits, 8 x 8 pixels from 0 to 16, 10 classes",
    "breast_cancer": "569 tumours, 30 measurements in their own units, 2 classes",
    "diabetes": "442 patients, 10 measurements in their own units, the progression of the disease as a number",
    "wine": "178 wines, 13 measurements in their own units, 3 classes",
}


def load_table(name: str) -> Table:
    """A table by name, in the order and the units of its source.

    Args:
      name: "digits", "breast_cancer", "diabetes" or "wine".

    Returns:
      The table.

    Raises:
      InputError: an unknown name.

    Example:
      >>> table = load_table("digits")
      >>> table.features.shape, len(table.class_names)
      ((1797, 64), 10)

    Reference: UCI machine learning repository, and Efron et al. 2004 (diabetes), as scikit-learn ships them.
    """
    require_choice("load_table", "name", name, TABLES)
    from sklearn import datasets

    options = {"scaled": False} if name == "diabetes" else {}
    source = getattr(datasets, f"load_{name}")(**options)
    class_names = tuple(map(str, getattr(source, "target_names", ())))
    return Table(
        name=name,
        features=np.array(source.data, np.float64),
        targets=np.asarray(source.target, np.int64 if class_names else np.float64),
        feature_names=tuple(map(str, source.feature_names)),
        class_names=class_names,
    )


def split_table(table: Table, fraction: float = 0.8, seed: int = 0) -> tuple[Table, Table]:
    """A table as a training and a validation part, drawn at random without overlap.

    Args:
      table: the table.
      fraction: share of the examples for training, in (0, 1).
      seed: seeds the draw, >= 0.

    Returns:
      (training, validation); each keeps the order of the table.

    Raises:
      InputError: an argument is out of its range, or a part would be empty.

    Example:
      >>> [len(part) for part in split_table(load_table("wine"), 0.75)]
      [134, 44]
    """
    require_between("split_table", "fraction", fraction, 0, 1, ends="()")
    require_count("split_table", "seed", seed, 0)
    num_training = round(fraction * len(table))
    if not 0 < num_training < len(table):
        raise fail("split_table", f"fraction {fraction} of {len(table)} examples leaves a part empty")
    order = np.random.default_rng(seed).permutation(len(table))
    training, validation = np.sort(order[:num_training]), np.sort(order[num_training:])
    return _rows(table, training), _rows(table, validation)


def _rows(table: Table, rows: np.ndarray) -> Table:
    return dataclasses.replace(table, features=table.features[rows], targets=table.targets[rows])
