"""Directions that decide a run's next steps: the most negative curvature, and the span of the top eigenvectors.

    f(w + t v) = f(w) + t <g, v> - |lambda| t^2 / 2,      the model's saddle lies at t = <g, v> / |lambda|

Along an eigenvector v with eigenvalue lambda < 0 the offset from that saddle grows by a factor r a step,
with h = lr |lambda|:

    gradient descent   r = 1 + h
    heavy ball         r + beta / r = 1 + beta + h
    Nesterov           r + beta (1 + h) / r = (1 + h)(1 + beta)

Reference: O'Neill and Wright 2018, Behavior of accelerated gradient methods near critical points of nonconvex
functions.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Estimate, fail, vectors
from jaxopt_lab.core.errors import require_between, require_positive
from jaxopt_lab.curvature import krylov
from jaxopt_lab.curvature.lanczos import Eigenpairs, eigenpairs
from jaxopt_lab.curvature.operators import Operator


@dataclasses.dataclass(frozen=True)
class NegativeCurvature:
    """The direction of the smallest eigenvalue that was found.

    Attributes:
      direction: a vector of norm 1, turned so that the loss does not rise along it to first order.
      value: the curvature along it; its interval, value +- error, holds an eigenvalue and is certified (level 1).
      certified: whether value + error < 0: the operator has a negative eigenvalue.
      slope: <gradient, direction>, at most 0; 0 without a gradient.
    """

    direction: Any
    value: Estimate
    certified: bool
    slope: float

    def escape_steps(
        self, learning_rate: float, distance: float = 1.0, momentum: float = 0.0, nesterov: bool = False
    ) -> float:
        """Steps until the model along the direction has left its saddle by `distance`, from rest.

        Args:
          learning_rate: lr > 0.
          distance: > 0, in units of the parameters.
          momentum: beta in [0, 1).
          nesterov: Nesterov's momentum instead of heavy ball.

        Returns:
          ln(distance / (c offset)) / ln r, at least 0, with offset = |slope / value| and the start's share c of the
          growing mode; inf when the slope is zero or the value is not negative.

        Raises:
          InputError: an argument is out of its range.

        Example:
          >>> from jaxopt_lab.curvature import from_diagonal
          >>> saddle = from_diagonal(jnp.array([1.0, -1.0]))
          >>> found = negative_curvature(saddle, gradient=jnp.array([0.0, 1e-8]))
          >>> round(found.escape_steps(1e-3)), round(found.escape_steps(1e-3, momentum=0.9))
          (18430, 2011)
        """
        require_positive("escape_steps", "learning_rate", learning_rate)
        require_positive("escape_steps", "distance", distance)
        require_between("escape_steps", "momentum", momentum, 0, 1, ends="[)")
        if self.value.value >= 0 or self.slope == 0:
            return math.inf
        growing, fading = _modes(learning_rate * abs(self.value.value), momentum, nesterov)
        share = (1 - fading) / (1 - fading / growing)
        offset = abs(self.slope / self.value.value)
        return max(math.log(distance / (share * offset)) / math.log(growing), 0.0)


@dataclasses.dataclass(frozen=True)
class Alignment:
    """How much of a gradient lies in the span of eigenvectors.

    Attributes:
      shares: [K], the share of |gradient|^2 in the span of the first k = 1..K vectors; k / d for a random direction.
      errors: [K], how far each may be off because the vectors are not exact; at most 1.
    """

    shares: np.ndarray
    errors: np.ndarray


def negative_curvature(
    operator: Operator,
    *,
    gradient: Any = None,
    tolerance: float = 1e-3,
    max_products: int | None = None,
    key: jax.Array | None = None,
    start: Any = None,
) -> NegativeCurvature:
    """The direction of the operator's smallest eigenvalue, and whether that is certainly negative.

    Args:
      operator: symmetric, such as a Hessian.
      gradient: a vector at the same point, as `locate(...).gradient`; turns the direction downhill, and tells how soon
        a run leaves.
      tolerance: of the eigenvalue, relative.
      max_products: stop after so many products; the error then says how far the search came.
      key: PRNG key of the random start; 0 by default.
      start: a vector to start from.

    Returns:
      The direction. Cost: `value.cost` products.

    Raises:
      InputError: an argument out of its range, too little memory, a product that is not finite, or a gradient of
        another structure.

    Example:
      >>> from jaxopt_lab.curvature import from_diagonal
      >>> found = negative_curvature(from_diagonal(jnp.array([3.0, -2.0])), gradient=jnp.array([0.0, 4.0]))
      >>> print(found.certified, f"{found.value.value:.3f} {found.slope:.3f}")
      True -2.000 -4.000
    """
    if gradient is not None:
        _require_alike("negative_curvature", gradient, operator.like)
    ends = eigenpairs(
        operator, 0, 1, tolerance=tolerance, max_products=max_products, verify=False, key=key, start=start
    )  # fmt: skip
    direction = krylov.row(ends.smallest.vectors, 0)
    slope = 0.0 if gradient is None else float(vectors.dot(gradient, direction))
    if slope > 0:
        direction, slope = vectors.scale(-1.0, direction), -slope
    value, error = float(ends.smallest.values[0]), float(ends.smallest.errors[0])
    estimate = Estimate(value, interval=(value - error, value + error), level=1.0, cost=ends.products)
    return NegativeCurvature(direction, estimate, value + error < 0, slope)


def gradient_alignment(gradient: Any, pairs: Eigenpairs) -> Alignment:
    """The share of |gradient|^2 in the span of the first k eigenvectors, for each k.

    The span's error is bounded by the residuals over the gap to the next eigenvalue, sin(angle) <= |R| / gap. That of
    the last k is unknown (its error is 1, unless it is the whole space): ask for one pair more than needed.

    Args:
      gradient: a vector.
      pairs: K eigenpairs at one end, the outermost first, as `eigenpairs` gives them.

    Returns:
      The shares and their errors. A zero gradient has shares 0 with errors 1: nothing can be said.

    Raises:
      InputError: the gradient is not like the eigenvectors.

    Example:
      >>> from jaxopt_lab.curvature import from_diagonal
      >>> pairs = eigenpairs(from_diagonal(jnp.array([4.0, 2.0, 1.0])), 3).largest
      >>> gradient_alignment(jnp.array([3.0, 4.0, 0.0]), pairs).shares.round(4).tolist()
      [0.36, 1.0, 1.0]

    Reference: Gur-Ari, Roberts, Dyer 2018, Gradient descent happens in a tiny subspace; Davis and Kahan 1970.
    """
    rows = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), pairs.vectors)
    _require_alike("gradient_alignment", gradient, rows)
    gradient = jax.tree.map(vectors.widened, gradient)
    square, num = float(vectors.sum_of_squares(gradient)), len(pairs.values)
    if square == 0:
        return Alignment(np.zeros(num), np.ones(num))
    inner = np.asarray(krylov.coefficients(pairs.vectors, gradient), np.float64)
    shares = np.minimum(np.cumsum(inner**2) / square, 1.0)
    residual = np.sqrt(np.cumsum(pairs.errors**2))
    gap = np.abs(pairs.values[:-1] - pairs.values[1:]) - pairs.errors[1:]
    errors = np.ones(num)
    np.divide(residual[:-1], gap, out=errors[:-1], where=gap > 0)
    if num == vectors.size(gradient):
        errors[-1] = 0.0
    return Alignment(shares, np.minimum(errors, 1.0))


def _modes(growth: float, momentum: float, nesterov: bool) -> tuple[float, float]:
    """The growing and the other root of r^2 - trace r + determinant, of one step's matrix on (x, previous x)."""
    trace = (1 + momentum) * (1 + growth) if nesterov else 1 + momentum + growth
    determinant = momentum * (1 + growth) if nesterov else momentum
    growing = (trace + math.sqrt(trace**2 - 4 * determinant)) / 2
    return growing, determinant / growing


def _require_alike(where: str, gradient: Any, like: Any) -> None:
    got, wanted = (jax.tree.map(jnp.shape, tree) for tree in (gradient, like))
    if got != wanted:
        raise fail(where, f"the gradient must be a vector of the operator, of shapes {wanted}, got {got}")
