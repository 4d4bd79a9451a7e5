"""Fisher matrices and the covariance of the gradient noise.

    F v     = E_x J' F_z (J v),   F_z = diag(p) - p p' (categorical), p (1 - p) (bernoulli), I (gaussian)
    F_emp v = (1/n) sum_i g_i <g_i, v>
    S v     = (1/n) sum_i (g_i - g) <g_i - g, v>,   g = (1/n) sum_i g_i

Reference: Kunstner, Balles, Hennig 2019, Limitations of the empirical Fisher approximation for natural gradient
descent; Martens 2020, New insights and perspectives on the natural gradient method.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxopt_lab.core import Problem, fail, meshes, vectors
from jaxopt_lab.core.errors import reason, require_choice
from jaxopt_lab.core.problem import as_partial
from jaxopt_lab.curvature.derivatives import forward_derivative
from jaxopt_lab.curvature.operators import Operator
from jaxopt_lab.curvature.points import ExpectedLoss, carries_statistics, locate
from jaxopt_lab.curvature.products import operator_at, output_product, outputs_of, require_composite
from jaxopt_lab.curvature.streams import Source

FAMILIES = ("categorical", "bernoulli", "gaussian")


def fisher(
    problem: Problem, params: Any, *, data: Source = None, chunk_size: int | None = None, block: str | None = None
) -> Operator:
    """The exact Fisher matrix at a point: the expectation over labels is taken in closed form, not sampled.

    Args:
      problem: with a `composite` whose `family` is one of `FAMILIES`; the labels in the data are not looked at.
      params: as in `hessian`.
      data: as in `hessian`.
      chunk_size: as in `hessian`.
      block: as in `hessian`.

    Returns:
      The operator; positive semidefinite. It equals the Gauss-Newton matrix of the family's negative log-likelihood.

    Raises:
      InputError: as in `gauss_newton`, or a family that is not known.
    """
    composite = require_composite("fisher", problem)
    require_choice("fisher", "family of the composite", composite.family, FAMILIES)
    functions = (as_partial(composite.outputs), _OUTPUTS[str(composite.family)])
    require = partial(outputs_of, problem.name, _fisher_at, functions)
    point = locate(problem, params, data, chunk_size, block, require=require)
    constants = (*functions, point.merge, point.params)
    return operator_at(point, _fisher_at, constants, name=f"Fisher matrix of {problem.name}", semidefinite=True)


def empirical_fisher(
    problem: Problem, params: Any, *, data: Source = None, chunk_size: int | None = None, block: str | None = None
) -> Operator:
    """The second moment of the examples' gradients, NOT centred: at a point that is no minimum it is no covariance.

    An example's gradient is that of its own term of the loss, so that their mean is the loss's gradient. With a
    composite its outputs are those that it has among all examples, and the criterion is taken of each alone; without
    one the loss is taken on a batch of that example alone. Both are the same where examples do not touch each other.
    With batch normalization that is not frozen they are not: among all, an example is normalized by their statistics,
    through which its gradient runs; alone, by its own, to zero, of which no training loss consists. The latter is
    refused. Hold the statistics fixed (`Problem.freeze`) for the gradients that a trained model's evaluation has.

    Args:
      problem: with data. Examples are told apart by its composite, or else by taking its loss on one at a time.
      params: as in `hessian`.
      data: as in `hessian`.
      chunk_size: as in `hessian`.
      block: as in `hessian`.

    Returns:
      The operator; positive semidefinite.

    Raises:
      InputError: as in `hessian`, or batch statistics that are not frozen without a composite.
    """
    return _second_moment(problem, params, data, chunk_size, block, "empirical Fisher matrix", centred=False)


def gradient_covariance(
    problem: Problem, params: Any, *, data: Source = None, chunk_size: int | None = None, block: str | None = None
) -> Operator:
    """The covariance of the examples' gradients around their mean; that of a batch of B is this over B.

    Args:
      problem: as in `empirical_fisher`.
      params: as in `hessian`.
      data: as in `hessian`.
      chunk_size: as in `hessian`.
      block: as in `hessian`.

    Returns:
      The operator, with n in the denominator; positive semidefinite.

    Raises:
      InputError: as in `empirical_fisher`.
    """
    return _second_moment(problem, params, data, chunk_size, block, "gradient covariance", centred=True)


def example_losses(problem: Problem) -> Any:
    """(all params, batch) -> the losses [n] of the examples one by one, as a pytree of functions."""
    if problem.composite is not None:
        composite = problem.composite
        return jax.tree_util.Partial(_by_outputs, as_partial(composite.outputs), as_partial(composite.criterion))
    return jax.tree_util.Partial(_one_at_a_time, as_partial(problem.loss))


def _second_moment(
    problem: Problem, params: Any, data: Source, chunk_size: int | None, block: str | None, name: str, *, centred: bool
) -> Operator:
    if carries_statistics(problem) and problem.composite is None:
        raise fail(
            problem.name, "an example alone is not normalized as it is among the others",
            "Hold the batch statistics fixed with problem.freeze(...), or give the problem a `composite`.",
        )  # fmt: skip
    losses = example_losses(problem)
    require = partial(_require_losses, problem.name, losses)
    point = locate(problem, params, data, chunk_size, block, require=require)
    mean = point.gradient if centred else vectors.zeros_like(point.gradient)
    constants = (losses, point.merge, point.params, mean)
    return operator_at(point, _second_moment_at, constants, name=f"{name} of {problem.name}", semidefinite=True)


def _require_losses(name: str, losses: Any, loss: ExpectedLoss, params: Any, batch: Any) -> None:
    """Raises unless there is one loss for each example, with a derivative."""
    placed, arguments = partial(meshes.on_any_mesh, losses), (loss.merge(params), batch)
    try:
        jax.eval_shape(placed, *arguments)
    except Exception as error:
        raise fail(
            name, f"its examples cannot be told apart {reason(error)}",
            "The data and the composite's outputs need the examples as their leading axis.",
        ) from error  # fmt: skip
    constants = (losses, loss.merge, params, params)
    forward_derivative(name, "the examples' losses", placed, arguments, _second_moment_at, constants, params)


def _second_moment_at(constants: Any, batch: Any) -> Any:
    losses, merge, params, mean = constants
    values, linear = jax.linearize(lambda point: meshes.on_any_mesh(losses, merge(point), batch), params)
    return jax.tree_util.Partial(_centred_product, linear, mean, values)


def _centred_product(linear: Any, mean: Any, values: jax.Array, vector: Any) -> Any:
    slopes = linear(vector) - vectors.dot(mean, vector).astype(values.dtype)
    return jax.linear_transpose(linear, vector)(slopes / values.size)[0]


def _by_outputs(outputs: Any, criterion: Any, params: Any, batch: Any) -> jax.Array:
    single = lambda one, example: criterion(_row(one), _row(example))  # noqa: E731
    return jax.vmap(single)(outputs(params, batch), batch)


def _one_at_a_time(loss: Any, params: Any, batch: Any) -> jax.Array:
    return jax.vmap(lambda example: loss(params, _row(example), None))(batch)


def _row(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[None], tree)


def _fisher_at(constants: Any, batch: Any) -> Any:
    outputs, weigh, merge, params = constants
    values, linear = jax.linearize(lambda point: meshes.on_any_mesh(outputs, merge(point), batch), params)
    return jax.tree_util.Partial(output_product, linear, jax.tree_util.Partial(weigh, values))


def _categorical(logits: jax.Array, vector: jax.Array) -> jax.Array:
    shares = jax.nn.softmax(logits)
    centred = vector - jnp.sum(shares * vector, axis=-1, keepdims=True)
    return shares * centred / (logits.size // logits.shape[-1])


def _bernoulli(logits: jax.Array, vector: jax.Array) -> jax.Array:
    share = jax.nn.sigmoid(logits)
    return share * (1 - share) * vector / logits.size


def _gaussian(means: jax.Array, vector: jax.Array) -> jax.Array:
    return vector / means.shape[0]


_OUTPUTS = {
    "categorical": jax.tree_util.Partial(_categorical),
    "bernoulli": jax.tree_util.Partial(_bernoulli),
    "gaussian": jax.tree_util.Partial(_gaussian),
}
