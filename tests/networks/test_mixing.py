"""Whether the loss of an example depends on the others of its batch, and where that cannot be told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab.core import from_loss
from jaxopt_lab.networks.activations import resolve_activation
from jaxopt_lab.networks.functional import takes
from jaxopt_lab.networks.initializers import resolve_initializer
from jaxopt_lab.networks.modes import mixes

INPUTS = np.arange(6.0, dtype=np.float32).reshape(6, 1)


def alone(weight, batch, key):
    return jnp.mean((batch @ weight) ** 2)


def centred(weight, batch, key):
    return jnp.mean(((batch - batch.mean(0)) @ weight) ** 2)


def in_sixes(weight, batch, key):
    return jnp.mean((batch.reshape(-1, 6) * weight) ** 2)


def broken(weight, batch, key):
    return alone(weight, batch, key) / jnp.sum(0 * batch)


@pytest.mark.parametrize(("loss", "found"), [(alone, False), (centred, True), (in_sixes, None), (broken, None)])
def test_only_a_loss_of_four_examples_that_is_finite_tells(loss, found):
    params = jnp.ones(1)
    assert mixes(from_loss(loss, params, INPUTS), params) is found
    assert mixes(from_loss(loss, params, INPUTS), jax.ShapeDtypeStruct((1,), jnp.float32)) is found


@pytest.mark.parametrize("data", [None, np.ones((6, 1), np.float32)])
def test_without_two_examples_that_differ_it_cannot_be_told(data):
    loss = lambda weight, batch, key: jnp.sum(weight)  # noqa: E731
    assert mixes(from_loss(loss, jnp.ones(1), data), jnp.ones(1)) is None


def test_functions_are_taken_where_names_are():
    assert resolve_activation(jnp.sin) is jnp.sin
    given = lambda key, shape, dtype: jnp.ones(shape, dtype)  # noqa: E731
    assert resolve_initializer(given, 2.0) is given


@pytest.mark.parametrize(("function", "found"), [(lambda x, train: x, True), (lambda x: x, False), (min, False)])
def test_what_has_no_signature_takes_no_name(function, found):
    assert takes(function, "train") is found
