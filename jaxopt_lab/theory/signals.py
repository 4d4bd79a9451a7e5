"""What momentum does to a sequence of gradients that does not depend on the iterate.

The velocity v <- rho v + g is a linear filter with transfer function 1 / (1 - rho e^{-i w}); Nesterov's reported
point runs ahead of x by lookahead times the last step, which multiplies it by 1 + lookahead (1 - e^{-i w}). A gain
is the size of momentum's step over plain SGD's step for the same signal and learning rate.
"""

import numpy as np
from numpy.typing import ArrayLike

from jaxopt_lab.theory import arguments
from jaxopt_lab.theory.arguments import Floats


def transfer_gain(frequency: ArrayLike, rho: ArrayLike, lookahead: ArrayLike = 0.0) -> Floats:
    """Gain for a gradient that oscillates at one frequency.

    |1 + lookahead (1 - e^{-i w})| / |1 - rho e^{-i w}|, with |1 - rho e^{-i w}|^2 = (1 - rho)^2 + 4 rho sin^2(w / 2).

    Args:
      frequency: w in radians per step; 0 is constant, pi alternates.
      rho: momentum in [0, 1).
      lookahead: 0 for heavy ball, rho for Nesterov, in [0, 1].

    Returns:
      The gain, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{transfer_gain(0.0, 0.9):.4f} {transfer_gain(np.pi, 0.9):.4f}")
      10.0000 0.5263

    Reference: Oppenheim and Schafer, Discrete-Time Signal Processing, section 5.3.
    """
    frequency = arguments.between("transfer_gain", "frequency", frequency, -np.inf, np.inf, ends="()")
    rho, lookahead = arguments.momentum("transfer_gain", rho, lookahead)
    chord = 4 * np.sin(frequency / 2) ** 2
    return np.sqrt((1 + lookahead * (1 + lookahead) * chord) / ((1 - rho) ** 2 + rho * chord))


def constant_gain(rho: ArrayLike) -> Floats:
    """Gain for a constant gradient, the same for heavy ball and Nesterov: 1 / (1 - rho).

    It is also the sum of the weights that past gradients have in the velocity, which is therefore no average.

    Args:
      rho: momentum in [0, 1).

    Returns:
      The gain, broadcast.

    Raises:
      InputError: rho is out of range.

    Example:
      >>> print(f"{constant_gain(0.9):.1f}")
      10.0

    Reference: `transfer_gain` at frequency 0.
    """
    rho, _ = arguments.momentum("constant_gain", rho)
    return 1 / (1 - rho)


def alternating_gain(rho: ArrayLike, lookahead: ArrayLike = 0.0) -> Floats:
    """Gain for a gradient that changes sign every step (a zig-zag): (1 + 2 lookahead) / (1 + rho).

    Heavy ball at best halves a zig-zag; Nesterov amplifies it.

    Args:
      rho: momentum in [0, 1).
      lookahead: 0 for heavy ball, rho for Nesterov, in [0, 1].

    Returns:
      The gain, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{alternating_gain(0.9):.4f} {alternating_gain(0.9, 0.9):.4f}")
      0.5263 1.4737

    Reference: `transfer_gain` at frequency pi.
    """
    rho, lookahead = arguments.momentum("alternating_gain", rho, lookahead)
    return (1 + 2 * lookahead) / (1 + rho)


def noise_gain(rho: ArrayLike, lookahead: ArrayLike = 0.0) -> Floats:
    """Ratio of step variances for white noise.

    (1 + lookahead)^2 + (rho - lookahead (1 - rho))^2 / (1 - rho^2), which is 1 / (1 - rho^2) for heavy ball.

    Args:
      rho: momentum in [0, 1).
      lookahead: 0 for heavy ball, rho for Nesterov, in [0, 1].

    Returns:
      The ratio of variances, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{noise_gain(0.9):.3f}")
      5.263

    Reference: the sum of the squared impulse response.
    """
    rho, lookahead = arguments.momentum("noise_gain", rho, lookahead)
    return (1 + lookahead) ** 2 + (rho - lookahead * (1 - rho)) ** 2 / ((1 - rho) * (1 + rho))


def mean_gradient_age(rho: ArrayLike) -> Floats:
    """Mean age, in steps, of the gradients in the velocity: rho / (1 - rho).

    The same number is the distance that a run coasts on a flat plateau, in units of its last step.

    Args:
      rho: momentum in [0, 1).

    Returns:
      The age in steps, broadcast.

    Raises:
      InputError: rho is out of range.

    Example:
      >>> print(f"{mean_gradient_age(0.9):.1f}")
      9.0

    Reference: the mean of a geometric law.
    """
    rho, _ = arguments.momentum("mean_gradient_age", rho)
    return rho / (1 - rho)


def effective_number_averaged(rho: ArrayLike) -> Floats:
    """How many independent gradients an equal average would need for the velocity's relative noise.

    (sum w)^2 / sum w^2 = (1 + rho) / (1 - rho).

    Args:
      rho: momentum in [0, 1).

    Returns:
      The number of gradients, broadcast.

    Raises:
      InputError: rho is out of range.

    Example:
      >>> print(f"{effective_number_averaged(0.9):.1f}")
      19.0

    Reference: Kish, Survey Sampling, 1965 (effective sample size).
    """
    rho, _ = arguments.momentum("effective_number_averaged", rho)
    return (1 + rho) / (1 - rho)
