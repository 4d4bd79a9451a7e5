"""What momentum does to gradients that do not depend on the iterate: its gains, and how velocity builds up and decays.

The velocity v <- rho v + g is a linear filter with transfer function 1 / (1 - rho e^{-i w}); Nesterov's reported
point runs ahead of x by lookahead times the last step, which multiplies it by 1 + lookahead (1 - e^{-i w}). A gain
is the size of momentum's step over plain SGD's step for the same signal and learning rate.

Under a constant gradient from rest v_k = g (1 - rho^k) / (1 - rho): speed is reached after about 1 / (1 - rho) steps,
and lost over as many once the gradient vanishes. What has no reference follows from the geometric series.
"""

import numpy as np

from jaxopt_lab.theory.arguments import (
    Finite,
    Floats,
    FractionBelowOne,
    Lookahead,
    Momentum,
    NonNegative,
    Positive,
    checked,
)

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


@checked
def transfer_gain(frequency: Finite, rho: Momentum, lookahead: Lookahead = 0.0) -> Floats:
    """Gain for a gradient that oscillates at a frequency w, in radians per step: 0 is constant, pi alternates.

    |1 + lookahead (1 - e^{-i w})| / |1 - rho e^{-i w}|, with |1 - rho e^{-i w}|^2 = (1 - rho)^2 + 4 rho sin^2(w / 2).

    Example:
      >>> print(f"{transfer_gain(0.0, 0.9):.4f} {transfer_gain(np.pi, 0.9):.4f}")
      10.0000 0.5263

    Reference: Oppenheim and Schafer, Discrete-Time Signal Processing, section 5.3.
    """
    chord = 4 * np.sin(frequency / 2) ** 2
    return np.sqrt((1 + lookahead * (1 + lookahead) * chord) / ((1 - rho) ** 2 + rho * chord))


@checked
def constant_gain(rho: Momentum) -> Floats:
    """Gain for a constant gradient, the same for heavy ball and Nesterov: 1 / (1 - rho), `transfer_gain` at 0.

    It is also the sum of the weights that past gradients have in the velocity, which is therefore no average.

    Example:
      >>> print(f"{constant_gain(0.9):.1f}")
      10.0
    """
    return 1 / (1 - rho)


@checked
def alternating_gain(rho: Momentum, lookahead: Lookahead = 0.0) -> Floats:
    """Gain for a gradient that changes sign every step: (1 + 2 lookahead) / (1 + rho), `transfer_gain` at pi.

    Heavy ball at best halves a zig-zag; Nesterov amplifies it.

    Example:
      >>> print(f"{alternating_gain(0.9):.4f} {alternating_gain(0.9, 0.9):.4f}")
      0.5263 1.4737
    """
    return (1 + 2 * lookahead) / (1 + rho)


@checked
def noise_gain(rho: Momentum, lookahead: Lookahead = 0.0) -> Floats:
    """Ratio of step variances for white noise, the sum of the squared impulse response.

    (1 + lookahead)^2 + (rho - lookahead (1 - rho))^2 / (1 - rho^2), which is 1 / (1 - rho^2) for heavy ball.

    Example:
      >>> print(f"{noise_gain(0.9):.3f}")
      5.263
    """
    return (1 + lookahead) ** 2 + (rho - lookahead * (1 - rho)) ** 2 / ((1 - rho) * (1 + rho))


@checked
def mean_gradient_age(rho: Momentum) -> Floats:
    """Mean age, in steps, of the gradients in the velocity: rho / (1 - rho).

    The same number is the distance that a run coasts on a flat plateau, in units of its last step.

    Example:
      >>> print(f"{mean_gradient_age(0.9):.1f}")
      9.0
    """
    return rho / (1 - rho)


@checked
def effective_number_averaged(rho: Momentum) -> Floats:
    """How many independent gradients an equal average would need for the velocity's relative noise.

    (sum w)^2 / sum w^2 = (1 + rho) / (1 - rho).

    Example:
      >>> print(f"{effective_number_averaged(0.9):.1f}")
      19.0

    Reference: Kish, Survey Sampling, 1965 (effective sample size).
    """
    return (1 + rho) / (1 - rho)


@checked
def terminal_velocity(learning_rate: Positive, gradient: Finite, rho: Momentum) -> Floats:
    """Step under a constant gradient in the long run, with its sign: learning_rate gradient / (1 - rho).

    Example:
      >>> print(f"{terminal_velocity(0.1, 1.0, 0.9):.3f}")
      1.000

    Reference: Sutskever, Martens, Dahl, Hinton 2013, section 2.
    """
    return learning_rate * gradient * (1 / (1 - rho))


@checked
def speed_fraction(steps: NonNegative, rho: Momentum) -> Floats:
    """Fraction of the terminal velocity that step k reaches from rest, the first being 1: 1 - rho^k.

    Example:
      >>> print(f"{speed_fraction(22, 0.9):.3f}")
      0.902
    """
    return _one_minus_power(rho, steps)


@checked
def steps_to_speed(fraction: FractionBelowOne, rho: Momentum) -> Floats:
    """Steps from rest until a fraction of the terminal velocity is reached: ln(1 - fraction) / ln rho, 0 at rho = 0.

    Example:
      >>> print(f"{steps_to_speed(0.9, 0.9):.1f}")
      21.9
    """
    safe = np.where(rho > 0, rho, 0.5)
    return np.where(rho > 0, np.log1p(-fraction) / np.log(safe), 0.0)[()]


@checked
def constant_gradient_position(steps: NonNegative, learning_rate: Positive, gradient: Finite, rho: Momentum) -> Floats:
    """Exact x_k - x_0 from rest under a constant gradient, after a whole number of steps.

    -learning_rate gradient / (1 - rho) [k - rho (1 - rho^k) / (1 - rho)].

    Example:
      >>> print(f"{constant_gradient_position(2, 0.1, 1.0, 0.9):.2f}")
      -0.29
    """
    # As rho -> 1 the bracket is a small difference: k - rho/(1-rho) (1 - rho^k) -> (1 - rho) k (k + 1) / 2.
    direct = (steps - rho / (1 - rho) * _one_minus_power(rho, steps)) / (1 - rho)
    e = 1 - rho
    series = steps * (steps + 1) / 2 * (1 - (steps - 1) / 3 * e * (1 - (steps - 2) / 4 * e * (1 - (steps - 3) / 5 * e)))
    return -learning_rate * gradient * np.where(steps * e < 1e-3, series, direct)


@checked
def coasting_distance(last_step: Finite, rho: Momentum) -> Floats:
    """Total further distance on exactly flat ground, after the last step before it: last_step rho / (1 - rho).

    Example:
      >>> print(f"{coasting_distance(0.1, 0.9):.1f}")
      0.9
    """
    return last_step * rho / (1 - rho)


@checked
def initial_velocity_displacement(learning_rate: Positive, velocity: Finite, rho: Momentum) -> Floats:
    """Total displacement that a start with velocity v_0, in units of a gradient, adds on flat ground to one from rest.

    -learning_rate rho v_0 / (1 - rho), for v <- rho v + g and x <- x - learning_rate v.

    Example:
      >>> print(f"{initial_velocity_displacement(0.1, 1.0, 0.9):.1f}")
      -0.9
    """
    return -coasting_distance(learning_rate * velocity, rho)


def _one_minus_power(rho: Floats, steps: Floats) -> Floats:
    """1 - rho^k without cancellation."""
    log_rho = np.log(np.where(rho > 0, rho, 1.0))
    return np.where(rho > 0, -np.expm1(steps * log_rho), np.where(steps > 0, 1.0, 0.0))[()]
