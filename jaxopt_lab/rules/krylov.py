"""The Krylov space of a Hessian and a vector, inside of a compiled step.

Lanczos with full orthogonalization, a fixed number of rows and one `lax.scan`: it can be jitted, mapped and
differentiated. A space that is invariant early leaves its last rows zero, and takes no more products.

Reference: Golub and Van Loan, Matrix Computations, 4th edition, section 10.3.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxopt_lab.core import fail, vectors
from jaxopt_lab.core.errors import is_concrete_number, require_count
from jaxopt_lab.curvature.krylov import BREAKDOWN, coefficients, combine

MOST_PRODUCTS = 32

Product = Callable[[Any], Any]


class Space(NamedTuple):
    """An orthonormal basis Q whose first row is the vector over its norm, and T = Q' H Q.

    Attributes:
      basis: stacked rows, real leaves [k, ...] of at least 32 bits.
      matrix: T, symmetric [k, k]; zero where the basis is.
      length: the norm of the vector.
      num_products: products taken, int32 scalar.
    """

    basis: Any
    matrix: jax.Array
    length: jax.Array
    num_products: jax.Array


def require_products(rule: str, num_products: Any) -> None:
    """Raises unless a concrete number of products is a whole number from 1."""
    if is_concrete_number(num_products):
        require_count(rule, "num_products", num_products)
    elif not isinstance(num_products, jax.Array):
        raise fail(rule, f"num_products must be a whole number, got {num_products!r}")


def capacity(num_products: Any) -> int:
    """Rows to keep: the number itself, or `MOST_PRODUCTS` for one that is traced."""
    return num_products if isinstance(num_products, int) else MOST_PRODUCTS


def hessian_product(grad_fn: Callable[[Any], Any], params: Any) -> Product:
    """v -> H v at `params`, for real vectors as `realized` makes them; one linearization serves all products."""
    _, linear = jax.linearize(grad_fn, params)
    return lambda vector: realized(linear(restored(vector, params)))


def krylov_space(product: Product, first: Any, num_products: Any) -> Space:
    """The space of first, H first, ..., H^(k - 1) first.

    Args:
      product: v -> H v on real pytrees.
      first: the vector, a real pytree.
      num_products: k, a whole number, or a traced one of at most `MOST_PRODUCTS`, which costs as many rows.

    Returns:
      The space. Cost: k products, or fewer where it is invariant; memory k vectors.
    """
    rows = capacity(num_products)
    unit, length = normalized(first)
    basis = jax.tree.map(lambda leaf: jnp.broadcast_to(jnp.zeros_like(leaf), (rows, *leaf.shape)), unit)

    def extend(carry: tuple[Any, ...], place: jax.Array) -> tuple[tuple[Any, ...], tuple[jax.Array, jax.Array]]:
        basis, direction, alive, size = carry
        basis = jax.tree.map(lambda rows, leaf: lax.dynamic_update_index_in_dim(rows, leaf, place, 0), basis, direction)
        image = lax.cond(alive, product, vectors.zeros_like, direction)
        inner = coefficients(basis, image)
        rest = vectors.subtract(image, combine(basis, inner))
        second = coefficients(basis, rest)
        rest, inner = vectors.subtract(rest, combine(basis, second)), inner + second
        norm = safe_norm(rest)
        size = jnp.maximum(size, lax.stop_gradient(jnp.maximum(jnp.max(jnp.abs(inner)), norm)))
        epsilon = jnp.finfo(norm.dtype).eps
        goes_on = alive & (norm > BREAKDOWN * epsilon * size) & (place + 1 < num_products)
        direction = jax.tree.map(lambda leaf: jnp.where(goes_on, leaf / jnp.where(goes_on, norm, 1), 0), rest)
        return (basis, direction, goes_on, size), (inner, alive)

    start = (basis, unit, length > 0, jnp.zeros_like(length))
    (basis, *_), (inner, taken) = lax.scan(extend, start, jnp.arange(rows, dtype=jnp.int32))
    matrix = jnp.tril(inner) + jnp.tril(inner, -1).T
    return Space(basis, matrix, length, jnp.sum(taken, dtype=jnp.int32))


def realized(tree: Any) -> Any:
    """The pytree with real leaves of at least 32 bits; a complex leaf becomes [2, ...], its two parts."""

    def real(leaf: jax.Array) -> jax.Array:
        leaf = vectors.widened(leaf)
        return jnp.stack([leaf.real, leaf.imag]) if jnp.iscomplexobj(leaf) else leaf

    return jax.tree.map(real, tree)


def restored(tree: Any, like: Any) -> Any:
    """The inverse of `realized`, in the dtypes of `like`."""

    def of(leaf: jax.Array, other: jax.Array) -> jax.Array:
        leaf = lax.complex(leaf[0], leaf[1]) if jnp.iscomplexobj(other) else leaf
        return leaf.astype(jnp.asarray(other).dtype)

    return jax.tree.map(of, tree, like)


def normalized(tree: Any) -> tuple[Any, jax.Array]:
    """The vector over its norm, and the norm, for entries of any size; zero stays zero."""
    largest = lax.stop_gradient(vectors.largest(tree))
    divisor = jnp.where(largest > 0, largest, 1)
    shrunk = jax.tree.map(lambda leaf: leaf / divisor, tree)
    norm = safe_norm(shrunk)
    unit = jax.tree.map(lambda leaf: leaf / jnp.where(norm > 0, norm, 1), shrunk)
    return unit, norm * largest


def safe_norm(tree: Any) -> jax.Array:
    """The Euclidean norm, with derivative 0 at zero."""
    square = vectors.sum_of_squares(tree)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
