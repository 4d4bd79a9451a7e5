"""Groups: K configurations side by side on each device, the unit that the compiled program moves."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxopt_lab.core import Problem, Separable, vectors
from jaxopt_lab.training import chunks
from jaxopt_lab.training.feeding import Feed
from jaxopt_lab.training.program import advance, advance_by_steps
from jaxopt_lab.training.steps import Inputs, Lane, Program, step_keys

PADDING = -1


@dataclasses.dataclass(frozen=True)
class Group:
    """K configurations side by side on each device.

    Attributes:
      members: the configurations' numbers, int [K]; PADDING where a short group was filled up.
      lanes: their stacked lanes, or the list of parts that `chunks.split` made of a single lane.
      hyperparameters: name -> [K].
    """

    members: np.ndarray
    lanes: Any
    hyperparameters: dict[str, jax.Array]

    @property
    def real(self) -> np.ndarray:
        """True for the places that are no padding, bool [K]."""
        return self.members != PADDING


def make_starts(problem: Problem, seeds: np.ndarray, params: Any = None) -> tuple[Any, np.ndarray]:
    """Initial parameters, stacked, and the place [N] of each configuration's among them.

    Initialization runs op by op, outside of any compiled program, once for each seed.
    """
    different, which = np.unique(seeds, return_inverse=True)
    if params is None:
        starts = [problem.init(jax.random.fold_in(jax.random.key(int(seed)), 0)) for seed in different]
    else:
        starts, which = [params], np.zeros(len(seeds), int)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts), which


def make_groups(
    program: Program,
    problem: Problem,
    hyperparameters: dict[str, np.ndarray],
    seeds: np.ndarray,
    width: int,
    starts: tuple[Any, np.ndarray],
) -> list[Group]:
    """The groups at step 0, from what `make_starts` gives."""
    pool, which = starts
    groups = []
    for low in range(0, len(seeds), width):
        members = _padded(np.arange(low, min(low + width, len(seeds))), width)
        chosen = _filled(members)
        values = {name: jnp.asarray(column[chosen]) for name, column in hyperparameters.items()}
        point = pool if len(chosen) == 1 == len(seeds) else _rows(pool, which[chosen])
        groups.append(assemble(program, members, first_lanes(program, problem, point, seeds[chosen], values), values))
    return groups


def move(
    program: Program, separable: Separable | None, inputs: Inputs, group: Group, start: int, counts: np.ndarray,
    feed: Feed | None = None,
) -> tuple[Group, dict[str, np.ndarray]]:  # fmt: skip
    """Takes a group through one segment; returns it with the metrics, name -> [K, R, ...]."""
    time, counted = jnp.asarray(start, jnp.int32), jnp.asarray(counts, jnp.int32)
    if program.loop == "chunks" and separable is not None:
        hyper = {name: values[0] for name, values in group.hyperparameters.items()}
        lanes, metrics = chunks.advance_in_chunks(program, separable, inputs.truth, group.lanes, hyper, time, counted)
        metrics = {name: np.asarray(values)[None] for name, values in metrics.items()}
    elif program.loop == "step":
        lanes, metrics = advance_by_steps(program, inputs, group.lanes, group.hyperparameters, start, counts, feed)
    else:
        lanes, metrics = advance(program, inputs, group.lanes, group.hyperparameters, time, counted)
    return dataclasses.replace(group, lanes=lanes), {name: np.asarray(values) for name, values in metrics.items()}


def repack(program: Program, groups: list[Group], alive: np.ndarray) -> list[Group]:
    """Drops dead configurations where that saves a whole group; `alive` is bool [N]."""
    width = len(groups[0].members)
    if -(-int(alive.sum()) // width) == len(groups):
        return groups
    members = np.concatenate([group.members for group in groups])
    rows = np.flatnonzero((members != PADDING) & alive[members])
    lanes, values = _concatenated([(stacked_lanes(group), group.hyperparameters) for group in groups])
    packed = []
    for low in range(0, len(rows), width):
        chosen = _filled(_padded(rows[low : low + width], width))
        packed.append(
            assemble(program, _padded(members[rows[low : low + width]], width), *_rows((lanes, values), chosen))
        )
    return packed


def assemble(program: Program, members: np.ndarray, lanes: Lane, hyperparameters: dict[str, jax.Array]) -> Group:
    """A group from members [K], stacked lanes and hyperparameters [K]."""
    if program.loop == "chunks":
        return Group(members, chunks.split(lanes), hyperparameters)
    if program.mesh is not None:
        spread = NamedSharding(program.mesh, PartitionSpec(program.mesh.axis_names))
        lanes, hyperparameters = jax.device_put((lanes, hyperparameters), spread)
    return Group(members, lanes, hyperparameters)


def on_every_device(program: Program, inputs: Inputs) -> Inputs:
    """The inputs, copied once to each device that the program runs on."""
    if program.mesh is None:
        return inputs
    return jax.device_put(inputs, NamedSharding(program.mesh, PartitionSpec()))


def stacked_lanes(group: Group) -> Lane:
    """The group's lanes with the leading axis K, also where they are kept in parts."""
    return chunks.join(group.lanes) if isinstance(group.lanes, list) else group.lanes


def gather(groups: list[Group], alive: np.ndarray) -> Lane:
    """The lanes of all N configurations, leading axis N; floats of those that are not alive are NaN."""
    members = np.concatenate([group.members for group in groups])
    lanes = _concatenated([stacked_lanes(group) for group in groups])
    if alive.all() and np.array_equal(members, np.arange(len(alive))):
        return lanes
    rows = np.zeros(len(alive), int)
    for row in np.flatnonzero(members != PADDING):
        rows[members[row]] = row

    def pick(leaf: jax.Array) -> jax.Array:
        chosen = leaf[rows]
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return chosen
        return jnp.where(alive.reshape((-1,) + (1,) * (leaf.ndim - 1)), chosen, jnp.nan)

    return jax.tree.map(pick, lanes)


def batch_of_step(problem: Problem, batch_size: int | None, seed: int, step: int) -> tuple[Any, jax.Array]:
    """The examples that a run draws at a step, the first of which is 0, and the key that its loss gets there."""
    key = _keys(np.array([seed]))[0]
    loss_key = step_keys(key, step)[1]
    if batch_size is None or not problem.num_examples:
        return problem.data, loss_key
    place = step % (problem.num_examples // batch_size)
    order = jax.random.permutation(step_keys(key, step - place)[0], problem.num_examples)
    rows = order[place * batch_size : (place + 1) * batch_size]
    return jax.tree.map(lambda leaf: leaf[rows], problem.data), loss_key


def first_lanes(program: Program, problem: Problem, params: Any, seeds: np.ndarray, values: dict[str, Any]) -> Lane:
    """The stacked lanes at step 0, from parameters and hyperparameters with the leading axis K, and seeds [K]."""
    num = len(seeds)
    if num == 1:
        first = _first((params, values))
        state = _with_axis(program.rule(first[1]).init(first[0]))
    else:
        state = _own(jax.vmap(lambda point, hyper: program.rule(hyper).init(point))(params, values), params, values)
    keys = _keys(seeds)
    num_examples = (problem.num_examples or 0) if program.batch_size else None
    order = None if num_examples is None else jnp.asarray(np.tile(np.arange(num_examples, dtype=np.int32), (num, 1)))
    updates = vectors.zeros_like(params) if program.needs("updates") else None
    previous = vectors.zeros_like(params) if program.needs("previous_updates") else None
    model_state = jax.tree.map(lambda leaf: jnp.stack([leaf] * num), problem.model_state)
    return Lane(params, state, keys, order, updates, previous, model_state)


@jax.jit
def _first(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], tree)


@jax.jit
def _with_axis(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[None], tree)


@jax.jit
def _keys(seeds: np.ndarray) -> jax.Array:
    return jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), 1))(seeds)


def _own(state: Any, *others: Any) -> Any:
    """The state with arrays of its own: one that holds a hyperparameter or the point itself is not donated twice."""
    taken = {id(leaf) for leaf in jax.tree.leaves(others)}

    def copied(leaf: Any) -> Any:
        own = jnp.copy(leaf) if id(leaf) in taken else leaf
        taken.add(id(leaf))
        return own

    return jax.tree.map(copied, state)


def _concatenated(trees: list[Any]) -> Any:
    return trees[0] if len(trees) == 1 else jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *trees)


@jax.jit
def _rows(tree: Any, rows: np.ndarray) -> Any:
    return jax.tree.map(lambda leaf: leaf[rows], tree)


def _padded(members: np.ndarray, width: int) -> np.ndarray:
    return np.concatenate([members, np.full(width - len(members), PADDING)])


def _filled(members: np.ndarray) -> np.ndarray:
    """The members, with the first in the place of padding."""
    return np.where(members == PADDING, members[0], members)
