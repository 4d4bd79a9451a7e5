"""Where constant-step methods stop on a quadratic when every gradient carries additive noise of fixed variance.

One eigenvalue is an AR(2) process, x+ = T x - D x_before - learning_rate noise (T, D of `rates`), stationary with
    Var x = learning_rate^2 noise_variance (1 + D) / (h (1 - D) (2 (1 + rho) - h (1 + 2 lookahead))),
    corr(x, x+) = T / (1 + D),   h = learning_rate eigenvalue,   D = rho - h lookahead.
At and beyond the stability edge there is no stationary state, and every function here returns inf. `noise_variance` is
the variance s2 of the gradient noise per coordinate.
"""

import numpy as np

from jaxopt_lab.theory.arguments import Floats, Lookahead, Momentum, NonNegative, Positive, checked

__all__ = [
    "autocorrelation_time",
    "averaged_variance",
    "lookahead_variance",
    "loss_floor",
    "stationary_variance",
    "step_variance",
    "uniform_noise_variance",
]


@checked
def stationary_variance(
    learning_rate: Positive,
    eigenvalue: Positive,
    noise_variance: NonNegative,
    rho: Momentum = 0.0,
    lookahead: Lookahead = 0.0,
) -> Floats:
    """Stationary variance of x along one eigenvector.

    SGD: learning_rate s2 / (eigenvalue (2 - h)); heavy ball: learning_rate s2 (1 + rho) / (eigenvalue (1 - rho)
    (2 (1 + rho) - h)); Nesterov, q = 1 - h: learning_rate s2 (1 + rho q) / (eigenvalue (1 - rho q)(1 + q + 2 rho q)).

    Example:
      >>> print(f"{stationary_variance(0.1, 1.0, 1.0, 0.9):.5f} {stationary_variance(0.1, 1.0, 1.0, 0.9, 0.9):.5f}")
      0.51351 0.27063

    Reference: Mandt, Hoffman, Blei 2017; Gitman et al. 2019; Liu, Ziyin, Ueda 2021.
    """
    return _variance(learning_rate, eigenvalue, noise_variance, rho, lookahead)


@checked
def lookahead_variance(
    learning_rate: Positive, eigenvalue: Positive, noise_variance: NonNegative, rho: Momentum, lookahead: Lookahead
) -> Floats:
    """Stationary variance of y = x + lookahead (x - x_before), the point that optax and torch report for Nesterov.

    Var x [1 + 2 lookahead (1 + lookahead) h / (1 + D)], from the AR(2) correlation.

    Example:
      >>> print(f"{lookahead_variance(0.1, 1.0, 1.0, 0.9, 0.9):.5f}")
      0.32177
    """
    h, _, one_plus_d = _process(learning_rate, eigenvalue, rho, lookahead)
    ahead = 2 * lookahead * (1 + lookahead) * h / one_plus_d
    return (1 + ahead) * _variance(learning_rate, eigenvalue, noise_variance, rho, lookahead)


@checked
def loss_floor(
    learning_rate: Positive,
    eigenvalue: Positive,
    noise_variance: NonNegative,
    rho: Momentum = 0.0,
    lookahead: Lookahead = 0.0,
) -> Floats:
    """Expected stationary loss of one mode, eigenvalue Var x / 2; sum it over the spectrum.

    SGD: learning_rate noise_variance / (2 (2 - h)), nearly independent of the eigenvalue.

    Example:
      >>> ratio = loss_floor(0.1, 1.0, 1.0, 0.9) / loss_floor(0.1, 1.0, 1.0)
      >>> print(f"{ratio:.2f}")
      9.76

    Reference: as `stationary_variance`.
    """
    return eigenvalue / 2 * _variance(learning_rate, eigenvalue, noise_variance, rho, lookahead)


@checked
def step_variance(
    learning_rate: Positive,
    eigenvalue: Positive,
    noise_variance: NonNegative,
    rho: Momentum = 0.0,
    lookahead: Lookahead = 0.0,
) -> Floats:
    """Stationary variance of one step x+ - x, the roughness of the path: 2 Var x h / (1 + D).

    At equal learning_rate / (1 - rho) and small h momentum lowers it by (1 - rho) / (1 + rho), while the floor of the
    loss stays the same.

    Example:
      >>> print(f"{step_variance(1e-4, 1.0, 1.0, 0.9) / step_variance(1e-3, 1.0, 1.0):.4f}")
      0.0526

    Reference: Wang, Malladi et al., The marginal value of momentum, ICLR 2024.
    """
    h, _, one_plus_d = _process(learning_rate, eigenvalue, rho, lookahead)
    return 2 * h / one_plus_d * _variance(learning_rate, eigenvalue, noise_variance, rho, lookahead)


@checked
def autocorrelation_time(
    learning_rate: Positive, eigenvalue: Positive, rho: Momentum = 0.0, lookahead: Lookahead = 0.0
) -> Floats:
    """Steps that count as one independent sample of x: the sum of its autocorrelations over all lags.

    (1 - D) (2 (1 + rho) - h (1 + 2 lookahead)) / (h (1 + D)); (2 - h) / h for SGD. Multiply the naive variance of a
    time average by it.

    Example:
      >>> print(f"{autocorrelation_time(0.1, 1.0):.1f} {autocorrelation_time(0.1, 1.0, 0.9):.3f}")
      19.0 1.947

    Reference: spectral density at zero over the variance; Priestley 1981, section 5.3.
    """
    h, restoring, one_plus_d = _process(learning_rate, eigenvalue, rho, lookahead)
    return np.where(restoring >= 0, restoring / (h * one_plus_d), np.inf)[()]


@checked
def averaged_variance(eigenvalue: Positive, noise_variance: NonNegative, steps: Positive) -> Floats:
    """Variance of the Polyak-Ruppert mean of so many stationary iterates: noise_variance / (eigenvalue^2 steps).

    Learning rate and momentum drop out; it holds for steps much longer than `autocorrelation_time` and the
    relaxation time 1 / `modes.decay_rate`.

    Example:
      >>> print(f"{averaged_variance(1.0, 1.0, 1000):.4f}")
      0.0010

    Reference: Polyak and Juditsky 1992, theorem 1.
    """
    return noise_variance / (eigenvalue**2 * steps)


@checked
def uniform_noise_variance(half_width: NonNegative) -> Floats:
    """Variance of noise uniform on [-half_width, half_width], in units of a gradient: half_width^2 / 3.

    Example:
      >>> print(f"{uniform_noise_variance(3.0):.1f}")
      3.0
    """
    return half_width**2 / 3


def _process(learning_rate: Floats, eigenvalue: Floats, rho: Floats, lookahead: Floats) -> tuple[Floats, ...]:
    """h, (1 - D) (2 (1 + rho) - h (1 + 2 lookahead)), and 1 + D (1 where that is not positive, beyond the edge)."""
    h = learning_rate * eigenvalue
    one_plus_d = 1 + rho - h * lookahead
    room = 2 * (1 + rho) - h * (1 + 2 * lookahead)
    return h, (1 - rho + h * lookahead) * room, np.where(one_plus_d > 0, one_plus_d, 1.0)


def _variance(learning_rate: Floats, eigenvalue: Floats, noise: Floats, rho: Floats, lookahead: Floats) -> Floats:
    _, restoring, one_plus_d = _process(learning_rate, eigenvalue, rho, lookahead)
    scale = learning_rate * noise / eigenvalue
    return np.where(restoring > 0, scale * one_plus_d / np.where(restoring > 0, restoring, 1.0), np.inf)[()]
