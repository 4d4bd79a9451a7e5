"""Trainings with which nothing is wrong, though some of them look it: noise, wrong labels, rare classes, few bits."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn import datasets

import jaxopt_lab as lab
from experiments.diagnosis.field.programs import (
    Setup,
    classifier,
    curve,
    digits,
    layers,
    perceptron,
    regression,
    sound,
)


@sound("digits-adam", "a perceptron on pixels in [0, 1]")
def digits_adam(seed: int) -> Setup:
    """Two hidden layers, Adam."""
    return Setup(classifier(*digits(seed), [64, 64, 32, 10]), optax.adam(3e-3), 64, 600)


@sound("digits-standardized-sgd", "a perceptron on standardized pixels")
def digits_sgd(seed: int) -> Setup:
    """Momentum."""
    return Setup(classifier(*digits(seed, standardized=True), [64, 64, 10]), optax.sgd(0.02, momentum=0.9), 64, 600)


@sound("digits-adamw-cosine", "decoupled decay and a cosine schedule that ends at zero")
def digits_cosine(seed: int) -> Setup:
    """AdamW to the end of its schedule."""
    rule = optax.adamw(optax.cosine_decay_schedule(3e-3, 600), weight_decay=1e-2)
    return Setup(classifier(*digits(seed, standardized=True), [64, 64, 10]), rule, 64, 600)


@sound("digits-warmup-clip", "a warm-up and a clipping norm that is rarely met")
def digits_warmup(seed: int) -> Setup:
    """Sixty steps of warm-up."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, 3e-3, 60, 800)
    rule = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    return Setup(classifier(*digits(seed), [64, 64, 10]), rule, 64, 800)


@sound("digits-lion", "the sign rule at a tenth of Adam's rate")
def digits_lion(seed: int) -> Setup:
    """Lion."""
    return Setup(classifier(*digits(seed, standardized=True), [64, 64, 10]), optax.lion(3e-4), 64, 600)


@sound("digits-tanh", "a tanh network of four layers with its own scale of weights")
def digits_tanh(seed: int) -> Setup:
    """Weights of variance 1 / fan-in."""
    problem = classifier(*digits(seed, standardized=True), [64, 50, 50, 50, 10], activation=jnp.tanh, gain=1.0)
    return Setup(problem, optax.adam(1e-3), 64, 800)


@sound("digits-label-noise", "a quarter of the training labels is wrong")
def digits_label_noise(seed: int) -> Setup:
    """No change of the training mends the labels."""
    (images, labels), held = digits(seed, standardized=True)
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(labels)) < 0.25
    labels = np.where(wrong, rng.integers(0, 10, len(labels)), labels).astype(np.int32)
    return Setup(classifier((images, labels), held, [64, 16, 10]), optax.adam(3e-3), 64, 300)


@sound("digits-smoothed", "labels smoothed by a tenth: the loss has a floor")
def digits_smoothed(seed: int) -> Setup:
    """The entropy of the labels is left."""

    def criterion(z: jax.Array, labels: jax.Array) -> jax.Array:
        return optax.softmax_cross_entropy(z, optax.smooth_labels(jax.nn.one_hot(labels, 10), 0.1))

    problem = classifier(*digits(seed, standardized=True), [64, 64, 10], criterion=criterion)
    return Setup(problem, optax.adam(3e-3), 64, 500)


@sound("noisy-regression", "half of the targets' variance is noise")
def noisy_regression(seed: int) -> Setup:
    """Half of the loss stays."""
    inputs, targets = curve(1600, 6, seed, noise=0.5)
    problem = regression((inputs[:1200], targets[:1200]), (inputs[1200:], targets[1200:]), [6, 32, 1])
    return Setup(problem, optax.adam(3e-3), 64, 500)


@sound("smooth-regression", "a smooth function, SGD with momentum")
def smooth_regression(seed: int) -> Setup:
    """Weight decay that hardly acts."""
    inputs, targets = curve(1600, 6, seed)
    problem = regression((inputs[:1200], targets[:1200]), (inputs[1200:], targets[1200:]), [6, 64, 64, 1])
    rule = optax.chain(optax.add_decayed_weights(1e-5), optax.sgd(0.02, momentum=0.9))
    return Setup(problem, rule, 32, 1500)


@sound("rare-class", "one class of three per cent")
def rare_class(seed: int) -> Setup:
    """Well apart from the others."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(4, 2000, p=[0.5, 0.3, 0.17, 0.03]).astype(np.int32)
    centres = 2.0 * rng.standard_normal((4, 10))
    inputs = (centres[labels] + rng.standard_normal((2000, 10))).astype(np.float32)
    problem = classifier((inputs[:1500], labels[:1500]), (inputs[1500:], labels[1500:]), [10, 32, 4])
    return Setup(problem, optax.adam(3e-3), 64, 400)


@sound("binary-sigmoid", "one output and a binary criterion on its logit")
def binary_sigmoid(seed: int) -> Setup:
    """Standardized features of tumours."""
    inputs, labels = datasets.load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    inputs, labels = inputs[order], labels[order].astype(np.float32)
    inputs = ((inputs - inputs[:400].mean(0)) / inputs[:400].std(0)).astype(np.float32)
    train, held = (inputs[:400], labels[:400]), (inputs[400:], labels[400:])

    def loss(params: Any, batch: Any, key: Any) -> jax.Array:
        return jnp.mean(optax.sigmoid_binary_cross_entropy(perceptron(params, batch[0])[:, 0], batch[1]))

    def score(params: Any, batch: Any) -> jax.Array:
        return jnp.mean((perceptron(params, held[0])[:, 0] > 0) == (held[1] > 0.5))

    init = lambda key: layers(key, [30, 16, 1])  # noqa: E731
    problem = lab.from_loss(loss, init, train, validation=held, metrics={"score": score})
    return Setup(problem, optax.adam(3e-3), 32, 300)


@sound("probabilities", "softmax outputs and the logarithm of the true class's one, as written by hand")
def probabilities(seed: int) -> Setup:
    """A softmax that belongs there."""

    def criterion(p: jax.Array, labels: jax.Array) -> jax.Array:
        return -jnp.log(jnp.clip(p[jnp.arange(len(labels)), labels], 1e-7, 1.0))

    problem = classifier(*digits(seed, standardized=True), [64, 64, 10], outputs=jax.nn.softmax, criterion=criterion)
    return Setup(problem, optax.adam(3e-3), 64, 500)


@sound("half-precision", "bfloat16 parameters with steps that they can hold")
def half_precision(seed: int) -> Setup:
    """A rate at which updates are not lost."""
    train, held = digits(seed, standardized=True)

    def loss(params: Any, batch: Any, key: Any) -> jax.Array:
        z = perceptron(params, batch[0].astype(jnp.bfloat16)).astype(jnp.float32)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(z, batch[1]))

    def score(params: Any, batch: Any) -> jax.Array:
        return jnp.mean(jnp.argmax(perceptron(params, held[0].astype(jnp.bfloat16)), -1) == held[1])

    init = lambda key: layers(key, [64, 64, 10], dtype=jnp.bfloat16)  # noqa: E731
    problem = lab.from_loss(loss, init, train, validation=held, metrics={"score": score})
    return Setup(problem, optax.adam(5e-3), 64, 500)


@sound("gaussian-likelihood", "a mean and a variance for each input: the loss may be negative")
def gaussian_likelihood(seed: int) -> Setup:
    """The variance depends on the input."""
    rng = np.random.default_rng(seed)
    inputs = rng.uniform(-1, 1, (1600, 2)).astype(np.float32)
    targets = np.sin(3 * inputs[:, 0]) + np.exp(inputs[:, 1] - 2) * rng.standard_normal(1600)
    train, held = ((inputs[a], targets[a].astype(np.float32)) for a in (slice(1200), slice(1200, None)))

    def loss(params: Any, batch: Any, key: Any) -> jax.Array:
        z = perceptron(params, batch[0], jnp.tanh)
        return jnp.mean(0.5 * jnp.exp(-z[:, 1]) * (z[:, 0] - batch[1]) ** 2 + 0.5 * z[:, 1])

    def score(params: Any, batch: Any) -> jax.Array:
        return 1 - jnp.mean((perceptron(params, held[0], jnp.tanh)[:, 0] - held[1]) ** 2) / jnp.var(held[1])

    init = lambda key: layers(key, [2, 32, 32, 2], 1.0)  # noqa: E731
    problem = lab.from_loss(loss, init, train, validation=held, metrics={"score": score})
    return Setup(problem, optax.adam(3e-3), 64, 1000)


@sound("fine-tuning", "a frozen layer under a head that is trained")
def fine_tuning(seed: int) -> Setup:
    """The rule freezes the first layer on purpose."""
    problem = classifier(*digits(seed, standardized=True), [64, 128, 10])
    labels = lambda params: [{"weight": "fixed", "bias": "fixed"}, {"weight": "head", "bias": "head"}]  # noqa: E731
    rule = optax.multi_transform({"fixed": optax.set_to_zero(), "head": optax.adam(3e-3)}, labels)
    return Setup(problem, rule, 64, 500)


@sound("autoencoder", "images through eight units and back")
def autoencoder(seed: int) -> Setup:
    """Inputs are the targets."""
    (train, _), (held, _) = digits(seed)

    def loss(params: Any, batch: Any, key: Any) -> jax.Array:
        return jnp.mean((perceptron(params, batch) - batch) ** 2)

    def score(params: Any, batch: Any) -> jax.Array:
        return 1 - jnp.mean((perceptron(params, held) - held) ** 2) / jnp.mean((held - held.mean(0)) ** 2)

    init = lambda key: layers(key, [64, 48, 16, 48, 64])  # noqa: E731
    problem = lab.from_loss(loss, init, train, validation=held, metrics={"score": score})
    return Setup(problem, optax.adam(2e-3), 64, 1000)


@sound("logistic", "a linear classifier that suffices")
def logistic(seed: int) -> Setup:
    """Two classes, nearly apart."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 1000).astype(np.int32)
    inputs = (1.5 * (2 * labels[:, None] - 1) / np.sqrt(5) * np.ones(5) + rng.standard_normal((1000, 5))).astype(
        np.float32
    )
    problem = classifier((inputs[:700], labels[:700]), (inputs[700:], labels[700:]), [5, 2], gain=1.0)
    return Setup(problem, optax.sgd(0.5), 32, 300)


@sound("large-batch-adagrad", "AdaGrad on all of the data")
def adagrad(seed: int) -> Setup:
    """Full batches."""
    train, held = digits(seed, standardized=True, num_train=600)
    return Setup(classifier(train, held, [64, 64, 10]), optax.adagrad(0.05), 600, 300)
