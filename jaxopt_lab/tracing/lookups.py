"""Lookups: rows of a table of parameters that whole numbers of the data name.

JAX clamps a number beyond the last row, in silence: `table[ids]` gives that row for it.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.lax import GatherScatterMode

from jaxopt_lab.core.compilation import compiled
from jaxopt_lab.tracing.jaxprs import Program, ancestors, evaluate, is_number, lay_out

_CLAMPS = (GatherScatterMode.CLIP, GatherScatterMode.PROMISE_IN_BOUNDS)


def clamped_share(loss: Any, params: Any, batch: Any) -> float:
    """The share of the numbers that name no row, of the lookup where it is largest; 0 without a lookup.

    Args:
      loss: (params, batch, key) -> scalar, a pytree.
      params: pytree.
      batch: examples.
    """
    _, found = _lookups(loss, params, batch)
    if not found:
        return 0.0
    return float(compiled(_clamped, (), (loss, params))(loss, params, batch))


def _clamped(loss: Any, params: Any, batch: Any) -> jax.Array:
    program, found = _lookups(loss, params, batch)
    values = evaluate(program, jax.tree.leaves((params, batch)))
    shares = []
    for number, last in found:
        beyond = (values[number] < 0) | (values[number] > jnp.asarray(last, values[number].dtype))
        shares.append(jnp.mean(jnp.any(beyond, -1)))
    return jnp.max(jnp.stack(shares))


def _lookups(loss: Any, params: Any, batch: Any) -> tuple[Program, list[tuple[int, tuple[int, ...]]]]:
    """The program, and of each lookup the number of its indices' value, [..., axes], and the last row of each axis."""
    program = lay_out(lambda params, batch: loss(params, batch, None), params, batch, open_derivatives=False)
    num = len(jax.tree.leaves(params))
    leaves, data, found = set(program.inputs[:num]), set(program.inputs[num:]), []
    for operation in program.operations:
        if operation.name != "gather" or operation.equation.params["mode"] not in _CLAMPS:
            continue
        table, indices = operation.inputs
        if not (is_number(table) and is_number(indices)):
            continue
        made_of, named_by = ancestors(program, table), ancestors(program, indices)
        if made_of & leaves and not made_of & data and named_by & data and not named_by & leaves:
            sizes, axes = operation.equation.params["slice_sizes"], operation.equation.params["dimension_numbers"]
            shape = program.shapes[table].shape
            found.append((indices, tuple(shape[axis] - sizes[axis] for axis in axes.start_index_map)))
    return program, found
