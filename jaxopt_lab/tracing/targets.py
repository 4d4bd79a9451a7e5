"""What the data hold against a model's outputs: class numbers, several labels an example, or a regression's targets."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.tracing.outputs import OutputPlace

_FEW_CLASSES, _MOST_CLASSES, _GAPS = 20, 100, 3


def classes_of(place: OutputPlace, data: Any) -> tuple[np.ndarray, bool] | None:
    """The targets where they are class numbers, [n, ...], and whether they are of an integer type; None for others."""
    number = class_leaf(place, data)
    if number is None:
        return None
    leaf = jax.tree.leaves(data)[number]
    return np.asarray(leaf).astype(np.int64), _is_integer(leaf)


def has_signed_weights(place: OutputPlace, data: Any) -> bool:
    """Whether class numbers come with floating numbers of both signs, such as the advantages of actions."""
    beside = set(place.targets) - set(place.inputs) - {class_leaf(place, data)}
    values = [np.asarray(jax.tree.leaves(data)[number]) for number in beside]
    return any(np.min(each) < 0 < np.max(each) for each in values if each.dtype.kind == "f" and each.size)


def several_labels(place: OutputPlace, data: Any) -> np.ndarray | None:
    """The targets [n, ..., K] where they are a zero or a one for each of K outputs, and not just one of them is one."""
    if len(place.shape) < 2 or place.shape[-1] < 2:
        return None
    for number in set(place.targets) - set(place.inputs):
        values = np.asarray(jax.tree.leaves(data)[number], np.float64)
        if values.shape[1:] == place.shape[1:] and np.isin(values, (0.0, 1.0)).all():
            return None if (values.sum(-1) == 1).all() else values
    return None


def are_one_hot(rows: np.ndarray) -> bool:
    """Whether rows [..., K] are zeros with a single one each."""
    return bool(np.isin(rows, (0, 1)).all() and (rows.sum(-1) == 1).all())


def class_leaf(place: OutputPlace, data: Any) -> int | None:
    """Which leaf of the data holds the targets where they are class numbers; None without."""
    leaves = jax.tree.leaves(data)
    for number in place.targets:
        leaf = leaves[number]
        if number in place.inputs and len(leaves) > 1:
            continue
        if _is_integer(leaf):
            return number
        if _number_classes(np.asarray(leaf, np.float64)):
            return number
    return None


def _number_classes(values: np.ndarray) -> bool:
    """Whether floating numbers are those of classes: whole, without large gaps, and more than a few met twice each."""
    if not (values.size and np.isfinite(values).all() and np.equal(values, np.round(values)).all()):
        return False
    classes = np.unique(values)
    most = np.clip(values.size // 2, _FEW_CLASSES, _MOST_CLASSES)
    return bool(len(classes) <= most and np.ptp(classes) < _GAPS * len(classes))


def _is_integer(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jnp.integer) or leaf.dtype == bool)


def target_leaf(place: OutputPlace, data: Any) -> int | None:
    """Which leaf of the data holds the targets of a regression, floating and beside the outputs alone; None without."""
    leaves = jax.tree.leaves(data)
    found = [k for k in place.targets if k not in place.inputs and jnp.issubdtype(leaves[k].dtype, jnp.floating)]
    return found[0] if len(found) == 1 and classes_of(place, data) is None else None


def own_targets(place: OutputPlace, data: Any) -> set[int]:
    """Which leaves of the data stand beside the outputs, and are no inputs; empty where none of them is told."""
    beside = set(place.targets) - set(place.inputs)
    return beside if beside & {class_leaf(place, data), target_leaf(place, data)} else set()


def target_size(place: OutputPlace, data: Any) -> float:
    """The size of what the outputs are compared with: that of floating targets, at least 1."""
    if (number := target_leaf(place, data)) is None:
        return 1.0
    return max(1.0, float(np.sqrt(np.mean(np.square(np.asarray(jax.tree.leaves(data)[number], np.float64))))))
