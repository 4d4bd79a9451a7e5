"""Which derivatives a function has, told by its program before anything is computed.

A part with a derivative rule of its own has the derivatives that the rule gives it: `custom_vjp` no forward derivative,
and a second one only where the rule itself can be differentiated, which that of a fused kernel cannot. A rule may also
be no derivative at all: then the map that is made of it need not be symmetric.
"""

import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from jaxopt_lab.core import InputError, fail
from jaxopt_lab.core.errors import reason
from jaxopt_lab.curvature.streams import linearized_shapes

_REVERSE_RULES = ("custom_vjp_call", "custom_vjp_call_jaxpr")
_RULES = ("custom_jvp_call", *_REVERSE_RULES)
# What JAX puts in the place of a forward derivative that a custom_vjp does not have; it raises when it is compiled.
_REVERSE_ALONE = "custom_lin"
_JAX = str(pathlib.Path(jax.__file__).parent / "_src")


def program_of(function: Any, *arguments: Any) -> Any:
    """The function's program, a jaxpr, at arguments or their shapes."""
    return jax.make_jaxpr(function)(*arguments).jaxpr


def ruled_parts(program: Any) -> tuple[str, ...]:
    """Names of the functions in a program that have a derivative rule; those of JAX's own NumPy, such as relu, aside.

    Example:
      >>> def twice(x):
      ...     return 2 * x
      >>> own = jax.custom_jvp(twice)
      >>> own.defjvps(lambda slope, value, x: 2 * slope)
      >>> ruled_parts(program_of(jax.nn.relu, 1.0)), ruled_parts(program_of(own, 1.0))
      ((), ('twice',))
    """
    found = []
    for equation in _equations(program):
        if equation.primitive.name in _RULES:
            inner = equation.params["call_jaxpr"]
            source = getattr(inner, "jaxpr", inner).debug_info
            if not str(source.func_filename).startswith(_JAX):
                found.append(source.func_name)
    return tuple(dict.fromkeys(found))


def second_derivative(name: str, linearize: Any, loss: Any, params: Any, batch: Any) -> Any:
    """The program of loss(params, batch), a jaxpr of the parameters, whose gradient `linearize` linearizes.

    Raises:
      InputError: a part of the loss has no second derivative.
    """
    program = program_of(lambda point: loss(point, batch), params)
    try:
        _trace_product(program, linearize, (loss, params), batch, params)
    except Exception as error:
        raise _missing(
            name, "the loss has no second derivative", program, error,
            "What needs none: gauss_newton, where the outputs have a forward derivative; a `block` of parameters behind"
            " that part, which freezes it; hessian(..., product=\"finite-difference\").",
        ) from error  # fmt: skip
    return program


def forward_derivative(
    name: str, what: str, function: Any, arguments: Any, linearize: Any, constants: Any, params: Any
) -> Any:
    """Shapes of function(*arguments), whose last one is the batch, where `linearize` linearizes it at `params`.

    Raises:
      InputError: what it gives is not real and floating, or a part of it has no forward derivative.
    """
    program, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
    for leaf in jax.tree.leaves(shapes):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise fail(
                name, f"{what} must be real and floating, got {leaf.dtype}{list(leaf.shape)}",
                "Leave out of the composite's outputs what has no derivative.",
            )  # fmt: skip
    try:
        _trace_product(program.jaxpr, linearize, constants, arguments[-1], params)
    except Exception as error:
        raise _missing(
            name, f"{what} have no forward derivative", program.jaxpr, error,
            "Give that part a forward rule (custom_jvp), or take hessian, which does without by central differences.",
        ) from error  # fmt: skip
    return shapes


def require_forward_rules(program: Any) -> None:
    """Raises TypeError where a program would need the forward derivative of a custom_vjp, as JAX does later."""
    if any(equation.primitive.name == _REVERSE_ALONE for equation in _equations(program)):
        raise TypeError("a custom_vjp rule has no forward derivative")


def _trace_product(program: Any, linearize: Any, constants: Any, batch: Any, vector: Any) -> None:
    """Traces a linearization, and a product with it where a missing rule would only show there; raises then."""
    linear = linearized_shapes(linearize, constants, batch)
    if any(equation.primitive.name in _REVERSE_RULES for equation in _equations(program)):
        applied = program_of(lambda linear, vector: linear(vector), linear, vector)
        require_forward_rules(applied)


def _missing(where: str, found: str, program: Any, error: Exception, remedy: str) -> InputError:
    parts = " and ".join(ruled_parts(program))
    because = f": {parts} in it has a derivative rule of its own" if parts else ""
    return fail(where, f"{found}{because} {reason(error)}", remedy)


def _equations(program: Any) -> Iterator[Any]:
    """All equations of a program, those of inner programs too."""
    for equation in program.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, list | tuple) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from _equations(inner)
