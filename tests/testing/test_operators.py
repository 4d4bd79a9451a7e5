"""The laws of operators hold for ours, and each fails for an operator that breaks it."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab import curvature
from jaxopt_lab.core import Composite, InputError, Problem
from jaxopt_lab.testing import LawError, check_operator
from jaxopt_lab.testing.operators import OPERATOR_LAWS

MATRIX = jnp.asarray(np.diag([3.0, 2.0, 1.0, -1.0]), jnp.float32)
SPACE = jnp.zeros(4)


def network():
    data = (jnp.asarray(np.random.default_rng(0).normal(size=(12, 3)), jnp.float32), jnp.arange(12) % 2)
    outputs = lambda w, batch: jnp.tanh(batch[0] @ w["a"]) @ w["b"]  # noqa: E731
    criterion = lambda z, batch: jnp.mean((z - batch[1]) ** 2)  # noqa: E731
    params = {"a": jnp.linspace(-1, 1, 6).reshape(3, 2), "b": jnp.ones(2)}
    loss = lambda w, batch, key: criterion(outputs(w, batch), batch)  # noqa: E731
    return Problem(loss, lambda key: params, data, composite=Composite(outputs, criterion, "gaussian")), params


@pytest.mark.parametrize("factory", [curvature.hessian, curvature.gauss_newton, curvature.empirical_fisher])
def test_ours_keep_them(factory):
    check_operator(factory(*network()))
    check_operator(factory(*network(), chunk_size=5))


def test_differences_of_gradients_keep_them_to_their_own_precision():
    check_operator(curvature.hessian(*network(), product="finite-difference"))


def noisy():
    draws = np.random.default_rng(0)
    return lambda vector: float(draws.uniform(1, 2)) * vector


@pytest.mark.parametrize(
    ("law", "operator"),
    [
        ("a product is like its vector", curvature.operator(lambda v: v[:3], SPACE)),
        ("a product is like its vector", curvature.operator(lambda v: v / 0.0, SPACE)),
        ("a product repeated is the same", curvature.operator(noisy(), SPACE)),
        ("the map is linear", curvature.operator(lambda v: v + 1, SPACE)),
        ("the map is linear", curvature.operator(lambda v: jnp.abs(v), SPACE)),
        ("the map is symmetric", curvature.operator(lambda v: jnp.roll(v, 1), SPACE)),
        (
            "no product points back where none may",
            curvature.operator(lambda v: -v, SPACE, semidefinite=True),
        ),
        (
            "products may be compiled",
            curvature.operator(jax.tree_util.Partial(lambda v: jnp.asarray(np.asarray(v))), SPACE),
        ),
        (
            "eigenpairs are those of the dense matrix",
            dataclasses.replace(curvature.operator(lambda v: v.at[0].add(jnp.sum(v)), SPACE), sound=True),
        ),
    ],
)
def test_each_law_fails_where_it_is_broken(law, operator):
    with pytest.raises(LawError, match=law):
        check_operator(operator, laws=[law])
    check_operator(curvature.from_matrix(MATRIX), laws=[law])


def test_an_unknown_law_gets_the_nearest_name():
    with pytest.raises(InputError, match="Did you mean 'the map is linear'"):
        check_operator(curvature.from_matrix(MATRIX), laws=["the map is lineer"])
    chex.assert_equal(len(OPERATOR_LAWS), 7)
