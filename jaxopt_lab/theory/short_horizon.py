"""The loss of heavy ball on a noisy quadratic at one horizon, and the rate that is best there: a short one misleads.

Reference: Wu, Ren, Liao, Grosse, Understanding short-horizon bias in stochastic meta-optimization, ICLR 2018.
"""

import numpy as np
from scipy.optimize import minimize_scalar

from jaxopt_lab.core.errors import fail
from jaxopt_lab.theory.arguments import Count, Finite, Floats, Momentum, NonNegative, Positive, Steps, checked

__all__ = ["best_constant_learning_rate", "noisy_quadratic_loss"]


@checked
def noisy_quadratic_loss(
    eigenvalues: NonNegative,
    learning_rate: Positive,
    steps: Steps,
    noise_variances: NonNegative,
    rho: Momentum = 0.0,
    start: Finite = 1.0,
) -> Floats:
    """Expected loss of heavy ball at one horizon, for many rates and momenta: `noisy_quadratic_losses` in log time.

    E x^2, E x d, E d^2 of each mode move by an affine map, which is raised to the power of the horizon.

    Args:
      eigenvalues: of the Hessian, shape [d].
      learning_rate: any shape.
      steps: the horizon.
      noise_variances: variance of the gradient noise per mode, shape [d] or a number.
      rho: momentum, broadcast with learning_rate.
      start: root mean square of x_0 per mode, shape [d] or a number.

    Returns:
      1/2 sum_i eigenvalue_i E x_i^2 after the steps, the shape of learning_rate and rho; inf once it overflows.
      Cost: O(d ln steps) for each.

    Example:
      >>> noisy_quadratic_loss([1.0], [0.5, 1.0], 2, 1.0, start=0.0).tolist()
      [0.15625, 0.5]
    """
    spectrum = np.atleast_1d(eigenvalues)
    rate, rho, _ = np.broadcast_arrays(learning_rate[..., None], rho[..., None], spectrum)
    h, zero, one = rate * spectrum, np.zeros(rate.shape), np.ones(rate.shape)
    drive = rate**2 * noise_variances
    velocity = [h**2, -2 * rho * h, rho**2, drive]  # E d+^2 by (E x^2, E x d, E d^2, 1)
    crossed = [h**2 - h, rho - 2 * rho * h, rho**2, drive]
    placed = [(1 - h) ** 2, 2 * rho * (1 - h), rho**2, drive]
    step = np.stack([np.stack(row, -1) for row in (placed, crossed, velocity, [zero, zero, zero, one])], -2)
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.linalg.matrix_power(step, steps)
        loss = 0.5 * np.sum(spectrum * (moved[..., 0, 0] * np.square(start) + moved[..., 0, 3]), -1)
    return np.where(np.isfinite(loss), loss, np.inf)[()]


@checked
def best_constant_learning_rate(
    eigenvalues: NonNegative,
    steps: Count,
    noise_variances: NonNegative,
    rho: Momentum = 0.0,
    start: Finite = 1.0,
    between: Positive = (1e-6, 4.0),
) -> float:
    """The constant learning rate with the smallest expected loss at a horizon, on a noisy quadratic, to 7 digits.

    The arguments are those of `noisy_quadratic_loss`, and the smallest and the largest rate to look at.

    Example:
      >>> start = [1.0, 1000**0.5]
      >>> at = [best_constant_learning_rate([1.0, 1e-3], steps, 1.0, start=start) for steps in (1, 100, 1000)]
      >>> [f"{rate:.2g}" for rate in at]  # a hundred steps prefer a rate ten times smaller than a thousand do
      ['0.5', '0.032', '0.3']
    """
    low, high = (float(end) for end in between)
    if not low < high:
        raise fail("best_constant_learning_rate", f"between must be two rates that increase, got {low:g} and {high:g}")
    logs = np.linspace(np.log(low), np.log(high), 400)
    losses = noisy_quadratic_loss(eigenvalues, np.exp(logs), steps, noise_variances, rho, start)
    place = int(np.clip(np.argmin(losses), 1, len(logs) - 2))

    def loss(log: float) -> float:
        value = noisy_quadratic_loss(eigenvalues, np.exp(log), steps, noise_variances, rho, start)
        return min(float(value), 1e100)  # the search multiplies losses

    bounds = (logs[place - 1], logs[place + 1])
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-9})
    return float(np.exp(found.x))
