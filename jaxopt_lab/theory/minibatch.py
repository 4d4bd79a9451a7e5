"""Exact stationary theory of SGD with momentum on linear regression, a fresh batch every step.

Model: inputs N(0, H), targets input . w* + label noise. The noise of a minibatch gradient is multiplicative (it
scales with the error), so it moves the stability edge itself and not only the floor. With h_i = learning_rate
eigenvalue_i, D_i = rho - h_i lookahead and the noise response of one mode
    n(h) = h (1 + rho + lookahead (1 + 2 lookahead) h) / ((1 - D)(2 (1 + rho) - h (1 + 2 lookahead))),
every second moment closes through one number, the feedback
    F = sum_i n(h_i) / (B - n(h_i)):
stable in mean square iff all n(h_i) < B and F < 1; stationary excess risk 1/2 label_noise F / (1 - F). For heavy
ball each term is (h / B) / ((1 - rho)(2 (1 + rho) - h) / (1 + rho) - h / B). Whole curves: `second_moments`.
`eigenvalues` [d] are those of the input covariance; `isotropic_*` have d equal ones, and learning rates in units of
1 / eigenvalue.
"""

from typing import Annotated, Any

import numpy as np
from typing_extensions import TypeAliasType

from jaxopt_lab.core.errors import fail
from jaxopt_lab.theory.arguments import (
    AtLeastOne,
    BatchSize,
    Floats,
    Lookahead,
    Momentum,
    NonNegative,
    Range,
    checked,
)

__all__ = [
    "crossover_batch",
    "isotropic_edge",
    "isotropic_factor",
    "isotropic_optimal_learning_rate",
    "mean_square_edge",
    "noise_feedback",
    "stationary_excess_risk",
]

Spectrum = TypeAliasType("Spectrum", Annotated[Any, Range("[0, inf)", "They are those of a covariance.")])


@checked
def noise_feedback(
    learning_rate: NonNegative,
    eigenvalues: Spectrum,
    batch_size: BatchSize,
    rho: Momentum = 0.0,
    lookahead: Lookahead = 0.0,
) -> Floats:
    """F, the gain with which gradient noise makes more gradient noise.

    F = sum_i n(h_i) / (B - n(h_i)); for SGD sum_i (h_i / B) / (2 - h_i (1 + 1 / B)).

    Returns:
      F in the broadcast shape of all arguments but eigenvalues; inf where a single mode is unstable by itself.
      Cost: O(d) each.

    Example:
      >>> print(f"{noise_feedback(0.5, [1.0, 1.0], 1):.3f}")
      1.000

    Reference: Defossez and Bach 2015; Bordelon and Pehlevan 2022 (both for rho = 0); momentum derived here.
    """
    columns = [value[..., None] for value in (learning_rate, batch_size, rho, lookahead)]
    return _feedback(columns[0] * np.atleast_1d(eigenvalues), *columns[1:])


@checked
def stationary_excess_risk(
    learning_rate: NonNegative,
    eigenvalues: Spectrum,
    batch_size: BatchSize,
    label_noise: NonNegative,
    rho: Momentum = 0.0,
    lookahead: Lookahead = 0.0,
) -> Floats:
    """Expected loss above its minimum in the long run: 1/2 label_noise F / (1 - F), inf beyond the mean-square edge.

    With a lookahead it is the risk at the point y where the gradient is taken, which optax and torch report.
    `label_noise` is the variance of the label noise.

    Example:
      >>> print(f"{stationary_excess_risk(0.25, [1.0, 1.0], 1, 1.0):.4f}")
      0.2500

    Reference: as `noise_feedback`.
    """
    feedback = noise_feedback(learning_rate, eigenvalues, batch_size, rho, lookahead)
    inside = np.where(feedback < 1, feedback, 0.0)
    return np.where(feedback < 1, 0.5 * label_noise * inside / (1 - inside), np.inf)[()]


@checked
def mean_square_edge(
    eigenvalues: Spectrum, batch_size: BatchSize, rho: Momentum = 0.0, lookahead: Lookahead = 0.0
) -> float:
    """Largest learning rate at which second moments stay bounded: the root of F = 1, of single numbers.

    F grows with the learning rate, so the root is bracketed by halving and found by bisection to rounding.
    Cost: about 60 + log2(d / B) evaluations of F.

    Example:
      >>> print(f"{mean_square_edge(np.arange(1, 41) ** -1.2, 16, rho=0.9):.10f}")
      0.7643969915

    Reference: as `noise_feedback`.
    """
    eigenvalues = np.atleast_1d(eigenvalues)
    if not eigenvalues.max() > 0:
        raise fail("mean_square_edge", "eigenvalues must not all be zero", "A flat loss has no edge.")
    low = top = float(2 * (1 + rho) / ((1 + 2 * lookahead) * eigenvalues.max()))
    if np.isinf(batch_size):
        return top

    def unstable(learning_rate: float) -> bool:
        return bool(_feedback(learning_rate * eigenvalues, batch_size, rho, lookahead) >= 1)

    while unstable(low):
        low /= 2
    high = min(2 * low, top)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if unstable(middle) else (middle, high)
    return low


@checked
def isotropic_edge(dim: AtLeastOne, batch_size: BatchSize, rho: Momentum = 0.0, lookahead: Lookahead = 0.0) -> Floats:
    """Mean-square edge, in learning_rate * eigenvalue, when all eigenvalues are equal.

    The root of n(h) = B / (dim + 1). SGD: 2 / (1 + (dim + 1) / B); heavy ball: 2 (1 - rho)(1 + rho) / ((1 + rho)
    (dim + 1) / B + 1 - rho); with a lookahead the positive root of a quadratic equation.

    Example:
      >>> edge = isotropic_edge(1000, 10, 0.9, 0.9)
      >>> print(f"{edge * (1 + 1001 / 10):.4f}")
      0.2048

    Reference: Liu and Belkin 2018, arXiv 1810.13395, for the divergence; closed form derived here.
    """
    ratio = (dim + 1) / batch_size
    quadratic = lookahead * (1 + 2 * lookahead) * (1 + ratio)
    linear = ratio * (1 + rho) - 2 * lookahead * (1 + rho) + (1 - rho) * (1 + 2 * lookahead)
    constant = 2 * (1 - rho) * (1 + rho)
    root = np.sqrt(linear**2 + 4 * quadratic * constant)
    safe = np.where(linear >= 0, linear + root, 1.0)
    below = (root - linear) / np.where(linear >= 0, 1.0, 2 * quadratic)
    return np.where(linear >= 0, 2 * constant / safe, below)[()]


@checked
def isotropic_factor(learning_rate: NonNegative, dim: AtLeastOne, batch_size: BatchSize) -> Floats:
    """Factor by which one SGD step multiplies the expected risk of noiseless isotropic regression.

    1 - 2 h + h^2 (1 + (dim + 1) / B), h = learning_rate * eigenvalue.

    Example:
      >>> print(f"{isotropic_factor(0.1, 99, 100):.2f}")
      0.82

    Reference: the fourth moment of a Gaussian; Ma, Bassily, Belkin 2018.
    """
    return (1 - learning_rate) ** 2 + learning_rate**2 * ((dim + 1) / batch_size)


@checked
def isotropic_optimal_learning_rate(dim: AtLeastOne, batch_size: BatchSize) -> Floats:
    """SGD's best constant learning rate for noiseless isotropic regression: 1 / (1 + (dim + 1) / B).

    Half of its edge, the minimum of `isotropic_factor`; the factor per step there is 1 minus it.

    Example:
      >>> print(f"{isotropic_optimal_learning_rate(99, 100):.2f}")
      0.50
    """
    return 1 / (1 + (dim + 1) / batch_size)


@checked
def crossover_batch(dim: AtLeastOne, rho: Momentum) -> Floats:
    """Batch size at which heavy ball's isotropic edge leaves its small-batch law for its large-batch one.

    (dim + 1)(1 + rho) / (1 - rho): there the two terms in the denominator of `isotropic_edge` are equal.

    Example:
      >>> print(f"{crossover_batch(999, 0.9):.0f}")
      19000
    """
    return (dim + 1) * (1 + rho) / (1 - rho)


def _feedback(h: Floats, batch_size: Floats, rho: Floats, lookahead: Floats) -> Floats:
    """F from h [..., d]; inf where a mode's own response reaches the batch size."""
    room = 2 * (1 + rho) - h * (1 + 2 * lookahead)
    restoring = (1 - rho + h * lookahead) * room / (1 + rho + lookahead * (1 + 2 * lookahead) * h) - h / batch_size
    terms = (h / batch_size) / np.where((room > 0) & (restoring > 0), restoring, 1.0)
    return np.where(np.all((room > 0) & (restoring > 0), axis=-1), terms.sum(-1), np.inf)[()]
