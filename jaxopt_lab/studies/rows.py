"""`Rows`: what a run measured, one mapping of names to numbers, strings and arrays a row; selected by value."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np

Row = dict[str, Any]


class Rows(Sequence[Row]):
    """The rows of a run, in their order; `judge`, `draw`, `caption` and `facts` get them.

    `rows[0]` is a row, `rows[1:]` are rows, and `rows["loss"]` is an array with the number that each of them holds.

    Args:
      rows: mappings; rows of different kinds may hold different names.

    Example:
      >>> rows = Rows([{"rule": "sgd", "loss": 2.0}, {"rule": "adam", "loss": 1.0}, {"edge": 3.8}])
      >>> len(rows.where(rule="adam")), rows.only(rule="sgd")["loss"], rows.having("loss")["loss"].tolist()
      (1, 2.0, [2.0, 1.0])
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self._rows = [row if isinstance(row, dict) else dict(row) for row in rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    @overload
    def __getitem__(self, key: int) -> Row: ...
    @overload
    def __getitem__(self, key: slice) -> "Rows": ...
    @overload
    def __getitem__(self, key: str) -> np.ndarray: ...
    def __getitem__(self, key: int | slice | str) -> "Row | Rows | np.ndarray":
        if isinstance(key, str):
            return np.array([row[key] for row in self._rows])
        return Rows(self._rows[key]) if isinstance(key, slice) else self._rows[key]

    def __repr__(self) -> str:
        return f"Rows({len(self)}: {', '.join(dict.fromkeys(name for row in self for name in row))})"

    def where(self, **values: Any) -> "Rows":
        """The rows that hold each of these values, or of which what stands there fulfils a condition.

        A row without the name is none of them; an array equals no value.

        Example:
          >>> rows = Rows([{"rule": "sgd", "rate": 0.1}, {"rule": "sgd", "rate": 1.0}, {"edge": 3.8}])
          >>> rows.where(rule="sgd", rate=lambda rate: rate < 0.5)["rate"].tolist()
          [0.1]
        """
        return Rows(row for row in self if all(_holds(row, name, value) for name, value in values.items()))

    def having(self, *names: str) -> "Rows":
        """The rows that hold all of these names."""
        return Rows(row for row in self if all(name in row for name in names))

    def only(self, **values: Any) -> Row:
        """The one row that holds each of these values.

        Raises:
          ValueError: there is none, or more than one.
        """
        found = self.where(**values)
        if len(found) != 1:
            wanted = ", ".join(f"{name} = {value!r}" for name, value in values.items())
            raise ValueError(f"there must be one row with {wanted}, but there are {len(found)}")
        return found[0]

    def by(self, name: str) -> "dict[Any, Rows]":
        """The rows that hold a name, by what stands there, in the order of first appearance."""
        groups: dict[Any, list[Row]] = {}
        for row in self.having(name):
            groups.setdefault(row[name], []).append(row)
        return {value: Rows(rows) for value, rows in groups.items()}

    def distinct(self, name: str, gap: float) -> "Rows":
        """The rows by increasing number, each number once.

        Args:
          name: of the number.
          gap: numbers that lie no further apart count as one.

        Example:
          >>> Rows([{"loss": 0.5}, {"loss": 0.2}, {"loss": 0.5 + 1e-12}]).distinct("loss", 1e-9)["loss"].tolist()
          [0.2, 0.5]
        """
        ordered = sorted(self, key=lambda row: row[name])
        gaps = np.diff([-np.inf, *(row[name] for row in ordered)])
        return Rows(row for row, apart in zip(ordered, gaps, strict=True) if apart > gap)

    def furthest(self, measured: str, predicted: str, *, errors: str = "", relative: bool = False) -> Row:
        """The row whose measurement is furthest from its prediction: the one on which a claim about all of them hangs.

        Args:
          measured: the name of the measured number.
          predicted: the name of the predicted one.
          errors: the name of the standard error in which the distance is counted, if it is.
          relative: counts |measured / predicted - 1| instead.

        Raises:
          ValueError: there are no rows.

        Example:
          >>> rows = Rows([{"at": 1, "x": 2.0, "law": 1.0, "error": 1}, {"at": 2, "x": 1.5, "law": 1.0, "error": 0.1}])
          >>> rows.furthest("x", "law")["at"], rows.furthest("x", "law", errors="error")["at"]
          (1, 2)
        """

        def distance(row: Row) -> float:
            if relative:
                return abs(row[measured] / row[predicted] - 1)
            return abs(row[measured] - row[predicted]) / (row[errors] if errors else 1.0)

        return max(self, key=distance)


def with_effective_rate(row: Mapping[str, Any]) -> Row:
    """A row with learning_rate / (1 - rho) beside its learning rate, where it does not say so itself.

    Example:
      >>> with_effective_rate({"learning_rate": 0.5, "rho": 0.75})["effective_rate"]
      2.0
    """
    rate, rho = np.asarray(row.get("learning_rate", "")), np.asarray(row.get("rho", 0.0))
    alike = rho.ndim == 0 or rho.shape == rate.shape
    if "effective_rate" in row or rate.dtype.kind not in "fiu" or rho.dtype.kind not in "fiu" or not alike:
        return dict(row)
    return dict(row) | {"effective_rate": row["learning_rate"] / (1 - row.get("rho", 0.0))}


def _holds(row: Row, name: str, value: Any) -> bool:
    if name not in row:
        return False
    return bool(value(row[name])) if callable(value) else np.ndim(row[name]) == 0 and bool(row[name] == value)
