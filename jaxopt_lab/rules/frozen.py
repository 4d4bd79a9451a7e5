"""Parameters that the rule in use does not move: they stay out of curvature, rate and prescription.

A leaf is frozen where the rule answers three gradients of different sizes with updates that are exactly zero.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxopt_lab.core import Problem, vectors
from jaxopt_lab.core.compilation import compiled
from jaxopt_lab.core.problem import Params, as_partial

_SIZES = (1.0, 1e-3, 10.0)


def frozen_leaves(rule: optax.GradientTransformation, params: Params) -> tuple[bool, ...]:
    """Which leaves the rule leaves as they are; none where it moves nothing, or needs more than gradients."""
    try:
        moved = [bool(each) for each in compiled(_moved, (rule,), params)(params)]
    except (TypeError, ValueError):
        moved = []
    if not any(moved):
        return (False,) * len(jax.tree.leaves(params))
    return tuple(not each for each in moved)


def without_frozen(
    problem: Problem, rule: optax.GradientTransformation, params: Params, frozen: tuple[bool, ...]
) -> tuple[Problem, optax.GradientTransformation, Params]:
    """The same training with the moving leaves alone as its parameters; None stands in the places of the others.

    Args:
      problem: any problem.
      rule: any rule.
      params: whose frozen leaves are held at their values.
      frozen: for each leaf whether it is.

    Returns:
      (problem, rule, parameters).
    """
    if not any(frozen):
        return problem, rule, params
    kept, fixed = _apart(params, frozen)
    stateful, composite = problem.stateful, problem.composite
    if stateful is not None:
        stateful = dataclasses.replace(
            stateful, loss=_bound(stateful.loss, fixed), evaluate=_bound(stateful.evaluate, fixed),
            outputs=stateful.outputs and _bound(stateful.outputs, fixed),
            expected=stateful.expected and _bound(stateful.expected, fixed),
        )  # fmt: skip
    if composite is not None:
        chunked = composite.in_chunks and (_bound(composite.in_chunks[0], fixed), composite.in_chunks[1])
        composite = dataclasses.replace(composite, outputs=_bound(composite.outputs, fixed), in_chunks=chunked)
    restricted = dataclasses.replace(
        problem, loss=_bound(problem.loss, fixed), init=_Init(problem, frozen), stateful=stateful,
        composite=composite, separable=None, metrics={name: _bound(m, fixed) for name, m in problem.metrics.items()},
    )  # fmt: skip
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), fixed)
    return restricted, _restricted(rule, frozen, shapes), kept


def frozen_paths(problem: Problem) -> tuple[str, ...]:
    """Paths of the leaves, of at least one number, that `without_frozen` has taken out of a problem's parameters."""
    if not isinstance(problem.init, _Init):
        return ()
    shapes = jax.eval_shape(problem.init.whole.init, jax.random.key(0))
    leaves = zip(vectors.parameter_paths(shapes), jax.tree.leaves(shapes), problem.init.frozen, strict=True)
    return tuple(path for path, leaf, is_frozen in leaves if is_frozen and leaf.size)


def with_frozen(problem: Problem) -> Problem:
    """The problem from which `without_frozen` has taken leaves, on this one's data; itself where it has taken none."""
    if not isinstance(problem.init, _Init):
        return problem
    return dataclasses.replace(problem.init.whole, data=problem.data, validation=problem.validation)


@dataclasses.dataclass(frozen=True)
class _Init:
    whole: Problem
    frozen: tuple[bool, ...]

    def __call__(self, key: jax.Array) -> Params:
        return _apart(self.whole.init(key), self.frozen)[0]


def _bound(function: Any, fixed: Any) -> jax.tree_util.Partial:
    """A function of whole trees as one of the moving leaves; the fixed ones are arguments of its programs."""
    return jax.tree_util.Partial(_whole_of, as_partial(function), fixed)


def _whole_of(function: Any, fixed: Any, params: Params, *rest: Any, **named: Any) -> Any:
    return function(_together(params, fixed), *rest, **named)


def _restricted(
    rule: optax.GradientTransformation, frozen: tuple[bool, ...], shapes: Any
) -> optax.GradientTransformationExtraArgs:
    """The rule on whole trees, with zeros of these shapes where they are frozen, as one on the moving leaves."""
    inner = optax.with_extra_args_support(rule)

    def filled(moving: Any) -> Any:
        return _together(moving, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        whole = None if params is None else filled(params)
        updates, state = inner.update(filled(updates), state, whole, **extra)
        return _apart(updates, frozen)[0], state

    return optax.GradientTransformationExtraArgs(lambda params: inner.init(filled(params)), update)


def _moved(rule: optax.GradientTransformation, params: Params) -> list[jax.Array]:
    """For each leaf whether one of the updates has an entry that is not zero."""
    state, found = rule.init(params), None
    zeros = jax.tree.map(jnp.zeros_like, params)
    for size in _SIZES:
        gradient = jax.tree.map(lambda leaf, size=size: jnp.full_like(leaf, size), params)
        updates, state = rule.update(gradient, state, zeros)
        moved = [jnp.any(leaf != 0) for leaf in jax.tree.leaves(updates)]
        found = moved if found is None else [one | other for one, other in zip(found, moved, strict=True)]
    return found or []


def _apart(tree: Any, frozen: tuple[bool, ...]) -> tuple[Any, Any]:
    """(moving, fixed), each with None in the places of the other."""
    leaves, structure = jax.tree.flatten(tree)
    pairs = list(zip(leaves, frozen, strict=True))
    moving = structure.unflatten([None if fixed else leaf for leaf, fixed in pairs])
    return moving, structure.unflatten([leaf if fixed else None for leaf, fixed in pairs])


def _together(moving: Any, fixed: Any) -> Any:
    none = lambda node: node is None  # noqa: E731
    return jax.tree.map(lambda one, other: other if one is None else one, moving, fixed, is_leaf=none)
