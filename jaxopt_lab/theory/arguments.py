"""Arguments of closed forms: float64 arrays whose every entry lies in the range that the formula allows.

The checks of `core` look at single numbers; closed forms broadcast, so here each entry of an array is looked at,
and the first one out of range is named.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxopt_lab.core.errors import fail

Floats = NDArray[np.float64]

FORGETS = "With rho >= 1 the velocity never forgets a gradient."


def between(
    where: str, name: str, value: ArrayLike, low: float, high: float, *, ends: str = "[]", why: str = ""
) -> Floats:
    """Returns `value` as float64; every entry must lie between `low` and `high`.

    Args:
      where: name of the function that the user called.
      name: name of its argument.
      value: a number or an array of any shape.
      low: smallest allowed value.
      high: largest allowed value.
      ends: "[]", "[)", "(]" or "()": whether the ends themselves are allowed.
      why: why, or what to try.

    Returns:
      The same numbers, float64, of the same shape.

    Raises:
      InputError: an entry is out of range, NaN, or not a real number.

    Example:
      >>> between("heavy_ball_edge", "rho", [0.5, 1.5], 0, 1, ends="[)")
      Traceback (most recent call last):
      jaxopt_lab.core.errors.InputError: heavy_ball_edge: rho must be in [0, 1), got 1.5.
    """
    array = real(where, name, value, why)
    inside = (array >= low if ends[0] == "[" else array > low) & (array <= high if ends[1] == "]" else array < high)
    if not np.all(inside):
        wrong = str(float(array[~inside].flat[0] if array.ndim else array)).removesuffix(".0")
        raise fail(
            where,
            f"{name} must be in {ends[0]}{low:g}, {high:g}{ends[1]}, got {wrong}",
            why,
        )
    return array


def real(where: str, name: str, value: ArrayLike, why: str = "") -> Floats:
    """Returns `value` as float64, whatever its entries are, NaN included; raises where they are no real numbers."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        array = np.asarray(None)
    if array.dtype.kind in "cOSUMm":
        raise fail(where, f"{name} must be a number or an array of numbers, got {value!r}", why)
    return array.astype(np.float64)


def positive(where: str, name: str, value: ArrayLike, why: str = "") -> Floats:
    """Returns `value` as float64; every entry must be finite and above zero."""
    return between(where, name, value, 0, np.inf, ends="()", why=why)


def non_negative(where: str, name: str, value: ArrayLike, why: str = "") -> Floats:
    """Returns `value` as float64; every entry must be finite and at least zero."""
    return between(where, name, value, 0, np.inf, ends="[)", why=why)


def momentum(where: str, rho: ArrayLike, lookahead: ArrayLike = 0.0) -> tuple[Floats, Floats]:
    """Returns rho, in [0, 1), and the lookahead weight, in [0, 1], as float64."""
    return (
        between(where, "rho", rho, 0, 1, ends="[)", why=FORGETS),
        between(where, "lookahead", lookahead, 0, 1, why="It is 0 for heavy ball and rho for Nesterov."),
    )


def condition_number(where: str, kappa: ArrayLike) -> Floats:
    """Returns kappa, finite and at least 1, as float64."""
    return between(where, "kappa", kappa, 1, np.inf, ends="[)", why="It is the largest eigenvalue over the smallest.")


def curvature_range(where: str, smoothness: ArrayLike, strong_convexity: ArrayLike) -> tuple[Floats, Floats]:
    """Returns L and mu, 0 < mu <= L, as float64."""
    smoothness = positive(where, "smoothness", smoothness)
    strong_convexity = positive(where, "strong_convexity", strong_convexity)
    if np.any(strong_convexity > smoothness):
        raise fail(
            where,
            f"strong_convexity must be at most smoothness, got {strong_convexity} and {smoothness}",
            "They are the smallest and the largest eigenvalue, and come in the order (L, mu).",
        )
    return smoothness, strong_convexity


def per_step(where: str, name: str, value: Floats, steps: int) -> Floats:
    """Returns `value`, a number or one per step, with shape [steps]."""
    if value.shape not in ((), (steps,)):
        raise fail(where, f"{name} must be a number or have one entry per step ({steps}), got shape {value.shape}")
    return np.broadcast_to(value, (steps,))
