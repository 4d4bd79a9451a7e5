"""What momentum does to gradients that do not depend on the iterate: its gains, and how velocity builds up and decays.

The velocity v <- rho v + g is a linear filter with transfer function 1 / (1 - rho e^{-i w}); Nesterov's reported
point runs ahead of x by lookahead times the last step, which multiplies it by 1 + lookahead (1 - e^{-i w}). A gain
is the size of momentum's step over plain SGD's step for the same signal and learning rate.

Under a constant gradient from rest v_k = g (1 - rho^k) / (1 - rho): speed is reached after about 1 / (1 - rho) steps,
and lost over as many once the gradient vanishes.
"""

import numpy as np
from numpy.typing import ArrayLike

from jaxopt_lab.theory import arguments
from jaxopt_lab.theory.arguments import Floats

__all__ = [
    "alternating_gain",
    "coasting_distance",
    "constant_gain",
    "constant_gradient_position",
    "effective_number_averaged",
    "initial_velocity_displacement",
    "mean_gradient_age",
    "noise_gain",
    "speed_fraction",
    "steps_to_speed",
    "terminal_velocity",
    "transfer_gain",
]


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


def terminal_velocity(learning_rate: ArrayLike, gradient: ArrayLike, rho: ArrayLike) -> Floats:
    """Length of a step under a constant gradient in the long run: learning_rate gradient / (1 - rho).

    Args:
      learning_rate: step size, > 0.
      gradient: the constant gradient, any finite number.
      rho: momentum in [0, 1).

    Returns:
      The step, with the gradient's sign, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{terminal_velocity(0.1, 1.0, 0.9):.3f}")
      1.000

    Reference: Sutskever, Martens, Dahl, Hinton 2013, section 2.
    """
    where = "terminal_velocity"
    gradient = arguments.between(where, "gradient", gradient, -np.inf, np.inf, ends="()")
    return arguments.positive(where, "learning_rate", learning_rate) * gradient * constant_gain(rho)


def speed_fraction(steps: ArrayLike, rho: ArrayLike) -> Floats:
    """Fraction of the terminal velocity that step k reaches from rest: 1 - rho^k.

    Args:
      steps: which step, k >= 0; the first is 1.
      rho: momentum in [0, 1).

    Returns:
      The fraction, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{speed_fraction(22, 0.9):.3f}")
      0.902

    Reference: the geometric series.
    """
    steps = arguments.non_negative("speed_fraction", "steps", steps)
    rho, _ = arguments.momentum("speed_fraction", rho)
    return _one_minus_power(rho, steps)


def steps_to_speed(fraction: ArrayLike, rho: ArrayLike) -> Floats:
    """Steps from rest until a fraction of the terminal velocity is reached: ln(1 - fraction) / ln rho, not rounded.

    Args:
      fraction: in [0, 1), 0.9 for "90 %".
      rho: momentum in [0, 1); at 0 the answer is 0.

    Returns:
      The number of steps, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{steps_to_speed(0.9, 0.9):.1f}")
      21.9

    Reference: the geometric series.
    """
    fraction = arguments.between("steps_to_speed", "fraction", fraction, 0, 1, ends="[)")
    rho, _ = arguments.momentum("steps_to_speed", rho)
    safe = np.where(rho > 0, rho, 0.5)
    return np.where(rho > 0, np.log1p(-fraction) / np.log(safe), 0.0)[()]


def constant_gradient_position(
    steps: ArrayLike, learning_rate: ArrayLike, gradient: ArrayLike, rho: ArrayLike
) -> Floats:
    """Exact x_k - x_0 from rest under a constant gradient.

    -learning_rate gradient / (1 - rho) [k - rho (1 - rho^k) / (1 - rho)].

    Args:
      steps: whole number of steps k >= 0.
      learning_rate: step size, > 0.
      gradient: the constant gradient, any finite number.
      rho: momentum in [0, 1).

    Returns:
      The displacement, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{constant_gradient_position(2, 0.1, 1.0, 0.9):.2f}")
      -0.29

    Reference: the sum of the geometric series.
    """
    where = "constant_gradient_position"
    steps = arguments.non_negative(where, "steps", steps)
    gradient = arguments.between(where, "gradient", gradient, -np.inf, np.inf, ends="()")
    learning_rate = arguments.positive(where, "learning_rate", learning_rate)
    rho, _ = arguments.momentum(where, rho)
    # As rho -> 1 the bracket is a small difference: k - rho/(1-rho) (1 - rho^k) -> (1 - rho) k (k + 1) / 2.
    direct = (steps - rho / (1 - rho) * _one_minus_power(rho, steps)) / (1 - rho)
    e = 1 - rho
    series = steps * (steps + 1) / 2 * (1 - (steps - 1) / 3 * e * (1 - (steps - 2) / 4 * e * (1 - (steps - 3) / 5 * e)))
    return -learning_rate * gradient * np.where(steps * e < 1e-3, series, direct)


def coasting_distance(last_step: ArrayLike, rho: ArrayLike) -> Floats:
    """Total further distance on exactly flat ground: last_step rho / (1 - rho).

    Args:
      last_step: the last step before the gradient vanished, any finite number.
      rho: momentum in [0, 1).

    Returns:
      The distance, with the step's sign, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{coasting_distance(0.1, 0.9):.1f}")
      0.9

    Reference: the geometric series.
    """
    last_step = arguments.between("coasting_distance", "last_step", last_step, -np.inf, np.inf, ends="()")
    rho, _ = arguments.momentum("coasting_distance", rho)
    return last_step * rho / (1 - rho)


def initial_velocity_displacement(learning_rate: ArrayLike, velocity: ArrayLike, rho: ArrayLike) -> Floats:
    """Total displacement that a start with velocity v_0 instead of rest adds on flat ground.

    -learning_rate rho v_0 / (1 - rho), for v <- rho v + g and x <- x - learning_rate v.

    Args:
      learning_rate: step size, > 0.
      velocity: initial v_0, in units of a gradient, any finite number.
      rho: momentum in [0, 1).

    Returns:
      The displacement, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{initial_velocity_displacement(0.1, 1.0, 0.9):.1f}")
      -0.9

    Reference: the geometric series.
    """
    where = "initial_velocity_displacement"
    velocity = arguments.between(where, "velocity", velocity, -np.inf, np.inf, ends="()")
    return -coasting_distance(arguments.positive(where, "learning_rate", learning_rate) * velocity, rho)


def _one_minus_power(rho: Floats, steps: Floats) -> Floats:
    """1 - rho^k without cancellation."""
    log_rho = np.log(np.where(rho > 0, rho, 1.0))
    return np.where(rho > 0, -np.expm1(steps * log_rho), np.where(steps > 0, 1.0, 0.0))[()]
