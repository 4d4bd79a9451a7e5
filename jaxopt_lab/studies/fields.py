"""A study's config: the annotation of a field says what it may be, and `configclass` checks every instance.

    @configclass
    class Config:
        dim: Annotated[int, Whole(2)] = 100
        rhos: Annotated[tuple[float, ...], Between("[0, 1)", why="At 1 nothing is forgotten.")] = (0.5, 0.9)

A wrong value is named before anything runs: `mine: rhos must be in [0, 1), got 1.5. At 1 nothing is forgotten.` Checks
of numbers and choices look at every entry of a tuple, the others at the tuple itself. What relates two fields is left
to `__post_init__`, which comes after.
"""

import dataclasses
import itertools
import sys
import typing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

from jaxopt_lab.core import fail
from jaxopt_lab.core.errors import require_between, require_choice, require_count, require_positive

__all__ = [
    "AboveZero",
    "Between",
    "Count",
    "Increasing",
    "MultipleOf",
    "Must",
    "NotEmpty",
    "OneOf",
    "OpenUnit",
    "Positive",
    "Precision",
    "Seed",
    "Whole",
    "configclass",
]

Class = TypeVar("Class", bound=type)


@dataclasses.dataclass(frozen=True)
class Check:
    """What a field may be.

    Attributes:
      why: ends the error, and says why, or what to try.
      name: what the error calls the value; by default the field.
    """

    why: str = dataclasses.field(default="", kw_only=True)
    name: str = dataclasses.field(default="", kw_only=True)

    def require(self, where: str, name: str, value: Any) -> None:
        """Raises InputError unless the value is right.

        Args:
          where: the study, for the error.
          name: the field.
          value: the field's value, a tuple as a whole.
        """
        for entry in _entries(value):
            self.require_entry(where, self.name or name, entry)

    def require_entry(self, where: str, name: str, value: Any) -> None:
        """Raises InputError unless one entry is right; here every entry is."""


@dataclasses.dataclass(frozen=True)
class Whole(Check):
    """A whole number of at least `minimum`.

    Example:
      >>> Whole(2).require("mine", "dim", 1)
      Traceback (most recent call last):
      jaxopt_lab.core.errors.InputError: mine: dim must be a whole number of at least 2, got 1.
    """

    minimum: int

    def require_entry(self, where: str, name: str, value: Any) -> None:
        """As `core.require_count`."""
        require_count(where, name, value, self.minimum, self.why)


@dataclasses.dataclass(frozen=True)
class Between(Check):
    """A number in an interval such as "[0, 1)".

    Example:
      >>> Between("[0, 1)").require("mine", "rhos", (0.5, 1.5))
      Traceback (most recent call last):
      jaxopt_lab.core.errors.InputError: mine: rhos must be in [0, 1), got 1.5.
    """

    interval: str

    def require_entry(self, where: str, name: str, value: Any) -> None:
        """As `core.require_between`."""
        low, high = (float(end) for end in self.interval[1:-1].split(","))
        ends = self.interval[0] + self.interval[-1]
        require_between(where, name, value, low, high, ends=ends, why=self.why)


@dataclasses.dataclass(frozen=True)
class AboveZero(Check):
    """A number above zero, and finite."""

    def require_entry(self, where: str, name: str, value: Any) -> None:
        """As `core.require_positive`."""
        require_positive(where, name, value, self.why)


@dataclasses.dataclass(frozen=True)
class OneOf(Check):
    """One of some choices; the error names the nearest."""

    choices: Iterable[Any]

    def require_entry(self, where: str, name: str, value: Any) -> None:
        """As `core.require_choice`."""
        require_choice(where, name, value, self.choices)


@dataclasses.dataclass(frozen=True)
class MultipleOf(Check):
    """A whole number, one or more times `unit`."""

    unit: int

    def require_entry(self, where: str, name: str, value: Any) -> None:
        """Raises InputError unless it is."""
        require_count(where, name, value, 1, self.why)
        if value % self.unit:
            raise fail(where, f"{name} must be a multiple of {self.unit}, got {value}", self.why)


@dataclasses.dataclass(frozen=True)
class Must(Check):
    """Whatever else the value itself must be.

    Attributes:
      text: goes on after "must": "be a power of two".
      holds: value -> bool.

    Example:
      >>> Must("be a power of two", lambda long: long & (long - 1) == 0).require("mine", "long", 12)
      Traceback (most recent call last):
      jaxopt_lab.core.errors.InputError: mine: long must be a power of two, got 12.
    """

    text: str
    holds: Callable[[Any], bool]

    def require(self, where: str, name: str, value: Any) -> None:
        """Raises InputError unless it holds."""
        if not self.holds(value):
            raise fail(where, f"{self.name or name} must {self.text}, got {value}", self.why)


@dataclasses.dataclass(frozen=True)
class NotEmpty(Check):
    """A tuple with at least one entry.

    Attributes:
      what: what an entry is, for the error.
    """

    what: str = "entry"

    def require(self, where: str, name: str, value: Any) -> None:
        """Raises InputError unless there is one."""
        if not len(value):
            raise fail(where, f"{self.name or name} must hold at least one {self.what}, got none", self.why)


@dataclasses.dataclass(frozen=True)
class Increasing(Check):
    """A tuple that increases strictly.

    Attributes:
      text: goes on after "must": "hold at least two numbers that increase".
      least: how many entries there must be.
      first: what it starts with, if that is fixed.
      falling: it decreases instead.
    """

    text: str
    least: int = 2
    first: float | None = None
    falling: bool = False

    def require(self, where: str, name: str, value: Any) -> None:
        """Raises InputError unless it does."""
        ordered = all(b < a if self.falling else a < b for a, b in itertools.pairwise(value))
        if not ordered or len(value) < self.least or (self.first is not None and value[0] != self.first):
            raise fail(where, f"{self.name or name} must {self.text}, got {value}", self.why)


Count = Annotated[int, Whole(1)]
Seed = Annotated[int, Whole(0)]
Positive = Annotated[float, AboveZero()]
OpenUnit = Annotated[float, Between("(0, 1)")]
Precision = Annotated[str, OneOf(("float32", "float64"))]


@typing.dataclass_transform(frozen_default=True)
def configclass(kind: Class) -> Class:
    """Makes a frozen dataclass, every instance of which is checked by the annotations of its fields.

    Args:
      kind: a class with annotated fields, each with a default and a docstring that says its unit.

    Returns:
      The dataclass; making an instance raises InputError for a value that a field may not have.
    """
    relations = kind.__dict__.get("__post_init__")

    def check(self: Any) -> None:
        require_fields(self)
        if relations is not None:
            relations(self)

    kind.__post_init__ = check  # pyrefly: ignore
    return typing.cast(Class, dataclasses.dataclass(frozen=True)(kind))


def require_fields(config: Any) -> None:
    """Raises InputError unless every field of a dataclass instance is what its annotation says."""
    kind = type(config)
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    where = Path(file).stem if file else kind.__qualname__
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(config):
        for check, value in _checks(hints[field.name], getattr(config, field.name)):
            check.require(where, field.name, value)


def _checks(hint: Any, value: Any) -> Iterator[tuple[Check, Any]]:
    """The checks of an annotation, those inside of a tuple's entries first, each with the value it looks at."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is Annotated:
        yield from _checks(arguments[0], value)
        yield from ((check, value) for check in arguments[1:] if isinstance(check, Check))
    elif typing.get_origin(hint) is tuple and isinstance(value, tuple | list):
        kinds = arguments[:1] * len(value) if arguments[-1:] == (...,) else arguments
        for kind, entry in zip(kinds, value, strict=False):
            yield from _checks(kind, entry)


def _entries(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple | list):
        for entry in value:
            yield from _entries(entry)
    else:
        yield value
