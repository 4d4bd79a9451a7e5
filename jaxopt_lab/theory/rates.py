"""How fast the classical methods contract on a quadratic, tuned and untuned.

All of them are one two-step family (g the gradient, y the point where it is taken):
    y   = x + lookahead (x - x_before)
    x+  = x + rho (x - x_before) - learning_rate g(y)
with lookahead = 0 for heavy ball, lookahead = rho for Nesterov, rho = 0 for gradient descent. On an eigenvalue
of the Hessian, with h = learning_rate eigenvalue, x+ = T x - D x_before,
    T = 1 + rho - h (1 + lookahead),   D = rho - h lookahead,
and the error shrinks like the largest root of z^2 - T z + D. Rates are per step, for the distance ||x - x*||; the
loss contracts with their square. L and mu are the smoothness and the strong convexity, kappa = L / mu.
"""

import dataclasses

import numpy as np

from jaxopt_lab.theory.arguments import (
    Floats,
    FractionBelowOne,
    OpenFraction,
    Positive,
    PositiveFraction,
    StrongConvexity,
    checked,
)

__all__ = [
    "Tuning",
    "optimal_gradient_descent",
    "optimal_heavy_ball",
    "optimal_nesterov",
    "optimal_triple_momentum",
    "standard_gradient_descent",
    "standard_nesterov",
    "steps_to_accuracy",
    "sufficient_heavy_ball_steps",
]


@dataclasses.dataclass(frozen=True)
class Tuning:
    """Hyperparameters of a two-step method and the contraction that they reach over a spectrum [mu, L].

    Attributes:
      learning_rate: step size.
      rho: momentum.
      lookahead: weight with which the gradient's point runs ahead: 0 for heavy ball, rho for Nesterov.
      contraction: factor per step of ||x - x*|| on quadratics.
      gap: 1 - contraction, without the cancellation that a huge kappa brings.
      readout: weight with which the reported iterate runs ahead of x; only triple momentum has one.
    """

    learning_rate: Floats
    rho: Floats
    lookahead: Floats
    contraction: Floats
    gap: Floats
    readout: Floats

    @property
    def decay(self) -> Floats:
        """-ln(contraction) per step, accurate for contractions near 0 and near 1."""
        return _decay(self.gap, self.contraction)

    @checked
    def steps_to(self, accuracy: PositiveFraction) -> Floats:
        """Steps until ||x - x*|| has shrunk by `accuracy`: ln(1/accuracy) / decay, not rounded."""
        return -np.log(accuracy) / self.decay


@checked
def optimal_gradient_descent(smoothness: Positive, strong_convexity: StrongConvexity) -> Tuning:
    """Gradient descent at its best constant learning rate: 2 / (L + mu), contraction = (kappa - 1) / (kappa + 1).

    Example:
      >>> tuning = optimal_gradient_descent(100.0, 1.0)
      >>> print(f"{tuning.contraction:.9f} {tuning.steps_to(1e-6):.0f}")
      0.980198020 691

    Reference: Polyak, Introduction to Optimization, 1987, section 1.4; Nesterov 2004, theorem 2.1.15.
    """
    L, mu = smoothness, strong_convexity
    return _tuning(2 / (L + mu), 0.0, 0.0, (L - mu) / (L + mu), 2 * mu / (L + mu))


@checked
def standard_gradient_descent(smoothness: Positive, strong_convexity: StrongConvexity) -> Tuning:
    """Gradient descent at the learning rate that needs no knowledge of mu: 1 / L, contraction = 1 - 1 / kappa.

    Example:
      >>> print(f"{standard_gradient_descent(100.0, 1.0).contraction:.2f}")
      0.99

    Reference: Nesterov, Introductory Lectures on Convex Optimization, 2004, section 2.1.5.
    """
    L, mu = smoothness, strong_convexity
    return _tuning(1 / L, 0.0, 0.0, (L - mu) / L, mu / L)


@checked
def optimal_heavy_ball(smoothness: Positive, strong_convexity: StrongConvexity) -> Tuning:
    """Heavy ball at its best constant hyperparameters for quadratics.

    learning_rate = 4 / (sqrt(L) + sqrt(mu))^2, rho = contraction^2,
    contraction = (sqrt(kappa) - 1) / (sqrt(kappa) + 1). Both ends of the spectrum sit on a double root, where the
    error falls like k contraction^k; beyond quadratics the tuning may cycle (see `transients`).

    Example:
      >>> tuning = optimal_heavy_ball(100.0, 1.0)
      >>> print(f"{tuning.contraction:.9f} {tuning.rho:.6f} {tuning.learning_rate:.6f}")
      0.818181818 0.669421 0.033058

    Reference: Polyak, Some methods of speeding up the convergence of iteration methods, 1964.
    """
    L, mu = smoothness, strong_convexity
    total = np.sqrt(L) + np.sqrt(mu)
    contraction = (L - mu) / total**2
    return _tuning(4 / total**2, contraction**2, 0.0, contraction, 2 * np.sqrt(mu) / total)


@checked
def standard_nesterov(smoothness: Positive, strong_convexity: StrongConvexity) -> Tuning:
    """Nesterov's method at the tuning that is proven for all smooth strongly convex functions.

    learning_rate = 1 / L, rho = (sqrt(kappa) - 1) / (sqrt(kappa) + 1); on quadratics contraction = 1 - 1 / sqrt(kappa).

    Example:
      >>> print(f"{standard_nesterov(1e4, 1.0).contraction:.2f}")
      0.99

    Reference: Nesterov 2004, theorem 2.2.3.
    """
    L, mu = smoothness, strong_convexity
    total = np.sqrt(L) + np.sqrt(mu)
    rho = (L - mu) / total**2
    return _tuning(1 / L, rho, rho, (L - mu) / (np.sqrt(L) * total), np.sqrt(mu / L))


@checked
def optimal_nesterov(smoothness: Positive, strong_convexity: StrongConvexity) -> Tuning:
    """Nesterov's method at its best constant hyperparameters for quadratics.

    With s = sqrt(3 kappa + 1): learning_rate = 4 / (3 L + mu), rho = (s - 2) / (s + 2), contraction = 1 - 2 / s.

    Example:
      >>> print(f"{optimal_nesterov(100.0, 1.0).contraction:.9f}")
      0.884721916

    Reference: Lessard, Recht, Packard, SIAM J. Optim. 26(1), 2016, table 1.
    """
    L, mu = smoothness, strong_convexity
    s = np.sqrt(3 * (L / mu) + 1)
    excess = 3 * ((L - mu) / mu)
    rho = excess / (s + 2) ** 2
    return _tuning(4 / (3 * L + mu), rho, rho, excess / (s * (s + 2)), 2 / s)


@checked
def optimal_triple_momentum(smoothness: Positive, strong_convexity: StrongConvexity) -> Tuning:
    """Triple momentum, the fastest known fixed method for all smooth strongly convex functions.

    With r = 1 - 1 / sqrt(kappa): learning_rate = (1 + r) / L, rho = r^2 / (2 - r),
    lookahead = r^2 / ((1 + r)(2 - r)), readout = r^2 / (1 - r^2), contraction = r.

    Example:
      >>> tuning = optimal_triple_momentum(100.0, 1.0)
      >>> print(f"{tuning.contraction:.1f} {tuning.rho:.6f} {tuning.lookahead:.6f}")
      0.9 0.736364 0.387560

    Reference: Van Scoy, Freeman, Lynch, IEEE Control Systems Letters 2(1), 2018.
    """
    L, mu = smoothness, strong_convexity
    gap = np.sqrt(mu / L)
    r = (L - mu) / (np.sqrt(L) * (np.sqrt(L) + np.sqrt(mu)))
    rho = r**2 / (1 + gap)
    return _tuning((1 + r) / L, rho, rho / (1 + r), r, gap, r**2 / (gap * (1 + r)))


@checked
def steps_to_accuracy(contraction: FractionBelowOne, accuracy: PositiveFraction) -> Floats:
    """Steps until an error that shrinks by `contraction` per step has shrunk by `accuracy`.

    ln(1 / accuracy) / (-ln contraction), a real number: round up. For contractions within 1e-10 of 1 take
    `Tuning.steps_to` or `modes.decay_rate`, which never form 1 - contraction by subtraction.

    Example:
      >>> print(f"{steps_to_accuracy(1 - 0.1 * 2 / 101, 1e-6):.0f}")
      6970
    """
    return -np.log(accuracy) / _decay(1 - contraction, contraction)


@checked
def sufficient_heavy_ball_steps(accuracy: OpenFraction, tuning: Tuning) -> float:
    """Steps of optimal heavy ball that suffice from any start, not rounded: its double root needs more than `steps_to`.

    Every mode is at most (1 + (1 + r) k) r^k of its start, r the contraction.

    Args:
      accuracy: the share of the start that is left.
      tuning: of `optimal_heavy_ball`, for one pair of smoothness and strong convexity.

    Example:
      >>> tuning = optimal_heavy_ball(100.0, 1.0)
      >>> print(f"{tuning.steps_to(1e-6):.0f} {sufficient_heavy_ball_steps(1e-6, tuning):.0f}")
      69 95

    Reference: derived here from the double root; Polyak 1964.
    """
    steps = max(1.0, float(tuning.steps_to(accuracy)))
    if tuning.contraction > 1e-6:
        for _ in range(60):  # k = (ln(1 / accuracy) + ln(1 + (1 + r) k)) / decay, a contraction
            steps = float((np.log1p((1 + tuning.contraction) * steps) - np.log(accuracy)) / tuning.decay)
    return steps


def _tuning(learning_rate, rho, lookahead, contraction, gap, readout=0.0) -> Tuning:
    fields = np.broadcast_arrays(learning_rate, rho, lookahead, contraction, gap, readout)
    return Tuning(*(np.array(field, np.float64)[()] for field in fields))


def _decay(gap: Floats, contraction: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        small = np.log(np.minimum(contraction, 0.5))
        return -np.where(contraction < 0.5, small, np.log1p(-np.minimum(gap, 0.5)))[()]
