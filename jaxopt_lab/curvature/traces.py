"""Trace and Frobenius norm of an operator, each with a t-interval over independent probes.

    tr A    = tr Q'AQ  + E g'PAP g,      Q an orthonormal basis of A S,   P = I - QQ'
    |A|_F^2 = |A Q|_F^2 + E |A P g|^2

S holds random columns; g are random signs, independent of S and of each other, so that the interval holds given Q.
The part on Q carries no sampling error: an operator whose rank is below the sketch comes out up to rounding.

Reference: Meyer, Musco, Musco, Woodruff 2021, Hutch++: Optimal stochastic trace estimation.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import stdtrit

from jaxopt_lab.core import Estimate, fail, mean_of_samples, meshes, vectors
from jaxopt_lab.core.errors import require_between, require_count, require_memory
from jaxopt_lab.core.memory import available_memory
from jaxopt_lab.curvature import krylov
from jaxopt_lab.curvature.operators import Operator, random_vector
from jaxopt_lab.curvature.projections import grow, start_from
from jaxopt_lab.curvature.soundness import require_sound

_LEAST_PRODUCTS = 4
_REMEDY = "Ask for fewer products, or restrict the operator to a block of the parameters."


def trace(operator: Operator, *, num_products: int = 60, key: jax.Array | None = None, level: float = 0.95) -> Estimate:
    """The trace of an operator: a third of the products finds the large eigenvalues, the rest measures.

    Args:
      operator: symmetric, d rows.
      num_products: m >= 4, the most products to make.
      key: PRNG key; 0 by default.
      level: confidence of the interval, in (0, 1).

    Returns:
      The estimate; exact up to rounding (level 1) when d <= m, from d products. Its error falls as 1 / m where the
      eigenvalues are of one sign and decay, and as 1 / sqrt(m) otherwise. Cost: at most m products, m / 3 vectors.

    Raises:
      InputError: an argument out of its range, too little memory, or a product that is not finite, not symmetric or
        not repeatable.

    Example:
      >>> from jaxopt_lab.curvature import from_diagonal
      >>> print(trace(from_diagonal(jnp.array([5.0, 1.0, -2.0]))))
      4 +- 0

    Reference: Meyer et al. 2021, algorithm 1.
    """
    total = _deflated(operator, "trace", _trace_term, num_products, key, level)
    low = max(total.low, total.known - total.rounding) if operator.semidefinite else total.low
    return Estimate(total.value, total.error, (low, total.high), total.level, total.products)


def frobenius(
    operator: Operator, *, num_products: int = 60, key: jax.Array | None = None, level: float = 0.95
) -> Estimate:
    """The Frobenius norm, the root of the sum of the squared eigenvalues.

    Args:
      operator: symmetric, d rows.
      num_products: m >= 4, the most products to make.
      key: PRNG key; 0 by default.
      level: confidence of the interval, in (0, 1).

    Returns:
      The estimate: the root of an unbiased estimate of the square. What was sampled is a sum of squares: its interval
      is taken on a logarithmic scale, and covers some percent less than its level below m = 24. Exact up to rounding
      (level 1) when d <= m, from d products. Cost: at most m products, m / 3 vectors.

    Raises:
      InputError: an argument out of its range, too little memory, or a product that is not finite, not symmetric or
        not repeatable.

    Example:
      >>> from jaxopt_lab.curvature import from_diagonal
      >>> print(frobenius(from_diagonal(jnp.array([3.0, -4.0]))))
      5 +- 0
    """
    total = _deflated(operator, "frobenius", _square_term, num_products, key, level)
    norm = float(np.sqrt(max(total.value, 0.0)))
    rest = total.value - total.known
    spread = np.exp(min(total.half_width / rest, 700.0)) if rest > 0 else 1.0
    low = max(total.known + rest / spread - total.rounding, 0.0)
    high = total.known + rest * spread + total.rounding
    error = total.error / (2 * norm) if norm else 0.0
    return Estimate(norm, error, (float(np.sqrt(low)), float(np.sqrt(high))), total.level, total.products)


def half_width(samples: np.ndarray, level: float) -> float:
    """Half the width of Student's interval for the mean of independent samples [s], s - 1 degrees of freedom.

    Example:
      >>> print(f"{half_width(np.array([1.0, 3.0]), 0.95):.4f}")
      12.7062
    """
    samples = np.asarray(samples, np.float64)
    return float(stdtrit(samples.size - 1, (1 + level) / 2) * mean_of_samples(samples).standard_error)


def whole_matrix(operator: Operator, key: jax.Array) -> np.ndarray:
    """The operator [d, d], float64, in some orthonormal basis of the whole space. Cost: d products, d vectors."""
    state = start_from(operator, operator.size, random_vector(key, operator.like), key)
    while not state.complete:
        state = grow(operator, state)
    return state.matrix[: state.count, : state.count]


def require_rows(where: str, operator: Operator, num_rows: int) -> None:
    """Raises unless a basis of so many vectors fits in memory."""
    needed = (num_rows + 3) * operator.vector_bytes
    require_memory(where, needed, available_memory(), f"a basis of {num_rows} vectors", _REMEDY)


@dataclasses.dataclass(frozen=True)
class _Total:
    """A sum over all directions: the part that is `known`, and the estimate of all with its error."""

    value: float
    known: float
    error: float
    half_width: float
    rounding: float
    level: float
    products: int

    @property
    def low(self) -> float:
        return self.value - self.half_width - self.rounding

    @property
    def high(self) -> float:
        return self.value + self.half_width + self.rounding


def _deflated(
    operator: Operator, where: str, term: Callable[..., Any], num_products: int, key: jax.Array | None, level: float
) -> _Total:
    """sum_i term(q_i, A q_i) over a basis Q of the sketch, plus the mean of term(P g, A P g) over the probes."""
    require_count(where, "num_products", num_products, _LEAST_PRODUCTS)
    require_between(where, "level", level, 0, 1, ends="()")
    sketch_key, probe_key = jax.random.split(jax.random.key(0) if key is None else key)
    whole = operator.size <= num_products
    num_rows = operator.size if whole else min(num_products // 3, (num_products - 2) // 2)
    require_rows(where, operator, num_rows + 1)
    operator, spent = require_sound(operator)
    if whole:
        matrix = whole_matrix(operator, sketch_key)
        rows = np.stack([np.diag(matrix), np.ones(operator.size), np.linalg.norm(matrix, axis=1)])
        value, size = (float(part.sum()) for part in term(*rows))
        return _Total(value, value, 0.0, 0.0, operator.epsilon * size, 1.0, operator.size + spent)
    basis, count, made = _range_basis(operator, num_rows, sketch_key)
    found = [_moments(operator, krylov.row(basis, place)) for place in range(count)]
    rest = []
    for draw in jax.random.split(probe_key, num_products - 2 * num_rows):
        probe = random_vector(draw, operator.like, "rademacher")
        rest.append(_moments(operator, meshes.settled(_complement(basis, count, probe))))
    known, known_size = term(*_gathered(operator, found))
    samples, sample_size = term(*_gathered(operator, rest))
    mean = mean_of_samples(samples)
    return _Total(
        value=float(known.sum() + mean.value),
        known=float(known.sum()),
        error=float(mean.standard_error or 0.0),
        half_width=half_width(samples, level),
        rounding=operator.epsilon * float(known_size.sum() + sample_size.mean()),
        level=level,
        products=spent + made + count + len(rest),
    )


def _trace_term(inner: np.ndarray, size: np.ndarray, image_size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The terms v'Av, and what their rounding errors are relative to."""
    return inner, size * image_size


def _square_term(inner: np.ndarray, size: np.ndarray, image_size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The terms |Av|^2, and what their rounding errors are relative to."""
    del inner, size
    return image_size**2, 2 * image_size**2


def _range_basis(operator: Operator, num_rows: int, key: jax.Array) -> tuple[krylov.Basis, int, int]:
    """An orthonormal basis of A S for random columns S, its dimension, and products; it ends where A has no more."""
    basis, scale = krylov.zero_basis(operator.like, num_rows), 0.0
    for count, draw in enumerate(jax.random.split(key, num_rows)):
        basis, inner, norm = krylov.append(basis, count, operator(random_vector(draw, operator.like)))
        scale = max(scale, float(np.hypot(np.linalg.norm(inner), norm)))
        if not float(norm) > krylov.BREAKDOWN * operator.epsilon * scale:
            return basis, count, count + 1
    return basis, num_rows, num_rows


def _moments(operator: Operator, vector: Any) -> jax.Array:
    """(v'Av, |v|, |Av|)."""
    return meshes.settled(_inner_products(vector, operator(vector)))


@jax.jit
def _inner_products(vector: Any, product: Any) -> jax.Array:
    return jnp.stack([vectors.dot(vector, product), vectors.norm(vector), vectors.norm(product)])


@jax.jit
def _complement(basis: krylov.Basis, count: jax.Array, vector: Any) -> Any:
    return krylov.orthogonalize(basis, count, vector)[0]


def _gathered(operator: Operator, moments: list[jax.Array]) -> np.ndarray:
    """The moments of all vectors, [3, vectors]."""
    array = np.array(moments, np.float64).reshape(-1, 3).T
    if not np.isfinite(array).all():
        raise fail(
            operator.name, "a product is not finite",
            "The loss is not twice differentiable at this point, or it overflows there.",
        )  # fmt: skip
    return array
