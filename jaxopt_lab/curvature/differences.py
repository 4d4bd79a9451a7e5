"""Hessian products by central differences of gradients, for losses without a second derivative.

    H v = |v| / (2 h) (grad f(w + h v / |v|) - grad f(w - h v / |v|)) + O(h^2) + rounding / h

The length h of the step is the one of a few, from eps^(1/3) (1 + |w|) down, at which products of h and of 2 h agree
best; by what they differ there is the products' relative error.

Reference: Nocedal and Wright 2006, Numerical optimization, section 8.1.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import fail, vectors
from jaxopt_lab.curvature.operators import Operator, operator, random_vector, space_epsilon, vector_space
from jaxopt_lab.curvature.points import Point
from jaxopt_lab.curvature.streams import Chunks, mean_over_chunks

_LENGTHS = (1.0, 2.0**-2, 2.0**-4, 2.0**-6)
_MOST_ERROR = 1 / 8  # of a product: one digit is left
_SEED = 3


def difference_operator(point: Point, name: str, notes: tuple[str, ...] = ()) -> Operator:
    """The Hessian at a point, each product from two gradients.

    Args:
      point: where it is taken.
      name: of the operator.
      notes: what else a reader of its numbers must know.

    Returns:
      The operator; its `epsilon` is the error that its products were found to have. Cost: 32 gradients.

    Raises:
      InputError: products at no length of the step agree to a digit.
    """
    like = vector_space(point.params)
    precision = space_epsilon(like)
    longest = precision ** (1 / 3) * (1 + float(vectors.norm(point.params)))
    probes = [random_vector(jax.random.key(_SEED), like)]
    if float(vectors.norm(point.gradient)) > 0:
        probes.append(point.gradient)
    errors = [
        max(_disagreement(point, longest * share, probe) for probe in probes)
        for share in _LENGTHS
    ]  # fmt: skip
    best = int(np.argmin(errors))
    if not errors[best] < _MOST_ERROR:
        raise fail(
            name, f"central differences of the gradient disagree by {errors[best]:.2g} of themselves at any step",
            "The gradient is too coarse for them: compute it in float32 or, with lab.precision, in float64.",
        )  # fmt: skip
    length = jnp.asarray(longest * _LENGTHS[best], jnp.float32)
    error = max(errors[best], precision)
    said = f"Products are central differences of the gradient, with a relative error of {error:.1g}."
    product = functools.partial(_product, point.loss, point.params, point.chunks, length)
    return operator(
        product, point.params, name=name, epsilon=error, hint=point.gradient, notes=(*notes, said),
        examples=point.chunks,
        program=lambda vector, batch: _central((point.loss, point.params, length, vector), batch),
    )  # fmt: skip


def _disagreement(point: Point, length: float, vector: Any) -> float:
    """The difference of two products, of steps of one length and of its double, over the larger of them."""
    one, other = (
        _product(point.loss, point.params, point.chunks, jnp.asarray(size, jnp.float32), vector)
        for size in (length, 2 * length)
    )
    size = max(float(vectors.norm(one)), float(vectors.norm(other)))
    gap = float(vectors.norm(vectors.subtract(one, other)))
    if not math.isfinite(gap):
        return math.inf
    return gap / size if size > 0 else 0.0


def _product(loss: Any, params: Any, chunks: Chunks, length: jax.Array, vector: Any) -> Any:
    return mean_over_chunks(_central, (loss, params, length, vector), chunks)


def _central(constants: Any, batch: Any) -> Any:
    """One chunk's difference."""
    loss, params, length, vector = constants
    size = vectors.norm(vector)
    step = length / jnp.where(size > 0, size, 1)
    gradient = jax.grad(loss)
    ahead, behind = (gradient(vectors.axpy(sign * step, vector, params), batch) for sign in (1, -1))
    return vectors.scale(1 / (2 * step), vectors.subtract(ahead, behind))
