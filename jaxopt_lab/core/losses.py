"""`from_loss`, and the checks of a user's own loss: traced once with a key and once without, never computed.

An error that the user's function raises stays the cause of the one that is raised here, so that its own traceback is
shown; the sentence says which function it was and what it was called with.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxopt_lab.core.batches import as_data, first_batch
from jaxopt_lab.core.errors import InputError, fail, reason
from jaxopt_lab.core.leaves import count_examples, describe_tree
from jaxopt_lab.core.partitions import start_at
from jaxopt_lab.core.problem import Batch, Key, Loss, Params, Problem, Truth

_NO_KEY = "Without a key the loss is the expected one: draw nothing where key is None, with dropout and noise off."


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_CALLED = ("params", "batch", "key")


def from_loss(
    loss: Loss,
    params: Params | Callable[[Key], Params],
    data: Batch = None,
    *,
    validation: Batch = None,
    metrics: Mapping[str, Callable[[Params, Batch], jax.Array]] | None = None,
    truth: Truth | None = None,
    name: str | None = None,
) -> Problem:
    """Makes a problem from a loss that a user already holds.

    Args:
      loss: (params, batch, key) -> scalar mean over the batch. With data=None, batch is None; with key=None it is the
        expected loss, without noise or dropout.
      params: initial parameters, any pytree; or a function, a method or a class, key -> parameters. A pytree that can
        be called, such as an Equinox module, is parameters: its floating arrays train, and what else it holds
        (functions, flags, whole numbers) is held fixed. PRNG keys among the parameters are held fixed too.
      data: pytree of arrays with a common leading axis n, or None; or batches of such: a function that starts an
        iteration over them, or what can be iterated again (a list of batches, a torch DataLoader, grain, tf.data).
      validation: the same; batches of it are kept in memory.
      metrics: name -> (params, batch) -> scalar.
      truth: what is known exactly.
      name: defaults to the name of the loss function.

    Returns:
      The problem. Where something is held fixed, its parameters have None there, as `equinox.partition` leaves it, and
      the loss and the metrics get the whole tree; `equinox.combine(params, module)` gives the module back.

    Raises:
      InputError: the data's leaves differ in length or are no numbers, a parameter cannot be trained, the loss does not
        take (params, batch, key), fails, needs its key, or is not a scalar of a floating type.

    Example:
      >>> problem = from_loss(lambda w, batch, key: jnp.sum((w - 1.0) ** 2), jnp.zeros(3))
      >>> float(problem.full_loss(jnp.zeros(3)))
      3.0
    """
    label = name or getattr(loss, "__name__", "loss")
    _require_three("from_loss", label, loss)
    data = as_data(label, data)
    for field, batch in (("data", first_batch(data)), ("validation", first_batch(as_data(label, validation)))):
        count_examples(batch, label, field)
    start = start_at("from_loss", params)
    problem = Problem(
        loss=start.on_whole_trees(loss),
        init=start.init,
        data=data,
        validation=validation,
        metrics={title: start.on_whole_trees(metric) for title, metric in (metrics or {}).items()},
        truth=truth or Truth(),
        frozen=[held for held in start.fixed if held is not None] or None,
        name=label,
    )
    require_scalar_loss("from_loss", problem)
    return problem


def require_scalar_loss(where: str, problem: Problem) -> None:
    """Raises unless the problem's loss is a scalar of a floating type, with a key and without; traced, not computed.

    Args:
      where: for errors.
      problem: its initialization and its loss are traced.

    Raises:
      InputError: it is not, or it fails; the error that it raises is the cause.
    """
    shapes = traced(where, f"the initialization of {problem.name}", problem.init, jax.random.key(0), names=("key",))
    for key in (jax.random.key(0), None):
        require_scalar(where, problem, shapes, key, what=f"the loss {problem.name}")


def require_scalar(
    where: str, problem: Problem, params: Any, key: Key | None, *, what: str, without_key: str = _NO_KEY
) -> None:
    """Raises unless the problem's loss is a scalar of a floating type when it is called with one key, or with None.

    Args:
      where: for errors.
      problem: its loss is traced on all of its data.
      params: shapes of the parameters.
      key: a key, or None.
      what: the user's function in words.
      without_key: what to do about a loss that needs its key.

    Raises:
      InputError: it is not, or it fails; the error that it raises is the cause.
    """
    subject, remedy = (what, "") if key is not None else (f"{what} needs its key: without one it", without_key)
    batch = first_batch(problem.data)
    shape = traced(where, subject, problem.loss, params, batch, key, names=_CALLED, remedy=remedy)
    if isinstance(shape, tuple | list | dict):
        raise fail(
            where, f"loss must return a real scalar, {problem.name} returns a {type(shape).__name__}"
            f" ({describe_tree(shape)})",
            "Return the scalar alone, as lambda params, batch, key: loss(params, batch, key)[0]; give what else is"
            " worth watching as metrics={name: (params, batch) -> scalar}.",
        )  # fmt: skip
    if jnp.shape(shape) != () or not jnp.issubdtype(getattr(shape, "dtype", jnp.int32), jnp.floating):
        raise fail(
            where, f"loss must return a real scalar, {problem.name} returns {describe_tree(shape)}",
            "Take the mean over the batch inside the loss.",
        )  # fmt: skip


def traced(
    where: str, what: str, function: Callable[..., Any], *arguments: Any, names: Sequence[str] = (), remedy: str = ""
) -> Any:
    """The shapes that a user's function returns; an InputError in words, with its own error as the cause, if it fails.

    Args:
      where: for the error.
      what: the function in words, the subject of the sentence.
      function: the function; it is traced.
      *arguments: its arguments, or their shapes.
      names: of the arguments.
      remedy: what to do.

    Returns:
      What the function returns, with `jax.ShapeDtypeStruct` in the places of arrays.
    """
    try:
        return jax.eval_shape(function, *arguments)
    except InputError:
        raise
    except Exception as error:
        labels = [*(f"{name} " for name in names), *[""] * (len(arguments) - len(names))]
        given = "; ".join(label + describe_tree(argument) for label, argument in zip(labels, arguments, strict=True))
        raise fail(where, f"{what} fails {reason(error)}; it was called with {given}", remedy) from error


def _require_three(where: str, label: str, loss: Any) -> None:
    """Raises unless the loss can be called with three arguments."""
    if not callable(loss):
        raise fail(where, f"loss must be a function (params, batch, key) -> scalar, got {type(loss).__name__}")
    try:
        signature = inspect.signature(loss)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(None, None, None)
    except TypeError:
        given = _CALLED[: sum(each.kind in _POSITIONAL for each in signature.parameters.values())]
        called = f"{label if label.isidentifier() else 'loss'}({', '.join(given)})"
        few = f"Write lambda params, batch, key: {called}; a loss that draws nothing leaves key unused."
        raise fail(
            where, f"the loss is called as loss(params, batch, key), {label} takes ({', '.join(signature.parameters)})",
            few if len(given) < 3 else "Bind what else it takes with functools.partial.",
        ) from None  # fmt: skip
