"""Kinks of a loss, found in its program: where it is only piecewise smooth, its Hessian is that of the present piece.

A value that passes through max, abs, sign, a sort or a choice between branches on its way from the parameters to the
loss has a kink where the choice changes. What only feeds a comparison or a stopped gradient has none.
"""

import dataclasses
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np

_PIECEWISE = {
    "max": "max", "min": "min", "abs": "abs", "sign": "sign", "floor": "floor", "ceil": "ceil", "round": "round",
    "reduce_max": "max", "reduce_min": "min", "reduce_window_max": "max pooling", "sort": "sort", "clamp": "clip",
    "top_k": "top_k", "rem": "remainder",
}  # fmt: skip
_CHOICES = {"select_n": "where", "cond": "cond"}
_NON_NEGATIVE = {"exp", "logistic", "square", "abs", "sqrt", "cosh"}
_KEEPS_SIGN = {
    "reduce_sum", "add", "mul", "div", "broadcast_in_dim", "reshape", "squeeze", "transpose", "slice", "concatenate",
    "convert_element_type", "pow", "integer_pow", "max", "reduce_max", "copy",
}  # fmt: skip
_KINKED_RULES = {"relu": "relu", "relu6": "relu6"}


@dataclasses.dataclass(frozen=True)
class _Mark:
    """What is known of a value: whether it moves smoothly or at all with the parameters, its kinks, its sign."""

    smooth: bool = False
    moves: bool = False
    kinks: frozenset[str] = frozenset()
    non_negative: bool = False

    def __or__(self, other: "_Mark") -> "_Mark":
        return _Mark(
            self.smooth or other.smooth,
            self.moves or other.moves,
            self.kinks | other.kinks,
            self.non_negative and other.non_negative,
        )


def find_kinks(loss: Any, params: Any, batch: Any) -> tuple[str, ...]:
    """Sentences about the kinks of loss(params, batch); empty when it is smooth.

    Example:
      >>> import jax.numpy as jnp
      >>> find_kinks(lambda w, batch: jnp.sum(jnp.abs(w)), jnp.ones(2), None)
      ('The loss has kinks (abs): at a kink it has no Hessian, elsewhere this is that of the smooth piece.',)
      >>> find_kinks(lambda w, batch: jnp.sum(jnp.tanh(w)), jnp.ones(2), None)
      ()
    """
    return kinks_of(jax.make_jaxpr(lambda point: loss(point, batch))(params).jaxpr)


def kinks_of(program: Any) -> tuple[str, ...]:
    """The sentences of `find_kinks` on a program, a jaxpr, of the parameters alone."""
    marks = _walk(program, [_Mark(smooth=True, moves=True)] * len(program.invars))
    found = frozenset().union(*(mark.kinks for mark in marks))
    if not found:
        return ()
    return (
        f"The loss has kinks ({', '.join(sorted(found))}): at a kink it has no Hessian, elsewhere this is that of the"
        " smooth piece.",
    )


def _walk(jaxpr: Any, inputs: list[_Mark]) -> list[_Mark]:
    known = dict(zip(jaxpr.invars, inputs, strict=True))

    def mark(atom: Any) -> _Mark:
        if isinstance(atom, jax.extend.core.Literal):
            return _Mark(non_negative=bool(np.all(np.asarray(atom.val) >= 0)))
        return known.get(atom, _Mark())

    for equation in jaxpr.eqns:
        outputs = _apply(equation, [mark(atom) for atom in equation.invars])
        for variable, value in zip(equation.outvars, outputs, strict=True):
            floating = jnp.issubdtype(getattr(variable.aval, "dtype", jnp.int32), jnp.inexact)
            known[variable] = value if floating else _Mark(moves=value.moves)
    return [mark(atom) for atom in jaxpr.outvars]


def _apply(equation: Any, inputs: list[_Mark]) -> list[_Mark]:
    name, num = equation.primitive.name, len(equation.outvars)
    joined = _join(inputs)
    if name == "stop_gradient" or not joined.smooth:
        return [_Mark(moves=joined.moves, non_negative=_sign(name, equation, inputs))] * num
    if name in ("custom_jvp_call", "custom_vjp_call"):
        label = _KINKED_RULES.get(_rule_name(equation))
        return [joined | _Mark(kinks=frozenset({label} if label else ()))] * num
    if name == "scan":
        return _scan(equation, inputs)
    if name in _CHOICES:
        choice, *branches = inputs
        kinks = frozenset({_CHOICES[name]} if choice.moves else ())
        if name == "cond":
            results = [_walk(branch.jaxpr, branches) for branch in equation.params["branches"]]
            return [_join(list(options)) | _Mark(kinks=kinks) for options in zip(*results, strict=True)]
        return [_join(branches) | _Mark(kinks=kinks)] * num
    inner = next((equation.params[key] for key in ("jaxpr", "call_jaxpr") if key in equation.params), None)
    if inner is not None:
        return _walk(getattr(inner, "jaxpr", inner), inputs)
    smooth_abs = name == "abs" and inputs[0].non_negative
    kinks = frozenset({_PIECEWISE[name]} if name in _PIECEWISE and not smooth_abs else ())
    return [_Mark(True, True, joined.kinks | kinks, _sign(name, equation, inputs))] * num


def _rule_name(equation: Any) -> str:
    """The name of the function that carries its own derivative, as its program was traced."""
    program = equation.params.get("call_jaxpr")
    return getattr(getattr(getattr(program, "jaxpr", program), "debug_info", None), "func_name", "")


def _scan(equation: Any, inputs: list[_Mark]) -> list[_Mark]:
    """The body, and the body once more with what the first pass may have put in the carry: in any floating input."""
    body = equation.params["jaxpr"].jaxpr
    carried = _join(_walk(body, inputs))
    floating = [jnp.issubdtype(variable.aval.dtype, jnp.inexact) for variable in body.invars]
    return _walk(body, [old | carried if real else old for old, real in zip(inputs, floating, strict=True)])


def _join(marks: list[_Mark]) -> _Mark:
    total = _Mark(non_negative=True)
    for mark in marks:
        total = total | mark
    return total


def _sign(name: str, equation: Any, inputs: list[_Mark]) -> bool:
    if name in _NON_NEGATIVE or (name == "integer_pow" and equation.params["y"] % 2 == 0):
        return True
    return name in _KEEPS_SIGN and all(mark.non_negative for mark in inputs)
