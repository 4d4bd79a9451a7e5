"""Arguments of closed forms: the annotation names the range, and `checked` converts and checks every entry.

    @checked
    def two_step_edge(rho: Momentum, lookahead: Lookahead) -> Floats:
        return 2 * (1 + rho) / (1 + 2 * lookahead)

takes numbers and arrays of any shape; the body gets float64 arrays whose every entry lies in its range, and a wrong one
is named: `two_step_edge: rho must be in [0, 1), got 1.5. With rho >= 1 the velocity never forgets a gradient.`
The annotations are aliases, so that `help` shows their names; to a type checker they are Any, since the body gets other
types than the caller hands in. An alias is Annotated with checks, called with the function's name, the argument's, its
value and all arguments of the call: they return the value as the body gets it. The checks of `core` look at single
numbers; closed forms broadcast.
"""

import functools
import inspect
import textwrap
import typing
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeAliasType

from jaxopt_lab.core.errors import fail, require_count

Function = TypeVar("Function", bound=Callable[..., Any])
Arguments = dict[str, Any]
Floats = TypeAliasType("Floats", NDArray[np.float64])


class Real:
    """Real numbers, NaN included, as float64; `why` ends the error and says why, or what to try."""

    def __init__(self, why: str = "") -> None:
        self.why = why

    def __str__(self) -> str:
        return "any real numbers"

    def __call__(self, where: str, name: str, value: Any, given: Arguments | None = None) -> Any:
        """Returns a float64 copy of the value, of the same shape."""
        try:
            array = np.asarray(value)
        except ValueError:  # lists of different lengths
            array = np.asarray(None)
        if array.dtype.kind in "cOSUMm":
            raise fail(where, f"{name} must be a number or an array of numbers, got {value!r}", self.why)
        return array.astype(np.float64)


class Range(Real):
    """An interval, "[0, 1)" say, in which every entry must lie.

    Example:
      >>> Range("[0, 1)")("heavy_ball_edge", "rho", [0.5, 1.5])
      Traceback (most recent call last):
      jaxopt_lab.core.errors.InputError: heavy_ball_edge: rho must be in [0, 1), got 1.5.
    """

    def __init__(self, text: str, why: str = "") -> None:
        super().__init__(why)
        self.text = text
        self._low, self._high = (float(end) for end in text[1:-1].split(","))
        self._above = np.greater_equal if text[0] == "[" else np.greater
        self._below = np.less_equal if text[-1] == "]" else np.less

    def __str__(self) -> str:
        return f"in {self.text}"

    def __call__(self, where: str, name: str, value: Any, given: Arguments | None = None) -> Any:
        """Returns a float64 copy of the value, of the same shape; the error names its first wrong entry."""
        array = super().__call__(where, name, value)
        inside = self._above(array, self._low) & self._below(array, self._high)
        if not inside.all():
            wrong = str(float(array[~inside].flat[0] if array.ndim else array)).removesuffix(".0")
            raise fail(where, f"{name} must be {self}, got {wrong}", self.why)
        return array


class Whole:
    """One whole number of at least `minimum`, handed on as it is."""

    def __init__(self, minimum: int, why: str = "") -> None:
        self.minimum, self.why = minimum, why

    def __str__(self) -> str:
        return f"a whole number of at least {self.minimum}"

    def __call__(self, where: str, name: str, value: Any, given: Arguments) -> Any:
        """Returns the value."""
        require_count(where, name, value, self.minimum, self.why)
        return value


class AtMost:
    """Every entry is at most that of another argument."""

    def __init__(self, other: str, why: str) -> None:
        self.other, self.why = other, why

    def __str__(self) -> str:
        return f"at most {self.other}"

    def __call__(self, where: str, name: str, value: Floats, given: Arguments) -> Any:
        """Returns the value."""
        if np.any(value > given[self.other]):
            raise fail(where, f"{name} must be at most {self.other}, got {value} and {given[self.other]}", self.why)
        return value


class PerStep:
    """One number, or one per step of the argument `steps`."""

    def __str__(self) -> str:
        return "one number or one per step"

    def __call__(self, where: str, name: str, value: Floats, given: Arguments) -> Any:
        """Returns the value with shape [steps]."""
        steps = given["steps"]
        if value.shape not in ((), (steps,)):
            raise fail(where, f"{name} must be a number or have one entry per step ({steps}), got shape {value.shape}")
        return np.broadcast_to(value, (steps,))


_FORGETS = "With rho >= 1 the velocity never forgets a gradient."
_AHEAD = "It is 0 for heavy ball and rho for Nesterov."
_ORDER = "They are the smallest and the largest eigenvalue, and come in the order (L, mu)."
_KAPPA = "It is the largest eigenvalue over the smallest."

Numbers = TypeAliasType("Numbers", Annotated[Any, Real()])
NotNaN = TypeAliasType("NotNaN", Annotated[Any, Range("[-inf, inf]")])
Finite = TypeAliasType("Finite", Annotated[Any, Range("(-inf, inf)")])
Positive = TypeAliasType("Positive", Annotated[Any, Range("(0, inf)")])
NonNegative = TypeAliasType("NonNegative", Annotated[Any, Range("[0, inf)")])
AtLeastOne = TypeAliasType("AtLeastOne", Annotated[Any, Range("[1, inf)")])
OpenFraction = TypeAliasType("OpenFraction", Annotated[Any, Range("(0, 1)")])
PositiveFraction = TypeAliasType("PositiveFraction", Annotated[Any, Range("(0, 1]")])
FractionBelowOne = TypeAliasType("FractionBelowOne", Annotated[Any, Range("[0, 1)")])
Momentum = TypeAliasType("Momentum", Annotated[Any, Range("[0, 1)", _FORGETS)])
Lookahead = TypeAliasType("Lookahead", Annotated[Any, Range("[0, 1]", _AHEAD)])
ConditionNumber = TypeAliasType("ConditionNumber", Annotated[Any, Range("[1, inf)", _KAPPA)])
StrongConvexity = TypeAliasType("StrongConvexity", Annotated[Any, Range("(0, inf)"), AtMost("smoothness", _ORDER)])
BatchSize = TypeAliasType("BatchSize", Annotated[Any, Range("(0, inf]")])
Count = TypeAliasType("Count", Annotated[int, Whole(1)])
Steps = TypeAliasType("Steps", Annotated[int, Whole(0)])
RateSchedule = TypeAliasType("RateSchedule", Annotated[Any, Range("[0, inf)"), PerStep()])
MomentumSchedule = TypeAliasType("MomentumSchedule", Annotated[Any, Range("[0, 1)", _FORGETS), PerStep()])
LookaheadSchedule = TypeAliasType("LookaheadSchedule", Annotated[Any, Range("[0, 1]", _AHEAD), PerStep()])


def checked(function: Function) -> Function:
    """Converts and checks the arguments of every call as their annotations say; the docstring gets the ranges.

    Args:
      function: a function of which some arguments are annotated with the aliases of this file.

    Returns:
      The function, of the same name, signature and types.
    """
    where = function.__qualname__.rpartition("<locals>.")[2]
    signature = inspect.signature(function)
    demands = {name: _demands(parameter.annotation) for name, parameter in signature.parameters.items()}
    # What compares arguments comes after their ranges, which make arrays of them.
    plan = [(name, checks[0]) for name, checks in demands.items() if checks]
    plan += [(name, check) for name, checks in demands.items() for check in checks[1:]]
    optional = {name for name, parameter in signature.parameters.items() if parameter.default is None}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            bound = None
        if bound is None:
            return function(*args, **kwargs)  # Python's own error, with the function's name
        bound.apply_defaults()
        given = bound.arguments
        for name, check in plan:
            if given[name] is not None or name not in optional:
                given[name] = check(where, name, given[name], given)
        return function(**given)

    call.__doc__ = _with_ranges(function.__doc__, demands)
    return typing.cast(Function, call)


def _demands(annotation: Any) -> list[Callable[..., Any]]:
    """The checks that an alias, or a union of one with None, carries in its Annotated."""
    aliases = (annotation, *typing.get_args(annotation))
    return [check for alias in aliases for check in getattr(getattr(alias, "__value__", None), "__metadata__", ())]


def _with_ranges(docstring: str | None, demands: dict[str, list[Callable[..., Any]]]) -> str:
    told = "; ".join(f"{name} {', '.join(map(str, checks))}" for name, checks in demands.items() if checks)
    ranges = textwrap.fill(f"Ranges: {told}; else an InputError.", 112)
    return f"{inspect.cleandoc(docstring or '')}\n\n{ranges}\n"
