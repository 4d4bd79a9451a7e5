"""The laws of problems hold for ours, and each fails for a problem that breaks it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import Composite, Truth
from jaxopt_lab.testing import LawError, check_problem

ROWS = jnp.asarray(np.random.default_rng(0).normal(size=(8, 3)), jnp.float32)


def line(loss=lambda w, batch, key: jnp.mean((batch @ w - 1) ** 2), **facts):
    return dataclasses.replace(lab.from_loss(loss, jnp.ones(3), ROWS), **facts)


def randomly(w, batch, key):
    noise = np.random.default_rng().normal()
    return jnp.mean((batch @ w - noise) ** 2)


def elsewhere(key):
    return jnp.asarray(np.random.default_rng().normal(size=3), jnp.float32)


@jax.custom_vjp
def twice(x):
    return x


twice.defvjp(lambda x: (x, None), lambda _, slope: (2 * slope,))


@pytest.mark.parametrize(
    ("law", "problem"),
    [
        ("the loss is a real scalar", lambda: dataclasses.replace(line(), loss=lambda w, batch, key: batch @ w)),
        ("initialization is a function of the key", lambda: line(init=elsewhere)),
        ("equal keys give equal losses", lambda: line(randomly)),
        (
            "the gradient is the slope of the loss",
            lambda: line(lambda w, batch, key: jnp.mean((batch @ twice(w) - 1) ** 2)),
        ),
        ("the loss is a mean over examples", lambda: line(lambda w, batch, key: jnp.sum((batch @ w - 1) ** 2))),
        (
            "criterion of outputs is the loss",
            lambda: line(composite=Composite(lambda w, batch: batch @ w, lambda z, batch: jnp.mean(z**2), "gaussian")),
        ),
        (
            "the truth bounds the hessian",
            lambda: dataclasses.replace(
                lab.objectives.quadratic([2.0, 1.0]), truth=Truth(eigenvalues=np.array([1.0, 3.0]), smoothness=3.0)
            ),
        ),
    ],
)
def test_each_law_fails_where_it_is_broken(law, problem):
    with pytest.raises(LawError, match=law):
        check_problem(problem(), laws=[law])
    check_problem(line(), laws=[law])


def test_ours_keep_them():
    check_problem(line())
    check_problem(lab.objectives.quadratic([2.0, 1.0]))
