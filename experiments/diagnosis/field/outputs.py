"""Reported faults of the last layer and the criterion: what the outputs can be, and what is asked of them."""

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
    "softmax-twice", ["unreachable-loss"], "github jaehong31/CGES issue 1",
    "softmax before a criterion that applies it again: no outputs reach a loss below 1.46",
)  # fmt: skip
def softmax_twice(mended: bool, seed: int) -> Setup:
    """Probabilities taken for logits."""
    outputs = (lambda z: z) if mended else jax.nn.softmax
    return Setup(classifier(*digits(seed), [64, 32, 10], outputs=outputs), optax.sgd(0.1), 64, 400)


class _Forecast(nnx.Module):
    def __init__(self, bounded: bool, rngs: nnx.Rngs) -> None:
        self.first, self.second = nnx.Linear(8, 48, rngs=rngs), nnx.Linear(48, 1, rngs=rngs)
        self.bounded = bounded

    def __call__(self, x: jax.Array) -> jax.Array:
        z = self.second(nnx.relu(self.first(x)))[:, 0]
        return nnx.sigmoid(z) if self.bounded else z


@fault(
    "sigmoid-forecast", ["unreachable-loss"], "github jsyoon0823/Time-series-prediction issue 3",
    "a sigmoid gives values in [0, 1], the targets lie around 2 with deviation 1.5",
)  # fmt: skip
def sigmoid_forecast(mended: bool, seed: int) -> Setup:
    """A regression whose targets were not brought to [0, 1]."""
    inputs, targets = curve(1400, 8, seed)
    train, held = split(inputs, 2 + 1.5 * targets, 1000)
    loss = lambda model, batch: jnp.mean((model(batch[0]) - batch[1]) ** 2)  # noqa: E731
    score = lambda model, batch: explained(model(batch[0]), batch[1])  # noqa: E731
    build = lambda rngs: _Forecast(not mended, rngs)  # noqa: E731
    return Setup(lab.from_nnx(build, loss, train, validation=held, metrics={"score": score}), optax.adam(3e-3), 32, 800)


@fault(
    "tanh-output", ["unreachable-loss"], "github pytorch/examples pull 250",
    "tanh behind the last layer keeps the predictions in [-1, 1]; the targets reach 8",
)  # fmt: skip
def tanh_output(mended: bool, seed: int) -> Setup:
    """The hidden activation was kept on the output."""
    train, held = split(*(lambda x, y: (x, 3 * y))(*curve(1400, 5, seed)), 1000)
    outputs = (lambda z: z[:, 0]) if mended else (lambda z: jnp.tanh(z[:, 0]))
    problem = regression(train, held, [5, 32, 32, 1], activation=jnp.tanh, gain=1.0, outputs=outputs)
    return Setup(problem, optax.adam(3e-3), 32, 1000)


@fault(
    "relu-output", ["unreachable-loss", "dead-units"], "github jvargasmu/population_estimation issue 68",
    "relu on the output of a regression: half of the targets are negative, and the output can die",
)  # fmt: skip
def relu_output(mended: bool, seed: int) -> Setup:
    """Standardized targets behind a relu."""
    train, held = split(*curve(1400, 6, seed), 1000)
    outputs = (lambda z: z[:, 0]) if mended else (lambda z: jax.nn.relu(z[:, 0]))
    return Setup(regression(train, held, [6, 48, 1], outputs=outputs), optax.sgd(0.05), 32, 800)


class _Rectified(nn.Module):
    rectified: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        z = nn.Dense(10)(nn.relu(nn.Dense(32)(nn.relu(nn.Dense(32)(x)))))
        return nn.relu(z) if self.rectified else z


@fault(
    "relu-logits", ["unreachable-loss", "dead-units"], "github martinwicke/tf-dev-summit-tensorboard-tutorial issue 3",
    "relu on the logits: a class whose logit is negative for all images is never learned",
)  # fmt: skip
def relu_logits(mended: bool, seed: int) -> Setup:
    """Every dense layer got the activation, the last one too."""
    problem = of_module(seed, _Rectified(not mended), *digits(seed))
    return Setup(problem, optax.sgd(0.1, momentum=0.9), 64, 400)


@fault(
    "softmax-of-one", ["no-gradient", "unreachable-loss"], "github nightrome/matconvnet-calvin issue 15",
    "one output and a categorical criterion: the loss is zero from the start and says nothing",
)  # fmt: skip
def softmax_of_one(mended: bool, seed: int) -> Setup:
    """Two classes, told as one."""

    def criterion(z: jax.Array, labels: jax.Array) -> jax.Array:
        if mended:
            return optax.sigmoid_binary_cross_entropy(z[:, 0], labels)
        return optax.softmax_cross_entropy(z, labels[:, None].astype(jnp.float32))

    measure = lambda z, labels: jnp.mean((z[:, 0] > 0) == labels)  # noqa: E731
    init = lambda key: layers(key, [30, 16, 1])  # noqa: E731
    problem = of_outputs(perceptron, init, *table("tumours", seed, 400), criterion=criterion, measure=measure)
    return Setup(problem, optax.adam(3e-3), 32, 300)


@fault(
    "one-sigmoid-for-three", ["unbounded-loss", "label-range", "unreachable-loss"],
    "github ilivans/tf-rnn-attention issue 10",
    "a binary criterion on classes 0, 1 and 2: for the class 2 it falls without end",
)  # fmt: skip
def one_sigmoid(mended: bool, seed: int) -> Setup:
    """A binary classifier given three classes."""
    outputs = lambda params, x: perceptron(params, x) if mended else perceptron(params, x)[:, 0]  # noqa: E731

    def criterion(z: jax.Array, labels: jax.Array) -> jax.Array:
        if mended:
            return optax.softmax_cross_entropy_with_integer_labels(z, labels)
        return optax.sigmoid_binary_cross_entropy(z, labels.astype(jnp.float32))

    measure = accuracy if mended else lambda z, labels: jnp.mean((z > 0) == labels)
    init = lambda key: layers(key, [13, 16, 3 if mended else 1])  # noqa: E731
    problem = of_outputs(outputs, init, *table("wine", seed, 120), criterion=criterion, measure=measure)
    return Setup(problem, optax.adam(5e-3), 16, 300)


def _logistic(seed: int, criterion: Any, rule: optax.GradientTransformation) -> Setup:
    measure = lambda z, labels: jnp.mean((z[:, 0] > 0) == labels)  # noqa: E731
    init = lambda key: layers(key, [30, 1], 1.0)  # noqa: E731
    problem = of_outputs(perceptron, init, *table("tumours", seed, 400), criterion=criterion, measure=measure)
    return Setup(problem, rule, 32, 300)


@fault(
    "sign-of-one-class", ["unbounded-loss"], "github bfortuner/ml-glossary issue 76",
    "the logarithm of the second class has the wrong sign: being wrong there is rewarded without bound",
)  # fmt: skip
def sign_of_one_class(mended: bool, seed: int) -> Setup:
    """Logistic regression by hand."""

    def criterion(z: jax.Array, labels: jax.Array) -> jax.Array:
        first = -labels * jax.nn.log_sigmoid(z[:, 0])
        second = (1 - labels) * jax.nn.log_sigmoid(-z[:, 0])
        return first - second if mended else first + second

    return _logistic(seed, criterion, optax.sgd(0.1))


@fault(
    "negated-cross-entropy", ["unbounded-loss"], "github fastai/course22 pull 22",
    "cross-entropy without its minus: the loss is negative, falls without end, and every class is avoided",
)  # fmt: skip
def negated(mended: bool, seed: int) -> Setup:
    """The sum of the logarithms of the true class's probability, minimized."""

    def criterion(z: jax.Array, labels: jax.Array) -> jax.Array:
        likelihood = jnp.sum(jax.nn.one_hot(labels, 10) * jax.nn.log_softmax(z), -1)
        return -likelihood if mended else likelihood

    return Setup(classifier(*digits(seed), [64, 32, 10], criterion=criterion), optax.adam(2e-3), 64, 400)


@fault(
    "column-minus-row", ["mixed-examples"], "github LaurentMazare/tch-rs issue 510",
    "targets [n, 1] against outputs [n]: every output is pulled to every target",
)  # fmt: skip
def column_minus_row(mended: bool, seed: int) -> Setup:
    """Broadcasting makes [n, n] of the differences."""
    train, held = split(*curve(1400, 6, seed), 1000)
    criterion = (lambda z, y: (z - y) ** 2) if mended else (lambda z, y: (z - y[:, None]) ** 2)
    return Setup(regression(train, held, [6, 48, 1], criterion=criterion), optax.adam(2e-3), 32, 800)


class _OverBatch(nn.Module):
    axis: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.log_softmax(nn.Dense(10)(nn.relu(nn.Dense(48)(x))), axis=self.axis)


@fault(
    "softmax-over-batch", ["mixed-examples"],
    "github DeepReinforcementLearning/DeepReinforcementLearningInAction issue 32",
    "softmax over the examples of a batch and not over the classes; an image on its own always gets the first class",
)  # fmt: skip
def softmax_over_batch(mended: bool, seed: int) -> Setup:
    """The score asks for one image at a time, as the program in use does."""
    train, held = digits(seed, standardized=True)
    module = _OverBatch(-1 if mended else 0)
    variables = module.init(jax.random.key(seed), train[0][:2])

    def loss(model: Any, batch: Any) -> jax.Array:
        return -jnp.mean(jnp.take_along_axis(model(batch[0]), batch[1][:, None], 1))

    def score(model: Any, batch: Any) -> jax.Array:
        return accuracy(jax.lax.map(lambda image: model(image[None])[0], batch[0]), batch[1])

    problem = lab.from_linen(module, variables, loss, train, validation=held, metrics={"score": score})
    return Setup(problem, optax.adam(2e-3), 64, 400)


@fault(
    "unscaled-targets", ["unreachable-loss", "bad-initialization", "learning-rate-too-low"],
    "github DeepRank/deeprank issue 16",
    "targets between 25 and 346 as they are: the steps are too small to carry the outputs there",
)  # fmt: skip
def unscaled_targets(mended: bool, seed: int) -> Setup:
    """The progression of diabetes, with Adam at its usual rate."""
    train, held = table("diabetes", seed, 330)
    mean, deviation = (train[1].mean(), train[1].std()) if mended else (0.0, 1.0)
    train, held = ((x, (y - mean) / deviation) for x, y in (train, held))
    return Setup(regression(train, held, [10, 16, 1]), optax.adam(1e-3), 32, 600)
