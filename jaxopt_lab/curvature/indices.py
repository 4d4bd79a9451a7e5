"""The index: which share of the eigenvalues lies below zero, as a bracket that may honestly be wide.

Smoothed densities count the eigenvalues that pile up at zero on either side of it. Here the share below -threshold is
enclosed between the Chebyshev-Markov-Stieltjes bounds of every probe, widened by the probes' scatter.
"""

import dataclasses

import jax
import numpy as np

from jaxopt_lab.core import Estimate
from jaxopt_lab.core.errors import require_between, require_count, require_positive
from jaxopt_lab.curvature.operators import Operator
from jaxopt_lab.curvature.quadratures import Quadrature, gauss_quadratures
from jaxopt_lab.curvature.traces import half_width


@dataclasses.dataclass(frozen=True)
class Index:
    """Shares of the eigenvalues on either side of a band around zero.

    Attributes:
      negative: share of the d eigenvalues below -threshold; its value is the middle of its interval.
      positive: share above threshold.
      threshold: half the width of the band, in units of the eigenvalues.
      size: d.
      resolution: an interval wider than this says "cannot tell".
    """

    negative: Estimate
    positive: Estimate
    threshold: float
    size: int
    resolution: float

    @property
    def resolved(self) -> bool:
        """Whether the share of negative eigenvalues is known to the resolution."""
        low, high = _ends(self.negative)
        return high - low <= self.resolution

    def __str__(self) -> str:
        low, high = _ends(self.negative)
        share = f"between {low:.4g} and {high:.4g} of the eigenvalues lie below {-self.threshold:.3g}"
        return share if self.resolved else f"cannot tell: {share}"


def index(
    operator: Operator,
    threshold: float = 1e-3,
    *,
    relative: bool = True,
    num_probes: int = 8,
    num_steps: int = 60,
    resolution: float = 0.1,
    level: float = 0.95,
    key: jax.Array | None = None,
) -> Index:
    """The share of eigenvalues below -threshold and above threshold, bracketed.

    Args:
      operator: symmetric, d rows.
      threshold: half the width of the band around zero in which an eigenvalue counts as neither.
      relative: whether the threshold is in units of the largest |eigenvalue|.
      num_probes: s >= 2 random sign vectors.
      num_steps: k products for each.
      resolution: width of the bracket up to which the answer counts as an answer.
      level: confidence of the interval over the probes, in (0, 1).
      key: PRNG key; 0 by default.

    Returns:
      The index. Cost: at most s k products; k + 3 vectors of memory.

    Raises:
      InputError: an argument out of its range, or too little memory.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxopt_lab.curvature import from_diagonal
      >>> print(index(from_diagonal(jnp.array([-1.0, -1.0, 2.0, 2.0]))))
      between 0.5 and 0.5 of the eigenvalues lie below -0.002
    """
    require_positive("index", "threshold", threshold, "At 0 the eigenvalues that are zero up to rounding would count.")
    require_count("index", "num_probes", num_probes, 2)
    require_between("index", "resolution", resolution, 0, 1, ends="(]")
    require_between("index", "level", level, 0, 1, ends="()")
    rules = gauss_quadratures(operator, num_probes, num_steps, key)
    return index_of(rules, operator.size, threshold, relative=relative, resolution=resolution, level=level)


def index_of(
    quadratures: list[Quadrature],
    size: int,
    threshold: float = 1e-3,
    *,
    relative: bool = True,
    resolution: float = 0.1,
    level: float = 0.95,
) -> Index:
    """The index that quadratures, already paid for, give; the arguments are those of `index`, and `size` is d."""
    if relative:
        threshold *= max(float(np.abs(rule.rule[0]).max()) for rule in quadratures)
    cost = sum(rule.products for rule in quadratures)
    below = np.array([rule.mass_below(-threshold) for rule in quadratures])
    above = 1 - np.array([rule.mass_below(threshold) for rule in quadratures])[:, ::-1]
    shares = [_enclosed(bounds, level, cost) for bounds in (below, above)]
    return Index(shares[0], shares[1], threshold, size, resolution)


def _enclosed(bounds: np.ndarray, level: float, cost: int) -> Estimate:
    """Means of lower and upper bounds [s, 2], each widened by its own t-interval."""
    reach = np.array([half_width(side, level) for side in bounds.T])
    low, high = np.clip(bounds.mean(0) + reach * [-1, 1], 0.0, 1.0)
    return Estimate(float((low + high) / 2), interval=(float(low), float(high)), level=level, cost=cost)


def _ends(estimate: Estimate) -> tuple[float, float]:
    assert estimate.interval is not None
    return estimate.interval
