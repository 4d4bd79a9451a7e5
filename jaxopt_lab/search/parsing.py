"""Spaces from the words of a command line: `learning_rate=log:1e-4:1`."""

from collections.abc import Sequence

from jaxopt_lab.core import fail, require_choice
from jaxopt_lab.search.dimensions import (
    Dimension,
    choices,
    effective_rate,
    integers,
    log_uniform,
    one_minus_log_uniform,
    uniform,
)
from jaxopt_lab.search.spaces import Space


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


def _numbers(words: Sequence[str]) -> list[float]:
    return [float(word) for word in words]
