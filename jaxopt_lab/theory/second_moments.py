"""Whole expected learning curves of noisy two-step methods, from the exact recursion of second moments.

Per mode with error x and last step d, the three numbers E x^2, E x d, E d^2 close under
    y = x + lookahead d,   d+ = rho d - learning_rate g(y),   x+ = x + d+,
    E g^2 = eigenvalue^2 E y^2 + noise.
Regression on fresh batches of B Gaussian inputs has
    noise_i = (eigenvalue_i^2 E y_i^2 + eigenvalue_i (S + label_noise)) / B,   S = sum_j eigenvalue_j E y_j^2,
which couples the modes; the noisy quadratic model has noise_i fixed, over B. Curves are
1/2 sum_i eigenvalue_i E x_i^2 at x_0 ... x_t, started at rest; inf once it overflows.
"""

from collections.abc import Iterator

import numpy as np

from jaxopt_lab.core.errors import fail
from jaxopt_lab.theory.arguments import (
    BatchSize,
    Finite,
    Floats,
    Lookahead,
    LookaheadSchedule,
    Momentum,
    MomentumSchedule,
    NonNegative,
    Numbers,
    RateSchedule,
    Steps,
    checked,
)

__all__ = ["noisy_quadratic_losses", "regression_risks", "second_moment_matrix", "steps_to_target"]


@checked
def regression_risks(
    eigenvalues: NonNegative,
    learning_rate: RateSchedule,
    steps: Steps,
    batch_size: BatchSize,
    label_noise: NonNegative = 0.0,
    rho: MomentumSchedule = 0.0,
    lookahead: LookaheadSchedule = 0.0,
    start: Finite = 1.0,
) -> Floats:
    """Expected excess risk of linear regression on fresh batches, shape [t + 1]. Cost: O(t d) time, O(d) memory.

    Args:
      eigenvalues: of the input covariance, shape [d].
      learning_rate: step size, or one per step, shape [t].
      steps: number of steps t.
      batch_size: examples per step, inf for the full gradient.
      label_noise: variance of the label noise.
      rho: momentum, or one per step, shape [t].
      lookahead: 0 for heavy ball, rho for Nesterov, or one per step, shape [t].
      start: root mean square of w_0 - w* per mode, shape [d] or a number.

    Example:
      >>> print(regression_risks(np.ones(9), 0.5, 2, batch_size=10.0, start=1 / 3).round(4).tolist())
      [0.5, 0.25, 0.125]

    Reference: derived here from the Gaussian fourth moment; rho = 0: Bordelon and Pehlevan 2022.
    """
    eigenvalues = np.atleast_1d(eigenvalues)
    noise = eigenvalues * label_noise / batch_size
    curve = _curve(eigenvalues, (learning_rate, rho, lookahead), batch_size, noise, start)
    return np.fromiter(curve, np.float64, steps + 1)


@checked
def noisy_quadratic_losses(
    eigenvalues: NonNegative,
    learning_rate: RateSchedule,
    steps: Steps,
    noise_variances: NonNegative,
    rho: MomentumSchedule = 0.0,
    lookahead: LookaheadSchedule = 0.0,
    start: Finite = 1.0,
) -> Floats:
    """Expected loss of a quadratic under additive gradient noise, shape [t + 1]. Arguments as in `regression_risks`.

    `noise_variances` are those of the gradient noise per mode, shape [d] or a number; divide by the batch size
    yourself. The noisy quadratic model takes them proportional to the eigenvalues.

    Example:
      >>> noisy_quadratic_losses([1.0], 0.5, 2, 1.0, start=0.0).tolist()
      [0.0, 0.125, 0.15625]

    Reference: Zhang et al., Which algorithmic choices matter at which batch sizes, NeurIPS 2019, section 3.
    """
    schedule = (learning_rate, rho, lookahead)
    curve = _curve(np.atleast_1d(eigenvalues), schedule, np.asarray(np.inf), noise_variances, start)
    return np.fromiter(curve, np.float64, steps + 1)


@checked
def second_moment_matrix(
    eigenvalues: NonNegative,
    learning_rate: NonNegative,
    batch_size: BatchSize,
    rho: Momentum = 0.0,
    lookahead: Lookahead = 0.0,
) -> Floats:
    """The linear map of one noiseless regression step on (E x_i^2, E x_i d_i, E d_i^2), all x first, then x d, d.

    Its spectral radius is the factor per step of the expected risk, and reaches 1 at `minibatch.mean_square_edge`.
    Shape [3 d, 3 d], for d at most 2000; cost: memory O(9 d^2).

    Example:
      >>> matrix = second_moment_matrix([1.0], 0.5, 2.0)
      >>> print(f"{abs(np.linalg.eigvals(matrix)).max():.2f}")
      0.50

    Reference: as `regression_risks`.
    """
    eigenvalues = np.atleast_1d(eigenvalues)
    if eigenvalues.size > 2000:
        problem = f"eigenvalues must number at most 2000, got {eigenvalues.size}"
        raise fail("second_moment_matrix", problem, "Take `regression_risks`.")
    basis = np.eye(3 * eigenvalues.size).reshape(3, eigenvalues.size, -1)
    moved = _advance(tuple(basis), eigenvalues[:, None], learning_rate, rho, lookahead, batch_size, np.zeros(()))
    return np.concatenate(moved)


@checked
def steps_to_target(losses: Numbers, target: Finite) -> float:
    """First step at which a curve that starts at step 0, shape [t + 1], is at or below a target; inf if it never is.

    Example:
      >>> steps_to_target([1.0, 0.5, 0.25], 0.5)
      1.0

    Reference: Shallue et al. 2019, section 3.
    """
    reached = np.flatnonzero(losses <= target)
    return float(reached[0]) if reached.size else float("inf")


def _curve(
    eigenvalues: Floats, schedule: tuple[Floats, ...], batch: Floats, noise: Floats, start: Floats
) -> Iterator[float]:
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
