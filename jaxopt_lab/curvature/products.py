"""Hessian and Gauss-Newton products of a problem's expected loss, linearized once at a point.

    H v   = d/dt grad f(w + t v)                                  forward over reverse
    G v   = J' (C'' (J v)),   f(w) = C(z(w)),  J = dz/dw          Gauss-Newton

Reference: Pearlmutter 1994, Fast exact multiplication by the Hessian; Schraudolph 2002, Fast curvature matrix-vector
products for second-order gradient descent.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax

from jaxopt_lab.core import Composite, InputError, Problem, fail, meshes
from jaxopt_lab.core.errors import require_choice
from jaxopt_lab.core.problem import as_partial
from jaxopt_lab.curvature.derivatives import (
    forward_derivative,
    program_of,
    ruled_parts,
    second_derivative,
)
from jaxopt_lab.curvature.differences import difference_operator
from jaxopt_lab.curvature.kinks import kinks_of
from jaxopt_lab.curvature.operators import Operator, operator
from jaxopt_lab.curvature.points import ExpectedLoss, Point, locate
from jaxopt_lab.curvature.streams import Source, mean_product

PRODUCTS = ("auto", "exact", "finite-difference")


def hessian(
    problem: Problem, params: Any, *, data: Source = None, chunk_size: int | None = None, block: str | None = None,
    product: str = "auto",
) -> Operator:  # fmt: skip
    """The Hessian of the expected loss at a point.

    Args:
      problem: its loss is taken with key None: no dropout, no sampling.
      params: the point, any pytree of real arrays. Leaves of less than 32 bits are widened to float32 first: the
        operator is that of the same function at the same point, computed in float32.
      data: a pytree of arrays, or a function that starts an iteration over batches; by default the problem's data.
      chunk_size: examples at once, for data whose activations do not fit in memory; None for all.
      block: only the parameters whose path starts so, such as "layers/0"; all others are constants.
      product: "exact", the derivative of the gradient; "finite-difference", central differences of it, whose error
        every interval then holds; "auto" takes these where there is no second derivative, and says so in `notes`.

    Returns:
      The operator, on vectors like the parameters (or like the block).

    Raises:
      InputError: a loss that is no scalar, not finite at the point or, of exact products, without a second derivative;
        differences that are all rounding; data leaves of different length, no data where the loss needs it, an
        iteration that gives another number of examples in another pass, batch statistics that are not frozen with more
        than one chunk, or an unknown block or product.

    Example:
      >>> import jax.numpy as jnp, jaxopt_lab as lab
      >>> problem = lab.from_loss(lambda w, batch, key: jnp.sum(w**3), jnp.array([1.0, 2.0]))
      >>> hessian(problem, jnp.array([1.0, 2.0]))(jnp.ones(2)).tolist()
      [6.0, 12.0]
    """
    require_choice("hessian", "product", product, PRODUCTS)
    point = locate(problem, params, data, chunk_size, block, require=partial(curved, problem.name, product))
    program, is_exact = point.found
    name, notes = f"Hessian of {problem.name}", kinks_of(program)
    if not is_exact:
        return difference_operator(point, name, notes)
    return operator_at(
        point, _hessian_at, (point.loss, point.params), name=name, hint=point.gradient, notes=notes,
        sound=not ruled_parts(program),
    )  # fmt: skip


def gauss_newton(
    problem: Problem, params: Any, *, data: Source = None, chunk_size: int | None = None, block: str | None = None
) -> Operator:
    """The generalized Gauss-Newton matrix J' C'' J of the expected loss at a point; positive semidefinite.

    Args:
      problem: with a `composite`: criterion of outputs.
      params: as in `hessian`.
      data: as in `hessian`.
      chunk_size: as in `hessian`.
      block: as in `hessian`.

    Returns:
      The operator. It equals the Hessian where the outputs are linear in the parameters.

    Raises:
      InputError: as in `hessian`, a problem without a composite, or outputs that are not real and floating or have no
        forward derivative.
    """
    composite = require_composite("gauss_newton", problem)
    functions = output_functions(composite)
    require = partial(_outputs_and_criterion, problem.name, functions, composite)
    point = locate(problem, params, data, chunk_size, block, require=require)
    return operator_at(
        point, _gauss_newton_at, (*functions, point.merge, point.params), semidefinite=True,
        name=f"Gauss-Newton matrix of {problem.name}", hint=point.gradient, sound=not ruled_parts(point.found),
    )  # fmt: skip


def operator_at(
    point: Point, linearize: Callable[..., Any], constants: Any, *, sound: bool = True, **facts: Any
) -> Operator:
    """The operator of a mean over a point's examples.

    Args:
      point: where it is taken.
      linearize: (constants, batch) -> linear function of a vector, traceable.
      constants: a pytree: what the function depends on besides the batch.
      sound: whether the linear function is symmetric by construction.
      **facts: further fields of `Operator`.
    """
    return operator(
        mean_product(linearize, constants, point.chunks), point.params, sound=sound and point.chunks.resident,
        examples=point.chunks, program=lambda vector, batch: linearize(constants, batch)(vector), **facts,
    )  # fmt: skip


def outputs_of(
    name: str, linearize: Any, functions: tuple[Any, ...], loss: ExpectedLoss, params: Any, batch: Any
) -> Any:
    """Shapes of the outputs, functions[0], where `linearize` finds their derivative at (*functions, merge, params).

    Raises:
      InputError: they are not real and floating, or have no forward derivative.
    """
    placed = partial(meshes.on_any_mesh, functions[0])
    arguments, constants = (loss.merge(params), batch), (*functions, loss.merge, params)
    return forward_derivative(name, "the outputs", placed, arguments, linearize, constants, params)


def require_composite(where: str, problem: Problem) -> Composite:
    """The problem's composite.

    Raises:
      InputError: it has none.
    """
    if problem.composite is None:
        raise fail(
            where, f"{problem.name} does not say what its outputs are",
            "Give the problem a `composite`: outputs(params, batch) and criterion(outputs, batch).",
        )  # fmt: skip
    return problem.composite


def output_functions(composite: Composite) -> tuple[Any, Any]:
    """(outputs, curvature) for `gauss_newton_map`, of a batch: the whole outputs, or their parts where there are any.

    The first is (params, batch) -> outputs; the second (outputs, batch) -> the linear map of the criterion's curvature.
    """
    if composite.in_chunks is None:
        return as_partial(composite.outputs), jax.tree_util.Partial(_criterion_map, as_partial(composite.criterion))
    parts, product = map(as_partial, composite.in_chunks)
    return parts, jax.tree_util.Partial(_chunked_map, product)


def _criterion_map(criterion: Any, outputs: Any, batch: Any) -> Any:
    return jax.linearize(jax.grad(lambda z: meshes.on_any_mesh(criterion, z, batch)), outputs)[1]


def _chunked_map(product: Any, parts: Any, batch: Any) -> Any:
    return jax.tree_util.Partial(_chunked_product, product, parts, batch)


def _chunked_product(product: Any, parts: Any, batch: Any, tangents: Any) -> Any:
    return meshes.on_any_mesh(product, parts, tangents, batch)


def curved(name: str, product: str, loss: ExpectedLoss, params: Any, batch: Any) -> tuple[Any, bool]:
    """The loss's program, and whether its products are exact: the `require` of `locate` for second derivatives.

    Args:
      name: of the problem, for the errors.
      product: as in `hessian`.
      loss: (params, batch) -> scalar.
      params: the point.
      batch: examples.

    Raises:
      InputError: exact products are asked for, and a part of the loss has no second derivative.
    """
    if product != "finite-difference":
        try:
            return second_derivative(name, _hessian_at, loss, params, batch), True
        except InputError:
            if product == "exact":
                raise
    return program_of(lambda point: loss(point, batch), params), False


def gauss_newton_map(outputs: Any, curvature: Any, params: Any) -> Any:
    """The Gauss-Newton matrix on given data, as a function that can be used inside of compiled code.

    Args:
      outputs: params -> outputs, with the Jacobian J.
      curvature: outputs -> linear map of the outputs, C.
      params: the point, a pytree.

    Returns:
      The linear map v -> J' (C (J v)), a pytree. Cost: one evaluation now, about 1.5 gradients a product.

    Example:
      >>> import jax.numpy as jnp
      >>> product = gauss_newton_map(lambda w: w**2, lambda z: lambda dz: dz, jnp.array([1.0, 3.0]))
      >>> product(jnp.ones(2)).tolist()
      [4.0, 36.0]
    """
    values, linear = jax.linearize(outputs, params)
    return jax.tree_util.Partial(output_product, linear, curvature(values))


def output_product(linear: Any, middle: Any, vector: Any) -> Any:
    """J' (M (J v)) for the linear maps J and M of a model's outputs."""
    return jax.linear_transpose(linear, vector)(middle(linear(vector)))[0]


def _outputs_and_criterion(
    name: str, functions: tuple[Any, Any], composite: Composite, loss: ExpectedLoss, params: Any, batch: Any
) -> Any:
    """The program of the criterion, or of its product in chunks, on outputs that have the derivative that they need."""
    values = outputs_of(name, _gauss_newton_at, functions, loss, params, batch)
    if composite.in_chunks is None:
        return program_of(partial(meshes.on_any_mesh, composite.criterion), values, batch)
    return program_of(partial(meshes.on_any_mesh, composite.in_chunks[1]), values, values, batch)


def _hessian_at(constants: Any, batch: Any) -> Any:
    loss, params = constants
    return jax.linearize(lambda point: jax.grad(loss)(point, batch), params)[1]


def _gauss_newton_at(constants: Any, batch: Any) -> Any:
    outputs, curvature, merge, params = constants
    return gauss_newton_map(
        lambda point: meshes.on_any_mesh(outputs, merge(point), batch), lambda z: curvature(z, batch), params
    )
