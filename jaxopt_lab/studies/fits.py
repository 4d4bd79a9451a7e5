"""Numbers read off from curves: the contraction of a mode, its polynomial prefactor removed; the lowest point."""

import math

import numpy as np
from numpy.typing import ArrayLike

from jaxopt_lab.core import fail


def contraction_per_step(steps: ArrayLike, values: ArrayLike) -> float:
    """The factor r per step of a mode that runs like (a + b k) r^k, b = 0 included, from the last half of a curve.

    Three of its values at equal distances n satisfy y2 - 2 z y1 + z^2 y0 = 0 with z = r^n: the double root of
    optimally tuned momentum does not bias the answer, as it does a straight line through the logarithms.

    Args:
      steps: equally spaced steps, shape [t], at least 5 of them.
      values: the mode's values or their sizes, none zero, shape [t].

    Returns:
      r, per step.

    Raises:
      InputError: fewer than 5 values.

    Example:
      >>> k = np.arange(41)
      >>> round(contraction_per_step(k, (1 + 0.3 * k) * 0.9**k), 12)
      0.9

    Cost: O(1).
    """
    steps, sizes = np.asarray(steps, float), np.abs(np.asarray(values, float))
    if len(sizes) < 5:
        raise fail("contraction_per_step", f"values must hold at least 5 entries, got {len(sizes)}")
    last = len(sizes) - 1
    gap = (last - last // 2) // 2
    first, middle, final = sizes[[last - 2 * gap, last - gap, last]]
    spread = math.sqrt(max(middle**2 - first * final, 0.0))
    return float(((middle - spread) / first) ** (1 / (steps[last] - steps[last - gap])))


def lowest_point(places: ArrayLike, values: ArrayLike) -> float:
    """The lowest point of the parabola through the smallest of some values and its two neighbours.

    Args:
      places: evenly spaced places, shape [n], at least 3; for learning rates their logarithms.
      values: the curve's values there, shape [n]; the smallest may lie at an end.

    Returns:
      The place; where the three do not bend upwards the middle one, and never beyond the neighbours.

    Raises:
      InputError: fewer than 3 values, or places and values of different lengths.

    Example:
      >>> x = np.linspace(0.0, 1.0, 6)
      >>> round(lowest_point(x, (x - 0.33) ** 2), 12)
      0.33

    Cost: O(n).
    """
    places, values = np.asarray(places, float), np.asarray(values, float)
    if places.shape != values.shape or places.ndim != 1 or len(places) < 3:
        raise fail("lowest_point", f"there must be 3 or more places and values, got {places.shape} and {values.shape}")
    middle = int(np.clip(np.argmin(values), 1, len(places) - 2))
    before, at, after = values[middle - 1 : middle + 2]
    bend = before - 2 * at + after
    shift = np.clip(0.5 * (before - after) / bend, -1, 1) if bend > 0 else 0.0
    return float(places[middle] + shift * (places[1] - places[0]))
