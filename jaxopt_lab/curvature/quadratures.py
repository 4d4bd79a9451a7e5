"""Gauss quadrature of an operator's spectral measure, one probe at a time, with bounds that hold whatever the spectrum.

    mu(x) = sum_i <g, v_i>^2 [lambda_i <= x],   |g| = 1

k products give the k nodes and weights that integrate polynomials up to degree 2k - 1 exactly. Of the rule that has
one more node put at x, the weights before x are at most the mass before x, and with the weight at x at least the mass
up to x (Chebyshev, Markov, Stieltjes).

Without a basis three vectors do in place of k. Rounding then puts several nodes, ghosts, where one eigenvalue has
converged; they share its weight. The rule is that of a matrix whose eigenvalues lie close to those of the operator:
nodes are taken to be off by sqrt(epsilon) |A| and masses by sqrt(epsilon), far above what is seen.

Reference: Golub and Meurant 2010, Matrices, moments and quadrature with applications, chapter 6; Szego 1939, Orthogonal
polynomials, section 3.41; Greenbaum 1989, Behavior of slightly perturbed Lanczos and conjugate-gradient recurrences.
"""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from jaxopt_lab.core import fail, vectors
from jaxopt_lab.core.errors import require_choice, require_count, require_memory
from jaxopt_lab.core.memory import available_host_memory, available_memory
from jaxopt_lab.curvature import krylov
from jaxopt_lab.curvature.operators import Operator, random_vector
from jaxopt_lab.curvature.projections import grow, start_from
from jaxopt_lab.curvature.recurrences import (
    Basis,
    HostBasis,
    NoBasis,
    RoundedBasis,
    projection_on,
    require_addressable,
)
from jaxopt_lab.curvature.soundness import require_sound

BASES = ("device", "bfloat16", "host", "none")


@dataclasses.dataclass(frozen=True)
class Quadrature:
    """The Gauss rule of one probe's spectral measure.

    Attributes:
      matrix: the operator's projection on the probe's Krylov space, [k, k].
      coupling: coupling of the space's directions to the next one, [k]; zero when the rule is exact.
      rounding: rounding error of an eigenvalue.
      slack: rounding error of a mass.
      products: products spent; in the first rule of an operator that was checked for it, with the three of the check.
    """

    matrix: np.ndarray
    coupling: np.ndarray
    rounding: float
    slack: float
    products: int

    @functools.cached_property
    def rule(self) -> tuple[np.ndarray, np.ndarray]:
        """Nodes in increasing order and weights that add up to 1, each [k]."""
        return _nodes(self.matrix)

    @property
    def exact(self) -> bool:
        """Whether the Krylov space is invariant, so that the rule is the measure itself."""
        return not self.coupling.any()

    def rule_with_node(self, node: float) -> tuple[np.ndarray, np.ndarray]:
        """Nodes and weights [k + 1] of the Gauss-Radau rule, of which one node is at `node`."""
        if self.exact:
            return self.rule
        shifted = self.matrix - node * np.eye(len(self.matrix))
        corner = node + self.coupling @ np.linalg.lstsq(shifted, self.coupling, rcond=0.0)[0]
        side = self.coupling[:, None]
        return _nodes(np.block([[self.matrix, side], [side.T, np.full((1, 1), corner)]]))

    def mass_below(self, point: float) -> tuple[float, float]:
        """Bounds on the mass of the measure below `point`."""
        low = self._mass(point - self.rounding, inclusive=False) - self.slack
        return max(low, 0.0), min(self._mass(point + self.rounding, inclusive=True) + self.slack, 1.0)

    def _mass(self, point: float, inclusive: bool) -> float:
        nodes, weights = self.rule_with_node(point)
        at_point = 0.0 if self.exact else 1e-9 * max(abs(point), float(np.abs(nodes).max()), 1e-300)
        before = nodes <= point + at_point if inclusive else nodes < point - at_point
        return float(weights[before].sum())


def gauss_quadratures(
    operator: Operator, num_probes: int, num_steps: int, key: jax.Array | None = None, *, basis: str = "device"
) -> list[Quadrature]:
    """Gauss rules of independent random sign vectors.

    Args:
      operator: symmetric, d rows.
      num_probes: s.
      num_steps: k products for each; fewer where the Krylov space closes.
      key: PRNG key; 0 by default.
      basis: where the k vectors are kept: "device"; "bfloat16", there in two bytes an entry; "host", in the host's
        memory, to which each product takes one vector and back; "none", so that rounding makes ghosts. Nodes, over
        |A|, and masses are sure up to 16 epsilon, with "bfloat16" up to 6e-5, with "none" up to sqrt(epsilon).

    Returns:
      s quadratures. Cost: at most s k products; k + 3 vectors of memory, in bfloat16 k of half size and 6, else 5.

    Raises:
      InputError: a count below 1, too little memory, vectors that several processes share with basis="host", or a
        product that is not finite, not symmetric or not repeatable.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxopt_lab.curvature import from_diagonal
      >>> (one,) = gauss_quadratures(from_diagonal(jnp.array([1.0, 1.0, 3.0, 3.0])), 1, 10)
      >>> one.rule[1].round(4).tolist(), one.products
      ([0.5, 0.5], 2)
    """
    require_count("gauss_quadratures", "num_probes", num_probes)
    require_count("gauss_quadratures", "num_steps", num_steps)
    require_choice("gauss_quadratures", "basis", basis, BASES)
    steps = min(num_steps, operator.size)
    _require_room("gauss_quadratures", operator, steps, basis)
    operator, spent = require_sound(operator)

    def measure(start: Any, key: jax.Array) -> Quadrature:
        if basis == "device":
            return _quadrature(operator, steps, start, key)
        return _short_quadrature(operator, steps, start, _empty_basis(basis, operator, steps))

    keys = jax.random.split(jax.random.key(0) if key is None else key, num_probes)
    starts = (random_vector(probe, operator.like, "rademacher") for probe in keys)
    first, *rest = (measure(start, probe) for start, probe in zip(starts, keys, strict=True))
    return [dataclasses.replace(first, products=first.products + spent), *rest]


def gauss_quadrature_of(operator: Operator, start: Any, num_steps: int, key: jax.Array | None = None) -> Quadrature:
    """The Gauss rule of one vector's spectral measure, such as a gradient's.

    Args:
      operator: symmetric, d rows.
      start: the vector, not zero; its length does not matter.
      num_steps: k products; fewer where the Krylov space closes.
      key: PRNG key; 0 by default.

    Returns:
      The quadrature. Cost: at most k products; k + 3 vectors of memory.

    Raises:
      InputError: a count below 1, too little memory, a vector of length zero, or a product that is not finite, not
        symmetric or not repeatable.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxopt_lab.curvature import from_diagonal
      >>> found = gauss_quadrature_of(from_diagonal(jnp.array([1.0, 2.0, 3.0])), jnp.array([3.0, 0.0, 4.0]), 10)
      >>> found.rule[0].round(4).tolist(), found.rule[1].round(4).tolist()
      ([1.0, 3.0], [0.36, 0.64])
    """
    require_count("gauss_quadrature_of", "num_steps", num_steps)
    steps = min(num_steps, operator.size)
    _require_room("gauss_quadrature_of", operator, steps, "device")
    if not float(vectors.norm(start)) > 0:
        raise fail("gauss_quadrature_of", "the vector has length zero", "It has no spectral measure.")
    operator, spent = require_sound(operator)
    found = _quadrature(operator, steps, start, jax.random.key(0) if key is None else key)
    return dataclasses.replace(found, products=found.products + spent)


def _require_room(where: str, operator: Operator, num_steps: int, basis: str) -> None:
    """Raises where the vectors on the device, or the basis in the host's memory, do not fit."""
    whole, available = operator.vector_bytes, available_memory()
    kept = {"device": whole, "bfloat16": 2 * operator.size}.get(basis, 0)
    held = {"device": 3, "bfloat16": 6}.get(basis, 5)
    if basis == "host":
        require_addressable(where, operator)
        require_memory(where, num_steps * whole, available_host_memory(), f"a basis of {num_steps} vectors")
    what, remedy = f"a recurrence of {held} vectors", "Take a block of the parameters."
    if kept:
        what, fits = f"a basis of {num_steps} vectors", max((available - held * whole) // kept, 0)
        remedy = f"{fits} would fit: lower num_steps to that, or take basis='none'."
    require_memory(where, num_steps * kept + held * whole, available, what, remedy)


def _empty_basis(basis: str, operator: Operator, num_steps: int) -> Basis:
    if basis == "none":
        return NoBasis()
    return (HostBasis if basis == "host" else RoundedBasis)(operator.like, num_steps)


def _quadrature(operator: Operator, num_steps: int, start: Any, key: jax.Array) -> Quadrature:
    state = start_from(operator, num_steps, start, key)
    while state.count < num_steps and not state.complete:
        state = grow(operator, state, refill=False)
    used = slice(state.count)
    coupling = np.zeros(state.count) if state.complete else state.coupling[used]
    slack = krylov.ROUNDING * operator.epsilon
    return Quadrature(state.matrix[used, used], coupling, slack * state.scale, slack, state.products)


def _short_quadrature(operator: Operator, num_steps: int, start: Any, kept: Basis) -> Quadrature:
    """The rule by the three-term recurrence."""
    matrix, beta, scale = projection_on(operator, num_steps, start, kept)
    coupling = np.zeros(len(matrix))
    coupling[-1] = beta
    slack = kept.slack(operator.epsilon)
    return Quadrature(matrix, coupling, slack * scale, slack, len(matrix))


def _nodes(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, rotation = np.linalg.eigh(matrix)
    return values, rotation[0] ** 2
