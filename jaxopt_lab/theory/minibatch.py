"""Exact stationary theory of SGD with momentum on linear regression, a fresh batch every step.

Model: inputs N(0, H), targets input . w* + label noise. The noise of a minibatch gradient is multiplicative (it
scales with the error), so it moves the stability edge itself and not only the floor. With h_i = learning_rate
eigenvalue_i, D_i = rho - h_i lookahead and the noise response of one mode
    n(h) = h (1 + rho + lookahead (1 + 2 lookahead) h) / ((1 - D)(2 (1 + rho) - h (1 + 2 lookahead))),
every second moment closes through one number, the feedback
    F = sum_i n(h_i) / (B - n(h_i)):
stable in mean square iff all n(h_i) < B and F < 1; stationary excess risk 1/2 label_noise F / (1 - F). For heavy
ball each term is (h / B) / ((1 - rho)(2 (1 + rho) - h) / (1 + rho) - h / B). Whole curves: `second_moments`.
"""

import numpy as np
from numpy.typing import ArrayLike

from jaxopt_lab.core.errors import fail
from jaxopt_lab.theory import arguments
from jaxopt_lab.theory.arguments import Floats

__all__ = [
    "crossover_batch",
    "isotropic_edge",
    "isotropic_factor",
    "isotropic_optimal_learning_rate",
    "mean_square_edge",
    "noise_feedback",
    "stationary_excess_risk",
]


def noise_feedback(
    learning_rate: ArrayLike,
    eigenvalues: ArrayLike,
    batch_size: ArrayLike,
    rho: ArrayLike = 0.0,
    lookahead: ArrayLike = 0.0,
) -> Floats:
    """F, the gain with which gradient noise makes more gradient noise.

    F = sum_i n(h_i) / (B - n(h_i)); for SGD sum_i (h_i / B) / (2 - h_i (1 + 1 / B)).

    Args:
      learning_rate: step size >= 0, any shape.
      eigenvalues: eigenvalues of the input covariance, >= 0, shape [d].
      batch_size: examples per step, > 0, inf for the full gradient.
      rho: momentum in [0, 1).
      lookahead: 0 for heavy ball, rho for Nesterov, in [0, 1].

    Returns:
      F in the broadcast shape of all arguments but eigenvalues; inf where a single mode is unstable by itself.
      Cost: O(d) each.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{noise_feedback(0.5, [1.0, 1.0], 1):.3f}")
      1.000

    Reference: Defossez and Bach 2015; Bordelon and Pehlevan 2022 (both for rho = 0); momentum derived here.
    """
    where = "noise_feedback"
    eigenvalues = _spectrum(where, eigenvalues)
    learning_rate = arguments.non_negative(where, "learning_rate", learning_rate)
    batch_size = _batch(where, batch_size)
    rho, lookahead = arguments.momentum(where, rho, lookahead)
    columns = [value[..., None] for value in (learning_rate, batch_size, rho, lookahead)]
    return _feedback(columns[0] * eigenvalues, *columns[1:])


def stationary_excess_risk(
    learning_rate: ArrayLike,
    eigenvalues: ArrayLike,
    batch_size: ArrayLike,
    label_noise: ArrayLike,
    rho: ArrayLike = 0.0,
    lookahead: ArrayLike = 0.0,
) -> Floats:
    """Expected loss above its minimum in the long run: 1/2 label_noise F / (1 - F).

    With a lookahead it is the risk at the point y where the gradient is taken, which optax and torch report.

    Args:
      learning_rate: step size >= 0, any shape.
      eigenvalues: eigenvalues of the input covariance, >= 0, shape [d].
      batch_size: examples per step, > 0, inf for the full gradient.
      label_noise: variance of the label noise, >= 0.
      rho: momentum in [0, 1).
      lookahead: 0 for heavy ball, rho for Nesterov, in [0, 1].

    Returns:
      The risk, broadcast as in `noise_feedback`; inf beyond the mean-square edge.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{stationary_excess_risk(0.25, [1.0, 1.0], 1, 1.0):.4f}")
      0.2500

    Reference: as `noise_feedback`.
    """
    label_noise = arguments.non_negative("stationary_excess_risk", "label_noise", label_noise)
    feedback = noise_feedback(learning_rate, eigenvalues, batch_size, rho, lookahead)
    inside = np.where(feedback < 1, feedback, 0.0)
    return np.where(feedback < 1, 0.5 * label_noise * inside / (1 - inside), np.inf)[()]


def mean_square_edge(eigenvalues: ArrayLike, batch_size: float, rho: float = 0.0, lookahead: float = 0.0) -> float:
    """Largest learning rate at which second moments stay bounded: the root of F = 1.

    F grows with the learning rate, so the root is bracketed by halving and found by bisection to rounding.

    Args:
      eigenvalues: eigenvalues of the input covariance, >= 0, not all zero, shape [d].
      batch_size: examples per step, > 0, inf for the full gradient.
      rho: momentum in [0, 1).
      lookahead: 0 for heavy ball, rho for Nesterov, in [0, 1].

    Returns:
      The learning rate. Cost: about 60 + log2(d / B) evaluations of F.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{mean_square_edge(np.arange(1, 41) ** -1.2, 16, rho=0.9):.10f}")
      0.7643969915

    Reference: as `noise_feedback`.
    """
    where = "mean_square_edge"
    eigenvalues = _spectrum(where, eigenvalues)
    if not eigenvalues.max() > 0:
        raise fail(where, "eigenvalues must not all be zero", "A flat loss has no edge.")
    batch, (beta, ahead) = _batch(where, batch_size), arguments.momentum(where, rho, lookahead)
    low = top = float(2 * (1 + beta) / ((1 + 2 * ahead) * eigenvalues.max()))
    if np.isinf(batch):
        return top

    def unstable(learning_rate: float) -> bool:
        return bool(_feedback(learning_rate * eigenvalues, batch, beta, ahead) >= 1)

    while unstable(low):
        low /= 2
    high = min(2 * low, top)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if unstable(middle) else (middle, high)
    return low


def isotropic_edge(dim: ArrayLike, batch_size: ArrayLike, rho: ArrayLike = 0.0, lookahead: ArrayLike = 0.0) -> Floats:
    """Mean-square edge, in learning_rate * eigenvalue, when all eigenvalues are equal.

    The root of n(h) = B / (dim + 1). SGD: 2 / (1 + (dim + 1) / B); heavy ball: 2 (1 - rho)(1 + rho) / ((1 + rho)
    (dim + 1) / B + 1 - rho); with a lookahead the positive root of a quadratic equation.

    Args:
      dim: number of parameters d >= 1.
      batch_size: examples per step, > 0, inf for the full gradient.
      rho: momentum in [0, 1).
      lookahead: 0 for heavy ball, rho for Nesterov, in [0, 1].

    Returns:
      The edge, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> edge = isotropic_edge(1000, 10, 0.9, 0.9)
      >>> print(f"{edge * (1 + 1001 / 10):.4f}")
      0.2048

    Reference: Liu and Belkin 2018, arXiv 1810.13395, for the divergence; closed form derived here.
    """
    where = "isotropic_edge"
    ratio = _ratio(where, dim, batch_size)
    rho, lookahead = arguments.momentum(where, rho, lookahead)
    quadratic = lookahead * (1 + 2 * lookahead) * (1 + ratio)
    linear = ratio * (1 + rho) - 2 * lookahead * (1 + rho) + (1 - rho) * (1 + 2 * lookahead)
    constant = 2 * (1 - rho) * (1 + rho)
    root = np.sqrt(linear**2 + 4 * quadratic * constant)
    safe = np.where(linear >= 0, linear + root, 1.0)
    below = (root - linear) / np.where(linear >= 0, 1.0, 2 * quadratic)
    return np.where(linear >= 0, 2 * constant / safe, below)[()]


def isotropic_factor(learning_rate: ArrayLike, dim: ArrayLike, batch_size: ArrayLike) -> Floats:
    """Factor by which one SGD step multiplies the expected risk of noiseless isotropic regression.

    1 - 2 h + h^2 (1 + (dim + 1) / B), h = learning_rate * eigenvalue.

    Args:
      learning_rate: h, the learning rate in units of 1 / eigenvalue, >= 0.
      dim: number of parameters d >= 1.
      batch_size: examples per step, > 0, inf for the full gradient.

    Returns:
      The factor, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{isotropic_factor(0.1, 99, 100):.2f}")
      0.82

    Reference: the fourth moment of a Gaussian; Ma, Bassily, Belkin 2018.
    """
    h = arguments.non_negative("isotropic_factor", "learning_rate", learning_rate)
    return (1 - h) ** 2 + h**2 * _ratio("isotropic_factor", dim, batch_size)


def isotropic_optimal_learning_rate(dim: ArrayLike, batch_size: ArrayLike) -> Floats:
    """SGD's best constant learning rate for noiseless isotropic regression: 1 / (1 + (dim + 1) / B).

    Half of its edge; the factor per step there is 1 minus it.

    Args:
      dim: number of parameters d >= 1.
      batch_size: examples per step, > 0, inf for the full gradient.

    Returns:
      The learning rate in units of 1 / eigenvalue, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{isotropic_optimal_learning_rate(99, 100):.2f}")
      0.50

    Reference: the minimum of `isotropic_factor`.
    """
    return 1 / (1 + _ratio("isotropic_optimal_learning_rate", dim, batch_size))


def crossover_batch(dim: ArrayLike, rho: ArrayLike) -> Floats:
    """Batch size at which heavy ball's isotropic edge leaves its small-batch law for its large-batch one.

    (dim + 1)(1 + rho) / (1 - rho): there the two terms in the edge's denominator are equal.

    Args:
      dim: number of parameters d >= 1.
      rho: momentum in [0, 1).

    Returns:
      The batch size, broadcast.

    Raises:
      InputError: an argument is out of range.

    Example:
      >>> print(f"{crossover_batch(999, 0.9):.0f}")
      19000

    Reference: `isotropic_edge`.
    """
    rho, _ = arguments.momentum("crossover_batch", rho)
    return (_dimension("crossover_batch", dim) + 1) * (1 + rho) / (1 - rho)


def _spectrum(where: str, eigenvalues: ArrayLike) -> Floats:
    return np.atleast_1d(arguments.non_negative(where, "eigenvalues", eigenvalues, "They are those of a covariance."))


def _batch(where: str, batch_size: ArrayLike) -> Floats:
    return arguments.between(where, "batch_size", batch_size, 0, np.inf, ends="(]")


def _dimension(where: str, dim: ArrayLike) -> Floats:
    return arguments.between(where, "dim", dim, 1, np.inf, ends="[)")


def _ratio(where: str, dim: ArrayLike, batch_size: ArrayLike) -> Floats:
    return (_dimension(where, dim) + 1) / _batch(where, batch_size)


def _feedback(h: Floats, batch_size: Floats, rho: Floats, lookahead: Floats) -> Floats:
    """F from h [..., d]; inf where a mode's own response reaches the batch size."""
    room = 2 * (1 + rho) - h * (1 + 2 * lookahead)
    restoring = (1 - rho + h * lookahead) * room / (1 + rho + lookahead * (1 + 2 * lookahead) * h) - h / batch_size
    terms = (h / batch_size) / np.where((room > 0) & (restoring > 0), restoring, 1.0)
    return np.where(np.all((room > 0) & (restoring > 0), axis=-1), terms.sum(-1), np.inf)[()]
