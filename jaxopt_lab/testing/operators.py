"""The laws of curvature operators: a fixed symmetric linear map on vectors like the parameters, as each one says."""

from collections.abc import Iterable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab import curvature
from jaxopt_lab.core import vectors
from jaxopt_lab.curvature import Operator
from jaxopt_lab.curvature.operators import random_direction
from jaxopt_lab.testing.laws import check, named

_MOST_DENSE = 300
_ROOM = 64.0  # rounding errors of a product, in units of its own `epsilon`


def check_operator(operator: Operator, *, laws: Iterable[str] | None = None) -> None:
    """Checks a curvature operator against the laws that hold for every one.

    Args:
      operator: from `curvature.hessian` and its like, or from `curvature.operator` with a product of your own.
      laws: names of `OPERATOR_LAWS`; None for all.

    Raises:
      InputError: an unknown law.
      LawError: a law that does not hold, the first one.

    Cost: about twenty products; of at most 300 rows all products and some eigenpairs more.

    Example:
      >>> from jaxopt_lab import curvature
      >>> check_operator(curvature.from_diagonal(jnp.array([3.0, 1.0, -2.0])))
    """
    check(operator.name, OPERATOR_LAWS, laws, operator)


def a_product_is_like_its_vector(operator: Operator) -> None:
    """In structure, shapes and dtypes; and finite."""
    vector = _draw(operator, 0)
    product = operator(vector)
    chex.assert_trees_all_equal_shapes_and_dtypes(vector, product)
    chex.assert_tree_all_finite(product)


def a_product_repeated_is_the_same(operator: Operator) -> None:
    """Up to its rounding error: nothing random in it, and the same examples in each pass."""
    vector = _draw(operator, 0)
    _assert_close(operator, operator(vector), operator(vector))


def the_map_is_linear(operator: Operator) -> None:
    """A (2 u - v) = 2 A u - A v, and A 0 = 0."""
    one, other = _draw(operator, 1), _draw(operator, 2)
    image, both = operator(one), operator(vectors.combination((2.0, one), (-1.0, other)))
    expected = vectors.combination((2.0, image), (-1.0, operator(other)))
    _assert_close(operator, both, expected, vectors.norm(image))
    assert float(vectors.norm(operator(vectors.zeros_like(one)))) <= _room(operator, vectors.norm(image))


def the_map_is_symmetric(operator: Operator) -> None:
    """u' A v = v' A u for random u and v."""
    one, other = _draw(operator, 3), _draw(operator, 4)
    image, mirrored = operator(one), operator(other)
    gap = abs(float(vectors.dot(other, image)) - float(vectors.dot(one, mirrored)))
    assert gap <= _room(operator, vectors.norm(image) + vectors.norm(mirrored)), gap


def no_product_points_back_where_none_may(operator: Operator) -> None:
    """v' A v is not negative for an operator that is said to be positive semidefinite."""
    for place in range(4 if operator.semidefinite else 0):
        vector = _draw(operator, place)
        image = operator(vector)
        assert float(vectors.dot(vector, image)) >= -_room(operator, vectors.norm(image))


def products_may_be_compiled(operator: Operator) -> None:
    """A `jax.tree_util.Partial` gives the same inside of `jax.jit`; other products are called from Python alone."""
    if isinstance(operator.product, jax.tree_util.Partial):
        vector = _draw(operator, 5)
        compiled = jax.jit(lambda product, vector: product(vector))(operator.product, vector)
        _assert_close(operator, compiled, operator(vector))


def eigenpairs_are_those_of_the_dense_matrix(operator: Operator) -> None:
    """Each within its error, for few rows."""
    if operator.size > _MOST_DENSE:
        return
    flat, unravel = jax.flatten_util.ravel_pytree(_draw(operator, 0))
    columns = [jax.flatten_util.ravel_pytree(operator(unravel(row)))[0] for row in jnp.eye(flat.size, dtype=flat.dtype)]
    matrix = np.asarray(jnp.stack(columns), np.float64)
    values = np.linalg.eigvalsh((matrix + matrix.T) / 2)
    ends = curvature.eigenpairs(operator, min(2, operator.size), min(1, operator.size - 1))
    room = _room(operator, np.abs(values).max())
    for side, expected in ((ends.largest, values[::-1]), (ends.smallest, values)):
        gaps = np.abs(side.values - expected[: len(side.values)])
        assert (gaps <= side.errors + room).all(), (side.values, expected)


def _draw(operator: Operator, seed: int) -> Any:
    return random_direction(jax.random.key(seed), operator.like)


def _room(operator: Operator, size: Any) -> float:
    """Rounding errors of products of this size."""
    return _ROOM * operator.epsilon * max(float(size), float(np.finfo(np.float32).tiny))


def _assert_close(operator: Operator, one: Any, other: Any, size: Any = 0.0) -> None:
    gap = float(vectors.norm(vectors.subtract(one, other)))
    assert gap <= _room(operator, vectors.norm(other) + size), gap


OPERATOR_LAWS = named(
    a_product_is_like_its_vector, a_product_repeated_is_the_same, the_map_is_linear, the_map_is_symmetric,
    no_product_points_back_where_none_may, products_may_be_compiled, eigenpairs_are_those_of_the_dense_matrix,
)  # fmt: skip
"""Law by name."""
