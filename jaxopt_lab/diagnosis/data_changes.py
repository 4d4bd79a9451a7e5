"""Problems with other data, units, class numbers, shares of the classes or split, running statistics, or signs.

Each is a function of a problem that gives another one; training and validation data keep their structure.
"""

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Problem, meshes, vectors
from jaxopt_lab.core.batches import Batches
from jaxopt_lab.core.problem import with_losses, with_metrics
from jaxopt_lab.diagnosis.inputs import QUARTILES, find_inputs

_CLIP, _PADDED = 5.0, 0.25
_VARIES = 1e-9  # of the largest input: a feature whose deviation is smaller is constant


def standardized(problem: Problem) -> Problem:
    """Standardized inputs, by the training data, in the training and in the validation data."""
    place = find_inputs(problem.data)
    if place is None:
        return problem
    mean, deviation = _statistics(problem.data, place)
    return _with_leaf(problem, place, lambda values: (values - mean) / deviation)


def clipped(problem: Problem) -> Problem:
    """Inputs less their medians, over the deviation that their quartiles give, at most 5 from 0, in both.

    A feature whose quartiles are one is divided by its deviation.
    """
    place = find_inputs(problem.data)
    if place is None:
        return problem
    values = np.asarray(jax.tree.leaves(problem.data)[place], np.float64)
    low, median, high = np.percentile(values, [25, 50, 75], axis=0)
    deviation = _statistics(problem.data, place)[1]
    scale = np.where(high > low, (high - low) / QUARTILES, deviation)
    return _with_leaf(problem, place, lambda values: np.clip((values - median) / scale, -_CLIP, _CLIP))


def standardized_targets(problem: Problem, leaf: int) -> Problem:
    """Targets with mean 0 and standard deviation 1, by the training data, in both."""
    targets = np.asarray(jax.tree.leaves(problem.data)[leaf], np.float64)
    mean, deviation = targets.mean(0), targets.std(0)
    return _with_leaf(problem, leaf, lambda values: (values - mean) / np.where(deviation > 0, deviation, 1.0))


def matched_validation(problem: Problem) -> Problem:
    """Validation inputs with the means and deviations of the training inputs, feature by feature."""
    place = find_inputs(problem.data)
    if place is None or problem.validation is None:
        return problem
    mean, deviation = _statistics(problem.data, place)
    own, spread = _statistics(problem.validation, place)
    moved = _changed(problem.validation, place, lambda values: mean + deviation * (values - own) / spread)
    return dataclasses.replace(problem, validation=moved)


def split_again(problem: Problem, seed: int = 0) -> Problem:
    """As many training and validation examples, drawn at random from both."""
    both = problem.data, problem.validation
    joined = jax.tree.map(lambda *parts: np.concatenate([np.asarray(part) for part in parts]), *both)
    num = problem.num_examples or 0
    order = np.random.default_rng(seed).permutation(len(jax.tree.leaves(joined)[0]))
    data, validation = (meshes.take(joined, rows) for rows in (order[:num], order[num:]))
    return dataclasses.replace(problem, data=data, validation=validation)


def without_duplicates(problem: Problem) -> Problem:
    """The validation examples that are not among the training examples; the problem itself where none is left."""
    known = set(_as_bytes(problem.data))
    rows = np.array([k for k, row in enumerate(_as_bytes(problem.validation)) if row not in known], int)
    return problem if not len(rows) else dataclasses.replace(problem, validation=meshes.take(problem.validation, rows))


def renumbered(problem: Problem, leaf: int, numbers: tuple[int, ...]) -> Problem:
    """The training data's classes, in their order, with these numbers; others get that of the next one."""
    classes = np.unique(np.asarray(jax.tree.leaves(problem.data)[leaf]))

    def change(values: np.ndarray) -> np.ndarray:
        return np.asarray(numbers)[np.minimum(np.searchsorted(classes, values), len(classes) - 1)]

    return _with_leaf(problem, leaf, change, signed=True)


def balanced(problem: Problem, leaf: int, seed: int = 0) -> Problem:
    """As many training examples, of each class equally many: drawn anew, or some of them."""
    labels = np.asarray(jax.tree.leaves(problem.data)[leaf]).reshape(problem.num_examples or 0, -1)[:, 0]
    classes, random = np.unique(labels), np.random.default_rng(seed)
    each = -(-len(labels) // len(classes))
    rows = [np.resize(random.permutation(np.flatnonzero(labels == name)), each) for name in classes]
    return dataclasses.replace(problem, data=meshes.take(problem.data, random.permutation(np.concatenate(rows))))


def shaped(problem: Problem, leaf: int, shape: tuple[int, ...]) -> Problem:
    """A leaf of shape [n, *shape] for the loss; metrics, which may compare it as it is, see the shape that it had."""
    before = np.shape(jax.tree.leaves(problem.data)[leaf])[1:]
    changed = _with_leaf(problem, leaf, lambda values: values.reshape(len(values), *shape))
    return with_metrics(changed, functools.partial(_reshaped, leaf, before))


def finite_examples(problem: Problem) -> Problem:
    """The training examples in which every number is finite, in whatever leaf."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(problem.data) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    finite = [np.isfinite(leaf.astype(np.float32)).reshape(len(leaf), -1).all(1) for leaf in leaves]
    return dataclasses.replace(problem, data=meshes.take(problem.data, np.flatnonzero(np.all(finite, axis=0))))


def zeroed(problem: Problem) -> Problem:
    """Zeros for the inputs that are not finite, in both: what a constant feature is about its mean."""
    place = find_inputs(problem.data)
    if place is None:
        return problem
    return _with_leaf(problem, place, lambda values: np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0))


def padded_leaf(data: Any, among: Collection[int]) -> int | None:
    """Which leaf, [examples, steps, ...], has zeros behind its sequences, in a quarter of all steps; None for none."""
    leaves = jax.tree.leaves(data)
    found = (
        place for place in among if np.ndim(leaves[place]) > 1 and _padding_behind(leaves[place]).mean() >= _PADDED
    )
    return next(found, None)


def with_padding_in_front(problem: Problem, leaf: int) -> Problem:
    """A leaf's sequences with the zeros behind their ends before them, in both."""

    def roll(values: np.ndarray) -> np.ndarray:
        steps = values.shape[1]
        places = np.arange(steps) - np.round(steps * _padding_behind(values)).astype(int)[:, None]  # from the end
        return values[np.arange(len(values))[:, None], places]

    return _with_leaf(problem, leaf, roll)


def _padding_behind(leaf: Any) -> np.ndarray:
    """The share of each sequence's steps that are zeros behind its end."""
    values = np.asarray(leaf)
    holds = (values != 0).reshape(*values.shape[:2], -1).any(2)
    return np.where(holds.any(1), np.argmax(holds[:, ::-1], 1), holds.shape[1]) / holds.shape[1]


def _reshaped(leaf: int, shape: tuple[int, ...], metric: Any, *arguments: Any) -> Any:
    """The metric of (params, ..., batch) with the shape of a leaf of the batch changed."""
    leaves, structure = jax.tree.flatten(arguments[-1])
    leaves[leaf] = jnp.reshape(leaves[leaf], (len(leaves[leaf]), *shape))
    return metric(*arguments[:-1], structure.unflatten(leaves))


def _statistics(data: Any, place: int) -> tuple[np.ndarray, np.ndarray]:
    """Means and deviations of the inputs; 1 where they do not vary."""
    inputs = np.asarray(jax.tree.leaves(data)[place], np.float64)
    deviation = inputs.std(0)
    return inputs.mean(0), np.where(deviation > _VARIES * max(float(np.abs(inputs).max()), 1e-300), deviation, 1.0)


def with_shuffled_batches(problem: Problem) -> Problem:
    """Batches of the same sizes of all examples in random order; data in arrays are drawn at random as they are."""
    if not isinstance(problem.data, Batches):
        return problem
    return dataclasses.replace(problem, data=Batches(_Shuffled(problem.data), problem.data.name))


def with_negated_loss(problem: Problem) -> Problem:
    """The loss with the other sign."""
    return with_losses(problem, _negated)


def with_separate_examples(problem: Problem) -> Problem:
    """The mean of the examples' losses, each in a batch of its own; as it is, where the model has a state."""
    return problem if problem.stateful else with_losses(problem, _separated)


def without_key(problem: Problem) -> Problem:
    """The loss of training mode without its key."""
    return with_losses(problem, _without_key, evaluated=False)


def with_statistics(problem: Problem, share: float, wanted: float) -> Problem:
    """Running statistics that move `wanted` of the way to the batch's in a step, where they move `share` by themselves.

    The batch's are what a step makes of zeros, over the share: what a large number moves by is lost in its rounding.
    """
    return with_losses(problem, _MoveStatistics(share, wanted), evaluated=False)


def _with_leaf(
    problem: Problem, place: int, change: Callable[[np.ndarray], np.ndarray], *, signed: bool = False
) -> Problem:
    """The problem with one leaf changed, of its training and of its validation data."""
    validation = None if problem.validation is None else _changed(problem.validation, place, change, signed)
    return dataclasses.replace(problem, data=_changed(problem.data, place, change, signed), validation=validation)


def _changed(data: Any, place: int, change: Callable[[np.ndarray], np.ndarray], signed: bool = False) -> Any:
    """Data with one leaf changed, where there is one: in its own dtype, or with `signed` in one below zero."""
    leaves, structure = jax.tree.flatten(data)
    if len(leaves) <= place:
        return data
    dtype = jax.dtypes.canonicalize_dtype(leaves[place].dtype)
    if signed and not jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.dtype(jnp.int32)
    exact = np.float64 if jnp.issubdtype(dtype, jnp.floating) else None
    leaves[place] = jnp.asarray(change(np.asarray(leaves[place], exact)), dtype)
    return structure.unflatten(leaves)


def _as_bytes(data: Any) -> list[bytes]:
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(data)]
    return [b"".join(leaf[k].tobytes() for leaf in leaves) for k in range(len(leaves[0]))]


@dataclasses.dataclass(frozen=True)
class _Shuffled:
    batches: Batches

    def __call__(self) -> Iterator[Any]:
        given = list(self.batches())
        whole = jax.tree.map(lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves]), *given)
        sizes = [len(jax.tree.leaves(batch)[0]) for batch in given]
        order = np.random.default_rng(0).permutation(sum(sizes))
        for rows in np.split(order, np.cumsum(sizes)[:-1]):
            yield meshes.take(whole, rows)


def _without_key(function: Any, params: Any, *rest: Any) -> Any:
    return function(params, *rest[:-1], None)


def _separated(function: Any, params: Any, batch: Any, key: Any) -> jax.Array:
    alone = jax.tree.map(lambda leaf: leaf[:, None], batch)
    keys = None if key is None else jax.random.split(key, len(jax.tree.leaves(batch)[0]))
    return jnp.mean(jax.vmap(lambda example, key: function(params, example, key))(alone, keys))


def _negated(function: Any, params: Any, *rest: Any) -> Any:
    found = function(params, *rest)
    return (-found[0], *found[1:]) if isinstance(found, tuple) else -found


@dataclasses.dataclass(frozen=True)
class _MoveStatistics:
    share: float
    wanted: float

    def __call__(self, function: Any, params: Any, *rest: Any) -> Any:
        found = function(params, *rest)
        if not isinstance(found, tuple):
            return found  # the loss without a state
        zeros = jax.tree.map(lambda leaf: jnp.zeros_like(leaf) if vectors.is_floating(leaf) else leaf, rest[0])
        shares = function(params, zeros, *rest[1:])[1]

        def move(old: jax.Array, new: jax.Array, share: jax.Array) -> jax.Array:
            return old + self.wanted * (share / self.share - old).astype(old.dtype) if vectors.is_floating(old) else new

        return found[0], jax.tree.map(move, rest[0], found[1], shares)
