"""Whole trajectories of modes started at rest, as polynomials p_k(eigenvalue), to compare entire curves.

On f = 1/2 sum_i eigenvalue_i x_i^2 every method here gives x_i(k) = p_k(eigenvalue_i) x_i(0), so a run's exact
loss is 1/2 sum_i eigenvalue_i p_k(eigenvalue_i)^2 x_i(0)^2, to rounding, with nothing fitted.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jaxopt_lab.theory.arguments import (
    Count,
    Finite,
    Floats,
    LookaheadSchedule,
    Momentum,
    MomentumSchedule,
    NotNaN,
    Positive,
    RateSchedule,
    Steps,
    StrongConvexity,
    checked,
)

__all__ = [
    "Schedule",
    "chebyshev_responses",
    "chebyshev_schedule",
    "expected_losses",
    "gap_after_drop",
    "mode_responses",
    "stream_mode_responses",
]


class Schedule(NamedTuple):
    """Hyperparameters per step of a heavy-ball iteration.

    Attributes:
      learning_rates: step sizes, shape [t].
      rhos: momenta, shape [t].
    """

    learning_rates: Floats
    rhos: Floats


@checked
def mode_responses(
    eigenvalues: Finite,
    learning_rate: RateSchedule,
    steps: Steps,
    rho: MomentumSchedule = 0.0,
    lookahead: LookaheadSchedule = 0.0,
) -> Floats:
    """Responses p_0 ... p_t of modes to a two-step method started at rest.

    p_{k+1} = (1 + rho) p_k - rho p_{k-1} - learning_rate eigenvalue ((1 + lookahead) p_k - lookahead p_{k-1}).

    Args:
      eigenvalues: of the Hessian, shape [d].
      learning_rate: step size, or one per step, shape [t].
      steps: number of steps t.
      rho: momentum, or one per step, shape [t].
      lookahead: 0 for heavy ball, rho for Nesterov, or one per step, shape [t].

    Returns:
      The responses, shape [t + 1, d]; row 0 is all ones. A diverging mode ends in inf or nan.
      Cost: O(t d) time and memory.

    Example:
      >>> mode_responses([1.0, 0.5], 1.0, 2, rho=0.5).tolist()
      [[1.0, 1.0], [0.0, 0.5], [-0.5, 0.0]]

    Reference: Polyak 1964; Goh, Why momentum really works, Distill 2017.
    """
    return np.stack(list(_recursion(np.atleast_1d(eigenvalues), learning_rate, rho, lookahead)))


@checked
def stream_mode_responses(
    eigenvalues: Finite,
    learning_rate: RateSchedule,
    steps: Steps,
    rho: MomentumSchedule = 0.0,
    lookahead: LookaheadSchedule = 0.0,
) -> Iterator[Floats]:
    """The rows of `mode_responses`, t + 1 fresh arrays of shape [d], for spectra too large to hold all: memory O(d).

    Example:
      >>> [float(row[0]) for row in stream_mode_responses([1.0], 0.5, 3)]
      [1.0, 0.5, 0.25, 0.125]
    """
    return _recursion(np.atleast_1d(eigenvalues), learning_rate, rho, lookahead)


@checked
def chebyshev_schedule(smoothness: Positive, strong_convexity: StrongConvexity, steps: Steps) -> Schedule:
    """The Chebyshev semi-iteration, the best possible method for a spectrum known to lie in [mu, L], as arrays [t].

    omega_1 = 1, omega_2 = 2 / (2 - s^2), omega_{k+1} = 1 / (1 - s^2 omega_k / 4), s = (L - mu) / (L + mu);
    learning_rate_k = 2 omega_k / (L + mu), rho_k = omega_k - 1. The limit is the optimal heavy ball.

    Example:
      >>> schedule = chebyshev_schedule(100.0, 1.0, 20)
      >>> response = mode_responses([1.0], schedule.learning_rates, 20, schedule.rhos)
      >>> print(f"{response[-1, 0]:.8f}")
      0.03613139

    Reference: Golub and Varga 1961; Golub and Van Loan, Matrix Computations, section 11.2.8.
    """
    L, mu = smoothness, strong_convexity
    squared = ((L - mu) / (L + mu)) ** 2
    excess = np.zeros(steps)  # omega - 1, kept apart so that it stays accurate when kappa is near 1
    for k in range(1, steps):
        quarter = squared * (1 + excess[k - 1]) / (2 if k == 1 else 4)
        excess[k] = quarter / (1 - quarter)
    return Schedule(2 / (L + mu) * (1 + excess), excess)


@checked
def chebyshev_responses(
    eigenvalues: Finite, smoothness: Positive, strong_convexity: StrongConvexity, steps: Steps
) -> Floats:
    """Responses p_0 ... p_t of modes to the Chebyshev semi-iteration, shape [t + 1, d].

    p_k(eigenvalue) = T_k((L + mu - 2 eigenvalue) / (L - mu)) / T_k((L + mu) / (L - mu)).

    Example:
      >>> print(f"{abs(chebyshev_responses([1.0, 100.0], 100.0, 1.0, 10)[-1]).max():.8f}")
      0.26408876

    Reference: as `chebyshev_schedule`.
    """
    schedule = chebyshev_schedule(smoothness, strong_convexity, steps)
    return mode_responses(eigenvalues, schedule.learning_rates, steps, schedule.rhos)


@checked
def expected_losses(responses: NotNaN, eigenvalues: Finite, start: Finite = 1.0) -> Floats:
    """Losses 1/2 sum_i eigenvalue_i (p_k(eigenvalue_i) start_i)^2 of a quadratic along a trajectory.

    Args:
      responses: p_k(eigenvalue_i), shape [t + 1, d] or [d], for losses of shape [t + 1] or a scalar.
      eigenvalues: of the Hessian.
      start: distance from the minimum per mode, shape [d] or a number; its root mean square for random starts.

    Example:
      >>> expected_losses(mode_responses([2.0], 0.25, 1), [2.0]).tolist()
      [1.0, 0.25]
    """
    return 0.5 * np.sum(eigenvalues * (responses * start) ** 2, axis=-1)


@checked
def gap_after_drop(rate: Positive, factor: Positive, drop_step: Count, after: Count, rho: Momentum) -> Floats:
    """How far Nesterov's two forms part on eigenvalue 1, start 1, once the learning rate drops by a factor.

    With the rate inside of the velocity the run keeps its step, with the rate outside the step shrinks with it. At the
    drop both report the same point x + rho v, but only one keeps what the other lost of the step: the difference is a
    free motion from x = -rho lost with a first step of lost. From rest at 1 a mode does q_k; from 0 with a step of 1 it
    does ((1 - h) q_k - q_{k+1}) / h.

    Args:
      rate: learning rate before the drop.
      factor: the rate falls by it.
      drop_step: steps before the drop.
      after: steps after it.
      rho: momentum.

    Returns:
      The difference of the reported points at each step, [drop_step + after + 1].

    Example:
      >>> gap_after_drop(0.05, 10.0, 10, 3, 0.9)[10:].round(4).tolist()
      [0.0, -0.0672, -0.1271, -0.18]

    Reference: derived here from the two-step recursion.
    """
    before = mode_responses(1.0, rate, drop_step, rho, rho)[:, 0]
    lost = (1 - 1 / factor) * (before[-1] - before[-2])
    h = rate / factor
    q = mode_responses(1.0, h, after + 1, rho, rho)[:, 0]
    x = lost * (((1 - h) * q[:-1] - q[1:]) / h - rho * q[:-1])
    return np.concatenate([np.zeros(drop_step + 1), x[1:] + rho * np.diff(x)])


def _recursion(eigenvalues: Floats, learning_rates: Floats, rhos: Floats, lookaheads: Floats) -> Iterator[Floats]:
    now, move = np.ones_like(eigenvalues), np.zeros_like(eigenvalues)
    yield now
    for learning_rate, rho, lookahead in zip(learning_rates, rhos, lookaheads, strict=True):
        with np.errstate(over="ignore", invalid="ignore"):
            move = rho * move - learning_rate * eigenvalues * (now + lookahead * move)
            now = now + move
        yield now
