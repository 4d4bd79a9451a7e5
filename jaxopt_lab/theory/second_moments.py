"""Whole expected learning curves of noisy two-step methods, from the exact recursion of second moments.

Per mode with error x and last step d, the three numbers E x^2, E x d, E d^2 close under
    y = x + lookahead d,   d+ = rho d - learning_rate g(y),   x+ = x + d+,
    E g^2 = eigenvalue^2 E y^2 + noise.
Regression on fresh batches of B Gaussian inputs has
    noise_i = (eigenvalue_i^2 E y_i^2 + eigenvalue_i (S + label_noise)) / B,   S = sum_j eigenvalue_j E y_j^2,
which couples the modes; the noisy quadratic model has noise_i fixed, over B.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from jaxopt_lab.core.errors import fail, require_count
from jaxopt_lab.theory import arguments
from jaxopt_lab.theory.arguments import Floats

__all__ = ["noisy_quadratic_losses", "regression_risks", "second_moment_matrix", "steps_to_target"]


def regression_risks(
    eigenvalues: ArrayLike,
    learning_rate: ArrayLike,
    steps: int,
    batch_size: float,
    label_noise: float = 0.0,
    rho: ArrayLike = 0.0,
    lookahead: ArrayLike = 0.0,
    start: ArrayLike = 1.0,
) -> Floats:
    """Expected excess risk of linear regression on fresh batches, at x_0 ... x_t, started at rest.

    Args:
      eigenvalues: eigenvalues of the input covariance, >= 0, shape [d].
      learning_rate: step size >= 0, or one per step, shape [t].
      steps: number of steps t >= 0.
      batch_size: examples per step, > 0, inf for the full gradient.
      label_noise: variance of the label noise, >= 0.
      rho: momentum in [0, 1), or one per step, shape [t].
      lookahead: 0 for heavy ball, rho for Nesterov, or one per step, shape [t].
      start: root mean square of w_0 - w* per mode, shape [d] or a number.

    Returns:
      1/2 sum_i eigenvalue_i E x_i^2, shape [t + 1]; inf once it overflows. Cost: O(t d) time, O(d) memory.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(regression_risks(np.ones(9), 0.5, 2, batch_size=10.0, start=1 / 3).round(4).tolist())
      [0.5, 0.25, 0.125]

    Reference: derived here from the Gaussian fourth moment; rho = 0: Bordelon and Pehlevan 2022.
    """
    return _risks("regression_risks", eigenvalues, learning_rate, steps, batch_size, label_noise, rho, lookahead, start)


def noisy_quadratic_losses(
    eigenvalues: ArrayLike,
    learning_rate: ArrayLike,
    steps: int,
    noise_variances: ArrayLike,
    rho: ArrayLike = 0.0,
    lookahead: ArrayLike = 0.0,
    start: ArrayLike = 1.0,
) -> Floats:
    """Expected loss of a quadratic under additive gradient noise, at x_0 ... x_t, started at rest.

    Args:
      eigenvalues: Hessian eigenvalues, >= 0, shape [d].
      learning_rate: step size >= 0, or one per step, shape [t].
      steps: number of steps t >= 0.
      noise_variances: variance of the gradient noise per mode, >= 0, shape [d] or a number; divide by the batch
        size yourself. The noisy quadratic model takes it proportional to the eigenvalues.
      rho: momentum in [0, 1), or one per step, shape [t].
      lookahead: 0 for heavy ball, rho for Nesterov, or one per step, shape [t].
      start: root mean square of x_0 per mode, shape [d] or a number.

    Returns:
      1/2 sum_i eigenvalue_i E x_i^2, shape [t + 1]. Cost: O(t d) time, O(d) memory.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> noisy_quadratic_losses([1.0], 0.5, 2, 1.0, start=0.0).tolist()
      [0.0, 0.125, 0.15625]

    Reference: Zhang et al., Which algorithmic choices matter at which batch sizes, NeurIPS 2019, section 3.
    """
    where = "noisy_quadratic_losses"
    noise = arguments.non_negative(where, "noise_variances", noise_variances)
    return _risks(where, eigenvalues, learning_rate, steps, np.inf, noise, rho, lookahead, start)


def second_moment_matrix(
    eigenvalues: ArrayLike, learning_rate: float, batch_size: float, rho: float = 0.0, lookahead: float = 0.0
) -> Floats:
    """The linear map of one noiseless regression step on (E x_i^2, E x_i d_i, E d_i^2), all x first, then x d, d.

    Its spectral radius is the factor per step of the expected risk, and reaches 1 at `minibatch.mean_square_edge`.

    Args:
      eigenvalues: eigenvalues of the input covariance, >= 0, shape [d]; d at most 2000.
      learning_rate: step size, >= 0.
      batch_size: examples per step, > 0, inf for the full gradient.
      rho: momentum in [0, 1).
      lookahead: 0 for heavy ball, rho for Nesterov, in [0, 1].

    Returns:
      The matrix, shape [3 d, 3 d]. Cost: memory O(9 d^2).

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> matrix = second_moment_matrix([1.0], 0.5, 2.0)
      >>> print(f"{abs(np.linalg.eigvals(matrix)).max():.2f}")
      0.50

    Reference: as `regression_risks`.
    """
    where = "second_moment_matrix"
    eigenvalues = np.atleast_1d(arguments.non_negative(where, "eigenvalues", eigenvalues))
    if eigenvalues.size > 2000:
        raise fail(where, f"eigenvalues must number at most 2000, got {eigenvalues.size}", "Take `regression_risks`.")
    learning_rate_ = arguments.non_negative(where, "learning_rate", learning_rate)
    batch = arguments.between(where, "batch_size", batch_size, 0, np.inf, ends="(]")
    rho_, ahead = arguments.momentum(where, rho, lookahead)
    basis = np.eye(3 * eigenvalues.size).reshape(3, eigenvalues.size, -1)
    columns = eigenvalues[:, None]
    moved = _advance(tuple(basis), columns, learning_rate_, rho_, ahead, batch, np.zeros(()))
    return np.concatenate(moved)


def steps_to_target(losses: ArrayLike, target: float) -> float:
    """First step at which a curve is at or below a target.

    Args:
      losses: a curve starting at step 0, shape [t + 1].
      target: the level, any finite number.

    Returns:
      The step, or inf when the curve never reaches it.

    Raises:
      InputError: the target is not finite.

    Example:
      >>> steps_to_target([1.0, 0.5, 0.25], 0.5)
      1.0

    Reference: Shallue et al. 2019, section 3.
    """
    level = arguments.between("steps_to_target", "target", target, -np.inf, np.inf, ends="()")
    reached = np.flatnonzero(arguments.real("steps_to_target", "losses", losses) <= level)
    return float(reached[0]) if reached.size else float("inf")


def _risks(where, eigenvalues, learning_rate, steps, batch_size, noise, rho, lookahead, start) -> Floats:
    require_count(where, "steps", steps, 0)
    eigenvalues = np.atleast_1d(arguments.non_negative(where, "eigenvalues", eigenvalues))
    batch = arguments.between(where, "batch_size", batch_size, 0, np.inf, ends="(]")
    learning_rate = arguments.non_negative(where, "learning_rate", learning_rate)
    rho, lookahead = arguments.momentum(where, rho, lookahead)
    start = arguments.between(where, "start", start, -np.inf, np.inf, ends="()")
    if where == "regression_risks":
        label_noise = arguments.non_negative(where, "label_noise", noise)
        noise = eigenvalues * label_noise / batch
    schedule = [
        arguments.per_step(where, name, value, steps)
        for name, value in (("learning_rate", learning_rate), ("rho", rho), ("lookahead", lookahead))
    ]
    return np.fromiter(_curve(eigenvalues, schedule, batch, noise, start), np.float64, steps + 1)


def _curve(eigenvalues: Floats, schedule: list[Floats], batch: Floats, noise: Floats, start: Floats) -> Iterator[float]:
    zeros = np.zeros_like(eigenvalues)
    state = (zeros + start**2, zeros, zeros)
    yield 0.5 * np.sum(eigenvalues * state[0])
    for learning_rate, rho, lookahead in zip(*schedule, strict=True):
        with np.errstate(over="ignore", invalid="ignore"):
            state = _advance(state, eigenvalues, learning_rate, rho, lookahead, batch, noise)
            risk = 0.5 * np.sum(eigenvalues * state[0])
        yield np.inf if np.isnan(risk) else risk


def _advance(state, eigenvalues, learning_rate, rho, lookahead, batch, noise):
    """One step of (E x^2, E x d, E d^2), shapes [d, ...]; `noise` is the additive part of the gradient's variance."""
    xx, xd, dd = state
    yy = xx + 2 * lookahead * xd + lookahead**2 * dd
    xg, dg = eigenvalues * (xx + lookahead * xd), eigenvalues * (xd + lookahead * dd)
    total = np.sum(eigenvalues * yy, axis=0)
    gg = eigenvalues**2 * yy * (1 + 1 / batch) + eigenvalues / batch * total + noise
    xd_new = rho * xd - learning_rate * xg
    dd_new = rho**2 * dd - 2 * rho * learning_rate * dg + learning_rate**2 * gg
    return xx + 2 * xd_new + dd_new, xd_new + dd_new, dd_new
