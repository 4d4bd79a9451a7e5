"""A mean over examples as a weighted sum over chunks: every example counts once, in a ragged last chunk too.

    A v = sum_c (n_c / n) A_c v

Each chunk's product is linearized once and kept, where memory allows; otherwise it is made anew for each vector, so
that the data may be larger than memory.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import fail, meshes, vectors
from jaxopt_lab.core.batches import Batches, as_data
from jaxopt_lab.core.compilation import make_room
from jaxopt_lab.core.errors import require_count
from jaxopt_lab.core.leaves import count_examples
from jaxopt_lab.core.memory import available_memory

Batch = Any
Source = Batch | Batches | Callable[[], Iterable[Batch]]

_MOST_KEPT = 64
_HASH_BYTES = 16


@dataclasses.dataclass(frozen=True)
class Chunks:
    """The examples in chunks.

    Attributes:
      source: a pytree of arrays with a common leading axis, None, or batches.
      num_examples: n, or 1 without data.
      chunk_size: examples a chunk; None for all at once.
      num_chunks: number of chunks.
    """

    source: Source
    num_examples: int
    chunk_size: int | None
    num_chunks: int = 1

    def __iter__(self) -> Iterator[tuple[Batch, float]]:
        """Pairs of a chunk and its share of the examples.

        Raises:
          InputError: an iteration has ended, and has given more or fewer examples than the first one.
        """
        if isinstance(self.source, Batches):
            seen = 0
            for batch in self.source():
                seen += batch_size(batch)
                yield batch, batch_size(batch) / self.num_examples
            if seen != self.num_examples:
                raise fail(
                    "curvature", f"the first pass over data gave {self.num_examples} examples, this one gave {seen}",
                    "Let each call of the function start an iteration over the same examples.",
                )  # fmt: skip
        elif self.chunk_size is None or self.chunk_size >= self.num_examples:
            yield self.source, 1.0
        else:
            for low in range(0, self.num_examples, self.chunk_size):
                high = min(low + self.chunk_size, self.num_examples)
                yield meshes.take(self.source, slice(low, high)), (high - low) / self.num_examples

    @property
    def resident(self) -> bool:
        """Whether the examples are arrays that stay where they are."""
        return not isinstance(self.source, Batches)

    def stay_the_same(self) -> bool:
        """Whether two passes give the same examples, in any order. Cost: without arrays, to read the data twice."""
        return self.resident or self.sum_of_hashes() == self.sum_of_hashes()

    def sum_of_hashes(self) -> int:
        """A number that tells these examples from others, in whatever order. Cost: to read the data once."""
        return sum(_sum_of_hashes(batch) for batch, _ in self)


def make_chunks(source: Source, chunk_size: int | None) -> Chunks:
    """Checks a source of examples and counts them; an iteration is gone through once for that.

    Raises:
      InputError: leaves of different length, no example, or an iteration that cannot be started twice.
    """
    if chunk_size is not None:
        require_count("curvature", "chunk_size", chunk_size)
    source = as_data("curvature", source)
    if not isinstance(source, Batches):
        num = batch_size(source) or 1
        return Chunks(source, num, chunk_size, -(-num // (chunk_size or num)))
    sizes = [batch_size(batch) for batch in source()]
    return Chunks(source, sum(sizes), None, len(sizes))


def batch_size(batch: Batch) -> int:
    """The examples of a batch; 0 for one without arrays.

    Raises:
      InputError: the leaves differ in length, or hold no example.
    """
    return count_examples(batch, "curvature", "a batch") or 0


def _sum_of_hashes(batch: Batch) -> int:
    """A hash of the batch's examples as a set."""
    leaves = [_plain(leaf) for leaf in jax.tree.leaves(batch)]
    digests = (
        hashlib.blake2b(b"".join(leaf[place].tobytes() for leaf in leaves), digest_size=_HASH_BYTES)
        for place in range(batch_size(batch))
    )
    return sum(int.from_bytes(digest.digest()) for digest in digests)


def _plain(leaf: Any) -> np.ndarray:
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def mean_over_chunks(compute: Callable[..., Any], constants: Any, chunks: Chunks) -> Any:
    """sum_c (n_c / n) compute(constants, chunk), a pytree; `compute` is jitted."""
    total = None
    for batch, share in chunks:
        total = meshes.settled(_accumulate(compute, total, share, constants, batch))
    return total


def mean_product(linearize: Callable[[Any, Batch], Callable[[Any], Any]], constants: Any, chunks: Chunks) -> Any:
    """The product of a mean over examples.

    Args:
      linearize: (constants, batch) -> linear function of a vector, traceable.
      constants: a pytree: what the function depends on besides the batch.
      chunks: the examples.

    Returns:
      A function of a vector: a `Partial` that holds the linearizations, or one that goes through the data each time.
    """
    make_room()
    if chunks.resident and _fits(linearize, constants, chunks):
        parts = [(_linearized(linearize, constants, batch), jnp.asarray(share)) for batch, share in chunks]
        return jax.tree_util.Partial(_apply_kept, parts)
    return partial(_apply_streamed, linearize, constants, chunks)


def linearized_shapes(linearize: Callable[..., Any], constants: Any, batch: Batch) -> Any:
    """Shapes of the linearization at one chunk; traced, not computed."""
    return _linearized.eval_shape(linearize, constants, batch)


@partial(jax.jit, static_argnums=0)
def _linearized(linearize: Callable[..., Any], constants: Any, batch: Batch) -> Any:
    return linearize(constants, batch)


@jax.jit
def _apply_kept(parts: list[tuple[Callable[[Any], Any], jax.Array]], vector: Any) -> Any:
    if len(parts) == 1:
        return parts[0][0](vector)
    return vectors.combination(*((share, linear(vector)) for linear, share in parts))


def _apply_streamed(linearize: Callable[..., Any], constants: Any, chunks: Chunks, vector: Any) -> Any:
    return mean_over_chunks(_Product(linearize), (constants, vector), chunks)


@dataclasses.dataclass(frozen=True)
class _Product:
    """((constants, vector), batch) -> one chunk's product; equal where the linearization is, to share programs."""

    linearize: Callable[..., Any]

    def __call__(self, constants: tuple[Any, Any], batch: Batch) -> Any:
        others, vector = constants
        return self.linearize(others, batch)(vector)


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def _accumulate(compute: Callable[..., Any], total: Any, share: Any, constants: Any, batch: Batch) -> Any:
    part = compute(constants, batch)
    return vectors.scale(share, part) if total is None else vectors.axpy(share, part, total)


def _fits(linearize: Callable[..., Any], constants: Any, chunks: Chunks) -> bool:
    """Whether the linearizations of all chunks are few, and take at most a third of the memory that is left."""
    batch, share = next(iter(chunks))
    return share * _MOST_KEPT >= 1 and _residual_bytes(linearize, constants, batch) / share < available_memory() / 3


def _residual_bytes(linearize: Callable[..., Any], constants: Any, batch: Batch) -> int:
    shapes = linearized_shapes(linearize, constants, batch)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
