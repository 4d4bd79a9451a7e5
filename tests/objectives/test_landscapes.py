import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab import objectives
from jaxopt_lab.core import InputError, precision
from jaxopt_lab.objectives.landscapes import _contract, _couplings

POINTS = np.random.default_rng(0).normal(size=(3, 6))
POINTS *= np.sqrt(6) / np.linalg.norm(POINTS, axis=1, keepdims=True)
DRAWS = 20_000


@pytest.mark.parametrize(
    ("make", "covariance"),
    [
        (lambda key: objectives.spherical_spin_glass(key, 6), 6 * (POINTS @ POINTS.T / 6) ** 3),
        (
            lambda key: objectives.gaussian_field(key, 6, 60),
            6 * np.exp(-np.square(POINTS[:, None] - POINTS).sum(-1) / 12),
        ),
    ],
    ids=["spin glass", "field"],
)
def test_heights_have_the_stated_covariance(make, covariance):
    heights = jax.jit(jax.vmap(lambda key: jax.vmap(make(key).full_loss)(jnp.asarray(POINTS))))(
        jax.random.split(jax.random.key(0), DRAWS)
    )
    heights = np.asarray(heights, float)
    # The product of two Gaussians of variance 6 has a standard deviation of at most 6 sqrt 2.
    np.testing.assert_allclose(heights.T @ heights / DRAWS, covariance, atol=4 * 6 * np.sqrt(2 / DRAWS))


def test_derivatives_of_the_contraction_are_those_of_the_sum():
    with precision():
        couplings = _couplings(jax.random.key(1), 4, 3, jnp.zeros(0).dtype)
        spins, tensor = np.array([0.3, -1.0, 0.5, 2.0]), np.asarray(couplings)
        value, slope = jax.value_and_grad(_contract, argnums=2)(3, couplings, spins)
        curvature = jax.hessian(_contract, argnums=2)(3, couplings, spins)
    np.testing.assert_allclose(value, np.einsum("ijk,i,j,k", tensor, spins, spins, spins), rtol=1e-12)
    chex.assert_trees_all_close(slope, 3 * np.einsum("ijk,j,k->i", tensor, spins, spins), rtol=1e-12)
    np.testing.assert_allclose(curvature, 6 * np.einsum("ijk,k->ij", tensor, spins), rtol=1e-12)


def test_starts_lie_on_the_sphere():
    problem = objectives.spherical_spin_glass(jax.random.key(0), 6)
    assert float(jnp.sum(problem.init(jax.random.key(2)) ** 2)) == pytest.approx(6.0, rel=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda key: objectives.spherical_spin_glass(key, 5, 2),
            "degree must be a whole number of at least 3, got 2. At 2 it is a quadratic form",
        ),
        (lambda key: objectives.spherical_spin_glass(key, 5, start=np.zeros(5)), "start is the origin"),
        (lambda key: objectives.spherical_spin_glass(key, 100_000), r"100000\^3 couplings needs"),
        (lambda key: objectives.gaussian_field(key, 5, 4), "num_features must be a whole number of at least 5, got 4"),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make(jax.random.key(0))
