"""How the engine judges a model in evaluation mode: one shape for problems with and without a model's state."""

from typing import Any

import jax

from jaxopt_lab.core import Problem
from jaxopt_lab.core.problem import as_partial
from jaxopt_lab.training.probes import Evaluation


def evaluation_of(problem: Problem) -> Evaluation:
    """The problem's loss and metrics as functions of (params, batch, model state)."""
    if problem.stateful is None:
        loss = jax.tree_util.Partial(_expected, as_partial(problem.loss))
        wrap = _stateless
    else:
        loss = jax.tree_util.Partial(_evaluated, as_partial(problem.stateful.evaluate))
        wrap = _in_state
    metrics = {name: jax.tree_util.Partial(wrap, as_partial(metric)) for name, metric in problem.metrics.items()}
    return Evaluation(loss, metrics, problem.validation)


def _expected(loss: Any, params: Any, batch: Any, model_state: None) -> jax.Array:
    del model_state
    return loss(params, batch, None)


def _evaluated(evaluate: Any, params: Any, batch: Any, model_state: Any) -> jax.Array:
    return evaluate(params, model_state, batch)


def _stateless(metric: Any, params: Any, batch: Any, model_state: None) -> jax.Array:
    del model_state
    return metric(params, batch)


def _in_state(metric: Any, params: Any, batch: Any, model_state: Any) -> jax.Array:
    return metric(params, batch, model_state)
