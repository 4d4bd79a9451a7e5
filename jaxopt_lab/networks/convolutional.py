"""Convolutional networks: a plain stack, and one with residual connections."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxopt_lab.core import fail
from jaxopt_lab.networks.activations import Activation
from jaxopt_lab.networks.layers import Dropout, Options


class ConvNet(nnx.Module):
    """Stages of a 3 x 3 convolution, a normalization, an activation; each stage halves the image and doubles the width.

    The mean over the image's places then feeds a linear layer.

    Args:
      num_channels: channels of an image.
      num_outputs: outputs an image.
      width: channels after the first stage, >= 1.
      depth: number of stages, >= 1.
      activation: as in `MLP`.
      initializer: as in `MLP`; the fan-in of a convolution is 9 times its channels.
      gain: as in `MLP`.
      norm: "none", "batch" or "layer" (over the channels), before each activation.
      dropout: probability of dropping a value before the last layer, in [0, 1).
      dtype: as in `MLP`.
      rngs: seeds the parameters.

    Raises:
      InputError: an option is out of its range or unknown.
    """

    def __init__(
        self, num_channels: int, num_outputs: int, *, width: int = 16, depth: int = 3,
        activation: str | Activation = "relu", initializer: str | Callable[..., jax.Array] = "he_normal",
        gain: float = 1.0, norm: str = "none", dropout: float = 0.0, dtype: Any = None, rngs: nnx.Rngs,
    ) -> None:  # fmt: skip
        counts = {"num_channels": num_channels, "num_outputs": num_outputs, "width": width, "depth": depth}
        options = Options.check("ConvNet", counts, activation, initializer, gain, norm, dropout, dtype)
        self.num_channels, self.dtype, self.activation = num_channels, options.dtype, options.activation
        widths = [num_channels] + [width * 2**stage for stage in range(depth)]
        self.convolutions = nnx.List([
            options.convolution(widths[stage], widths[stage + 1], 3, 1 if stage == 0 else 2, rngs)
            for stage in range(depth)
        ])  # fmt: skip
        self.norms = nnx.List([options.normalization(size, rngs) for size in widths[1:]])
        self.dropout = Dropout(dropout)
        self.output = options.dense(widths[-1], num_outputs, rngs)

    def __call__(self, inputs: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """Outputs [n, num_outputs] for images [n, h, w, num_channels]; dropout only with a key."""
        values = images("ConvNet", inputs, self.num_channels).astype(self.dtype)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            values = self.activation(norm(convolution(values)))
        return self.output(self.dropout(jnp.mean(values, axis=(1, 2)), key, 0))


class ResNet(nnx.Module):
    """A residual network with normalization and activation before each convolution, and `depth` blocks a stage.

    A block adds conv(a(norm(conv(a(norm(x)))))) to x. Three stages of widths w, 2w, 4w; each but the first halves the
    image, with a 1 x 1 convolution in the place of the identity.

    Args:
      num_channels: channels of an image.
      num_outputs: outputs an image.
      width: channels w of the first stage, >= 1.
      depth: blocks in each of the three stages, >= 1.
      activation: as in `MLP`.
      initializer: as in `MLP`.
      gain: as in `MLP`.
      norm: "none", "batch" or "layer" (over the channels).
      dropout: probability of dropping a value between the two convolutions of a block, in [0, 1).
      dtype: as in `MLP`.
      rngs: seeds the parameters.

    Raises:
      InputError: an option is out of its range or unknown.

    Reference: He, Zhang, Ren, Sun, Identity mappings in deep residual networks, 2016, figure 4e.
    """

    def __init__(
        self, num_channels: int, num_outputs: int, *, width: int = 16, depth: int = 1,
        activation: str | Activation = "relu", initializer: str | Callable[..., jax.Array] = "he_normal",
        gain: float = 1.0, norm: str = "batch", dropout: float = 0.0, dtype: Any = None, rngs: nnx.Rngs,
    ) -> None:  # fmt: skip
        counts = {"num_channels": num_channels, "num_outputs": num_outputs, "width": width, "depth": depth}
        options = Options.check("ResNet", counts, activation, initializer, gain, norm, dropout, dtype)
        self.num_channels, self.dtype, self.activation = num_channels, options.dtype, options.activation
        self.stem = options.convolution(num_channels, width, 3, 1, rngs)
        widths = [width, 2 * width, 4 * width]
        pairs = [
            (widths[stage] if block else widths[max(stage - 1, 0)], widths[stage])
            for stage in range(3)
            for block in range(depth)
        ]
        self.blocks = nnx.List([Block(before, after, options, rngs) for before, after in pairs])
        self.norm = options.normalization(widths[-1], rngs)
        self.output = options.dense(widths[-1], num_outputs, rngs)

    def __call__(self, inputs: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """Outputs [n, num_outputs] for images [n, h, w, num_channels]; dropout only with a key."""
        values = self.stem(images("ResNet", inputs, self.num_channels).astype(self.dtype))
        for place, block in enumerate(self.blocks):
            values = block(values, key, place)
        return self.output(jnp.mean(self.activation(self.norm(values)), axis=(1, 2)))


class Block(nnx.Module):
    """One residual block; where the width changes it halves the image."""

    def __init__(self, before: int, after: int, options: Options, rngs: nnx.Rngs) -> None:
        stride = 1 if before == after else 2
        self.activation = options.activation
        self.norms = nnx.List([options.normalization(before, rngs), options.normalization(after, rngs)])
        self.convolutions = nnx.List([
            options.convolution(before, after, 3, stride, rngs), options.convolution(after, after, 3, 1, rngs),
        ])  # fmt: skip
        self.shortcut = nnx.data(options.convolution(before, after, 1, stride, rngs) if stride > 1 else None)
        self.dropout = Dropout(options.dropout)

    def __call__(self, inputs: jax.Array, key: jax.Array | None, place: int) -> jax.Array:
        """Values [n, h', w', after] for values [n, h, w, before]."""
        values = self.convolutions[0](self.activation(self.norms[0](inputs)))
        values = self.dropout(self.activation(self.norms[1](values)), key, place)
        return self.convolutions[1](values) + (inputs if self.shortcut is None else self.shortcut(inputs))


def images(where: str, inputs: jax.Array, num_channels: int) -> jax.Array:
    """Images [n, h, w, num_channels]; of one channel also [n, h, w]."""
    values = inputs[..., None] if num_channels == 1 and jnp.ndim(inputs) == 3 else inputs
    if jnp.ndim(values) != 4 or values.shape[-1] != num_channels:
        raise fail(where, f"inputs must be images [n, h, w, {num_channels}], got {jnp.shape(inputs)}")
    return values
