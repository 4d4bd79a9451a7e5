"""A small decoder-only transformer, with layer normalization before attention and perceptron."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxopt_lab.core import fail
from jaxopt_lab.networks.activations import Activation
from jaxopt_lab.networks.layers import Dropout, Options


class Transformer(nnx.Module):
    """Tokens to logits of the next token: learned positions, `depth` causal blocks, a linear layer.

    Args:
      vocabulary: number of tokens.
      length: the most positions that a window may have, >= 1.
      width: numbers a position carries, a multiple of `num_heads`.
      depth: number of blocks, >= 1.
      num_heads: attention heads, >= 1.
      activation: as in `MLP`; of the perceptrons, which are four times as wide.
      initializer: as in `MLP`; embeddings are normal with standard deviation 0.02.
      gain: as in `MLP`.
      norm: "layer" or "none"; the statistics of a batch would let a position see later ones.
      dropout: probability of dropping a value that a block adds, in [0, 1).
      dtype: as in `MLP`.
      rngs: seeds the parameters.

    Raises:
      InputError: an option is out of its range or unknown.

    Reference: Radford et al., Language models are unsupervised multitask learners, 2019, section 2.3.
    """

    def __init__(
        self, vocabulary: int, length: int, *, width: int = 64, depth: int = 2, num_heads: int = 4,
        activation: str | Activation = "gelu", initializer: str | Callable[..., jax.Array] = "lecun_normal",
        gain: float = 1.0, norm: str = "layer", dropout: float = 0.0, dtype: Any = None, rngs: nnx.Rngs,
    ) -> None:  # fmt: skip
        counts = {"vocabulary": vocabulary, "length": length, "width": width, "depth": depth, "num_heads": num_heads}
        options = Options.check("Transformer", counts, activation, initializer, gain, norm, dropout, dtype)
        if norm == "batch":
            raise fail("Transformer", "norm 'batch' lets a position see later ones", "Take 'layer' or 'none'.")
        if width % num_heads:
            raise fail("Transformer", f"width must be a multiple of num_heads, got {width} and {num_heads}")
        small = nnx.initializers.normal(0.02)
        self.vocabulary, self.length = vocabulary, length
        self.tokens = nnx.Param(small(rngs.params(), (vocabulary, width), options.dtype))
        self.positions = nnx.Param(small(rngs.params(), (length, width), options.dtype))
        self.blocks = nnx.List([DecoderBlock(width, num_heads, options, rngs) for _ in range(depth)])
        self.norm = options.normalization(width, rngs)
        self.output = options.dense(width, vocabulary, rngs)

    def __call__(self, tokens: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """Logits [n, t, vocabulary] for tokens int [n, t], t <= length; dropout only with a key."""
        if jnp.ndim(tokens) != 2 or tokens.shape[1] > self.length or not jnp.issubdtype(tokens.dtype, jnp.integer):
            raise fail(
                "Transformer", f"tokens must be integers [n, t] with t <= {self.length}, got {tokens.dtype} "
                f"{jnp.shape(tokens)}",
            )  # fmt: skip
        values = self.tokens[...][tokens] + self.positions[...][: tokens.shape[1]]
        for place, block in enumerate(self.blocks):
            values = block(values, key, 2 * place)
        return self.output(self.norm(values))


class DecoderBlock(nnx.Module):
    """x + attention(norm(x)), then x + perceptron(norm(x))."""

    def __init__(self, width: int, num_heads: int, options: Options, rngs: nnx.Rngs) -> None:
        self.num_heads, self.activation = num_heads, options.activation
        self.norms = nnx.List([options.normalization(width, rngs) for _ in range(2)])
        self.queries_keys_values = options.dense(width, 3 * width, rngs)
        self.mixed = options.dense(width, width, rngs)
        self.wide = options.dense(width, 4 * width, rngs)
        self.narrow = options.dense(4 * width, width, rngs)
        self.dropout = Dropout(options.dropout)

    def __call__(self, values: jax.Array, key: jax.Array | None, place: int) -> jax.Array:
        """Values [n, t, width] for values [n, t, width]."""
        values = values + self.dropout(self.attention(self.norms[0](values)), key, place)
        perceptron = self.narrow(self.activation(self.wide(self.norms[1](values))))
        return values + self.dropout(perceptron, key, place + 1)

    def attention(self, values: jax.Array) -> jax.Array:
        """Causal attention softmax(q k' / sqrt(width / heads)) v, in at least float32 inside of the softmax."""
        num, length, width = values.shape
        heads = self.queries_keys_values(values).reshape(num, length, 3, self.num_heads, width // self.num_heads)
        query, key, value = heads[:, :, 0], heads[:, :, 1], heads[:, :, 2]
        scores = jnp.einsum("nihc,njhc->nhij", query, key) / np.sqrt(width // self.num_heads).astype(values.dtype)
        visible = jnp.tril(jnp.ones((length, length), bool))
        wide = jnp.promote_types(values.dtype, jnp.float32)
        weights = jax.nn.softmax(jnp.where(visible, scores.astype(wide), -jnp.inf), axis=-1).astype(values.dtype)
        mixed = jnp.einsum("nhij,njhc->nihc", weights, value).reshape(num, length, width)
        return self.mixed(mixed)
