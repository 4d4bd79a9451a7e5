"""The point at which an operator is taken: its loss, data and parameters, checked before any product is made."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxopt_lab.core import Problem, fail, meshes, vectors
from jaxopt_lab.core.errors import reason, require_choice
from jaxopt_lab.core.problem import as_partial
from jaxopt_lab.core.vectors import all_finite, parameter_paths
from jaxopt_lab.curvature.operators import vector_space
from jaxopt_lab.curvature.streams import Chunks, Source, make_chunks, mean_over_chunks


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Merge:
    """Puts a block's parameters back among all of them.

    Attributes:
      rest: the leaves that are constants; None in the block's places.
      structure: of all parameters; None when the block is everything.
      names: the block's paths, in the order of the leaves.
    """

    rest: Any
    structure: Any = dataclasses.field(metadata={"static": True}, default=None)
    names: tuple[str, ...] = dataclasses.field(metadata={"static": True}, default=())

    def __call__(self, params: Any) -> Any:
        """All parameters, from those of the block."""
        if self.structure is None:
            return params
        block = iter([params[name] for name in self.names])
        return self.structure.unflatten([next(block) if leaf is None else leaf for leaf in self.rest])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ExpectedLoss:
    """(params of the block, batch) -> the problem's loss with key None."""

    loss: jax.tree_util.Partial
    merge: Merge

    def __call__(self, params: Any, batch: Any) -> jax.Array:
        """The loss, a scalar."""
        return meshes.on_any_mesh(self.loss, self.merge(params), batch, None)


@dataclasses.dataclass(frozen=True)
class Point:
    """Where an operator is taken.

    Attributes:
      loss: (params, batch) -> scalar.
      params: the block's parameters in wide dtypes: a tree like the problem's, or path -> leaf for a block.
      chunks: the examples.
      merge: block's parameters -> all parameters.
      value: the loss at the point.
      gradient: its gradient, like `params`; None where none was asked for.
      found: what the `require` of `locate` gave.
    """

    loss: ExpectedLoss
    params: Any
    chunks: Chunks
    merge: Merge
    value: float
    gradient: Any
    found: Any = None


def locate(
    problem: Problem,
    params: Any,
    data: Source = None,
    chunk_size: int | None = None,
    block: str | None = None,
    *,
    require: Callable[[ExpectedLoss, Any, Any], Any] | None = None,
    differentiate: bool = True,
) -> Point:
    """Checks a point and everything that a product there needs. Cost: one gradient.

    Args:
      problem: as in `hessian`.
      params: as in `hessian`.
      data: as in `hessian`.
      chunk_size: as in `hessian`.
      block: as in `hessian`.
      require: called with the loss, the parameters and the first chunk before anything is computed; raises where they
        do not do, and gives what is kept as `found`.
      differentiate: whether the gradient is taken; without it the point's is None, and the cost is one forward pass.

    Returns:
      The point.

    Raises:
      InputError: see `hessian`, or what `require` raises.
    """
    vector_space(params)
    chunks = make_chunks(problem.data if data is None else data, chunk_size)
    batch = next(iter(chunks))[0]
    wide = _on_one_mesh(jax.tree.map(vectors.widened, params), batch)
    merge, inner = _select(problem.name, wide, block)
    loss = ExpectedLoss(as_partial(problem.loss), merge)
    _require_scalar(problem, loss, inner, batch)
    _require_independent(problem, chunks)
    found = None if require is None else require(loss, inner, batch)
    compute = _value_and_gradient if differentiate else _value_alone
    try:
        value, gradient = mean_over_chunks(compute, (loss, inner), chunks)
    except (TypeError, ValueError, NotImplementedError):
        _require_gradient(problem, loss, inner, batch)
        raise
    _require_finite(problem.name, value, gradient)
    return Point(loss, inner, chunks, merge, float(value), gradient, found)


def carries_statistics(problem: Problem) -> bool:
    """Whether the loss is that of a model with state, such as batch statistics, which is not frozen."""
    return problem.stateful is not None and bool(jax.tree.leaves(problem.stateful.initial))


def _on_one_mesh(params: Any, batch: Any) -> Any:
    """Copies leaves of a single device to all devices of the mesh on which other leaves, or the data, are sharded."""
    places = [getattr(leaf, "sharding", None) for leaf in jax.tree.leaves((params, batch))]
    meshes = [place.mesh for place in places if isinstance(place, NamedSharding) and len(place.device_set) > 1]
    if not meshes:
        return params
    everywhere = NamedSharding(meshes[0], PartitionSpec())
    return jax.tree.map(
        lambda leaf: leaf if len(leaf.sharding.device_set) > 1 else jax.device_put(leaf, everywhere), params
    )


def _select(name: str, params: Any, block: str | None) -> tuple[Merge, Any]:
    if block is None:
        return Merge(()), params
    leaves, structure = jax.tree.flatten(params)
    paths = parameter_paths(params)
    inside = [path == block or path.startswith(block + "/") for path in paths]
    if not any(inside):
        prefixes = {"/".join(path.split("/")[:k]) for path in paths for k in range(1, path.count("/") + 2)}
        require_choice(name, "block", block, sorted(prefixes))
    rest = [None if chosen else leaf for chosen, leaf in zip(inside, leaves, strict=True)]
    names = tuple(path for chosen, path in zip(inside, paths, strict=True) if chosen)
    picked = {path: leaf for chosen, path, leaf in zip(inside, paths, leaves, strict=True) if chosen}
    return Merge(rest, structure, names), picked


def _require_scalar(problem: Problem, loss: ExpectedLoss, params: Any, batch: Any) -> None:
    try:
        result = jax.eval_shape(loss, params, batch)
    except Exception as error:
        missing = "It has no data. " if not jax.tree.leaves(batch) else ""
        raise fail(
            problem.name, f"the expected loss cannot be evaluated {reason(error)}",
            f"{missing}It is called as loss(params, batch, None): without a key it must be deterministic.",
        ) from error  # fmt: skip
    if jnp.shape(result) != () or not jnp.issubdtype(result.dtype, jnp.floating):
        raise fail(
            problem.name, f"the loss must be a real scalar, got {result.dtype}{list(result.shape)}",
            "Take the mean over the batch inside the loss.",
        )  # fmt: skip


def _require_gradient(problem: Problem, loss: ExpectedLoss, params: Any, batch: Any) -> None:
    try:
        jax.eval_shape(jax.grad(loss), params, batch)
    except Exception as error:
        raise fail(
            problem.name, f"the loss has no gradient {reason(error)}",
            "Curvature needs one: write loops as lax.scan, and give kernels a derivative (jax.custom_vjp).",
        ) from error  # fmt: skip


def _require_independent(problem: Problem, chunks: Chunks) -> None:
    """A model's batch statistics are those of a chunk: a mean over chunks is then not the loss of all examples."""
    if carries_statistics(problem) and chunks.num_chunks > 1:
        raise fail(
            problem.name, f"its batch statistics are taken of each of {chunks.num_chunks} chunks, not of all examples",
            "Hold them fixed with problem.freeze(...), or give all examples at once.",
        )  # fmt: skip


def _require_finite(name: str, value: jax.Array, gradient: Any) -> None:
    if not np.isfinite(value):
        raise fail(name, f"the loss is {float(value)} at this point", "Nothing can be said about its curvature here.")
    if all_finite(gradient):
        return
    for path, leaf in zip(parameter_paths(gradient), jax.tree.leaves(gradient), strict=True):
        if not all_finite(leaf):
            raise fail(
                name, f"the gradient of {path or 'the parameters'} is not finite, the loss is {float(value):.6g}"
            )


def _value_and_gradient(constants: Any, batch: Any) -> Any:
    loss, params = constants
    return jax.value_and_grad(loss)(params, batch)


def _value_alone(constants: Any, batch: Any) -> Any:
    loss, params = constants
    return loss(params, batch), None
