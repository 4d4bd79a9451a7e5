"""`Space`: what each hyperparameter of a rule may be; a point of the unit cube becomes one set of them.

Points come in arrays [trials, dim], values leave in columns [trials], so that a whole sweep is one program. A space may
be written in the words of a command line: `learning_rate=log:1e-4:1`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxopt_lab.core import fail
from jaxopt_lab.core.errors import is_concrete_number, require_choice, require_finite
from jaxopt_lab.search.dimensions import (
    Choices,
    Dimension,
    EffectiveRate,
    Integers,
    Range,
    When,
    choices,
    effective_rate,
    integers,
    log_uniform,
    one_minus_log_uniform,
    uniform,
)

_KINDS: dict[str, type] = {kind.__name__: kind for kind in (Range, Integers, Choices, EffectiveRate, When)}


class Space:
    """The hyperparameters of a rule: name -> dimension, or a number that is held fixed.

    Args:
      **dimensions: in the order of the unit cube's coordinates.

    Raises:
      InputError: something else is given, or a conditional part or an effective rate names what the space lacks.

    Example:
      >>> from jaxopt_lab.search import Space, effective_rate, one_minus_log_uniform
      >>> space = Space(learning_rate=effective_rate(0.01, 1.0), rho=one_minus_log_uniform(0.0, 0.99))
      >>> {name: round(float(column[0]), 6) for name, column in space.columns([[0.5, 0.5]]).items()}
      {'learning_rate': 0.01, 'rho': 0.9}
    """

    def __init__(self, /, **dimensions: Dimension | float) -> None:
        self.dimensions: dict[str, Any] = dict(dimensions)
        for name, dimension in self.dimensions.items():
            if is_concrete_number(dimension):
                require_finite("Space", name, dimension)
            elif not isinstance(dimension, tuple(_KINDS.values())):
                raise fail(
                    "Space", f"{name} must be a number or a dimension such as log_uniform(1e-4, 1), got {dimension!r}"
                )
        self.searched = tuple(name for name, each in self.dimensions.items() if not is_concrete_number(each))
        self._order = self._by_dependence()

    @property
    def dim(self) -> int:
        """Number of coordinates of the unit cube."""
        return len(self.searched)

    def columns(self, points: Any) -> dict[str, np.ndarray]:
        """The hyperparameters at points of the unit cube.

        Args:
          points: shape [trials, dim], entries in [0, 1].

        Returns:
          name -> values [trials], in the order of the space.
        """
        points = self._checked(points)
        known: dict[str, np.ndarray] = {}
        for name in self._order:
            dimension = self.dimensions[name]
            if name in self.searched:
                known[name] = dimension.values(points[:, self.searched.index(name)], known)
            else:
                known[name] = np.full(len(points), dimension)
        return {name: known[name] for name in self.dimensions}

    def points(self, columns: Mapping[str, Any]) -> np.ndarray:
        """The points [trials, dim] of given hyperparameters; NaN where a conditional part is not active."""
        known = self._known(columns)
        return np.stack([self.dimensions[name].places(known[name], known) for name in self.searched], 1)

    def active(self, columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Where each searched hyperparameter counts, name -> bool [trials]."""
        known = self._known(columns)
        everywhere = np.ones(len(next(iter(known.values()))), bool)
        parts = {name: self.dimensions[name] for name in self.searched}
        return {name: part.active(known) if isinstance(part, When) else everywhere for name, part in parts.items()}

    def near_edge(self, values: Mapping[str, float], margin: float = 0.05) -> dict[str, str]:
        """The hyperparameters that lie near an end of their range which could be moved outwards.

        Args:
          values: one set of hyperparameters, the best one.
          margin: share of the range, on its own scale, that counts as near.

        Returns:
          name -> "low" or "high". If any, the best may lie outside: widen the space before anything is concluded.

        Example:
          >>> from jaxopt_lab.search import Space, log_uniform
          >>> Space(learning_rate=log_uniform(1e-4, 1.0)).near_edge({"learning_rate": 0.9})
          {'learning_rate': 'high'}
        """
        (point,) = self.points({name: [value] for name, value in values.items()})
        found = {}
        for name, place in zip(self.searched, point, strict=True):
            dimension = self.dimensions[name]
            if isinstance(dimension, Integers):
                place = (values[name] - dimension.low) / (dimension.high - dimension.low)
            if place <= margin and dimension.movable[0]:
                found[name] = "low"
            elif place >= 1 - margin and dimension.movable[1]:
                found[name] = "high"
        return found

    def narrowed(self, values: Mapping[str, float], share: float) -> "Space":
        """The box around one set of hyperparameters that has `share` of each range, cut off at this space's ends."""
        (point,) = self.points({name: [value] for name, value in values.items()})
        box = dict(self.dimensions)
        for name, place in zip(self.searched, point, strict=True):
            if np.isfinite(place):
                low, high = max(0.0, place - share / 2), min(1.0, place + share / 2)
                box[name] = box[name].part(low, high)
        return Space(**box)

    def widened(self, name: str, end: str, by: float = 1.0) -> "Space":
        """The space with one end of one range moved outwards by `by` times its width on its own scale."""
        require_choice("Space.widened", "name", name, self.searched)
        require_choice("Space.widened", "end", end, ("low", "high"))
        part = self.dimensions[name].part(-by, 1.0) if end == "low" else self.dimensions[name].part(0.0, 1.0 + by)
        return Space(**(self.dimensions | {name: part}))

    def to_json(self) -> dict[str, Any]:
        """The space as JSON data; `from_json` undoes it."""
        return {name: _to_json(dimension) for name, dimension in self.dimensions.items()}

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> "Space":
        """The space that `to_json` made data of."""
        return Space(**{name: _from_json(entry) for name, entry in stored.items()})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self.dimensions == other.dimensions

    def __hash__(self) -> int:
        return hash(tuple(self.dimensions.items()))

    def __repr__(self) -> str:
        return f"Space({', '.join(f'{name}={dimension}' for name, dimension in self.dimensions.items())})"

    def _checked(self, points: Any) -> np.ndarray:
        points = np.asarray(points, float)
        if points.ndim != 2 or points.shape[1] != self.dim or not np.all((points >= 0) & (points <= 1)):
            raise fail(
                "Space.columns", f"points must lie in the unit cube, shape [trials, {self.dim}], got {points.shape}"
            )
        return points

    def _known(self, columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
        for name in self.dimensions:
            require_choice("Space", "a hyperparameter", name, columns)
        return {name: np.atleast_1d(np.asarray(columns[name])) for name in self.dimensions}

    def _by_dependence(self) -> list[str]:
        """The names such that each comes after those that its values depend on."""
        order: list[str] = []
        waiting = {name: _needs(dimension) for name, dimension in self.dimensions.items()}
        for name, needed in waiting.items():
            for other in needed:
                require_choice("Space", f"what {name} depends on", other, self.dimensions)
        while waiting:
            ready = [name for name, needed in waiting.items() if needed <= set(order)]
            if not ready:
                raise fail("Space", f"{', '.join(waiting)} depend on each other")
            order += ready
            waiting = {name: needed for name, needed in waiting.items() if name not in ready}
        return order


def parse_space(words: Sequence[str]) -> Space:
    """A space from words NAME=DIMENSION.

    Args:
      words: such as `learning_rate=log:1e-4:1` or `rho=0.9`; see `parse_dimension`.

    Returns:
      The space.

    Raises:
      InputError: a word without "=", or a dimension that cannot be read.

    Example:
      >>> parse_space(["learning_rate=log:0.1:1", "rho=0.9"]).searched
      ('learning_rate',)
    """
    dimensions = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not (name and equals):
            raise fail(
                "--space", f"a hyperparameter must be NAME=DIMENSION, got {word!r}", "Example: rho=one-minus:0:0.99."
            )
        dimensions[name.replace("-", "_")] = parse_dimension(text)
    return Space(**dimensions)


def parse_dimension(text: str) -> Dimension | float:
    """A dimension from one word of a command line.

    Args:
      text: `log:LOW:HIGH`, `uniform:LOW:HIGH`, `one-minus:LOW:HIGH`, `integers:LOW:HIGH`, `effective:LOW:HIGH`,
        `choices:A,B,C`, or a number that is held fixed.

    Returns:
      The dimension, or the number.

    Raises:
      InputError: the word is none of these.

    Example:
      >>> parse_dimension("log:1e-4:1")
      Range(low=0.0001, high=1.0, scale='log_uniform')
    """
    kind, _, rest = text.partition(":")
    makers = {"log": log_uniform, "uniform": uniform, "one-minus": one_minus_log_uniform, "effective": effective_rate}
    try:
        if not rest:
            return float(text)
        require_choice("--space", "the kind of a dimension", kind, [*makers, "integers", "choices"])
        if kind == "choices":
            return choices(*_numbers(rest.split(",")))
        low, high = rest.split(":")
        return integers(int(low), int(high)) if kind == "integers" else makers[kind](float(low), float(high))
    except ValueError as error:
        if type(error) is not ValueError:
            raise
        raise fail(
            "--space", f"a dimension must look like log:1e-4:1 or choices:0,0.9, got {text!r}", "See --help."
        ) from None


def _needs(dimension: Any) -> set[str]:
    if isinstance(dimension, When):
        return {dimension.name} | _needs(dimension.inner)
    return {dimension.momentum} if isinstance(dimension, EffectiveRate) else set()


def _to_json(dimension: Any) -> Any:
    if is_concrete_number(dimension):
        return dimension
    fields = {field.name: getattr(dimension, field.name) for field in dataclasses.fields(dimension)}
    if isinstance(dimension, When):
        fields["inner"] = _to_json(dimension.inner)
    if isinstance(dimension, Choices):
        fields["options"] = list(dimension.options)
    return {"kind": type(dimension).__name__} | fields


def _from_json(entry: Any) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    fields = {name: value for name, value in entry.items() if name != "kind"}
    if entry["kind"] == "When":
        fields["inner"] = _from_json(entry["inner"])
    if entry["kind"] == "Choices":
        fields["options"] = tuple(entry["options"])
    return _KINDS[entry["kind"]](**fields)


def _numbers(words: Sequence[str]) -> list[float]:
    return [float(word) for word in words]
