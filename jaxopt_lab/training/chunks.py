"""The engine for a separable loss in high dimension: one cache-sized chunk of coordinates after the other.

When neither the loss nor the rule couples coordinates, a chunk can go through all steps of a segment while it sits in
the cache; memory is touched once a segment instead of once a step. Stretches of the vector run in threads of their own.
"""

import concurrent.futures
import os
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxopt_lab.core import Separable, Truth
from jaxopt_lab.core.compilation import compiled
from jaxopt_lab.training.program import walk
from jaxopt_lab.training.steps import Inputs, Lane, Program, observe, step

CHUNK = 16_384


def split(stacked: Lane) -> list[Lane]:
    """A stacked lane [1, ...] as one lane for each worker thread, cut at multiples of the chunk."""
    _, dim = stacked.params.shape
    workers = max(1, min(os.cpu_count() or 1, dim // CHUNK))
    share = -(-dim // (workers * CHUNK)) * CHUNK
    is_vector = partial(_has_shape, (1, dim))
    return [
        jax.tree.map(lambda leaf, low=low: leaf[0, low : low + share] if is_vector(leaf) else leaf[0], stacked)
        for low in range(0, dim, share)
    ]


def join(parts: list[Lane]) -> Lane:
    """The inverse of `split`: the stacked lane [1, ...]."""
    lengths = [part.params.shape for part in parts]

    def whole(*leaves: Any) -> Any:
        if all(_has_shape(length, leaf) for length, leaf in zip(lengths, leaves, strict=True)):
            return _concatenated(leaves)
        return leaves[0][None]

    return jax.tree.map(whole, *parts)


@jax.jit
def _concatenated(leaves: tuple[jax.Array, ...]) -> jax.Array:
    return jnp.concatenate(leaves)[None]


def advance_in_chunks(
    program: Program,
    separable: Separable,
    truth: Truth | None,
    parts: list[Lane],
    hyperparameters: dict[str, jax.Array],
    start: jax.Array,
    counts: jax.Array,
) -> tuple[list[Lane], dict[str, Any]]:
    """Takes one configuration, as `split` cut it, through one segment.

    Args:
      program: what is fixed at compile time.
      separable: the chunkable form of the problem's loss.
      truth: the problem's truth if a probe needs it, else None.
      parts: lanes over consecutive coordinates; donated.
      hyperparameters: name -> scalar.
      start: number of steps done, int32 scalar.
      counts: steps before each record, int32 [R].

    Returns:
      The parts after the segment, and the metrics, name -> [R, ...].
    """
    lengths = [part.params.shape[0] for part in parts]
    offsets = [sum(lengths[:k]) for k in range(len(parts))]
    loss = jax.tree_util.Partial(separable.loss)
    constants = (separable.constants, truth)
    x64 = jax.config.read("jax_enable_x64")
    advance_part = compiled(_advance_part, (program, sum(lengths)), loss, donate=(2,))

    def job(part: Lane, offset: int) -> tuple[Lane, dict[str, Any]]:
        with jax.enable_x64(x64):
            place = jnp.asarray(offset, jnp.int32)
            moved = advance_part(loss, constants, part, hyperparameters, start, counts, place)
            return jax.block_until_ready(moved)

    with concurrent.futures.ThreadPoolExecutor(len(parts)) as pool:
        done = list(pool.map(job, parts, offsets))
    sums = jax.tree.map(lambda *values: sum(values[1:], values[0]), *(metrics for _, metrics in done))
    return [part for part, _ in done], {probe.name: probe.finish(sums[probe.name]) for probe in program.probes}


def _advance_part(
    program: Program,
    dim: int,
    loss: jax.tree_util.Partial,
    constants: Any,
    part: Lane,
    hyperparameters: dict[str, jax.Array],
    start: jax.Array,
    counts: jax.Array,
    offset: jax.Array,
) -> tuple[Lane, dict[str, Any]]:
    length = part.params.shape[0]
    whole, scalars, rebuild = _sorted_leaves(part, length)

    def through(low: Any, width: int, whole: list[jax.Array]) -> tuple[list[jax.Array], list[jax.Array], Any]:
        """The coordinates [low, low + width) through the segment, written back in place."""
        lane = rebuild([lax.dynamic_slice(leaf, (low,), (width,)) for leaf in whole], scalars)
        local, truth = _sliced(constants, dim, offset + low, width)
        inputs = Inputs(jax.tree_util.Partial(_of_params, loss, local), None, truth)
        lane, sums = _segment(program, inputs, hyperparameters, lane, start, counts)
        moved, after, _ = _sorted_leaves(lane, width)
        return (
            [lax.dynamic_update_slice(leaf, new, (low,)) for leaf, new in zip(whole, moved, strict=True)],
            after,
            sums,
        )

    rest = length % CHUNK
    shapes = jax.eval_shape(lambda: through(0, rest or CHUNK, whole))
    _, after, sums = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    if rest:
        whole, after, sums = through(length - rest, rest, whole)

    def body(i: jax.Array, carry: Any) -> Any:
        whole, _, total = carry
        whole, after, more = through(i * CHUNK, CHUNK, whole)
        return whole, after, jax.tree.map(jnp.add, total, more)

    if length >= CHUNK:
        whole, after, sums = lax.fori_loop(0, length // CHUNK, body, (whole, after, sums))
    return rebuild(whole, after), sums


def _segment(
    program: Program, inputs: Inputs, hyper: dict[str, jax.Array], lane: Lane, start: jax.Array, counts: jax.Array
) -> tuple[Lane, dict[str, Any]]:
    def record(carry: tuple[Lane, jax.Array], count: jax.Array) -> tuple[tuple[Lane, jax.Array], dict[str, Any]]:
        lane, time = carry
        lane = walk(program, partial(step, program, inputs, hyper), lane, time, count)
        seen = observe(program, inputs, lane)
        return (lane, time + count), {probe.name: probe.sums(seen) for probe in program.probes}

    (lane, _), sums = lax.scan(record, (lane, start), counts)
    return lane, sums


def _of_params(loss: Any, local: Any, params: jax.Array, batch: None, key: None) -> jax.Array:
    del batch, key
    return loss(params, local)


def _has_shape(shape: tuple[int, ...], leaf: Any) -> bool:
    return jnp.shape(leaf) == shape


def _sliced(tree: Any, dim: int, low: Any, width: int) -> Any:
    return jax.tree.map(
        lambda leaf: lax.dynamic_slice(leaf, (low,), (width,)) if _has_shape((dim,), leaf) else leaf, tree
    )


def _sorted_leaves(lane: Lane, dim: int) -> tuple[list[Any], list[Any], Any]:
    """The leaves that are vectors of `dim` entries, the others, and the function that puts both back."""
    leaves, structure = jax.tree.flatten(lane)
    long = [_has_shape((dim,), leaf) for leaf in leaves]

    def rebuild(vectors: list[Any], scalars: list[Any]) -> Lane:
        vectors_left, scalars_left = iter(vectors), iter(scalars)
        return structure.unflatten([next(vectors_left if is_long else scalars_left) for is_long in long])

    vectors = [leaf for leaf, is_long in zip(leaves, long, strict=True) if is_long]
    return vectors, [leaf for leaf, is_long in zip(leaves, long, strict=True) if not is_long], rebuild
