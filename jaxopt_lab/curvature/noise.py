"""The gradient's noise at a point: how large a batch is worth its cost, from the mean gradients of groups of examples.

    B_simple = tr S / |G|^2,        B_noise = tr(H S) / G'HG

G is the expected gradient and S the covariance of one example's gradient, over the population that the data are a
sample of. `ratios` says how both come from the groups' means, without bias and with their intervals.

Reference: McCandlish et al. 2018, An empirical model of large-batch training, arXiv 1812.06162.
"""

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Estimate, InputError, Problem, fail, meshes, vectors
from jaxopt_lab.core.errors import require_between, require_count
from jaxopt_lab.curvature import krylov
from jaxopt_lab.curvature.operators import Operator, space_epsilon, vector_space
from jaxopt_lab.curvature.points import Point, carries_statistics, locate
from jaxopt_lab.curvature.ratios import Forms
from jaxopt_lab.curvature.soundness import require_sound
from jaxopt_lab.curvature.streams import Source, batch_size
from jaxopt_lab.curvature.traces import require_rows

_LEAST_GROUPS = 4
_MOST_APART = 0.1


@dataclasses.dataclass(frozen=True)
class NoiseScale:
    """Noise scales in examples, and what they are made of.

    Attributes:
      simple: B_simple; not resolved when the upper end of its interval is infinite, and then a bound from below. Its
        value is infinite when the unbiased estimate of the denominator is not positive.
      curved: B_noise, or None without a Hessian.
      noise_trace: tr S.
      squared_gradient: |G|^2; an unbiased estimate may be negative.
      num_examples: n.
      num_groups: groups that the intervals rest on.
    """

    simple: Estimate
    curved: Estimate | None
    noise_trace: Estimate
    squared_gradient: Estimate
    num_examples: int
    num_groups: int

    @property
    def resolved(self) -> bool:
        """Whether all intervals are finite."""
        found = [scale.interval for scale in (self.simple, self.curved) if scale is not None]
        return bool(np.isfinite(np.array(found, np.float64)).all())


def noise_scale(
    problem: Problem,
    params: Any,
    *,
    hessian: Operator | None = None,
    data: Source = None,
    num_groups: int = 32,
    chunk_size: int | None = None,
    block: str | None = None,
    key: jax.Array | None = None,
    level: float = 0.95,
) -> NoiseScale:
    """The noise scales of a problem's gradient at a point.

    Args:
      problem: its loss is taken with key None, and is a mean over examples that do not touch each other (`freeze` a
        model with batch statistics first).
      params: the point.
      hessian: the operator H at the same point, for B_noise; None to leave that out. The interval takes it as exact,
        and covers 1 to 4 percent less than its level when it is that of the same examples.
      data: as in `hessian`; examples drawn independently of each other. Arrays are shuffled by `key`; batches of a
        function must come in random order, and are dealt to the groups in turn.
      num_groups: random groups of equal size, up to one example; at least 4.
      chunk_size: examples of a group at once; None for all.
      block: only the parameters whose path starts so.
      key: PRNG key of the shuffle; 0 by default.
      level: confidence of the intervals, in (0, 1).

    Returns:
      The scales with jackknife intervals over the groups. Cost: two gradients of all data, `num_groups` vectors, and
      with a Hessian num_groups + 1 products.

    Raises:
      InputError: a problem without data, fewer than 4 examples or batches, an argument out of its range, too little
        memory, examples that touch each other (batch statistics that are not frozen), a Hessian that is not sound, or
        what `hessian` raises.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxopt_lab as lab
      >>> samples = jnp.array([[1.0], [2.0], [3.0], [6.0]])
      >>> problem = lab.from_loss(lambda w, batch, key: jnp.mean(batch @ w), jnp.zeros(1), samples)
      >>> found = noise_scale(problem, jnp.zeros(1))
      >>> print(f"{found.noise_trace.value:.3f} {found.squared_gradient.value:.3f} {found.simple.value:.3f}")
      4.667 7.833 0.596

    Reference: McCandlish et al. 2018, equations 2.8 and 2.9.
    """
    require_count("noise_scale", "num_groups", num_groups, _LEAST_GROUPS)
    require_between("noise_scale", "level", level, 0, 1, ends="()")
    if data is None and problem.data is None:
        raise fail("noise_scale", f"{problem.name} has no data", "Its noise is that of drawing examples: give some.")
    if carries_statistics(problem):
        raise _touching(problem, "its batch statistics are not frozen")
    point = locate(problem, params, data, chunk_size, block)
    hessian, spent = (None, 0) if hessian is None else require_sound(hessian)
    groups = _collect(point, num_groups, jax.random.key(0) if key is None else key)
    plain = groups.forms(lambda vector: vector)
    _require_independent(problem, point, groups, plain)
    curved = None
    if hessian is not None:
        bent = groups.forms(hessian)
        curved = bent.ratio(level, spent + len(groups.sizes) + 1)
    return NoiseScale(
        simple=plain.ratio(level, 2),
        curved=curved,
        noise_trace=plain.estimate(0, level),
        squared_gradient=plain.estimate(1, level),
        num_examples=point.chunks.num_examples,
        num_groups=len(groups.sizes),
    )


@dataclasses.dataclass(frozen=True)
class _Groups:
    """Deviations g_j - g of the groups' mean gradients, stacked, their mean g, and the groups' sizes [groups]."""

    deviations: krylov.Basis
    mean: Any
    sizes: np.ndarray

    def forms(self, product: Any) -> "Forms":
        """The quadratic forms of a symmetric map in the deviations and the mean."""
        columns = []
        for place in range(len(self.sizes)):
            columns.append(_coefficients(self.deviations, product(krylov.row(self.deviations, place))))
        image = product(self.mean)
        cross = _coefficients(self.deviations, image)
        between = np.array(columns, np.float64)
        return Forms(
            (between + between.T) / 2, np.asarray(cross, np.float64), float(vectors.dot(self.mean, image)), self.sizes
        )


def _require_independent(problem: Problem, point: Point, groups: _Groups, plain: Forms) -> None:
    """The mean of the groups' gradients is the gradient of all examples, unless examples of a group touch each other.

    Rounding leaves up to .06 of its standard error between both (a network that fits every example), batch
    normalization .15 or more.
    """
    if not point.chunks.resident:
        return  # the same batches were added up for both
    gap = float(vectors.norm(jax.tree.map(jnp.subtract, groups.mean, point.gradient)))
    error = np.sqrt(max(float(plain.moments()[0]), 0.0) / point.chunks.num_examples)
    squares = np.diag(plain.between) + 2 * plain.cross + plain.mean
    size = groups.sizes @ np.sqrt(np.maximum(squares, 0.0)) / groups.sizes.sum()
    if gap > _MOST_APART * error + np.sqrt(space_epsilon(vector_space(point.params))) * size:
        raise _touching(
            problem, f"the mean of the groups' gradients is off by {gap:.2g}, their standard error {error:.2g}"
        )


def _touching(problem: Problem, why: str) -> InputError:
    return fail(
        "noise_scale", f"the examples of {problem.name} depend on each other in a batch: {why}",
        "Hold batch statistics fixed: noise_scale(problem.freeze(...), ...).",
    )  # fmt: skip


def _collect(point: Point, num_groups: int, key: jax.Array) -> _Groups:
    """The groups' mean gradients, about their mean."""
    like = vector_space(point.params)
    num_groups = min(num_groups, point.chunks.num_examples)
    require_rows("noise_scale", Operator(lambda vector: vector, like), num_groups + 1)
    rows, sizes = krylov.zero_basis(like, num_groups), np.zeros(num_groups, np.int64)
    for group, batch in _pieces(point, num_groups, key):
        count = batch_size(batch)
        rows = meshes.settled(_add_gradient(rows, (point.loss, point.params), batch, group, float(count)))
        sizes[group] += count
    used = np.count_nonzero(sizes)
    if used < _LEAST_GROUPS:
        raise fail(
            "noise_scale", f"at least {_LEAST_GROUPS} groups are needed, the data give {used}",
            "Give more examples, or more and smaller batches.",
        )  # fmt: skip
    if used < num_groups:
        rows, sizes = jax.tree.map(lambda row: row[:used], rows), sizes[:used]
    deviations, mean = _center(rows, sizes, sizes / sizes.sum())
    return _Groups(deviations, mean, sizes)


def _pieces(point: Point, num_groups: int, key: jax.Array) -> Iterator[tuple[int, Any]]:
    """Pairs of a group and some of its examples."""
    chunks = point.chunks
    if not chunks.resident:
        for place, (batch, _) in enumerate(chunks):
            yield place % num_groups, batch
        return
    order = np.asarray(jax.random.permutation(key, chunks.num_examples))
    for group, members in enumerate(np.array_split(order, num_groups)):
        size = chunks.chunk_size or max(len(members), 1)
        for low in range(0, len(members), size):
            yield group, meshes.take(chunks.source, members[low : low + size])


@partial(jax.jit, donate_argnums=0)
def _add_gradient(rows: krylov.Basis, constants: Any, batch: Any, group: Any, count: Any) -> krylov.Basis:
    loss, params = constants
    gradient = jax.grad(loss)(params, batch)
    return jax.tree.map(lambda row, leaf: row.at[group].add(count * leaf), rows, gradient)


@partial(jax.jit, donate_argnums=0)
def _center(rows: krylov.Basis, sizes: jax.Array, shares: jax.Array) -> tuple[krylov.Basis, Any]:
    """Rows of sums to rows of deviations from their weighted mean, and the mean."""
    means = jax.tree.map(lambda row: row / sizes.astype(row.dtype).reshape(-1, *[1] * (row.ndim - 1)), rows)
    mean = krylov.combine(means, shares)
    return jax.tree.map(lambda row, leaf: row - leaf, means, mean), mean


@jax.jit
def _coefficients(basis: krylov.Basis, vector: Any) -> jax.Array:
    return krylov.coefficients(basis, vector)
