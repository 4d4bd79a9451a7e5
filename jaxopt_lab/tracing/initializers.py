"""Initial parameters made anew from a problem's own: scaled by the data, or orthogonal where a recurrence reads them.

By the data: every layer's outputs with mean 0 and deviation 1, first layer first,

    W <- W / s,   b <- (b - m) / s

m and s are the mean of each unit and the deviation over examples and units, measured with all layers before it done.
Units that are copies of each other are drawn anew first. What a layer of a loop gives is carried into the loop's next
turn: its s is the root of the deviation over the turns, again and again until the deviation is near 1.

Reference: Mishkin and Matas 2016, All you need is a good init; Salimans and Kingma 2016, section 3; Saxe, McClelland,
Ganguli 2014, arXiv 1312.6120 (orthogonal); Tallec and Ollivier 2018, arXiv 1804.11188 (gates).
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Problem
from jaxopt_lab.core.vectors import parameter_paths
from jaxopt_lab.tracing.layer_statistics import measure_signals
from jaxopt_lab.tracing.signals import LayerSignal

_COPIES = 0.5
_NEAR, _MOST_ROUNDS = 1.5, 20
_SHUT = -1.0


@dataclasses.dataclass(frozen=True)
class LSUVInit:
    """A problem's initialization, followed by the scaling; key -> parameters.

    Attributes:
      problem: whose initialization and data it uses.
    """

    problem: Problem

    def __call__(self, key: jax.Array) -> Any:
        """The parameters; when traced, for their shapes alone, those of the problem."""
        if isinstance(key, jax.core.Tracer):
            return self.problem.init(key)
        return rescaled(self.problem, self.problem.init(key), key)


@dataclasses.dataclass(frozen=True)
class RecurrentInit:
    """A problem's initialization, with a recurrence that hands its state on; key -> parameters.

    Attributes:
      problem: whose initialization it uses.
      paths: leaves that are made orthogonal: square ones, or each of several square blocks side by side. Others stay.
      gates: leaves with biases, of which those below -1, of gates that begin shut, become ln(turns).
      turns: of the recurrence, at least 2.
    """

    problem: Problem
    paths: tuple[str, ...]
    gates: tuple[str, ...]
    turns: int

    def __call__(self, key: jax.Array) -> Any:
        """The parameters."""
        keys = {path: jax.random.fold_in(key, place) for place, path in enumerate(self.paths)}
        changes = {path: partial(_orthogonal, drawn) for path, drawn in keys.items()}
        opened = lambda leaf: jnp.where(leaf < _SHUT, np.log(self.turns), leaf).astype(leaf.dtype)  # noqa: E731
        return _changed(self.problem.init(key), changes | dict.fromkeys(self.gates, opened))


def rescaled(problem: Problem, params: Any, key: jax.Array) -> Any:
    """The parameters with every hidden layer scaled by the data; the last one to at most 1, where that costs less."""
    num_layers, loss = len(measure_signals(problem, params).layers), problem.freeze().full_loss
    for place in range(num_layers):
        layer = measure_signals(problem, params).layers[place]
        if layer.copies > _COPIES and layer.num_units > 1:
            params = _drawn(params, layer, jax.random.fold_in(key, place))
            layer = measure_signals(problem, params).layers[place]
        if layer.is_recurrent:
            params = _scaled_through_turns(problem, params, place)
        elif place < num_layers - 1:
            params = _scaled(params, layer)
        elif loss(calm := _scaled(params, layer, least=1.0)) < loss(params):
            params = calm
    return params


def _drawn(params: Any, layer: LayerSignal, key: jax.Array) -> Any:
    def draw(leaf: jax.Array) -> jax.Array:
        return jax.random.normal(key, leaf.shape, leaf.dtype) / jnp.sqrt(jnp.asarray(layer.fan_in, leaf.dtype))

    return _changed(params, {layer.name: draw})


def _scaled(params: Any, layer: LayerSignal, least: float = 0.0) -> Any:
    size = layer.deviation if np.isfinite(layer.deviation) and layer.deviation > least else 1.0
    changes = {layer.name: lambda leaf: leaf / size}
    bias = _bias_of(params, layer)
    if bias is not None:
        changes[bias] = lambda leaf: ((leaf - jnp.asarray(layer.centres, leaf.dtype)) / size).astype(leaf.dtype)
    return _changed(params, changes)


def _scaled_through_turns(problem: Problem, params: Any, place: int) -> Any:
    for _ in range(_MOST_ROUNDS):
        layer = measure_signals(problem, params).layers[place]
        size = layer.deviation ** (1 / layer.turns)
        if not np.isfinite(size) or size == 0 or 1 / _NEAR < layer.deviation < _NEAR:
            break
        params = _changed(params, {layer.name: lambda leaf, size=size: (leaf / size).astype(leaf.dtype)})
    return params


def _orthogonal(key: jax.Array, leaf: jax.Array) -> jax.Array:
    size = min(leaf.shape, default=0)
    if leaf.ndim != 2 or size == 0 or max(leaf.shape) % size:
        return leaf
    draws = jax.random.split(key, max(leaf.shape) // size)
    blocks = [jax.random.orthogonal(draw, size, dtype=jnp.float32) for draw in draws]
    return jnp.concatenate(blocks, axis=int(np.argmax(leaf.shape))).astype(leaf.dtype)


def _bias_of(params: Any, layer: LayerSignal) -> str | None:
    """The leaf beside the weight that has one number a unit."""
    parent = layer.name.rpartition("/")[0]
    for path, leaf in zip(parameter_paths(params), jax.tree.leaves(params), strict=True):
        if path != layer.name and path.rpartition("/")[0] == parent and leaf.shape == (layer.num_units,):
            return path
    return None


def _changed(params: Any, changes: dict[str, Any]) -> Any:
    leaves, structure = jax.tree.flatten(params)
    paths = parameter_paths(params)
    return structure.unflatten(
        [changes[path](leaf) if path in changes else leaf for path, leaf in zip(paths, leaves, strict=True)]
    )
