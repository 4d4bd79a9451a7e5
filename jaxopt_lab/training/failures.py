"""Why a run could not be traced, in words: the loss, the rule, its hyperparameters, or a probe.

Nothing here costs a run that is sound. One that raises is traced again in its parts, and the part that fails is named;
the error that the user's own code raised is the cause of the one that says so.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxopt_lab.core import InputError, Problem, fail
from jaxopt_lab.core.losses import traced
from jaxopt_lab.training.planning import Plan
from jaxopt_lab.training.steps import Inputs, Lane, observe, step

_UNKNOWN_VALUE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


def require_rule(
    where: str, factory: Callable[..., optax.GradientTransformation], hyperparameters: dict[str, Any], params: Any
) -> None:
    """Raises where a rule cannot run in the engine, as far as its start tells; its other errors are left to others.

    Args:
      where: for errors.
      factory: hyperparameters -> rule.
      hyperparameters: name -> one value.
      params: shapes of the parameters.

    Raises:
      InputError: a hyperparameter must be known before it is traced, or the rule steps on pairs of parameters.
    """

    def start(params: Any, values: dict[str, Any]) -> Any:
        return factory(**values).init(params)

    try:
        state = jax.eval_shape(start, params, hyperparameters)
    except Exception as error:
        if _needs_a_value(error):
            raise _fixed_number(where, factory, start, params, hyperparameters) from error
        return
    if any(map(_is_lookahead, jax.tree.leaves(state, is_leaf=_is_lookahead))):
        raise fail(
            where, "optax.lookahead steps on pairs, LookaheadParams(fast, slow), and a rule gets one set of parameters",
            "Take a rule that keeps its second set in its state: rules.average_iterates, optax.contrib.schedule_free.",
        )  # fmt: skip


def explain(error: Exception, plan: Plan, problem: Problem, inputs: Inputs, params: Any) -> None:
    """Raises an InputError that says which part of a run cannot be traced; returns where every part can.

    Args:
      error: what the run raised.
      plan: the run.
      problem: what was to be minimized.
      inputs: of the program.
      params: where it was to start; None for the problem's initialization.
    """
    if isinstance(error, InputError | OSError | MemoryError):
        return
    program, key = plan.program, jax.random.key(0)
    if params is None:
        params = traced("run", f"the initialization of {problem.name}", problem.init, key, names=("key",))
    params, data = jax.eval_shape(lambda *trees: trees, params, problem.data)
    size = program.batch_size
    batch = data if size is None else jax.tree.map(lambda leaf: _rows(leaf, size), data)
    called = ("params", "batch", "key")
    traced("run", f"the loss {problem.name}", problem.loss, params, batch, key, names=called)
    values = {name: column[0] for name, column in plan.hyperparameters.items()}
    require_rule("run", program.factory, values, params)
    label, given = _label(program.factory), ("params", "hyperparameters")
    for what, function in _parts_of_rule(plan, problem, inputs):
        try:
            jax.eval_shape(function, params, values)
        except Exception as cause:
            if _needs_a_value(cause):
                raise _fixed_number("run", program.factory, function, params, values) from cause
        traced("run", f"{what} the rule {label}", function, params, values, names=given)
    for probe in program.probes:
        measure = lambda params, values, probe=probe: probe.finish(  # noqa: E731
            probe.sums(observe(program, inputs, _lane(plan, problem, params, values)))
        )
        traced("run", f"the probe {probe.name}", measure, params, values, names=given)


def _parts_of_rule(plan: Plan, problem: Problem, inputs: Inputs) -> Iterator[tuple[str, Callable[..., Any]]]:
    yield "the start of", lambda params, values: plan.program.factory(**values).init(params)
    yield (
        "a step of",
        lambda params, values: step(
            plan.program, inputs, values, _lane(plan, problem, params, values), jnp.zeros((), jnp.int32)
        ),
    )


def _lane(plan: Plan, problem: Problem, params: Any, values: dict[str, Any]) -> Lane:
    """One configuration before its first step."""
    program = plan.program
    order = jnp.arange(problem.num_examples, dtype=jnp.int32) if program.batch_size else None
    state = jax.tree.map(jnp.asarray, program.factory(**values).init(params))
    last, before = (params if program.needs(name) else None for name in ("updates", "previous_updates"))
    return Lane(params, state, jax.random.key(0), order, last, before, problem.model_state)


def _needs_a_value(error: Exception) -> bool:
    """Whether an error says that a traced number was used as a plain one."""
    return isinstance(error, _UNKNOWN_VALUE) or (isinstance(error, TypeError) and "Shapes must be" in str(error))


def _fixed_number(
    where: str, factory: Any, function: Callable[..., Any], params: Any, values: dict[str, Any]
) -> InputError:
    """The error that names the hyperparameters which cannot be traced."""
    culprits = []
    for name in values:
        others = {other: value for other, value in values.items() if other != name}
        alone = lambda params, value, name=name, others=others: function(params, {**others, name: value})  # noqa: E731
        try:
            jax.eval_shape(alone, params, values[name])
        except Exception as error:
            culprits += [name] if _needs_a_value(error) else []
    label, names = _label(factory), culprits or list(values)
    if not names:
        return fail(where, f"the rule {label} takes a traced number for a plain one", "Use jnp.where instead of if.")
    fixed = ", ".join(f"{name}=..." for name in names)
    return fail(
        where, f"the rule {label} needs {' and '.join(names)} as a plain number; hyperparameters are traced",
        f"Fix it, functools.partial({label}, {fixed}), and run once for each value.",
    )  # fmt: skip


def _label(factory: Any) -> str:
    return getattr(factory, "__name__", getattr(getattr(factory, "func", None), "__name__", "in use"))


def _rows(leaf: Any, num: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((num, *leaf.shape[1:]), leaf.dtype)


def _is_lookahead(node: Any) -> bool:
    return isinstance(node, optax.LookaheadState)
