"""Numbers read off from curves: the contraction of a mode, its polynomial prefactor removed."""

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
