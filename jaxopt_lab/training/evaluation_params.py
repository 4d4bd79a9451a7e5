"""Rules that are judged at another point than they take gradients: training on pairs of parameters.

The parameters are a pair (y, x): gradients are taken at y, and x is what losses, metrics and validation see.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxopt_lab.core import Problem, Stateful, Truth
from jaxopt_lab.core.problem import as_partial, with_metrics

Factory = Callable[..., optax.GradientTransformation]
Evaluated = Callable[[Any, Any], Any]


@dataclasses.dataclass(frozen=True)
class WithEvaluationParams:
    """The factory of a rule on pairs (y, x), made of one on y: it is judged at another point than it takes gradients.

    Gradients are taken at y, and x = evaluated(state, y) is what losses, metrics and validation see, as rules that
    average want it. `with_evaluation_params` makes the problem of such pairs.

    Attributes:
      factory: hyperparameters -> rule.
      evaluated: (state, y) -> x.
    """

    factory: Factory
    evaluated: Evaluated

    def __call__(self, **hyperparameters: Any) -> optax.GradientTransformationExtraArgs:
        """The rule on pairs; of the extra inputs it hands none on."""
        inner = self.factory(**hyperparameters)

        def init(params: Any) -> Any:
            return inner.init(params[0])

        def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
            del extra
            moved, after = inner.update(updates[0], state, params[0])
            judged = self.evaluated(after, optax.apply_updates(params[0], moved))
            return (moved, jax.tree.map(jnp.subtract, judged, params[1])), after

        return optax.GradientTransformationExtraArgs(init, update)


def evaluated_at(
    problem: Problem, rule: optax.GradientTransformation, params: Any, evaluated: Evaluated | None
) -> tuple[Problem, optax.GradientTransformation, Any]:
    """Problem, rule and parameters, or where they are judged elsewhere, those of pairs; None for the problem's own."""
    if evaluated is None:
        return problem, rule, params
    pair = None if params is None else (params, jax.tree.map(jnp.copy, params))
    return with_evaluation_params(problem), WithEvaluationParams(lambda: rule, evaluated)(), pair


def with_evaluation_params(problem: Problem) -> Problem:
    """The problem with parameters (y, x): gradients at y, and at x the expected loss, for which a loss gets no key.

    With batch normalization x is judged with the statistics of y.
    """
    stateful = problem.stateful
    expected = None if stateful is None else stateful.expected
    return dataclasses.replace(
        with_metrics(problem, _judged),
        loss=jax.tree_util.Partial(_paired_loss, as_partial(problem.loss)),
        init=_Doubled(problem.init),
        truth=Truth(),
        separable=None,
        composite=None,
        stateful=None if stateful is None else Stateful(
            stateful.initial, jax.tree_util.Partial(_trained, as_partial(stateful.loss)),
            jax.tree_util.Partial(_judged, as_partial(stateful.evaluate)),
            expected=None if expected is None else jax.tree_util.Partial(_judged, as_partial(expected)),
        ),
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Doubled:
    init: Callable[[Any], Any]

    def __call__(self, key: Any) -> Any:
        params = self.init(key)
        return params, jax.tree.map(jnp.copy, params)  # donated both: they must not be the same arrays


def _paired_loss(loss: Any, pair: Any, batch: Any, key: Any) -> jax.Array:
    return loss(pair[1] if key is None else pair[0], batch, key)


def _trained(loss: Any, pair: Any, *rest: Any) -> Any:
    return loss(pair[0], *rest)


def _judged(function: Any, pair: Any, *rest: Any) -> Any:
    return function(pair[1], *rest)
