"""The compiled program: `advance` takes one group of configurations through one segment of steps.

A segment is a fixed number of records; between two records lie as many steps as `counts` says, a traced number, so that
every segment of every run of one shape is the same program.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from jaxopt_lab.core.compilation import compiled
from jaxopt_lab.training.feeding import Feed
from jaxopt_lab.training.steps import Inputs, Lane, Program, measure, step


def walk(
    program: Program, take: Callable[[Lane, jax.Array], Lane], lane: Lane, start: jax.Array, count: jax.Array
) -> Lane:
    """`count` steps from step `start`, keeping the last two updates where a probe needs them."""
    if not program.needs("previous_updates"):
        return lax.fori_loop(0, count, lambda i, lane: take(lane, start + i), lane)
    lane = lax.fori_loop(0, jnp.maximum(count - 1, 0), lambda i, lane: take(lane, start + i), lane)
    last = lambda i, lane: take(dataclasses.replace(lane, previous_updates=lane.updates), start + count - 1)  # noqa: E731
    return lax.fori_loop(0, jnp.minimum(count, 1), last, lane)


def advance(
    program: Program,
    inputs: Inputs,
    lanes: Lane,
    hyperparameters: dict[str, jax.Array],
    start: jax.Array,
    counts: jax.Array,
) -> tuple[Lane, dict[str, Any]]:
    """Takes K configurations on each device through one segment.

    Every device runs the program of a single one on its own K, so that the number of devices changes no bit.

    Args:
      program: what is fixed at compile time.
      inputs: loss, data, truth.
      lanes: stacked lanes, leading axis K times the number of devices; donated.
      hyperparameters: name -> the same axis.
      start: number of steps done, int32 scalar.
      counts: steps before each record, int32 [R].

    Returns:
      The lanes after the segment, and the metrics, name -> [the same axis, R, ...].
    """
    run = compiled(_advance, (program,), inputs, donate=(1,))
    return run(inputs, lanes, hyperparameters, start, counts)


def _advance(
    program: Program,
    inputs: Inputs,
    lanes: Lane,
    hyperparameters: dict[str, jax.Array],
    start: jax.Array,
    counts: jax.Array,
) -> tuple[Lane, dict[str, Any]]:
    on_one = partial(_advance_on_one, program)
    if program.mesh is None:
        return on_one(inputs, lanes, hyperparameters, start, counts)
    same, spread = PartitionSpec(), PartitionSpec(program.mesh.axis_names)
    places = (same, spread, spread, same, same)
    on_all = jax.shard_map(on_one, mesh=program.mesh, in_specs=places, out_specs=spread, check_vma=False)
    return on_all(inputs, lanes, hyperparameters, start, counts)


def _advance_on_one(
    program: Program,
    inputs: Inputs,
    lanes: Lane,
    hyperparameters: dict[str, jax.Array],
    start: jax.Array,
    counts: jax.Array,
) -> tuple[Lane, dict[str, Any]]:
    """`advance` on one device, K side by side."""

    def single(lane: Lane, hyper: dict[str, jax.Array]) -> tuple[Lane, dict[str, Any]]:
        take = partial(step, program, inputs, hyper)

        def record(carry: tuple[Lane, jax.Array], count: jax.Array) -> tuple[tuple[Lane, jax.Array], dict[str, Any]]:
            lane, time = carry
            lane = walk(program, take, lane, time, count)
            return (lane, time + count), measure(program, inputs, lane)

        (lane, _), metrics = lax.scan(record, (lane, start), counts)
        return lane, metrics

    width = lanes.key.shape[0]
    if width == 1:
        squeezed = jax.tree.map(lambda leaf: leaf[0], (lanes, hyperparameters))
        return jax.tree.map(lambda leaf: leaf[None], single(*squeezed))
    if program.loop == "map":
        return lax.map(lambda pair: single(*pair), (lanes, hyperparameters))
    if not program.one_seed:
        return jax.vmap(single)(lanes, hyperparameters)
    first = jax.tree.map(lambda leaf: leaf[0], (lanes.key, lanes.order))
    shared = dataclasses.replace(lanes, key=first[0], order=first[1])
    axes: Any = Lane(0, 0, None, None, 0, 0, 0)  # pyrefly: ignore
    moved, metrics = jax.vmap(single, in_axes=(axes, 0), out_axes=(axes, 0))(shared, hyperparameters)
    order = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (width, *leaf.shape)), moved.order)
    return dataclasses.replace(moved, key=lanes.key, order=order), metrics


def _advance_one(
    program: Program, inputs: Inputs, lane: Lane, hyperparameters: dict[str, jax.Array], time: jax.Array
) -> Lane:
    """One step of one configuration."""
    if program.needs("previous_updates"):
        lane = dataclasses.replace(lane, previous_updates=lane.updates)
    return step(program, inputs, hyperparameters, lane, time)


def advance_by_steps(
    program: Program,
    inputs: Inputs,
    lanes: Lane,
    hyperparameters: dict[str, jax.Array],
    start: int,
    counts: Any,
    feed: Feed | None = None,
) -> tuple[Lane, dict[str, Any]]:
    """The same as `advance`, as a Python loop over one jitted step, for losses that XLA runs slowly inside of loops.

    With a feed each step takes its next batch, the same for all configurations.
    """
    if feed is not None:
        return _advance_on_feed(program, inputs, lanes, hyperparameters, int(start), counts, feed)
    advance_one = compiled(_advance_one, (program,), inputs, donate=(1,))
    measure_one = compiled(measure, (program,), inputs)
    results = []
    for k in range(lanes.key.shape[0]):
        lane, hyper = jax.tree.map(lambda leaf, k=k: leaf[k], (lanes, hyperparameters))
        time, rows = int(start), []
        for count in map(int, counts):
            for _ in range(count):
                lane = advance_one(inputs, lane, hyper, jnp.asarray(time, jnp.int32))
                time += 1
            rows.append(measure_one(inputs, lane))
        results.append((lane, jax.tree.map(lambda *values: jnp.stack(values), *rows)))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)


def _advance_on_feed(
    program: Program, inputs: Inputs, lanes: Lane, hyperparameters: dict[str, jax.Array], time: int, counts: Any,
    feed: Feed,
) -> tuple[Lane, dict[str, Any]]:  # fmt: skip
    advance_one = compiled(_advance_one, (program,), inputs, donate=(1,))
    measure_one = compiled(measure, (program,), inputs)
    width = lanes.key.shape[0]
    each = [jax.tree.map(lambda leaf, k=k: leaf[k], (lanes, hyperparameters)) for k in range(width)]
    rows: list[list[Any]] = [[] for _ in each]
    for count in map(int, counts):
        for _ in range(count):
            now = dataclasses.replace(inputs, data=feed.take())
            each = [(advance_one(now, lane, hyper, jnp.asarray(time, jnp.int32)), hyper) for lane, hyper in each]
            time += 1
        for row, (lane, _) in zip(rows, each, strict=True):
            row.append(measure_one(inputs, lane))
    stacked = lambda *values: jnp.stack(values)  # noqa: E731
    metrics = [jax.tree.map(stacked, *row) for row in rows]
    return jax.tree.map(stacked, *(lane for lane, _ in each)), jax.tree.map(stacked, *metrics)
