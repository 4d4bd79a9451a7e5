"""Data as batches: what a user's loader gives, gone through again and again, as arrays that JAX takes.

A loader is a function that starts an iteration, or an object that can be iterated again: a list of batches, a torch
DataLoader, grain, tf.data. Its batches are pytrees; their leaves become NumPy arrays, those of JAX stay.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from jaxopt_lab.core.errors import InputError, fail, reason, require_count
from jaxopt_lab.core.leaves import count_examples, is_array
from jaxopt_lab.core.memory import available_memory

SAMPLE_EXAMPLES = 4096
SAMPLE_BYTES = 2**28
_MOST_READ = 16  # times the examples of a sample, among which it is drawn


@dataclasses.dataclass(frozen=True, eq=False)
class Batches:
    """Batches of examples that can be gone through again; calling it starts a pass.

    Attributes:
      source: starts an iteration.
      name: whose they are, for the errors.
    """

    source: Callable[[], Iterable[Any]]
    name: str = "problem"

    def __call__(self) -> Iterator[Any]:
        """One pass over the batches, each a pytree of arrays with a common leading axis.

        Raises:
          InputError: the iteration fails or gives no batch, or a batch holds something else.
        """
        iterator, given = iter(self.source()), 0
        while True:
            try:
                batch = next(iterator)
            except StopIteration:
                break
            except Exception as error:
                raise fail(self.name, f"the iteration over its data fails {reason(error)}") from error
            given += 1
            yield self._arrays(batch)
        if not given:
            raise fail(self.name, "a pass over its data gives no batch", "Each iteration must begin anew.")

    @functools.cached_property
    def first(self) -> Any:
        """The first batch."""
        return next(self())

    @property
    def batch_size(self) -> int:
        """Examples of the first batch."""
        return count_examples(self.first, self.name, "a batch") or 0

    @functools.cached_property
    def num_examples(self) -> int:
        """Examples of a whole pass. Cost: to read the data once."""
        return sum(count_examples(batch, self.name, "a batch") or 0 for batch in self())

    def __repr__(self) -> str:
        return f"<Batches of {self.batch_size} examples>"

    def _arrays(self, batch: Any) -> Any:
        arrays = jax.tree.map(self._array, batch)
        if count_examples(arrays, self.name, "a batch") is None:
            raise fail(self.name, "a batch of its data holds no array")
        return arrays

    def _array(self, leaf: Any) -> Any:
        if isinstance(leaf, jax.Array | np.ndarray) or is_array(leaf) or not hasattr(leaf, "__array__"):
            return leaf
        try:
            return np.asarray(leaf)
        except Exception as error:
            raise fail(
                self.name, f"a {type(leaf).__name__} of a batch cannot be made an array {reason(error)}",
                "Let the loader give NumPy arrays, on the CPU and in a dtype that NumPy has.",
            ) from error  # fmt: skip


def as_data(name: str, data: Any) -> Any:
    """Data as the package holds them: a pytree of arrays as it is, or what gives batches as `Batches`.

    A list of containers of one structure, such as `[{"x": ..., "y": ...}, ...]`, is a list of batches; a list of arrays
    is a pytree, as a tuple or a dictionary is.

    Args:
      name: whose they are, for the errors.
      data: as a user gives them.

    Returns:
      The pytree, None, or the batches.

    Raises:
      InputError: an iteration that cannot be started again.

    Example:
      >>> as_data("mine", lambda: iter([{"x": np.ones((4, 2))}, {"x": np.ones((3, 2))}])).num_examples
      7
    """
    if isinstance(data, Batches) or data is None:
        return data
    if isinstance(data, list) and _are_batches(data):
        return Batches(data.__iter__, name)
    if hasattr(data, "__next__"):
        raise _once(name, "data is an iterator that can be consumed once")
    leaves = jax.tree.leaves(data)
    if len(leaves) != 1 or leaves[0] is not data or isinstance(data, jax.Array | str | bytes):
        return data
    if hasattr(data, "__array__") or not (hasattr(data, "__iter__") or callable(data)):
        return data
    if hasattr(data, "__iter__"):
        return Batches(data.__iter__, name)
    begun = [_begun(name, data), _begun(name, data)]
    if begun[0] is begun[1] and hasattr(begun[0], "__next__"):
        raise _once(name, "data returns the same iterator at each call")
    return Batches(lambda: begun.pop(0) if begun else data(), name)  # what was begun is gone through first


def first_batch(data: Any) -> Any:
    """The data; where they are batches, the first of these."""
    return data.first if isinstance(data, Batches) else data


def materialized(where: str, name: str, data: Any, most: int | None = None) -> Any:
    """The data as arrays, all of them.

    Args:
      where: who asks, for the error.
      name: whose they are.
      data: arrays, or batches.
      most: bytes that they may take; None for a quarter of the memory that is left.

    Raises:
      InputError: they take more, or do not end.
    """
    if not isinstance(data, Batches):
        return data
    limit, held, kept = available_memory() // 4 if most is None else most, 0, []
    for batch in data():
        held += _bytes(batch)
        kept.append(batch)
        if held > limit:
            so_far = sum(count_examples(each, name, "a batch") or 0 for each in kept)
            raise fail(
                where, f"the data of {name} must stay in memory, and take more than {limit / 2**30:.3g} GiB: {so_far:,}"
                " examples were read so far",
                "Give a part of them: as arrays, or as batches that end.",
            )  # fmt: skip
    return _joined(kept)


def sampled(name: str, data: Any, *, seed: int = 0, most: int = SAMPLE_EXAMPLES) -> tuple[Any, str]:
    """A fixed sample of the data, drawn uniformly among the examples that come first, in their order.

    Args:
      name: whose they are.
      data: arrays, which stay as they are, or batches.
      seed: of the draw.
      most: examples; fewer where they take more than 256 MiB.

    Returns:
      The arrays, and a sentence that says what was drawn; empty where the arrays are all of the data.
    """
    if not isinstance(data, Batches):
        return data, ""
    size = max(1, _bytes(data.first) // max(1, data.batch_size))
    most = min(most, max(data.batch_size, SAMPLE_BYTES // size))
    random, read, ended = np.random.default_rng(seed), 0, True
    pool, ranks = None, np.zeros(0)
    for batch in data():
        count = count_examples(batch, name, "a batch") or 0
        read, ranks = read + count, np.concatenate([ranks, random.random(count)])
        pool = batch if pool is None else _joined([pool, batch])
        if len(ranks) > 2 * most:
            pool, ranks = _lowest(pool, ranks, most)
        if read >= _MOST_READ * most:
            ended = False
            break
    if read <= most:
        return _joined([pool]), ""
    among = f"{read:,} examples" if ended else f"the first {read:,} examples"
    return _lowest(pool, ranks, most)[0], f"{most:,} of {among} that the data give were drawn once, at random"


def require_batch_size(where: str, batch_size: int | None, name: str, num_examples: int | None, use: str = "") -> None:
    """Raises InputError unless a batch is None, for all examples, or of one to as many examples as there are.

    Args:
      where: the function, for the error.
      batch_size: examples a step.
      name: of the problem.
      num_examples: that it has; None without data.
      use: what they are for, where a problem has others too.
    """
    if batch_size is None:
        return
    require_count(where, "batch_size", batch_size)
    if num_examples is None or batch_size > num_examples:
        there = f"{name} has {num_examples}{f' {use}' if use else ''}"
        raise fail(where, f"batch_size {batch_size} needs as many examples, {there}")


def _lowest(pool: Any, ranks: np.ndarray, most: int) -> tuple[Any, np.ndarray]:
    """The examples of the lowest ranks, in their order."""
    rows = np.sort(np.argsort(ranks, kind="stable")[:most])
    return jax.tree.map(lambda leaf: leaf[rows], pool), ranks[rows]


def _joined(batches: list[Any]) -> Any:
    """Batches one after the other, as NumPy arrays but for keys."""
    return jax.tree.map(_concatenated, *batches)


def _concatenated(*leaves: Any) -> Any:
    if isinstance(leaves[0], jax.Array) and jax.dtypes.issubdtype(leaves[0].dtype, jax.dtypes.prng_key):
        return jax.numpy.concatenate(leaves)
    return np.concatenate([np.asarray(leaf) for leaf in leaves])


def _bytes(batch: Any) -> int:
    return sum(getattr(leaf, "nbytes", 8) for leaf in jax.tree.leaves(batch))


def _are_batches(data: list[Any]) -> bool:
    """Whether a list holds containers, all of one structure."""
    if not data or not all(isinstance(each, dict | list | tuple) for each in data):
        return False
    leaves = jax.tree.leaves(data[0])
    arrays = all(hasattr(leaf, "__array__") or isinstance(leaf, jax.Array) for leaf in leaves)
    return bool(leaves) and arrays and len({jax.tree.structure(each) for each in data}) == 1


def _begun(name: str, data: Callable[[], Any]) -> Any:
    try:
        begun = data()
        if not hasattr(begun, "__iter__"):
            raise TypeError(f"it returns a {type(begun).__name__}")
    except Exception as error:
        raise fail(
            name, f"data is a function, and calling it without arguments gives no iteration {reason(error)}",
            "Let it return a new iterator over batches at each call.",
        ) from error  # fmt: skip
    return begun


def _once(name: str, problem: str) -> InputError:
    return fail(name, problem, "Give a function that starts a new one: data=lambda: make_batches().")
