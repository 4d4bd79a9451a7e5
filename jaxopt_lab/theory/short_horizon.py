"""The loss of heavy ball on a noisy quadratic at one horizon, and the rate that is best there: a short one misleads."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from jaxopt_lab.core.errors import fail, require_count
from jaxopt_lab.theory import arguments
from jaxopt_lab.theory.arguments import Floats

__all__ = ["best_constant_learning_rate", "noisy_quadratic_loss"]


def noisy_quadratic_loss(
    eigenvalues: ArrayLike,
    learning_rate: ArrayLike,
    steps: int,
    noise_variances: ArrayLike,
    rho: ArrayLike = 0.0,
    start: ArrayLike = 1.0,
) -> Floats:
    """Expected loss of heavy ball at one horizon, for many rates and momenta: `noisy_quadratic_losses` in log time.

    E x^2, E x d, E d^2 of each mode move by an affine map, which is raised to the power of the horizon.

    Args:
      eigenvalues: Hessian eigenvalues, >= 0, shape [d].
      learning_rate: > 0, any shape.
      steps: the horizon, >= 0.
      noise_variances: variance of the gradient noise per mode, >= 0, shape [d] or a number.
      rho: momentum in [0, 1), broadcast with learning_rate.
      start: root mean square of x_0 per mode, shape [d] or a number.

    Returns:
      1/2 sum_i eigenvalue_i E x_i^2 after the steps, the shape of learning_rate and rho; inf once it overflows.
      Cost: O(d ln steps) for each.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> noisy_quadratic_loss([1.0], [0.5, 1.0], 2, 1.0, start=0.0).tolist()
      [0.15625, 0.5]

    Reference: Wu, Ren, Liao, Grosse, Understanding short-horizon bias in stochastic meta-optimization, ICLR 2018.
    """
    where = "noisy_quadratic_loss"
    require_count(where, "steps", steps, 0)
    spectrum = np.atleast_1d(arguments.non_negative(where, "eigenvalues", eigenvalues))
    noise = arguments.non_negative(where, "noise_variances", noise_variances)
    begin = arguments.between(where, "start", start, -np.inf, np.inf, ends="()")
    rate, rho, _ = np.broadcast_arrays(arguments.positive(where, "learning_rate", learning_rate)[..., None],
                                       arguments.momentum(where, rho)[0][..., None], spectrum)  # fmt: skip
    h, zero, one = rate * spectrum, np.zeros(rate.shape), np.ones(rate.shape)
    drive = rate**2 * noise
    velocity = [h**2, -2 * rho * h, rho**2, drive]  # E d+^2 by (E x^2, E x d, E d^2, 1)
    crossed = [h**2 - h, rho - 2 * rho * h, rho**2, drive]
    placed = [(1 - h) ** 2, 2 * rho * (1 - h), rho**2, drive]
    step = np.stack([np.stack(row, -1) for row in (placed, crossed, velocity, [zero, zero, zero, one])], -2)
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.linalg.matrix_power(step, steps)
        loss = 0.5 * np.sum(spectrum * (moved[..., 0, 0] * np.square(begin) + moved[..., 0, 3]), -1)
    return np.where(np.isfinite(loss), loss, np.inf)[()]


def best_constant_learning_rate(
    eigenvalues: ArrayLike,
    steps: int,
    noise_variances: ArrayLike,
    rho: float = 0.0,
    start: ArrayLike = 1.0,
    between: Sequence[float] = (1e-6, 4.0),
) -> float:
    """The constant learning rate with the smallest expected loss at a horizon, on a noisy quadratic.

    Args:
      eigenvalues: as in `noisy_quadratic_loss`.
      steps: the horizon, >= 1.
      noise_variances: as there.
      rho: momentum in [0, 1).
      start: as there.
      between: the smallest and the largest rate looked at, > 0.

    Returns:
      The rate, to 7 digits.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> start = [1.0, 1000**0.5]
      >>> at = [best_constant_learning_rate([1.0, 1e-3], steps, 1.0, start=start) for steps in (1, 100, 1000)]
      >>> [f"{rate:.2g}" for rate in at]  # a hundred steps prefer a rate ten times smaller than a thousand do
      ['0.5', '0.032', '0.3']

    Reference: as `noisy_quadratic_loss`.
    """
    require_count("best_constant_learning_rate", "steps", steps)
    low, high = (float(end) for end in arguments.positive("best_constant_learning_rate", "between", between))
    if not low < high:
        raise fail("best_constant_learning_rate", f"between must be two rates that increase, got {low:g} and {high:g}")
    logs = np.linspace(np.log(low), np.log(high), 400)
    losses = noisy_quadratic_loss(eigenvalues, np.exp(logs), steps, noise_variances, rho, start)
    place = int(np.clip(np.argmin(losses), 1, len(logs) - 2))

    def loss(log: float) -> float:
        value = noisy_quadratic_loss(eigenvalues, np.exp(log), steps, noise_variances, rho, start)
        return min(float(value), 1e100)  # the search multiplies losses

    found = minimize_scalar(
        loss, bounds=(logs[place - 1], logs[place + 1]), method="bounded", options={"xatol": 1e-9}
    )  # fmt: skip
    return float(np.exp(found.x))
