"""The log-determinant of a positive definite operator by stochastic Lanczos quadrature, bracketed for each probe.

    log det (A + c I) = E g' log(A + c I) g,      Radau(g) <= g' log(A + c I) g <= Gauss(g)

The derivatives of the logarithm alternate in sign, so that Gauss quadrature is too large, and Gauss-Radau quadrature
with a node below the spectrum too small.

Reference: Ubaru, Chen, Saad 2017, Fast estimation of tr(f(A)) via stochastic Lanczos quadrature; Golub and Meurant
2010, Matrices, moments and quadrature with applications, chapter 6.
"""

import jax
import numpy as np

from jaxopt_lab.core import Estimate, fail, mean_of_samples
from jaxopt_lab.core.errors import require_between, require_count, require_positive
from jaxopt_lab.curvature import krylov
from jaxopt_lab.curvature.operators import Operator
from jaxopt_lab.curvature.quadratures import Quadrature, gauss_quadratures
from jaxopt_lab.curvature.soundness import require_sound
from jaxopt_lab.curvature.traces import half_width, whole_matrix


def log_determinant(
    operator: Operator,
    *,
    damping: float = 0.0,
    lower: float = 0.0,
    num_probes: int = 8,
    num_steps: int = 32,
    key: jax.Array | None = None,
    level: float = 0.95,
) -> Estimate:
    """log det (A + damping I), bracketed for each probe between two quadratures.

    The interval runs from the lower end of the Gauss-Radau quadratures' t-interval over the probes to the upper end of
    the Gauss quadratures'.

    Args:
      operator: symmetric, d rows, with all eigenvalues >= `lower`.
      damping: added to all eigenvalues; lower + damping > 0.
      lower: a lower bound on the operator's eigenvalues; 0 for a positive semidefinite one.
      num_probes: s >= 2 random sign vectors.
      num_steps: k >= 1 products for each.
      key: PRNG key; 0 by default.
      level: confidence of the interval, in (0, 1).

    Returns:
      The middle of the bracket; exact up to rounding (level 1) when d <= k, from d products. Cost: at most s k
      products, k vectors.

    Raises:
      InputError: an argument out of its range, lower + damping <= 0, or an eigenvalue below `lower`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxopt_lab.curvature import from_diagonal
      >>> print(log_determinant(from_diagonal(jnp.array([0.0, 3.0])), damping=1.0))
      1.38629 +- 0

    Reference: Ubaru, Chen, Saad 2017; Golub and Meurant 2010, section 6.2.
    """
    where = "log_determinant"
    require_count(where, "num_probes", num_probes, 2)
    require_count(where, "num_steps", num_steps)
    require_between(where, "level", level, 0, 1, ends="()")
    require_positive(where, "lower + damping", lower + damping, "The logarithm needs positive eigenvalues.")
    if operator.size <= num_steps:
        operator, spent = require_sound(operator)
        values = np.linalg.eigvalsh(whole_matrix(operator, jax.random.key(0) if key is None else key))
        rule = values, np.ones(len(values))
        value, error = _log_sum(operator, rule, lower, damping, _slack(operator, values))
        return Estimate(value, 0.0, (value - error, value + error), 1.0, operator.size + spent)
    rules = gauss_quadratures(operator, num_probes, num_steps, key)
    brackets = np.array([_bracket(operator, rule, lower, damping) for rule in rules]) * operator.size
    low, high = (brackets[:, k].mean() + side * half_width(brackets[:, k], level) for k, side in ((0, -1), (1, 1)))
    middle, cost = mean_of_samples(brackets.mean(1)), sum(rule.products for rule in rules)
    return Estimate(middle.value, middle.standard_error, (float(low), float(high)), level, cost)


def _bracket(operator: Operator, rule: Quadrature, lower: float, damping: float) -> tuple[float, float]:
    """Radau and Gauss quadratures of log(x + damping) for one probe, widened by the rounding error."""
    slack = _slack(operator, rule.rule[0])
    high, error = _log_sum(operator, rule.rule, lower, damping, slack)
    low, _ = _log_sum(operator, rule.rule_with_node(lower - slack), lower, damping, slack)
    return min(low, high) - error, high + error


def _slack(operator: Operator, nodes: np.ndarray) -> float:
    """Rounding error of a node, of the operator's products and of solving for the node below all others."""
    relative = max(krylov.ROUNDING * operator.epsilon, 4 * len(nodes) * np.finfo(np.float64).eps)
    return float(relative * np.abs(nodes).max())


def _log_sum(
    operator: Operator, rule: tuple[np.ndarray, np.ndarray], lower: float, damping: float, slack: float
) -> tuple[float, float]:
    """sum_j w_j log(x_j + damping) and its rounding error; nodes that rounding put below `lower` are put back on it."""
    nodes, weights = rule
    if nodes.min() < lower - 4 * slack:
        raise fail(
            "log_determinant", f"{operator.name} has an eigenvalue of at most {nodes.min():.4g}, below {lower:.4g}",
            "Give that bound as `lower` and a damping above its negative.",
        )  # fmt: skip
    shifted = np.maximum(nodes, lower) + damping
    return float(weights @ np.log(shifted)), float(weights @ (slack / shifted))
