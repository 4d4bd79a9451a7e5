"""Reported faults of the data: labels that say nothing, inputs of another kind, examples that are too few."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from sklearn import datasets

import jaxopt_lab as lab
from experiments.diagnosis.field.material import accuracy, explained, of_outputs, split, standardized, table
from experiments.diagnosis.field.programs import Setup, classifier, curve, digits, fault, layers, perceptron, regression


@fault(
    "labels-left-behind", ["uninformative-labels"], "github Borda/kaggle_image-classify pull 12",
    "the images were shuffled after the labels had been taken: no label belongs to its image",
)  # fmt: skip
def labels_left_behind(mended: bool, seed: int) -> Setup:
    """The validation data are from the same loader; the score knows the images' own labels."""
    (images, labels), (held, truth) = digits(seed)
    told, told_held = labels, truth
    if not mended:
        rng = np.random.default_rng(seed + 1)
        told, told_held = rng.permutation(labels), rng.permutation(truth)
    problem = classifier((images, told), (held, told_held), [64, 64, 10], labels=truth)
    return Setup(problem, optax.adam(2e-3), 64, 400)


@fault(
    "one-step-behind", ["uninformative-labels"], "github awslabs/gluonts pull 2618",
    "features come one step late: each target stands beside the features of the step before",
)  # fmt: skip
def one_step_behind(mended: bool, seed: int) -> Setup:
    """A series of independent steps."""
    inputs, targets = curve(1401, 6, seed)
    seen = inputs[1:] if mended else inputs[:-1]
    train, held = split(seen, targets[1:], 1000)
    return Setup(regression(train, held, [6, 48, 1]), optax.adam(2e-3), 32, 600)


@fault(
    "targets-cut-to-integers", ["uninformative-labels", "label-range"], "github amaiya/ktrain issue 129",
    "targets between 0 and 1 were converted to whole numbers: all are 0",
)  # fmt: skip
def targets_cut(mended: bool, seed: int) -> Setup:
    """A regression on shares, measured against the shares."""
    inputs, targets = curve(1400, 6, seed)
    targets = (1 / (1 + np.exp(-1.5 * targets))).astype(np.float32)
    told = targets if mended else targets.astype(np.int64).astype(np.float32)
    (train, held), truth = split(inputs, told, 1000), targets[1000:]
    measure = lambda z, _: explained(z[:, 0], truth)  # noqa: E731
    criterion = lambda z, y: (z[:, 0] - y) ** 2  # noqa: E731
    init = lambda key: layers(key, [6, 48, 1])  # noqa: E731
    return Setup(
        of_outputs(perceptron, init, train, held, criterion=criterion, measure=measure), optax.adam(2e-3), 32, 600
    )


@fault(
    "labels-from-one", ["label-range"], "github tensorflow/tensorflow issue 15962",
    "classes are numbered from 1: the last has no output, and its row of the one-hot matrix is zero",
)  # fmt: skip
def labels_from_one(mended: bool, seed: int) -> Setup:
    """Three wines and three outputs; the score adds the offset back."""
    (inputs, labels), (held, truth) = table("wine", seed, 120)
    offset = 0 if mended else 1

    def criterion(z: jax.Array, told: jax.Array) -> jax.Array:
        return optax.softmax_cross_entropy(z, jax.nn.one_hot(told, 3))

    measure = lambda z, told: jnp.mean(jnp.argmax(z, -1) == told)  # noqa: E731
    init = lambda key: layers(key, [13, 16, 3])  # noqa: E731
    train, held = (inputs, labels + offset), (held, truth + offset)
    return Setup(
        of_outputs(perceptron, init, train, held, criterion=criterion, measure=measure), optax.adam(5e-3), 16, 300
    )


@fault(
    "rare-class-ignored", ["label-range"], "github cgrtml/neural-trees pull 75",
    "one class of 0.8 per cent among others: it is never predicted, and the accuracy does not show it",
)  # fmt: skip
def rare_class_ignored(mended: bool, seed: int) -> Setup:
    """The score is the mean over classes of the share that is recognized; weights by frequency mend it."""
    rng = np.random.default_rng(seed)
    shares = np.array([0.6, 0.392, 0.008])
    centres = 1.2 * rng.standard_normal((3, 8))

    def draw(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (centres[labels] + rng.standard_normal((len(labels), 8))).astype(np.float32), labels.astype(np.int32)

    train, held = draw(rng.choice(3, 2000, p=shares)), draw(np.arange(600) % 3)
    weights = jnp.asarray(1 / (3 * shares) if mended else np.ones(3), jnp.float32)

    def criterion(z: jax.Array, labels: jax.Array) -> jax.Array:
        return weights[labels] * optax.softmax_cross_entropy_with_integer_labels(z, labels)

    return Setup(classifier(train, held, [8, 3], gain=1.0, criterion=criterion), optax.adam(5e-3), 64, 600)


class _Scored(nnx.Module):
    def __init__(self, sizes: tuple[int, int, int], rngs: nnx.Rngs) -> None:
        self.first, self.second = nnx.Linear(*sizes[:2], rngs=rngs), nnx.Linear(*sizes[1:], rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.second(nnx.relu(self.first(x)))


def _of_nnx(
    train: Any, held: Any, sizes: tuple[int, int, int], rule: optax.GradientTransformation, steps: int
) -> Setup:
    def loss(model: Any, batch: Any) -> jax.Array:
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(model(batch[0]), batch[1]))

    score = lambda model, batch: accuracy(model(batch[0]), batch[1])  # noqa: E731
    build = lambda rngs: _Scored(sizes, rngs)  # noqa: E731
    return Setup(lab.from_nnx(build, loss, train, validation=held, metrics={"score": score}), rule, 64, steps)


@fault(
    "validation-not-standardized", ["data-mismatch"], "github JeasunLok/ResNet-pytorch issue 1",
    "the features are standardized for training and as they are for validation",
)  # fmt: skip
def validation_not_standardized(mended: bool, seed: int) -> Setup:
    """The transformation stands in one of the two loaders."""
    train, held = table("tumours", seed, 400)
    raw = table("tumours", seed, 400, raw=True)[1]
    return _of_nnx(train, held if mended else raw, (30, 16, 2), optax.adam(3e-3), 300)


@fault(
    "channels-reversed", ["data-mismatch"], "github CondadosAI/modern-yolonas pull 7",
    "validation images have their three colours in the opposite order",
)  # fmt: skip
def channels_reversed(mended: bool, seed: int) -> Setup:
    """Patches of 4 x 4 points, four classes that differ in colour and pattern; red is brighter than blue."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 1600).astype(np.int32)
    means = np.array([0.7, 0.5, 0.3]) + 0.15 * rng.standard_normal((4, 4, 4, 3))
    images = (means[labels] + 0.25 * rng.standard_normal((1600, 4, 4, 3))).astype(np.float32)
    held = images[1100:] if mended else images[1100:, :, :, ::-1]
    train, held = (images[:1100].reshape(-1, 48), labels[:1100]), (held.reshape(-1, 48), labels[1100:])
    return _of_nnx(train, held, (48, 32, 4), optax.sgd(0.1, momentum=0.9), 300)


@fault(
    "split-without-shuffling", ["data-mismatch", "label-range"], "github keras-team/keras issue 8346",
    "the data are sorted by class and the last fifth is held out: its classes are not in training",
)  # fmt: skip
def split_without_shuffling(mended: bool, seed: int) -> Setup:
    """Digits in the order of their labels."""
    (images, labels), (held, truth) = digits(seed)
    images, labels = np.concatenate([images, held]), np.concatenate([labels, truth])
    order = np.random.default_rng(seed).permutation(len(labels)) if mended else np.argsort(labels, kind="stable")
    train, held = split(images[order], labels[order], 1437)
    return Setup(classifier(train, held, [64, 48, 10]), optax.adam(2e-3), 64, 400)


@fault(
    "two-encoders", ["data-mismatch"], "github scikit-learn/scikit-learn issue 10324",
    "names of classes were numbered anew for the validation data, in another order",
)  # fmt: skip
def two_encoders(mended: bool, seed: int) -> Setup:
    """Numbers by first appearance; validation labels do not mean what training labels mean."""
    train, (held, truth) = digits(seed)
    renamed = truth if mended else ((truth + 3) % 10).astype(np.int32)
    return Setup(classifier(train, (held, renamed), [64, 48, 10], labels=renamed), optax.adam(2e-3), 64, 400)


@fault(
    "pixels-to-255", ["unnormalized-inputs", "learning-rate-too-high"],
    "github rasbt/python-machine-learning-book-2nd-edition issue 68",
    "pixels between 0 and 255 with the rate that suits [0, 1]: gradient descent does not converge",
)  # fmt: skip
def pixels(mended: bool, seed: int) -> Setup:
    """Plain SGD, tanh units that saturate."""
    (images, labels), (held, truth) = digits(seed)
    scale = np.float32(1 if mended else 255)
    train, held = (scale * images, labels), (scale * held, truth)
    return Setup(classifier(train, held, [64, 48, 10], activation=jnp.tanh, gain=1.0), optax.sgd(0.1), 64, 600)


@fault(
    "raw-features", ["unnormalized-inputs", "ill-conditioned", "learning-rate-too-high", "dead-units"],
    "github ageron/handson-ml3 pull 20",
    "features as they are, one near 750 and others below 1",
)  # fmt: skip
def raw_features(mended: bool, seed: int) -> Setup:
    """The analysis of wines."""
    return _of_nnx(*table("wine", seed, 120, raw=not mended), (13, 24, 3), optax.sgd(0.02, momentum=0.9), 300)


@fault(
    "missing-values", ["non-finite"], "github ratschlab/DeepSpot issue 9",
    "some rows of the features hold NaN, and the first batch with one of them spoils every weight",
)  # fmt: skip
def missing_values(mended: bool, seed: int) -> Setup:
    """Two per cent of the rows; filled with the mean where mended."""
    (inputs, targets), held = split(*curve(1400, 6, seed), 1000)
    rows = np.random.default_rng(seed).choice(1000, 20, replace=False)
    inputs = inputs.copy()
    inputs[rows, 2] = 0.0 if mended else np.nan
    return Setup(regression((inputs, targets), held, [6, 48, 1]), optax.adam(2e-3), 32, 600)


@fault(
    "constant-columns", ["non-finite"], "github deeplearning4j/deeplearning4j issue 1646",
    "standardized by hand: pixels that never change have deviation 0, and 0 / 0 is NaN",
)  # fmt: skip
def constant_columns(mended: bool, seed: int) -> Setup:
    """The corners of the digits are always empty."""
    (images, labels), (held, truth) = digits(seed)
    if mended:
        images, held = standardized(images, held)
    else:
        with np.errstate(invalid="ignore", divide="ignore"):
            mean, deviation = images.mean(0), images.std(0)
            images, held = (images - mean) / deviation, (held - mean) / deviation
    return Setup(classifier((images, labels), (held, truth), [64, 48, 10]), optax.adam(2e-3), 64, 300)


@fault(
    "few-examples", ["overfitting"], "github davidsandberg/facenet issue 956",
    "four images of each class and a large network: all of them are memorized",
)  # fmt: skip
def few_examples(mended: bool, seed: int) -> Setup:
    """Forty examples."""
    problem = classifier(*digits(seed, num_train=1297 if mended else 40), [64, 256, 256, 10])
    return Setup(problem, optax.adam(1e-3), 32, 500)


@fault(
    "many-features", ["overfitting"], "github soapisnotfat/pytorch-cifar10 issue 9",
    "sixty noisy examples of forty features: the training loss goes to zero and the validation loss rises",
)  # fmt: skip
def many_features(mended: bool, seed: int) -> Setup:
    """Friedman's function; ten times the examples mend it."""
    inputs, targets = datasets.make_friedman1(1600, 40, noise=1.0, random_state=seed)
    targets = ((targets - targets.mean()) / targets.std()).astype(np.float32)
    inputs = (2 * inputs - 1).astype(np.float32)
    num_train = 1100 if mended else 60
    train, held = (inputs[:num_train], targets[:num_train]), (inputs[1100:], targets[1100:])
    return Setup(regression(train, held, [40, 128, 1]), optax.adam(2e-3), 30, 500)


@fault(
    "labels-of-minus-one", ["label-range", "uninformative-labels"],
    "github crazydemo/facial-attribute-classification-with-graph issue 1",
    "classes -1 and 1 as indices of two outputs: -1 counts from the end, so that both mean the last",
)  # fmt: skip
def labels_of_minus_one(mended: bool, seed: int) -> Setup:
    """Tumours; the score takes the first output for -1."""
    (inputs, labels), (held, truth) = table("tumours", seed, 400)
    told, told_held = (labels, truth) if mended else (2 * labels - 1, 2 * truth - 1)

    def criterion(z: jax.Array, told: jax.Array) -> jax.Array:
        return -jax.nn.log_softmax(z)[jnp.arange(len(told)), told]

    measure = lambda z, _: accuracy(z, truth)  # noqa: E731
    init = lambda key: layers(key, [30, 16, 2])  # noqa: E731
    train, held = (inputs, told), (held, told_held)
    return Setup(
        of_outputs(perceptron, init, train, held, criterion=criterion, measure=measure), optax.adam(2e-3), 32, 300
    )


@fault(
    "powers-of-one-feature", ["ill-conditioned", "learning-rate-too-low"], "github nndl/exercise issue 9",
    "a linear model on ten powers of one number, which are nearly the same: gradient descent is slow on most of them",
)  # fmt: skip
def powers(mended: bool, seed: int) -> Setup:
    """Orthogonal polynomials of the same degree mend it."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, 1400)
    basis = (
        np.polynomial.legendre.legvander(2 * points - 1, 10)[:, 1:] if mended else points[:, None] ** np.arange(1, 11)
    )
    basis = standardized(basis)[0]
    targets = (np.sin(9 * points) + 0.05 * rng.standard_normal(1400)).astype(np.float32)
    train, held = split(basis, targets, 1000)
    return Setup(regression(train, held, [10, 1], gain=1.0), optax.sgd(0.05), 64, 500)
