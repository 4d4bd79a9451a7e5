"""Where constant-step methods stop on a quadratic when every gradient carries additive noise of fixed variance.

One eigenvalue is an AR(2) process, x+ = T x - D x_before - learning_rate noise (T, D of `rates`), stationary with
    Var x = learning_rate^2 noise_variance (1 + D) / (h (1 - D) (2 (1 + rho) - h (1 + 2 lookahead))),
    corr(x, x+) = T / (1 + D),   h = learning_rate eigenvalue.
At and beyond the stability edge there is no stationary state, and every function here returns inf.
"""

import numpy as np
from numpy.typing import ArrayLike

from jaxopt_lab.theory import arguments
from jaxopt_lab.theory.arguments import Floats

__all__ = [
    "autocorrelation_time",
    "averaged_variance",
    "lookahead_variance",
    "loss_floor",
    "stationary_variance",
    "step_variance",
    "uniform_noise_variance",
]


def stationary_variance(
    learning_rate: ArrayLike,
    eigenvalue: ArrayLike,
    noise_variance: ArrayLike,
    rho: ArrayLike = 0.0,
    lookahead: ArrayLike = 0.0,
) -> Floats:
    """Stationary variance of x along one eigenvector.

    SGD: learning_rate s2 / (eigenvalue (2 - h)); heavy ball: learning_rate s2 (1 + rho) / (eigenvalue (1 - rho)
    (2 (1 + rho) - h)); Nesterov, q = 1 - h: learning_rate s2 (1 + rho q) / (eigenvalue (1 - rho q)(1 + q + 2 rho q)).

    Args:
      learning_rate: step size, > 0.
      eigenvalue: Hessian eigenvalue, > 0.
      noise_variance: variance s2 of the gradient noise per coordinate, >= 0.
      rho: momentum in [0, 1).
      lookahead: 0 for heavy ball, rho for Nesterov, in [0, 1].

    Returns:
      The variance, broadcast; inf at and beyond the stability edge.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{stationary_variance(0.1, 1.0, 1.0, 0.9):.5f} {stationary_variance(0.1, 1.0, 1.0, 0.9, 0.9):.5f}")
      0.51351 0.27063

    Reference: Mandt, Hoffman, Blei 2017; Gitman et al. 2019; Liu, Ziyin, Ueda 2021.
    """
    where = "stationary_variance"
    _, restoring, one_plus_d = _process(where, learning_rate, eigenvalue, rho, lookahead)
    drive = np.asarray(learning_rate, np.float64) * arguments.non_negative(where, "noise_variance", noise_variance)
    scale = drive / np.asarray(eigenvalue, np.float64)
    return np.where(restoring > 0, scale * one_plus_d / np.where(restoring > 0, restoring, 1.0), np.inf)[()]


def lookahead_variance(
    learning_rate: ArrayLike,
    eigenvalue: ArrayLike,
    noise_variance: ArrayLike,
    rho: ArrayLike,
    lookahead: ArrayLike,
) -> Floats:
    """Stationary variance of y = x + lookahead (x - x_before), the point that optax and torch report for Nesterov.

    Var x [1 + 2 lookahead (1 + lookahead) h / (1 + D)], h = learning_rate eigenvalue, D = rho - h lookahead.

    Args:
      learning_rate: step size, > 0.
      eigenvalue: Hessian eigenvalue, > 0.
      noise_variance: variance of the gradient noise per coordinate, >= 0.
      rho: momentum in [0, 1).
      lookahead: rho for Nesterov, in [0, 1].

    Returns:
      The variance, broadcast; inf at and beyond the stability edge.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{lookahead_variance(0.1, 1.0, 1.0, 0.9, 0.9):.5f}")
      0.32177

    Reference: derived from the AR(2) correlation.
    """
    h, _, one_plus_d = _process("lookahead_variance", learning_rate, eigenvalue, rho, lookahead)
    ahead = 2 * np.asarray(lookahead) * (1 + np.asarray(lookahead)) * h / one_plus_d
    return (1 + ahead) * stationary_variance(learning_rate, eigenvalue, noise_variance, rho, lookahead)


def loss_floor(
    learning_rate: ArrayLike,
    eigenvalue: ArrayLike,
    noise_variance: ArrayLike,
    rho: ArrayLike = 0.0,
    lookahead: ArrayLike = 0.0,
) -> Floats:
    """Expected stationary loss of one mode, eigenvalue Var x / 2; sum it over the spectrum.

    SGD: learning_rate noise_variance / (2 (2 - h)), nearly independent of the eigenvalue.

    Args:
      learning_rate: step size, > 0.
      eigenvalue: Hessian eigenvalue, > 0.
      noise_variance: variance of the gradient noise per coordinate, >= 0.
      rho: momentum in [0, 1).
      lookahead: 0 for heavy ball, rho for Nesterov, in [0, 1].

    Returns:
      The loss, broadcast; inf at and beyond the stability edge.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> ratio = loss_floor(0.1, 1.0, 1.0, 0.9) / loss_floor(0.1, 1.0, 1.0)
      >>> print(f"{ratio:.2f}")
      9.76

    Reference: as `stationary_variance`.
    """
    return np.asarray(eigenvalue) / 2 * stationary_variance(learning_rate, eigenvalue, noise_variance, rho, lookahead)


def step_variance(
    learning_rate: ArrayLike,
    eigenvalue: ArrayLike,
    noise_variance: ArrayLike,
    rho: ArrayLike = 0.0,
    lookahead: ArrayLike = 0.0,
) -> Floats:
    """Stationary variance of one step x+ - x, the roughness of the path.

    2 Var x h / (1 + D), h = learning_rate eigenvalue, D = rho - h lookahead. At equal learning_rate / (1 - rho) and
    small h momentum lowers it by (1 - rho) / (1 + rho), while the floor of the loss stays the same.

    Args:
      learning_rate: step size, > 0.
      eigenvalue: Hessian eigenvalue, > 0.
      noise_variance: variance of the gradient noise per coordinate, >= 0.
      rho: momentum in [0, 1).
      lookahead: 0 for heavy ball, rho for Nesterov, in [0, 1].

    Returns:
      The variance, broadcast; inf at and beyond the stability edge.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{step_variance(1e-4, 1.0, 1.0, 0.9) / step_variance(1e-3, 1.0, 1.0):.4f}")
      0.0526

    Reference: Wang, Malladi et al., The marginal value of momentum, ICLR 2024.
    """
    h, _, one_plus_d = _process("step_variance", learning_rate, eigenvalue, rho, lookahead)
    return 2 * h / one_plus_d * stationary_variance(learning_rate, eigenvalue, noise_variance, rho, lookahead)


def autocorrelation_time(
    learning_rate: ArrayLike, eigenvalue: ArrayLike, rho: ArrayLike = 0.0, lookahead: ArrayLike = 0.0
) -> Floats:
    """Steps that count as one independent sample of x: the sum of its autocorrelations over all lags.

    (1 - D) (2 (1 + rho) - h (1 + 2 lookahead)) / (h (1 + D)); (2 - h) / h for SGD. Multiply the naive variance of a
    time average by it.

    Args:
      learning_rate: step size, > 0.
      eigenvalue: Hessian eigenvalue, > 0.
      rho: momentum in [0, 1).
      lookahead: 0 for heavy ball, rho for Nesterov, in [0, 1].

    Returns:
      The time in steps, broadcast; inf beyond the stability edge.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{autocorrelation_time(0.1, 1.0):.1f} {autocorrelation_time(0.1, 1.0, 0.9):.3f}")
      19.0 1.947

    Reference: spectral density at zero over the variance; Priestley 1981, section 5.3.
    """
    h, restoring, one_plus_d = _process("autocorrelation_time", learning_rate, eigenvalue, rho, lookahead)
    return np.where(restoring >= 0, restoring / (h * one_plus_d), np.inf)[()]


def averaged_variance(eigenvalue: ArrayLike, noise_variance: ArrayLike, steps: ArrayLike) -> Floats:
    """Variance of the Polyak-Ruppert mean of many stationary iterates: noise_variance / (eigenvalue^2 steps).

    Learning rate and momentum drop out; it holds for steps much longer than `autocorrelation_time` and the
    relaxation time 1 / `modes.decay_rate`.

    Args:
      eigenvalue: Hessian eigenvalue, > 0.
      noise_variance: variance of the gradient noise per coordinate, >= 0.
      steps: number of iterates averaged, > 0.

    Returns:
      The variance, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{averaged_variance(1.0, 1.0, 1000):.4f}")
      0.0010

    Reference: Polyak and Juditsky 1992, theorem 1.
    """
    where = "averaged_variance"
    noise_variance = arguments.non_negative(where, "noise_variance", noise_variance)
    eigenvalue = arguments.positive(where, "eigenvalue", eigenvalue)
    return noise_variance / (eigenvalue**2 * arguments.positive(where, "steps", steps))


def uniform_noise_variance(half_width: ArrayLike) -> Floats:
    """Variance of noise uniform on [-half_width, half_width]: half_width^2 / 3.

    Args:
      half_width: largest noise, >= 0, in units of a gradient.

    Returns:
      The variance, broadcast.

    Raises:
      InputError: half_width is out of range.

    Example:
      >>> print(f"{uniform_noise_variance(3.0):.1f}")
      3.0

    Reference: the uniform law.
    """
    return arguments.non_negative("uniform_noise_variance", "half_width", half_width) ** 2 / 3


def _process(
    where: str, learning_rate: ArrayLike, eigenvalue: ArrayLike, rho: ArrayLike, lookahead: ArrayLike
) -> tuple[Floats, Floats, Floats]:
    """h, (1 - D) (2 (1 + rho) - h (1 + 2 lookahead)), and 1 + D (1 where that is not positive, beyond the edge)."""
    learning_rate = arguments.positive(where, "learning_rate", learning_rate)
    eigenvalue = arguments.positive(where, "eigenvalue", eigenvalue)
    rho, lookahead = arguments.momentum(where, rho, lookahead)
    h = learning_rate * eigenvalue
    one_plus_d = 1 + rho - h * lookahead
    room = 2 * (1 + rho) - h * (1 + 2 * lookahead)
    return h, (1 - rho + h * lookahead) * room, np.where(one_plus_d > 0, one_plus_d, 1.0)
