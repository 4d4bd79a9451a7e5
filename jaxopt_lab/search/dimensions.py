"""What one hyperparameter may be: a map from the unit interval to values, and back.

    uniform         x = low + u (high - low)
    log-uniform     ln x, one-minus-log-uniform   ln(1 - x)   are uniform
    effective rate  learning rate = value (1 - rho), the value log-uniform

A momentum rule takes steps as long as those of plain descent at lr / (1 - rho): searched in that rate and rho, the two
barely interact; searched in lr and rho, the good ones lie on a narrow diagonal.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxopt_lab.core import fail
from jaxopt_lab.core.errors import is_concrete_number, require_between, require_choice, require_finite

Columns = Mapping[str, np.ndarray]
SCALES = ("uniform", "log_uniform", "one_minus_log_uniform")
_SINGLE = np.finfo(np.float32)
_LIMITS = {
    "uniform": (float(_SINGLE.min), float(_SINGLE.max)),
    "log_uniform": (float(_SINGLE.tiny), float(_SINGLE.max)),
    "one_minus_log_uniform": (0.0, 1.0 - 2.0**-24),
}


@dataclasses.dataclass(frozen=True)
class Range:
    """Real numbers from `low` to `high`, uniform on a scale; a sample never leaves the range by rounding."""

    low: float
    high: float
    scale: str = "uniform"

    def __post_init__(self) -> None:
        require_choice("Range", "scale", self.scale, SCALES)
        _require_order(self.scale, self.low, self.high)
        if self.scale == "log_uniform":
            require_between(self.scale, "low", self.low, 0, np.inf, ends="()", why="A logarithm needs positive ends.")
        if self.scale == "one_minus_log_uniform":
            why = "1 - rho is searched on a logarithmic scale."
            require_between(self.scale, "low", self.low, 0, 1, ends="[)", why=why)
            require_between(self.scale, "high", self.high, 0, 1, ends="[)", why=why)

    @property
    def movable(self) -> tuple[bool, bool]:
        """Whether the low and the high end could be moved outwards; rho = 0 is where nature ends, and 1 - 2^-24."""
        low, high = _LIMITS[self.scale]
        return self.low > low, self.high < high

    def values(self, unit: np.ndarray, known: Columns) -> np.ndarray:
        """Values [n] at unit coordinates [n]."""
        del known
        return np.clip(self._at(unit), self.low, self.high)

    def places(self, values: np.ndarray, known: Columns) -> np.ndarray:
        """Unit coordinates [n] of values [n]; the inverse of `values`."""
        del known
        low, high, places = (self._bent(np.asarray(x, float)) for x in (self.low, self.high, values))
        return (places - low) / (high - low)

    def part(self, low: float, high: float) -> "Range":
        """The range between two unit coordinates; below 0 and above 1 lies what is outside of this one.

        No end moves beyond what float32 can hold: a momentum stays below 1, a rate above 0.
        """
        with np.errstate(over="ignore"):
            ends = self._at(np.array([low, high]))
        first, last = _LIMITS[self.scale]
        ends = np.clip(ends, min(first, self.low), max(last, self.high))
        return dataclasses.replace(self, low=float(ends[0]), high=float(ends[1]))

    def _at(self, unit: np.ndarray) -> np.ndarray:
        low, high = self._bent(np.asarray(self.low)), self._bent(np.asarray(self.high))
        place = low + np.asarray(unit) * (high - low)
        if self.scale == "uniform":
            return place
        return np.exp(place) if self.scale == "log_uniform" else -np.expm1(-place)

    def _bent(self, values: np.ndarray) -> np.ndarray:
        if self.scale == "uniform":
            return values
        return np.log(values) if self.scale == "log_uniform" else -np.log1p(-values)


@dataclasses.dataclass(frozen=True)
class Integers:
    """Whole numbers from `low` to `high`, both included, each equally likely."""

    low: int
    high: int
    movable = (True, True)

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise fail("integers", f"{name} must be a whole number, got {value!r}")
        _require_order("integers", self.low, self.high)

    def values(self, unit: np.ndarray, known: Columns) -> np.ndarray:
        """Values [n] at unit coordinates [n]."""
        del known
        count = self.high - self.low + 1
        return self.low + np.clip(np.floor(np.asarray(unit) * count), 0, count - 1).astype(np.int64)

    def places(self, values: np.ndarray, known: Columns) -> np.ndarray:
        """Unit coordinates [n]: the middle of each value's share."""
        del known
        return (np.asarray(values) - self.low + 0.5) / (self.high - self.low + 1)

    def part(self, low: float, high: float) -> "Integers":
        """The whole numbers between two unit coordinates, at least two."""
        count = self.high - self.low + 1
        first, last = self.low + int(np.floor(low * count)), self.low + int(np.ceil(high * count)) - 1
        return Integers(first, max(last, first + 1))


@dataclasses.dataclass(frozen=True)
class Choices:
    """One of a few numbers, each equally likely."""

    options: tuple[float, ...]
    movable = (False, False)

    def __post_init__(self) -> None:
        for option in self.options:
            if is_concrete_number(option):
                require_finite("choices", "each number", option)
        if len(self.options) < 2 or not all(is_concrete_number(option) for option in self.options):
            raise fail(
                "choices", f"there must be at least two numbers, got {self.options!r}",
                "Each value is an argument of one compiled program. Give different rules as a mapping to sweep.",
            )  # fmt: skip

    def values(self, unit: np.ndarray, known: Columns) -> np.ndarray:
        """Values [n] at unit coordinates [n]."""
        del known
        count = len(self.options)
        return np.asarray(self.options)[np.clip(np.floor(np.asarray(unit) * count), 0, count - 1).astype(int)]

    def places(self, values: np.ndarray, known: Columns) -> np.ndarray:
        """Unit coordinates [n]: the middle of each value's share."""
        del known
        away = np.abs(np.asarray(values, float)[:, None] - np.asarray(self.options, float))
        return (away.argmin(1) + 0.5) / len(self.options)

    def part(self, low: float, high: float) -> "Choices":
        """All of the choices: they have no order."""
        del low, high
        return self


@dataclasses.dataclass(frozen=True)
class EffectiveRate:
    """A learning rate searched as lr / (1 - momentum), log-uniform from `low` to `high`."""

    low: float
    high: float
    momentum: str = "rho"
    movable = (True, True)

    def __post_init__(self) -> None:
        _ = self._range

    @property
    def _range(self) -> Range:
        return Range(self.low, self.high, "log_uniform")

    def values(self, unit: np.ndarray, known: Columns) -> np.ndarray:
        """Learning rates [n] at unit coordinates [n]."""
        return self._range.values(unit, known) * (1 - np.asarray(known[self.momentum]))

    def places(self, values: np.ndarray, known: Columns) -> np.ndarray:
        """Unit coordinates [n] of learning rates [n]."""
        return self._range.places(np.asarray(values) / (1 - np.asarray(known[self.momentum])), known)

    def part(self, low: float, high: float) -> "EffectiveRate":
        """The rates between two unit coordinates."""
        inner = self._range.part(low, high)
        return EffectiveRate(inner.low, inner.high, self.momentum)


@dataclasses.dataclass(frozen=True)
class When:
    """A dimension that counts only where another hyperparameter has one value; elsewhere it is `otherwise`."""

    name: str
    value: float
    inner: "Dimension"
    otherwise: float

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Range | Integers | Choices | EffectiveRate):
            raise fail("when", f"the conditional part must be a dimension, got {self.inner!r}")
        for name in ("value", "otherwise"):
            if not is_concrete_number(getattr(self, name)):
                raise fail("when", f"{name} must be a real number, got {getattr(self, name)!r}")
        require_finite("when", "otherwise", self.otherwise, "A column of the sweep holds a number for each trial.")

    @property
    def movable(self) -> tuple[bool, bool]:
        """Whether its ends could be moved outwards."""
        return self.inner.movable

    def values(self, unit: np.ndarray, known: Columns) -> np.ndarray:
        """Values [n] at unit coordinates [n]."""
        return np.where(self.active(known), self.inner.values(unit, known), self.otherwise)

    def places(self, values: np.ndarray, known: Columns) -> np.ndarray:
        """Unit coordinates [n]; NaN where the part is not active."""
        active = self.active(known)
        safe = np.where(active, values, self.inner.values(np.full(len(active), 0.5), known))
        return np.where(active, self.inner.places(safe, known), np.nan)

    def active(self, known: Columns) -> np.ndarray:
        """Where the part counts, bool [n]."""
        return np.asarray(known[self.name]) == self.value

    def part(self, low: float, high: float) -> "When":
        """The same condition on a part of the dimension."""
        return dataclasses.replace(self, inner=self.inner.part(low, high))


Dimension = Range | Integers | Choices | EffectiveRate | When


def uniform(low: float, high: float) -> Range:
    """Real numbers, uniform from `low` to `high`."""
    return Range(low, high, "uniform")


def log_uniform(low: float, high: float) -> Range:
    """Positive numbers whose logarithm is uniform; for learning rates."""
    return Range(low, high, "log_uniform")


def one_minus_log_uniform(low: float, high: float) -> Range:
    """Numbers in [0, 1) whose distance to 1 has a uniform logarithm; for momentum: .9, .99, .999 are equal steps."""
    return Range(low, high, "one_minus_log_uniform")


def integers(low: int, high: int) -> Integers:
    """Whole numbers from `low` to `high`, both included."""
    return Integers(low, high)


def choices(*options: float) -> Choices:
    """One of the given numbers."""
    return Choices(tuple(options))


def effective_rate(low: float, high: float, momentum: str = "rho") -> EffectiveRate:
    """A learning rate searched as lr / (1 - momentum), log-uniform.

    Args:
      low: smallest effective rate, > 0.
      high: largest effective rate.
      momentum: the name of the hyperparameter with the fraction of the velocity that is kept.

    Returns:
      The dimension.

    Raises:
      InputError: the ends are not positive, or out of order.

    Reference: Shallue et al., Measuring the effects of data parallelism, 2019, section 4.7, who tune it.
    """
    return EffectiveRate(low, high, momentum)


def when(name: str, value: float, dimension: Dimension, otherwise: float) -> When:
    """A conditional part: `dimension` where hyperparameter `name` equals `value`, elsewhere the number `otherwise`."""
    return When(name, value, dimension, otherwise)


def _require_order(where: str, low: Any, high: Any) -> None:
    for name, value in (("low", low), ("high", high)):
        if not is_concrete_number(value):
            raise fail(where, f"{name} must be a real number, got {value!r}")
        require_finite(where, name, value)
    if not low < high:
        raise fail(where, f"low must be below high, got {low} and {high}", "A fixed number needs no dimension.")
