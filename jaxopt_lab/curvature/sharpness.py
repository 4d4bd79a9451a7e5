"""Sharpness as a step feels it: along its update, and in the batches that steps are taken on.

    directional   u'Hu / u'u                       along an update u
    batch         E[g_B' H_B g_B / |g_B|^2]        over batches B, each with its own gradient and Hessian

With all examples in a batch, and u the gradient, both are g'Hg / |g|^2, which is at most the largest eigenvalue. Each
costs a few passes through the data, where that eigenvalue needs tens of products.

Reference: Andreyev and Beneventano 2024, Edge of stochastic stability: revisiting the edge of stability for SGD, arXiv
2412.20553.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Estimate, Problem, fail, mean_of_samples, meshes, vectors
from jaxopt_lab.core.errors import require_between, require_choice, require_count
from jaxopt_lab.core.leaves import count_examples
from jaxopt_lab.curvature import krylov
from jaxopt_lab.curvature.operators import space_epsilon, vector_space
from jaxopt_lab.curvature.points import ExpectedLoss, locate
from jaxopt_lab.curvature.products import PRODUCTS, curved, hessian
from jaxopt_lab.curvature.soundness import require_sound
from jaxopt_lab.curvature.streams import Source
from jaxopt_lab.curvature.traces import half_width

_LEAST_BATCHES = 4


def directional_sharpness(
    problem: Problem,
    params: Any,
    update: Any = None,
    *,
    data: Source = None,
    chunk_size: int | None = None,
    product: str = "auto",
) -> Estimate:
    """The curvature u'Hu / u'u of the loss along an update.

    Args:
      problem: its loss is taken with key None.
      params: the point.
      update: u, like the parameters, of any length, such as what a rule's `update` gives; None for the gradient.
      data: as in `hessian`; the batch that the step is taken on, or by default all data.
      chunk_size: as in `hessian`.
      product: as in `hessian`.

    Returns:
      The curvature, its interval the rounding error of the product, or the error of its differences. Cost: one
      gradient, one product, and three more where `hessian` must be checked first.

    Raises:
      InputError: an update that is zero, not finite or not like the parameters, or what `hessian` raises.

    Example:
      >>> import jaxopt_lab as lab
      >>> bowl = lab.from_loss(lambda w, batch, key: w @ (jnp.array([4.0, 1.0]) * w) / 2, jnp.ones(2))
      >>> print(f"{directional_sharpness(bowl, jnp.ones(2), jnp.array([0.0, -3.0])).value:.4f}")
      1.0000
      >>> print(f"{directional_sharpness(bowl, jnp.ones(2)).value:.4f}")  # 65 / 17
      3.8235

    Reference: Kalra et al. 2026, arXiv 2601.16979, who divide by -g'u; both agree along the gradient.
    """
    if update is not None:
        update = checked_update("directional_sharpness", update, params)
    operator = hessian(problem, params, data=data, chunk_size=chunk_size, product=product)
    if update is None:
        update = operator.hint
        require_gradient("directional_sharpness", update)
    operator, spent = require_sound(operator)
    direction = unit(update)
    image = operator(direction)
    value, size = float(vectors.dot(direction, image)), float(vectors.norm(image))
    if not math.isfinite(size):
        raise fail("directional_sharpness", f"the product of the {operator.name} with the update is not finite")
    error = max(operator.epsilon, krylov.ROUNDING * space_epsilon(operator.like)) * size
    return Estimate(value, interval=(value - error, value + error), level=1.0, cost=spent + 1)


def batch_sharpness(
    problem: Problem,
    params: Any,
    *,
    batch_size: int | None = None,
    num_batches: int = 32,
    data: Source = None,
    product: str = "auto",
    key: jax.Array | None = None,
    level: float = 0.95,
) -> Estimate:
    """The mean over batches of the curvature of a batch's loss along its own gradient.

    Args:
      problem: its loss is taken with key None; batch statistics that are not frozen are those of each batch, as in a
        step of training.
      params: the point.
      batch_size: examples a batch, drawn without replacement; None for all. Not of a function's batches.
      num_batches: batches, at least 4, each drawn anew.
      data: as in `hessian`; by default the problem's. Of a function the first `num_batches` batches are taken as they
        come; those of another size than the first are left out.
      product: as in `hessian`.
      key: PRNG key of the draws; 0 by default.
      level: confidence of the interval, in (0, 1).

    Returns:
      The mean with Student's interval over the batches: for a stable SGD it stays at or below 2 / learning_rate. With
      all examples in a batch there is one, and the interval is its rounding error (level 1). Cost: a gradient and a
      product of each batch; 34 gradients where products are differences.

    Raises:
      InputError: an argument out of its range, batches without a gradient, a curvature that is not finite, or what
        `hessian` raises.

    Example:
      >>> import jaxopt_lab as lab
      >>> rows = jnp.array([[1.0, 1.0], [2.0, 0.0], [0.0, 3.0], [1.0, 2.0]])
      >>> line = lab.from_loss(lambda w, rows, key: jnp.mean((rows @ w - 1) ** 2) / 2, jnp.ones(2), rows)
      >>> found = batch_sharpness(line, jnp.zeros(2), batch_size=1, num_batches=400)  # mean |x|^2 = 5
      >>> found.interval[0] < 5 < found.interval[1]
      True
      >>> print(f"{batch_sharpness(line, jnp.zeros(2)).value:.4f}")  # 11.625 / 3.25
      3.5769

    Reference: Andreyev and Beneventano 2024.
    """
    where = "batch_sharpness"
    require_count(where, "num_batches", num_batches, _LEAST_BATCHES)
    require_between(where, "level", level, 0, 1, ends="()")
    require_choice(where, "product", product, PRODUCTS)
    batches = _batches(problem.data if data is None else data, batch_size, num_batches, key)
    first = next(batches)
    point = locate(problem, params, first, require=partial(curved, problem.name, product))
    is_exact = point.found[1]
    measured = []
    for batch in itertools.chain([first], batches):
        if is_exact:
            measured.append(meshes.settled(_along_gradient(point.loss, point.params, batch)))
        else:
            measured.append(_along_differences(problem, params, batch))
    return _mean_curvature(problem.name, np.array(measured, np.float64), level)


def checked_update(where: str, update: Any, params: Any) -> Any:
    """An update in wide dtypes, with its entries finite and not all zero.

    Args:
      where: for the errors.
      update: a pytree.
      params: what it is an update of.

    Raises:
      InputError: it is not so, or not like the parameters.
    """
    got, wanted = (jax.tree.map(jnp.shape, tree) for tree in (update, params))
    if got != wanted:
        raise fail(where, f"the update must be like the parameters, of shapes {wanted}, got {got}")
    vector_space(update)
    update = jax.tree.map(vectors.widened, update)
    largest = float(vectors.largest(update))
    if not 0 < largest < math.inf:
        raise fail(where, f"the update must be finite and not zero, its largest entry is {largest}")
    return update


def require_gradient(where: str, gradient: Any) -> None:
    """Raises where the gradient is zero: it is then no direction."""
    if not float(vectors.largest(gradient)) > 0:
        raise fail(where, "the gradient is zero at this point", "Give the update along which it is measured.")


def unit(vector: Any) -> Any:
    """The vector over its norm, whose square may be out of the dtype's range; a zero vector stays zero."""
    largest = vectors.largest(vector)
    shrunk = vectors.scale(1 / jnp.where(largest > 0, largest, 1), vector)
    size = vectors.norm(shrunk)
    return vectors.scale(1 / jnp.where(size > 0, size, 1), shrunk)


def along(loss: Callable[[Any], jax.Array], params: Any, vector: Any) -> jax.Array:
    """The curvature u'Hu of a loss along a vector, u = vector / |vector|; 0 for a zero one.

    It may be traced. Leaves of less than 32 bits are widened first, and the vector takes the parameters' dtypes.

    Example:
      >>> float(along(lambda w: jnp.sum(w**3), jnp.array([1.0, 2.0]), jnp.array([0.0, 5.0])))
      12.0
    """
    params, vector = jax.tree.map(vectors.widened, (params, vector))
    direction = jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), unit(vector), params)
    return vectors.dot(direction, jax.jvp(jax.grad(loss), (params,), (direction,))[1])


def along_gradient(loss: Callable[[Any], jax.Array], params: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The curvature of a loss along its gradient g, the curvature's rounding error, and the largest entry of g.

    It may be traced; where the gradient is zero all three are. Leaves of less than 32 bits are widened first.
    """
    gradient, product = jax.linearize(jax.grad(loss), jax.tree.map(vectors.widened, params))
    direction = unit(gradient)
    image = product(direction)
    error = krylov.ROUNDING * space_epsilon(gradient) * vectors.norm(image)
    return vectors.dot(direction, image), error, vectors.largest(gradient)


def _batches(source: Source, size: int | None, num_batches: int, key: jax.Array | None) -> Iterator[Any]:
    """The batches, all of one size; a single one where a batch holds all examples."""
    if callable(source):
        if size is not None:
            raise fail("batch_sharpness", "batch_size is that of the function's batches", "Leave it out.")
        return _streamed(source, num_batches)
    num_examples = count_examples(source, "batch_sharpness", "data") or 1
    if size is not None:
        require_count("batch_sharpness", "batch_size", size)
        if size > num_examples:
            raise fail("batch_sharpness", f"batch_size must be at most the {num_examples} examples, got {size}")
    if size is None or size == num_examples:
        return iter([source])
    keys = jax.random.split(jax.random.key(0) if key is None else key, num_batches)
    return (
        meshes.take(source, np.sort(jax.random.choice(each, num_examples, (size,), replace=False))) for each in keys
    )


def _streamed(source: Any, num_batches: int) -> Iterator[Any]:
    first, given = None, 0
    for batch in itertools.islice(source(), num_batches):
        size = count_examples(batch, "batch_sharpness", "a batch")
        first = first or size
        if size == first:
            given += 1
            yield batch
    if given < _LEAST_BATCHES:
        raise fail(
            "batch_sharpness", f"at least {_LEAST_BATCHES} batches of one size are needed, the data give {given}",
            "Give more and smaller batches.",
        )  # fmt: skip


@jax.jit
def _along_gradient(loss: ExpectedLoss, params: Any, batch: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    return along_gradient(lambda point: loss(point, batch), params)


def _along_differences(problem: Problem, params: Any, batch: Any) -> tuple[float, float, float]:
    """As `_along_gradient`, for a loss without a second derivative."""
    operator = hessian(problem, params, data=batch, product="finite-difference")
    direction = unit(operator.hint)
    image = operator(direction)
    error = operator.epsilon * float(vectors.norm(image))
    return float(vectors.dot(direction, image)), error, float(vectors.largest(operator.hint))


def _mean_curvature(name: str, measured: np.ndarray, level: float) -> Estimate:
    """The estimate from each batch's curvature, its error and its largest entry of the gradient, [batches, 3]."""
    where = "batch_sharpness"
    flat = int(np.count_nonzero(measured[:, 2] == 0))
    if flat:
        raise fail(
            where, f"the gradient of {name} is zero in {flat} of {len(measured)} batches",
            "There is no curvature along it: take larger batches.",
        )  # fmt: skip
    curves, errors, _ = measured.T
    if not np.isfinite(measured).all():
        wrong = int(np.count_nonzero(~np.isfinite(measured).all(axis=1)))
        raise fail(where, f"the gradient or its curvature is not finite in {wrong} of {len(measured)} batches")
    if len(curves) == 1:
        value, error = float(curves[0]), float(errors[0])
        return Estimate(value, interval=(value - error, value + error), level=1.0, cost=1)
    mean, half = mean_of_samples(curves), half_width(curves, level) + float(errors.mean())
    interval = (mean.value - half, mean.value + half)
    return Estimate(mean.value, mean.standard_error, interval, level, len(curves))
