"""Reported faults of where training starts and how it goes on: first weights, sign, precision and rate."""

import jax
import jax.numpy as jnp
import optax

from experiments.diagnosis.field.material import of_outputs
from experiments.diagnosis.field.programs import Setup, classifier, digits, fault, layers, perceptron


@fault(
    "weights-all-positive", ["bad-initialization", "exploding-signal", "learning-rate-too-high"],
    "github tinygrad/tinygrad pull 566",
    "weights and biases drawn from [0, 1], not scaled by the layer's size: the logits start at hundreds",
)  # fmt: skip
def positive(mended: bool, seed: int) -> Setup:
    """Two hidden layers."""

    def init(key: jax.Array) -> list[dict[str, jax.Array]]:
        start = layers(key, [64, 64, 64, 10])
        return start if mended else jax.tree.map(lambda leaf: jax.random.uniform(key, leaf.shape), start)

    return Setup(of_outputs(perceptron, init, *digits(seed)), optax.sgd(0.05), 64, 400)


@fault(
    "up-the-gradient", ["gradient-ascent"], "github FluxML/model-zoo pull 61",
    "the rate without its minus sign: each step raises the loss",
)  # fmt: skip
def up(mended: bool, seed: int) -> Setup:
    """A chain that somebody put together."""
    rule = optax.chain(optax.scale_by_adam(), optax.scale(-1e-3 if mended else 1e-3))
    return Setup(classifier(*digits(seed), [64, 64, 10]), rule, 64, 400)


@fault(
    "epsilon-lost-in-half-precision", ["non-finite"], "github google-deepmind/optax issue 1754",
    "float16 parameters: Adam's epsilon is zero there, and so is the gradient of a pixel that is never lit",
)  # fmt: skip
def half(mended: bool, seed: int) -> Setup:
    """0 over 0 in the first step."""
    dtype = jnp.float32 if mended else jnp.float16
    outputs = lambda params, x: perceptron(params, jnp.asarray(x, dtype)).astype(jnp.float32)  # noqa: E731
    init = lambda key: layers(key, [64, 64, 10], dtype=dtype)  # noqa: E731
    return Setup(of_outputs(outputs, init, *digits(seed)), optax.adam(1e-3), 64, 400)


@fault(
    "lion-at-a-tenth", ["learning-rate-too-high", "dead-units"],
    "github lucidrains/denoising-diffusion-pytorch issue 170",
    "Lion's steps have the rate's length in every entry: a rate for gradient descent is far too high",
)  # fmt: skip
def lion(mended: bool, seed: int) -> Setup:
    """Two hidden layers."""
    return Setup(classifier(*digits(seed), [64, 64, 64, 10]), optax.lion(3e-4 if mended else 0.1), 64, 400)
