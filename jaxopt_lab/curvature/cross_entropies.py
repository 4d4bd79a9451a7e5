"""Softmax cross-entropy of a linear head over a large vocabulary, a chunk of positions at a time.

    z = h W + b,   loss = mean over positions of log sum_c exp z_c - z_label
    Gauss-Newton:  v -> J' (diag p - p p') J v,   J v = dh W + h dW + db

For t positions and c classes logits and all that is like them take t c numbers; in chunks of m positions, m c. Each
chunk's logits are made again on the way back, and the product's middle is in closed form, which needs no derivative.
The Gauss-Newton matrix is the Fisher matrix of the positions that have a label.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxopt_lab.core import Composite, vectors
from jaxopt_lab.core.errors import require_count


@dataclasses.dataclass(frozen=True)
class ChunkedCrossEntropy:
    """A loss of hidden states and a linear head whose logits are never held at once.

    Attributes:
      hidden: (params, batch, key) -> hidden states [n, ..., d]; with key=None without dropout.
      head: params -> kernel [d, c], or (kernel, bias [c]).
      labels: batch -> class numbers [n, ...]. Negative ones are left out: their position counts as a loss of 0.
      chunk_size: positions m whose logits are held at once.

    Raises:
      InputError: chunk_size is below 1.

    Example:
      >>> import jaxopt_lab as lab
      >>> data = (jnp.eye(4), jnp.array([0, 1, 2, 2]))
      >>> chunked = ChunkedCrossEntropy(lambda p, b, key: b[0] @ p["w"], lambda p: p["head"], lambda b: b[1], 2)
      >>> params = {"w": jnp.ones((4, 3)), "head": jnp.zeros((3, 5))}
      >>> problem = dataclasses.replace(lab.from_loss(chunked.loss, params, data), composite=chunked.composite)
      >>> f"{float(problem.full_loss(params)):.4f}", lab.curvature.gauss_newton(problem, params).size
      ('1.6094', 27)
    """

    hidden: Callable[[Any, Any, Any], jax.Array]
    head: Callable[[Any], Any]
    labels: Callable[[Any], jax.Array]
    chunk_size: int = 1024

    def __post_init__(self) -> None:
        require_count("ChunkedCrossEntropy", "chunk_size", self.chunk_size)

    def loss(self, params: Any, batch: Any, key: jax.Array | None = None) -> jax.Array:
        """The mean over all positions; a scalar."""
        labels = self.labels(batch)
        chunks = self._chunks(_flat(self.hidden(params, batch, key))), self._chunks(labels.ravel(), -1)
        each = jax.checkpoint(partial(_chunk_loss, self.head(params)))
        return jnp.sum(lax.map(lambda chunk: each(*chunk), chunks)) / labels.size

    @property
    def composite(self) -> Composite:
        """The form that Gauss-Newton products take; the logits as a whole are made only where they are asked for."""
        return Composite(self._outputs, self._criterion, in_chunks=(self._parts, self._product))

    def _outputs(self, params: Any, batch: Any) -> jax.Array:
        return _logits(self.hidden(params, batch, None), self.head(params))

    def _criterion(self, outputs: jax.Array, batch: Any) -> jax.Array:
        return jnp.mean(_losses(outputs, self.labels(batch)))

    def _parts(self, params: Any, batch: Any) -> tuple[jax.Array, Any]:
        return self.hidden(params, batch, None), self.head(params)

    def _product(self, parts: tuple[jax.Array, Any], tangents: tuple[jax.Array, Any], batch: Any) -> Any:
        (hidden, head), (turned, moved) = parts, tangents
        labels = self.labels(batch)

        def step(total: Any, chunk: Any) -> tuple[Any, jax.Array]:
            states, tangent, weights = chunk
            logits, change = jax.jvp(_logits, (states, head), (tangent, moved))
            shares = jax.nn.softmax(logits)
            curved = weights[:, None] * shares * (change - jnp.sum(shares * change, -1, keepdims=True))
            back, part = jax.vjp(_logits, states, head)[1](curved)
            return jax.tree.map(lambda old, new: old + new.astype(old.dtype), total, part), back

        weights = jnp.where(labels < 0, 0.0, 1 / labels.size).ravel()
        wide = jax.tree.map(lambda leaf: jnp.zeros_like(vectors.widened(leaf)), head)
        total, back = lax.scan(step, wide, tuple(map(self._chunks, (_flat(hidden), _flat(turned), weights))))
        back = _flat(back)[: labels.size].reshape(hidden.shape)
        return back, jax.tree.map(lambda new, old: new.astype(old.dtype), total, head)

    def _chunks(self, positions: jax.Array, filler: float = 0) -> jax.Array:
        """Positions [t, ...] in chunks [chunks, m, ...] of one size, the last one filled up."""
        count = len(positions)
        num_chunks = -(-count // self.chunk_size)
        size = -(-count // num_chunks)
        room = [(0, num_chunks * size - count)] + [(0, 0)] * (positions.ndim - 1)
        filled = jnp.pad(positions, room, constant_values=filler)
        return filled.reshape(num_chunks, size, *positions.shape[1:])


def _flat(states: jax.Array) -> jax.Array:
    return states.reshape(-1, states.shape[-1])


def _logits(hidden: jax.Array, head: Any) -> jax.Array:
    kernel, *bias = head if isinstance(head, tuple) else (head,)
    found = jnp.matmul(hidden, kernel, preferred_element_type=vectors.wide_dtype(hidden.dtype))
    return sum(bias, found)


def _losses(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The loss of each position, 0 where its label is negative."""
    chosen = jnp.take_along_axis(logits, jnp.maximum(labels, 0)[..., None], -1)[..., 0]
    return jnp.where(labels < 0, 0.0, jax.nn.logsumexp(logits, axis=-1) - chosen)


def _chunk_loss(head: Any, hidden: jax.Array, labels: jax.Array) -> jax.Array:
    return jnp.sum(_losses(_logits(hidden, head), labels))
