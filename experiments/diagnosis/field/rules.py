"""Reported faults of the rule: its rate, its decay, its clip, its epsilon, its schedule, its precision."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import nnx

import jaxopt_lab as lab
from experiments.diagnosis.field.material import accuracy, explained, of_module, of_outputs, split, table
from experiments.diagnosis.field.programs import Setup, classifier, curve, digits, fault, layers, perceptron, regression


@fault(
    "sgd-diverges", ["learning-rate-too-high"], "github jax-ml/jax pull 159",
    "plain SGD at a rate thirty times too high",
)  # fmt: skip
def sgd_diverges(mended: bool, seed: int) -> Setup:
    """Two hidden layers; the rate that is a thirtieth works."""
    train, held = split(*curve(1400, 6, seed), 1000)
    return Setup(regression(train, held, [6, 64, 64, 1]), optax.sgd(0.03 if mended else 1.0), 32, 600)


@fault(
    "adam-at-three-tenths", ["learning-rate-too-high", "dead-units"],
    "github guillaumegenthial/sequence_tagging issue 47",
    "Adam at 0.3 where 0.003 works: the loss falls and then rises again",
)  # fmt: skip
def adam_at_three_tenths(mended: bool, seed: int) -> Setup:
    """Three hidden layers."""
    problem = classifier(*digits(seed, standardized=True), [64, 64, 64, 64, 10])
    return Setup(problem, optax.adam(0.003 if mended else 0.3), 64, 400)


class _Plain(nn.Module):
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in self.widths[:-1]:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.widths[-1])(x)


@fault(
    "rmsprop-too-fast", ["learning-rate-too-high", "dead-units"], "github keras-team/keras pull 6182",
    "RMSprop at a rate at which the loss jumps",
)  # fmt: skip
def rmsprop_too_fast(mended: bool, seed: int) -> Setup:
    """The rate that is a hundredth converges."""
    problem = of_module(seed, _Plain((64, 64, 10)), *digits(seed))
    return Setup(problem, optax.rmsprop(0.001 if mended else 0.1), 64, 400)


@fault(
    "sgd-too-slow", ["learning-rate-too-low"], "github tegg89/SRCNN-Tensorflow issue 24",
    "SGD at 0.0003: the loss hardly falls within the run",
)  # fmt: skip
def sgd_too_slow(mended: bool, seed: int) -> Setup:
    """The rate that is 300 times higher is stable."""
    return Setup(classifier(*digits(seed), [64, 64, 10]), optax.sgd(0.1 if mended else 0.0003), 64, 500)


@fault(
    "adam-too-slow", ["learning-rate-too-low"], "github thtrieu/darkflow issue 1120",
    "Adam at 0.000003 for eight hundred steps",
)  # fmt: skip
def adam_too_slow(mended: bool, seed: int) -> Setup:
    """A smooth regression."""
    train, held = split(*curve(1400, 6, seed), 1000)
    return Setup(regression(train, held, [6, 48, 48, 1]), optax.adam(3e-3 if mended else 3e-6), 32, 800)


@fault(
    "momentum-of-99", ["learning-rate-too-high"], "github BVLC/caffe issue 2333",
    "momentum raised from 0.9 to 0.99 at the same rate: steps are ten times as long",
)  # fmt: skip
def momentum_of_99(mended: bool, seed: int) -> Setup:
    """The rate was near its limit before."""
    train, held = split(*curve(1400, 6, seed), 1000)
    problem = regression(train, held, [6, 64, 64, 1])
    return Setup(problem, optax.sgd(0.03, momentum=0.9 if mended else 0.99), 32, 600)


@fault(
    "decay-in-the-gradient", ["underfitting"], "github leonardoaraujosantos/DLMatFramework issue 1",
    "a penalty of 0.3 on the squares of the weights: they shrink until the outputs are constant",
)  # fmt: skip
def decay_in_the_gradient(mended: bool, seed: int) -> Setup:
    """Coupled decay before momentum."""
    rule = optax.chain(optax.add_decayed_weights(1e-4 if mended else 0.3), optax.sgd(0.02, momentum=0.9))
    return Setup(classifier(*digits(seed), [64, 64, 10]), rule, 64, 400)


@fault(
    "decay-without-the-rate", ["underfitting"], "github deeplearning4j/deeplearning4j issue 5843",
    "decoupled decay that is not multiplied by the rate: a twentieth of every weight is taken at each step",
)  # fmt: skip
def decay_without_the_rate(mended: bool, seed: int) -> Setup:
    """Adam with decay by hand."""
    rate, decay = 2e-3, 0.05
    shrink = optax.add_decayed_weights(-rate * decay if mended else -decay)
    return Setup(of_module(seed, _Plain((64, 10)), *digits(seed)), optax.chain(optax.adam(rate), shrink), 64, 400)


@fault(
    "clipped-to-a-thousandth", ["clipped-steps", "learning-rate-too-low"], "github twtygqyy/pytorch-vdsr issue 2",
    "gradients are clipped to a norm of 0.001 at every step: the rate says nothing any more",
)  # fmt: skip
def clipped(mended: bool, seed: int) -> Setup:
    """A threshold a thousand times below the usual norm."""
    train, held = split(*curve(1400, 6, seed), 1000)
    rule = optax.chain(optax.clip_by_global_norm(5.0 if mended else 1e-3), optax.sgd(0.03, momentum=0.9))
    return Setup(regression(train, held, [6, 64, 1]), rule, 32, 600)


@fault(
    "adam-epsilon-of-one", ["clipped-steps", "learning-rate-too-low"], "github tensorflow/models issue 779",
    "Adam with an epsilon of 1: far above the root of its second moment, so that its steps are those of a slow SGD",
)  # fmt: skip
def adam_epsilon(mended: bool, seed: int) -> Setup:
    """The default of a script that was written for another rule."""
    return Setup(classifier(*digits(seed), [64, 64, 10]), optax.adam(1e-3, eps=1e-8 if mended else 1.0), 64, 500)


@fault(
    "rmsprop-epsilon-of-one", ["clipped-steps", "learning-rate-too-low"], "github balancap/SSD-Tensorflow issue 385",
    "the same default of 1 with RMSprop",
)  # fmt: skip
def rmsprop_epsilon(mended: bool, seed: int) -> Setup:
    """Tumours, small gradients."""
    measure = lambda z, labels: jnp.mean((z[:, 0] > 0) == labels)  # noqa: E731
    criterion = lambda z, labels: optax.sigmoid_binary_cross_entropy(z[:, 0], labels)  # noqa: E731
    init = lambda key: layers(key, [30, 16, 1])  # noqa: E731
    problem = of_outputs(perceptron, init, *table("tumours", seed, 400), criterion=criterion, measure=measure)
    return Setup(problem, optax.rmsprop(3e-4, eps=1e-8 if mended else 1.0), 32, 300)


@fault(
    "schedule-by-batch", ["schedule"], "github Lornatang/SRGAN-PyTorch issue 1",
    "the schedule was meant by epochs and is advanced at every batch: the rate is gone after a tenth of the run",
)  # fmt: skip
def schedule_by_batch(mended: bool, seed: int) -> Setup:
    """A tenth of the rate every ten batches, where every ten epochs was meant."""
    unit = 20 if mended else 1
    schedule = optax.exponential_decay(0.1, 10 * unit, 0.1, staircase=True)
    return Setup(classifier(*digits(seed), [64, 48, 10]), optax.sgd(schedule, momentum=0.5), 64, 600)


@fault(
    "decay-every-hundred-steps", ["schedule"], "github cjiang2/VDCNN issue 4",
    "exponential decay whose length is a hundredth of what was meant",
)  # fmt: skip
def decay_too_short(mended: bool, seed: int) -> Setup:
    """The rate halves every five steps of a thousand."""
    train, held = split(*curve(1400, 6, seed), 1000)
    schedule = optax.exponential_decay(2e-3, 500 if mended else 5, 0.5)
    return Setup(regression(train, held, [6, 48, 48, 1]), optax.adam(schedule), 32, 1000)


@fault(
    "warmup-longer-than-the-run", ["schedule"], "github hirofumi0810/neural_sp issue 137",
    "25,000 steps of warm-up in a run of 500: the rate rises to the end and stays at a fiftieth",
)  # fmt: skip
def warmup_too_long(mended: bool, seed: int) -> Setup:
    """Linear from zero."""
    schedule = optax.warmup_constant_schedule(0.0, 3e-3, 50 if mended else 25_000)
    return Setup(classifier(*digits(seed), [64, 48, 10]), optax.adam(schedule), 64, 500)


@fault(
    "hundred-iterations", ["schedule", "learning-rate-too-low"], "github zenecture/neuroflow issue 5",
    "a run of a thirtieth of the steps that the problem takes at this rate",
)  # fmt: skip
def hundred_iterations(mended: bool, seed: int) -> Setup:
    """The default number of iterations, kept."""
    train, held = split(*curve(1400, 6, seed), 1000)
    return Setup(regression(train, held, [6, 32, 1], activation=jnp.tanh), optax.adam(1e-3), 32, 2000 if mended else 60)


@fault(
    "bfloat16-weights", ["lost-updates"], "github pytorch/ao pull 1124",
    "weights held in bfloat16 and steps below half of their last digit: most of them are rounded away",
)  # fmt: skip
def bfloat16_weights(mended: bool, seed: int) -> Setup:
    """Single precision mends it."""
    train, held = digits(seed, standardized=True)
    dtype = jnp.float32 if mended else jnp.bfloat16

    def outputs(params: Any, images: Any) -> jax.Array:
        return perceptron(params, jnp.asarray(images, dtype)).astype(jnp.float32)

    init = lambda key: layers(key, [64, 64, 10], dtype=dtype)  # noqa: E731
    return Setup(of_outputs(outputs, init, train, held), optax.sgd(0.002), 64, 3000)


class _Halved(nnx.Module):
    def __init__(self, dtype: Any, rngs: nnx.Rngs) -> None:
        options = {"param_dtype": dtype, "dtype": dtype, "rngs": rngs}
        self.first, self.second = nnx.Linear(6, 64, **options), nnx.Linear(64, 1, **options)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.second(nnx.relu(self.first(x)))[:, 0].astype(jnp.float32)


@fault(
    "bfloat16-and-adam", ["lost-updates"], "github pytorch/pytorch issue 120376",
    "Adam at 0.0002 on weights in bfloat16: its steps are below what most of the weights can hold",
)  # fmt: skip
def bfloat16_and_adam(mended: bool, seed: int) -> Setup:
    """A smooth regression."""
    train, held = split(*curve(1400, 6, seed), 1000)
    dtype = jnp.float32 if mended else jnp.bfloat16
    loss = lambda model, batch: jnp.mean((model(batch[0]) - batch[1]) ** 2)  # noqa: E731
    score = lambda model, batch: explained(model(batch[0]), batch[1])  # noqa: E731
    build = lambda rngs: _Halved(dtype, rngs)  # noqa: E731
    return Setup(
        lab.from_nnx(build, loss, train, validation=held, metrics={"score": score}), optax.adam(2e-4), 32, 4000
    )


class _Narrow(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first, self.second = nnx.Linear(10, 32, rngs=rngs), nnx.Linear(32, 1, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.second(nnx.relu(self.first(x)))[:, 0]


@fault(
    "batches-of-one", ["gradient-noise", "learning-rate-too-high"], "github leeyeehoo/CSRNet-pytorch issue 83",
    "one example a step, and two fifths of the targets' variance are noise: the loss jumps and does not settle",
)  # fmt: skip
def batches_of_one(mended: bool, seed: int) -> Setup:
    """The same rate with batches of 64."""
    train, held = split(*curve(2000, 10, seed, noise=0.4), 1400)
    loss = lambda model, batch: jnp.mean((model(batch[0]) - batch[1]) ** 2)  # noqa: E731
    score = lambda model, batch: explained(model(batch[0]), batch[1])  # noqa: E731
    problem = lab.from_nnx(lambda rngs: _Narrow(rngs), loss, train, validation=held, metrics={"score": score})
    return Setup(problem, optax.sgd(0.042), 64 if mended else 1, 1500)


class _Encoder(nn.Module):
    depth: int = 3

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Dense(24)(x.reshape(-1, 8, 8))
        x = x + self.param("place", nn.initializers.normal(0.1), (8, 24))
        for _ in range(self.depth):
            x = nn.LayerNorm()(x + jnp.asarray(nn.SelfAttention(2)(x)))
            x = nn.LayerNorm()(x + nn.Dense(24)(nn.relu(nn.Dense(48)(x))))
        return nn.Dense(10)(x.mean(1))


@fault(
    "post-norm-without-warmup", ["learning-rate-too-high"], "github LiyuanLucasLiu/Transformer-Clinic issue 16",
    "normalization behind the residual sums, and the full rate from the first step",
)  # fmt: skip
def post_norm(mended: bool, seed: int) -> Setup:
    """Three blocks; a warm-up to a lower rate mends it."""
    train, held = digits(seed)
    module = _Encoder()
    variables = module.init(jax.random.key(seed), train[0][:2])

    def loss(model: Any, batch: Any) -> jax.Array:
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(model(batch[0]), batch[1]))

    score = lambda model, batch: accuracy(model(batch[0]), batch[1])  # noqa: E731
    problem = lab.from_linen(module, variables, loss, train, validation=held, metrics={"score": score})
    schedule = optax.warmup_constant_schedule(0.0, 4e-3, 60) if mended else 0.02
    return Setup(problem, optax.adam(schedule), 64, 250)
