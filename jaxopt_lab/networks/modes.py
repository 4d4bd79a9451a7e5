"""Whether a module's two modes are what the package takes them for, found out before anything is trained.

    without a key            no random number enters the loss
    in evaluation mode       running statistics in the place of the batch's, and no random number; a mean over examples
                             that do not touch each other: 2 f(a, a, b, b) = f(a, a, a, b) + f(a, b, b, b)

A module that is told its mode in the call, `model(x, train=True)`, cannot be put into another mode from outside, and
one that draws from its own random streams may do so in any mode. What enters a loss is read from its program; the last
line is tried on two examples.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

import flax
import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
from jax.interpreters import partial_eval

from jaxopt_lab.core import Problem, fail, meshes
from jaxopt_lab.core.leaves import is_key
from jaxopt_lab.core.losses import traced
from jaxopt_lab.core.problem import Batch, as_partial
from jaxopt_lab.networks.forms import EvaluationLoss, Parts, StatefulLoss
from jaxopt_lab.networks.functional import Functional, Unknown

Var = jax.extend.core.Var

_COPIES = ("convert_element_type", "copy", "copy_p")
_ROWS = 16
_STIR = 0.1
_SHOWN = 4
_EVAL = "Give eval_loss_fn=, the same loss with the model in evaluation mode, as in model(inputs, train=False)."
_FILLED = "Call model(inputs) without its flag, which is filled in; or give eval_loss_fn=, the loss in evaluation mode."
_TOLD = "It must call the model in evaluation mode, in which it draws nothing and takes no statistics of the batch."
_FLAGS = (
    "Let the model do so in training alone, under a flag of its call (train, deterministic), which is filled in; or"
    " give loss_fn= and eval_loss_fn= in the place of criterion=."
)
_MIXES = (
    "{where}: the loss of an example depends on the others of its batch ({label}, in evaluation mode): it is no mean"
    " over examples, and what is measured over parts of the data, such as curvature in chunks or gradient noise, is of"
    " another function. Where the model normalizes by the batch, give eval_loss_fn=, the same loss with the model in"
    " evaluation mode. Where the loss compares examples by design, or divides by what is not masked, ignore this"
    " warning."
)


def draws_without_key(parts: Parts, form: Functional, params: Any, data: Batch) -> bool:
    """Whether the loss in training mode takes random numbers even where no key is given; traced, not computed."""

    def loss(stream_key: Any, frozen: Any, params: Any, state: Any, batch: Batch) -> jax.Array:
        return StatefulLoss(parts)(frozen, params, state, batch, None, stream_key=stream_key)[0]

    arguments = (form.frozen, params, form.model_state, data)
    try:
        if parts.call.draws:
            return any(_used(loss, jax.random.key(0), *arguments))
        jax.eval_shape(loss, None, *arguments)
    except flax.errors.InvalidRngError:
        return True
    except Exception:  # told in words when the loss is checked, unless evaluation mode is all that it needs
        return parts.eval_loss_fn is not None
    return False


def unmoved(parts: Parts, form: Functional, params: Any, data: Batch) -> list[Unknown]:
    """The unknown variables that a training step leaves as they are; traced, not computed."""
    if not form.unknown:
        return []
    moved = _moved(parts, form, params, data)
    return [
        unknown
        for unknown in form.unknown
        if not any(flag for path, flag in moved.items() if path[: len(unknown.path)] == unknown.path)
    ]


def require_evaluation(parts: Parts, form: Functional, problem: Problem, params: Any) -> None:
    """Raises where evaluation mode is not what it is taken for; warns where a loss mixes examples.

    Args:
      parts: of the loss.
      form: the module as a pure function.
      problem: made of both.
      params: the parameters, or their shapes alone.

    Raises:
      InputError: in evaluation mode the loss fails, depends on random numbers, or normalizes by the batch.

    Cost: traces; one compilation of the loss and three evaluations on four examples each; where only shapes are given,
    one draw of the initial parameters.
    """
    evaluate, label, data = EvaluationLoss(parts), parts.label(training=False), problem.data
    remedy = _remedy(parts)
    traced(
        parts.where, f"{label}, in evaluation mode,", evaluate, form.frozen, params, form.model_state, data,
        names=("frozen", "params", "state", "batch"), remedy=remedy,
    )  # fmt: skip
    if parts.call.draws:
        loss = lambda key, *rest: evaluate(*rest, stream_key=key)  # noqa: E731
        if any(_used(loss, jax.random.key(0), form.frozen, params, form.model_state, data)):
            raise fail(
                parts.where, f"{label} depends in evaluation mode on random numbers that the model draws by itself, so"
                " that evaluate, freeze and a loss without a key would be of one fixed draw", remedy,
            )  # fmt: skip
    mixing = mixes(problem, params)
    if mixing is False:
        return
    stale = _moved_unread(parts, form, params, data)
    if stale:
        raise fail(
            parts.where, f"{label} normalizes by the batch in evaluation mode too: it does not read"
            f" {', '.join(stale[:_SHOWN])}, which training moves, so that evaluate and freeze would be the training"
            " loss again", remedy,
        )  # fmt: skip
    if mixing:
        warnings.warn(_MIXES.format(where=parts.where, label=label), stacklevel=4)


def mixes(problem: Problem, params: Any) -> bool | None:
    """Whether the loss of an example depends, in evaluation mode, on the others of its batch.

    Args:
      problem: its first example and the first that differs from it are looked at.
      params: the parameters, or their shapes, for which initial ones are drawn; each is moved a little, so that a layer
        that starts at zero hides nothing.

    Returns:
      The answer; None where it cannot be told: no two examples differ, the loss is not finite, or takes no four.
    """
    batches = _batches(problem.data)
    if not batches:
        return None
    loss = as_partial(problem.freeze().loss)
    try:
        if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(params)):
            params = problem.init(jax.random.key(0))
        values = [_stirred_loss(loss, params, batch) for batch in batches]
    except Exception:
        return None
    even, first, second = (float(value) for value in values)
    size = abs(even) + abs(first) + abs(second)
    if not math.isfinite(size):
        return None
    # The root of the rounding error: rounding stays far below it, and what a batch does to a loss far above.
    return abs(2 * even - first - second) > float(jnp.finfo(values[0].dtype).eps) ** 0.5 * size


def _remedy(parts: Parts) -> str:
    if parts.eval_loss_fn is not None:
        return _TOLD
    if parts.criterion is not None:
        return _FLAGS
    return _FILLED if parts.where == "from_linen" else _EVAL


@jax.jit
def _stirred_loss(loss: Any, params: Any, batch: Batch) -> jax.Array:
    def stirred(leaf: jax.Array) -> jax.Array:
        return leaf + (_STIR * jnp.sin(jnp.arange(leaf.size, dtype=jnp.float32))).reshape(leaf.shape).astype(leaf.dtype)

    return loss(jax.tree.map(stirred, params), batch, None)


def _batches(data: Batch) -> list[Batch]:
    """The batches (a, a, b, b), (a, a, a, b), (a, b, b, b) of the first example and one that differs; [] for none.

    No batch is of one example alone: its variance would be 0, and a division by it would hide the rest.
    """
    leaves, structure = jax.tree.flatten(data)
    if not leaves:
        return []
    num = leaves[0].shape[0]
    rows = np.unique(np.linspace(0, num - 1, min(num, _ROWS)).astype(int))
    drawn = meshes.take(leaves, rows)
    plain = [np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf) for leaf in drawn]
    differ = [k for k in range(1, len(rows)) if any((leaf[0] != leaf[k]).any() for leaf in plain)]
    if not differ:
        return []
    orders = (np.array(order) * differ[0] for order in ((0, 0, 1, 1), (0, 0, 0, 1), (0, 1, 1, 1)))
    return [structure.unflatten(meshes.take(drawn, order)) for order in orders]


def _used(function: Callable[..., Any], first: Any, *rest: Any) -> list[bool]:
    """For each leaf of the first argument, whether the value of the function depends on it."""
    jaxpr = jax.make_jaxpr(function)(first, *rest).jaxpr
    _, used = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    return list(used[: len(jax.tree.leaves(first))])


def _moved(parts: Parts, form: Functional, params: Any, data: Batch) -> dict[tuple[Any, ...], bool]:
    """For each path of the model's state, whether a training step writes it."""

    def after(state: Any, frozen: Any, params: Any, batch: Batch, key: jax.Array) -> Any:
        return StatefulLoss(parts)(frozen, params, state, batch, key)[1]

    jaxpr = jax.make_jaxpr(after)(form.model_state, form.frozen, params, data, jax.random.key(0)).jaxpr
    makers = {out: equation for equation in jaxpr.eqns for out in equation.outvars}

    def source(atom: Any) -> Any:
        while isinstance(atom, Var) and atom in makers and makers[atom].primitive.name in _COPIES:
            (atom,) = makers[atom].invars
        return atom

    moved = [source(new) is not old for old, new in zip(jaxpr.invars, jaxpr.outvars, strict=False)]
    return dict(zip(_paths(form.model_state), moved, strict=True))


def _moved_unread(parts: Parts, form: Functional, params: Any, data: Batch) -> list[str]:
    """Variables that training moves and evaluation does not read, by their paths."""
    if not jax.tree.leaves(form.model_state):
        return []

    def evaluate(state: Any, frozen: Any, params: Any, batch: Batch) -> Any:
        return EvaluationLoss(parts)(frozen, params, state, batch)

    read = _used(evaluate, form.model_state, form.frozen, params, data)
    moved = _moved(parts, form, params, data)
    return [
        "/".join(map(str, path)) for (path, flag), seen in zip(moved.items(), read, strict=True) if flag and not seen
    ]


def _paths(tree: Any) -> list[tuple[Any, ...]]:
    """The path of each leaf of nested dictionaries."""
    return [tuple(part.key for part in path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
