"""`Operator`: a symmetric linear map on pytrees, known only by its products, and the vectors that it acts on.

    v -> A v,   <u, A v> = <A u, v>

Vectors have the structure, shapes and sharding of the parameters; leaves of less than 32 bits are widened to float32.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxopt_lab.core import fail, meshes, vectors
from jaxopt_lab.core.errors import require_choice
from jaxopt_lab.curvature.streams import Chunks

Vector = Any
_MOST_DRAWS = 1024


@dataclasses.dataclass(frozen=True, eq=False)
class Operator:
    """A symmetric linear map; two are equal where they are one object.

    Attributes:
      product: vector -> vector. A `jax.tree_util.Partial` where it may be called inside of compiled functions, so that
        the arrays behind it are arguments of the program.
      like: a pytree of `jax.ShapeDtypeStruct`: shapes, dtypes and shardings of the vectors.
      name: what it is, for tables and errors.
      epsilon: relative rounding error of one product.
      semidefinite: True when no eigenvalue can be negative, by construction.
      hint: a vector rich in the outermost eigenvectors, from which a search starts, or None. For a loss that is its
        gradient (Gur-Ari, Roberts, Dyer 2018, Gradient descent happens in a tiny subspace).
      notes: what a reader of the numbers must know, as sentences.
      sound: True where products are known to be those of one symmetric map; else the first estimator spends three to
        check it.
      examples: what a product goes through, or None where the product is a user's own.
      program: vector, chunk of examples -> its share of the product, where there are examples.
    """

    product: Callable[[Vector], Vector]
    like: Any
    name: str = "operator"
    epsilon: float = 2.0**-23
    semidefinite: bool = False
    hint: Vector = None
    notes: tuple[str, ...] = ()
    sound: bool = False
    examples: Chunks | None = None
    program: Callable[[Vector, Any], Vector] | None = None

    @property
    def size(self) -> int:
        """Number of rows d."""
        return vectors.size(self.like)

    @property
    def vector_bytes(self) -> int:
        """Bytes of one vector on one of the devices that it is spread over."""
        return meshes.bytes_on_one_device(self.like)

    def __call__(self, vector: Vector) -> Vector:
        """The product A v."""
        return meshes.settled(self.product(vector))


def operator(product: Callable[[Vector], Vector], params: Any, **facts: Any) -> Operator:
    """An operator from its product.

    Args:
      product: vector -> vector, linear and symmetric.
      params: a pytree with the structure, shapes, dtypes and sharding of the parameters.
      **facts: further fields of `Operator`: name, epsilon, semidefinite, hint, notes, sound.

    Returns:
      The operator; `epsilon` is that of the vectors' dtype unless it is given.

    Example:
      >>> twice = operator(jax.tree_util.Partial(lambda v: 2 * v), jnp.zeros(3))
      >>> twice(jnp.ones(3)).tolist(), twice.size
      ([2.0, 2.0, 2.0], 3)
    """
    like = vector_space(params)
    facts.setdefault("epsilon", space_epsilon(like))
    return Operator(product, like, **facts)


def from_matrix(matrix: Any, **facts: Any) -> Operator:
    """The operator of a dense symmetric matrix [d, d], on vectors [d].

    Raises:
      InputError: the matrix is not square or not symmetric.

    Example:
      >>> from_matrix(jnp.diag(jnp.array([1.0, 2.0])))(jnp.ones(2)).tolist()
      [1.0, 2.0]
    """
    matrix = jnp.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise fail("from_matrix", f"matrix must be [d, d], got {matrix.shape}")
    gap, size = jnp.max(jnp.abs(matrix - matrix.T)), jnp.max(jnp.abs(matrix))
    if not gap <= 64 * jnp.finfo(matrix.dtype).eps * size:
        raise fail(
            "from_matrix", f"matrix must be symmetric, got entries that differ by {gap:.3g}", "Take (A + A') / 2."
        )
    product = jax.tree_util.Partial(_matrix_product, matrix)
    return operator(product, jnp.zeros(matrix.shape[0], matrix.dtype), **{"name": "matrix", "sound": True} | facts)


def from_diagonal(diagonal: Any, **facts: Any) -> Operator:
    """The operator of a diagonal, a pytree of arrays.

    Example:
      >>> from_diagonal(jnp.array([3.0, 4.0]))(jnp.ones(2)).tolist()
      [3.0, 4.0]
    """
    diagonal = jax.tree.map(vectors.widened, diagonal)
    product = jax.tree_util.Partial(_diagonal_product, diagonal)
    return operator(product, diagonal, **{"name": "diagonal", "sound": True} | facts)


def vector_space(params: Any) -> Any:
    """Shapes, wide dtypes and shardings of the vectors beside `params`, as a pytree of `jax.ShapeDtypeStruct`.

    Raises:
      InputError: no leaf at all, or a leaf that is not real and floating.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not leaves or not vectors.size(params):
        raise fail("curvature", "the parameters hold no number")
    for path, leaf in leaves:
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            label = jax.tree_util.keystr(path) or "array"
            raise fail(
                "curvature", f"parameter {label} must be real and floating, got {jnp.result_type(leaf)}",
                "Move integers into the data, and split complex numbers into their parts.",
            )  # fmt: skip
    return jax.tree.map(_describe, params)


def space_epsilon(like: Any) -> float:
    """The coarsest rounding error among the leaves' dtypes."""
    return max(float(jnp.finfo(leaf.dtype).eps) for leaf in jax.tree.leaves(like))


def random_vector(key: jax.Array, like: Any, kind: str = "normal") -> Vector:
    """A random vector with independent entries of variance 1, placed as `like` says.

    Args:
      key: PRNG key.
      like: pytree of `jax.ShapeDtypeStruct`.
      kind: "normal" or "rademacher" (signs).
    """
    require_choice("random_vector", "kind", kind, ("normal", "rademacher"))
    draw = jax.random.normal if kind == "normal" else jax.random.rademacher
    leaves, structure = jax.tree.flatten(like)
    if all(leaf.sharding is None or len(leaf.sharding.device_set) == 1 for leaf in leaves):
        shapes = tuple((tuple(leaf.shape), jnp.dtype(leaf.dtype)) for leaf in leaves)
        return structure.unflatten(_drawn_together(draw, shapes, key))
    keys = jax.random.split(key, len(leaves))
    return structure.unflatten([_placed(draw, k, leaf) for k, leaf in zip(keys, leaves, strict=True)])


def random_direction(key: jax.Array, like: Any) -> Vector:
    """A random vector of norm 1, the length that searches give their vectors; every direction is as likely."""
    drawn = random_vector(key, like)
    return vectors.scale(1 / vectors.norm(drawn), drawn)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _drawn_together(draw: Callable[..., jax.Array], shapes: tuple[Any, ...], key: jax.Array) -> list[jax.Array]:
    """The draws of all leaves in one program."""
    keys = jax.random.split(key, len(shapes))
    return [draw(k, shape, dtype) for k, (shape, dtype) in zip(keys, shapes, strict=True)]


def _placed(draw: Callable[..., jax.Array], key: jax.Array, leaf: jax.ShapeDtypeStruct) -> jax.Array:
    if leaf.sharding is None or len(leaf.sharding.device_set) == 1:
        return draw(key, leaf.shape, leaf.dtype)
    return _drawn_apart(draw, leaf.shape, leaf.dtype, leaf.sharding)(key)


@functools.lru_cache(maxsize=_MOST_DRAWS)
def _drawn_apart(draw: Callable[..., jax.Array], shape: tuple[int, ...], dtype: Any, place: Any) -> Any:
    """key -> the draw, each device its own part; kept, because a new function would be compiled anew."""
    return jax.jit(lambda key: draw(key, shape, dtype), out_shardings=place)


def _describe(leaf: Any) -> jax.ShapeDtypeStruct:
    sharding = getattr(leaf, "sharding", None)
    dtype = vectors.wide_dtype(jnp.result_type(leaf))
    return jax.ShapeDtypeStruct(jnp.shape(leaf), dtype, sharding=sharding)


def _matrix_product(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    return jnp.matmul(matrix, vector, precision="highest")


def _diagonal_product(diagonal: Any, vector: Any) -> Any:
    return jax.tree.map(jnp.multiply, diagonal, vector)
