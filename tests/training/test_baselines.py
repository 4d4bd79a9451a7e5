"""The loss of the best constant output where it is known: entropies, half variances."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab.core import Composite, from_loss
from jaxopt_lab.training.baselines import constant_loss, loss_reach

LABELS = jnp.array([0, 0, 0, 1, 2, 2, 1, 0])
ENTROPY = -sum(share * np.log(share) for share in (0.5, 0.25, 0.25))
TARGETS = jnp.asarray(np.random.default_rng(0).normal(size=(8, 3)))


def problem_of(outputs, criterion, family, targets, start=0.0):
    """outputs(params, inputs) of a parameter that counts for nothing, with eight inputs."""
    form = Composite(lambda params, batch: outputs(params, batch[0]), lambda z, batch: criterion(z, batch[1]), family)
    loss = lambda params, batch, key: form.criterion(form.outputs(params, batch), batch)  # noqa: E731
    problem = from_loss(loss, jnp.asarray(start), (jnp.ones((8, 1)), targets))
    return dataclasses.replace(problem, composite=form)


def wide(width):
    return lambda params, inputs: params + jnp.zeros((inputs.shape[0], width))


def softmax(logits, labels):
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def sigmoid(logits, labels):
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits[:, 0], (labels > 0).astype(jnp.float32)))


def squares(outputs, targets):
    return 0.5 * jnp.mean(jnp.sum((outputs - targets) ** 2, -1))


@pytest.mark.parametrize(
    ("width", "criterion", "family", "targets", "loss", "classes"),
    [
        (3, softmax, "categorical", LABELS, ENTROPY, 3),
        (1, sigmoid, "bernoulli", LABELS, np.log(2), 2),  # four of eight
        (3, squares, "gaussian", TARGETS, 0.5 * float(jnp.var(TARGETS, axis=0).sum()), None),
    ],
)
def test_it_is_the_entropy_of_the_labels_or_half_the_variance_of_the_targets(
    width, criterion, family, targets, loss, classes
):
    found = constant_loss(problem_of(wide(width), criterion, family, targets))
    assert found == (pytest.approx(loss, rel=1e-3), classes)  # a ridge of 1e-4 in Newton's steps


@pytest.mark.parametrize("width", [256, 257])
def test_of_more_than_256_outputs_it_is_not_known(width):
    targets = jnp.ones((8, width)).at[:4].set(-1.0)
    found = constant_loss(problem_of(wide(width), squares, "gaussian", targets))
    assert found == ((pytest.approx(0.5 * width, rel=1e-3), None) if width == 256 else (None, None))


@pytest.mark.parametrize("outputs", [lambda params, inputs: params, lambda params, inputs: (inputs, inputs)])
def test_outputs_of_several_arrays_or_of_one_number_have_none(outputs):
    criterion = lambda z, targets: sum(jnp.mean(leaf) for leaf in jax.tree.leaves(z))  # noqa: E731
    assert constant_loss(problem_of(outputs, criterion, None, TARGETS)) == (None, None)


def test_without_a_form_or_data_it_is_not_known_and_the_start_alone_counts():
    problem = problem_of(wide(3), squares, "gaussian", TARGETS, start=10.0)
    plain, bare = (dataclasses.replace(problem, **{name: None}) for name in ("composite", "data"))
    assert constant_loss(plain) == constant_loss(bare) == (None, None)
    assert loss_reach(plain) == pytest.approx(float(squares(10.0, TARGETS)), rel=1e-5)
    near = problem_of(wide(3), squares, "gaussian", TARGETS, start=jnp.nan)
    assert loss_reach(near) == pytest.approx(constant_loss(near)[0])
    unknown = dataclasses.replace(near, composite=None)
    assert loss_reach(unknown) == 0.0
