"""The top eigenvalues along a run, each search started from the eigenvectors of the last point.

    start = (v_1 + ... + v_k) / sqrt(k) + share * noise,      |noise| = 1

The noise has a part along every eigenvector, so that one that the run has newly raised above the others is found; one
pair more than asked for is followed, so that eigenvalues that cross are there before they do.

Reference: Cohen, Kaur, Li, Kolter, Talwalkar 2021, Gradient descent on neural networks typically occurs at the edge of
stability.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from jaxopt_lab.core import Estimate, fail, vectors
from jaxopt_lab.core.errors import require_between, require_count
from jaxopt_lab.curvature import krylov
from jaxopt_lab.curvature.lanczos import eigenpairs
from jaxopt_lab.curvature.operators import Operator, random_vector


@dataclasses.dataclass(frozen=True)
class Sharpness:
    """The top of the spectrum at one step of a run.

    Attributes:
      step: the step.
      values: the k largest eigenvalues, in decreasing order.
      errors: [k], an eigenvalue lies within it.
      converged: whether all reached the tolerance.
      products: products spent at this step.
      threshold: the largest eigenvalue at which the rule in use is stable, or None.
      ratio: values[0] / threshold; above 1 the rule is past its edge. None without a threshold.
    """

    step: int
    values: np.ndarray
    errors: np.ndarray
    converged: bool
    products: int
    threshold: float | None
    ratio: Estimate | None


def track(
    make_operator: Callable[..., Operator],
    points: Iterable[tuple[Any, ...]],
    *,
    k: int = 1,
    threshold: float | Callable[[int], float] | None = None,
    tolerance: float = 1e-3,
    spare: int = 1,
    share: float = 0.1,
    verify: bool = False,
    max_products: int | None = None,
    key: jax.Array | None = None,
) -> Iterator[Sharpness]:
    """Follows the top eigenvalues over the points of a run, one after the other.

    Args:
      make_operator: params, or (params, state), to an operator, such as the Hessian, or the preconditioned one of a
        rule with a second moment.
      points: tuples (step, params) or (step, params, state); consumed as the results are.
      k: number of eigenvalues, >= 1.
      threshold: stability threshold of the rule in use, a number or a function of the step, in units of the
        eigenvalues: 2 / lr for gradient descent, 2 (1 + rho) / lr for heavy ball.
      tolerance: of each eigenvalue, relative.
      spare: further pairs that are followed, fewer where the operator has no more.
      share: norm of the noise in a start, in (0, 1].
      verify: search anew at each point for what a start has missed; about twice the products.
      max_products: the most products at one point; `converged` is then False where they did not do.
      key: PRNG key; 0 by default.

    Returns:
      An iterator over one `Sharpness` for each point. Cost: with a slowly moving operator a few products for each pair
      and point; k + spare vectors between the points.

    Raises:
      InputError: an argument out of its range, a point that is no such tuple, or what `make_operator` raises.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxopt_lab.curvature import from_diagonal
      >>> points = [(step, jnp.array([1.0, 2.0 + step, 3.0])) for step in (0, 1, 2)]
      >>> for found in track(from_diagonal, points, threshold=4.0):
      ...     print(found.step, f"{found.values[0]:.2f} {found.ratio.value:.2f}")
      0 3.00 0.75
      1 3.00 0.75
      2 4.00 1.00
    """
    require_count("track", "k", k)
    require_count("track", "spare", spare, 0)
    require_between("track", "share", share, 0, 1, ends="(]")
    options = {"tolerance": tolerance, "verify": verify, "max_products": max_products}
    return _follow(
        make_operator, points, k, threshold, spare, share, options, jax.random.key(0) if key is None else key
    )


def _follow(
    make_operator: Callable[..., Operator],
    points: Iterable[tuple[Any, ...]],
    k: int,
    threshold: float | Callable[[int], float] | None,
    spare: int,
    share: float,
    options: dict[str, Any],
    key: jax.Array,
) -> Iterator[Sharpness]:
    last = None
    for point in points:
        if not isinstance(point, tuple) or len(point) not in (2, 3):
            raise fail("track", f"points must give (step, params) or (step, params, state), got {type(point).__name__}")
        step, *where = point
        operator = make_operator(*where)
        key, draw, search = jax.random.split(key, 3)
        start = None if last is None else _start(last, operator, share, draw)
        followed = min(k + spare, max(operator.size, k))
        pairs = eigenpairs(operator, followed, start=start, key=search, **options)
        last, top = pairs.largest.vectors, slice(k)
        edge = threshold(step) if callable(threshold) else threshold
        yield Sharpness(
            step=step,
            values=pairs.largest.values[top],
            errors=pairs.largest.errors[top],
            converged=bool(pairs.largest.converged[top].all()),
            products=pairs.products,
            threshold=edge,
            ratio=None
            if edge is None
            else _ratio(pairs.largest.values[0], pairs.largest.errors[0], edge, pairs.products),
        )


def _start(last: krylov.Basis, operator: Operator, share: float, key: jax.Array) -> Any:
    num = jax.tree.leaves(last)[0].shape[0]
    noise = random_vector(key, operator.like)
    size = share / np.sqrt(operator.size)
    return vectors.combination((1.0, krylov.combine(last, np.full(num, num**-0.5))), (size, noise))


def _ratio(value: float, error: float, edge: float, cost: int) -> Estimate:
    ends = sorted(((value - error) / edge, (value + error) / edge))
    return Estimate(float(value / edge), interval=(float(ends[0]), float(ends[1])), level=1.0, cost=cost)
