"""Log-determinants against known spectra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab.core import InputError, precision
from jaxopt_lab.curvature import from_diagonal, from_matrix, log_determinant

DIM = 48
EIGENVALUES = np.geomspace(1e-2, 1e2, DIM)
REPETITIONS = 100


def rotated(eigenvalues) -> jax.Array:
    noise = np.random.default_rng(0).normal(size=(len(eigenvalues), len(eigenvalues)))
    basis = np.linalg.qr(noise)[0]
    matrix = (basis * eigenvalues) @ basis.T
    return jnp.asarray((matrix + matrix.T) / 2)


def test_the_nominal_interval_covers_the_truth_as_often_as_it_says():
    truth = np.log(EIGENVALUES + 0.1).sum()
    with precision("float64"):
        matrix = from_matrix(rotated(EIGENVALUES))
        keys = jax.random.split(jax.random.key(0), REPETITIONS)
        found = [log_determinant(matrix, damping=0.1, num_probes=4, num_steps=10, key=key) for key in keys]
    coverage = np.mean([low <= truth <= high for low, high in (e.interval for e in found)])
    assert 0.90 <= coverage <= 0.99  # the bracket is narrow beside the t-interval here
    assert {e.cost for e in found} == {40}


def test_few_steps_widen_the_interval_and_keep_it_true():
    truth = np.log(EIGENVALUES).sum()
    with precision("float64"):
        matrix = from_matrix(rotated(EIGENVALUES))
        few, many = (
            log_determinant(matrix, lower=1e-2, num_probes=16, num_steps=steps, key=jax.random.key(1))
            for steps in (3, 24)
        )
    for estimate in (few, many):
        assert estimate.interval[0] <= truth <= estimate.interval[1]
    assert few.interval[1] - few.interval[0] > 1.5 * (many.interval[1] - many.interval[0])


def test_a_small_operator_is_exact_from_d_products():
    matrix = from_matrix(rotated(EIGENVALUES).astype(jnp.float32))
    estimate = log_determinant(matrix, damping=1.0, num_steps=DIM)
    assert estimate.value == pytest.approx(np.log1p(EIGENVALUES).sum(), rel=1e-5)
    assert (estimate.level, estimate.cost) == (1.0, DIM)


@pytest.mark.parametrize("entry", [0.0, 2.0])
def test_a_multiple_of_the_identity_is_exact_from_one_product_a_probe(entry):
    estimate = log_determinant(from_diagonal(jnp.full(DIM, entry)), damping=1.0, num_probes=2)
    assert estimate.value == pytest.approx(DIM * np.log(1 + entry), abs=1e-4)
    assert estimate.cost == 2
    assert estimate.interval[1] - estimate.interval[0] < 2e-4  # float32 rounding of each row


def test_an_operator_of_one_row():
    assert log_determinant(from_diagonal(jnp.full(1, 3.0)), damping=1.0).value == pytest.approx(np.log(4), rel=1e-6)


def test_a_singular_operator_is_bracketed_down_to_a_small_damping():
    eigenvalues = np.concatenate([np.zeros(DIM // 2), np.linspace(1, 4, DIM // 2)])
    with precision("float64"):
        estimate = log_determinant(from_matrix(rotated(eigenvalues)), damping=1e-6, num_probes=16, num_steps=20)
    assert abs(estimate.value - np.log(eigenvalues + 1e-6).sum()) < 4 * estimate.standard_error


def test_rounding_widens_the_interval_where_the_damping_is_below_it():
    singular = np.concatenate([np.zeros(DIM // 2), np.linspace(1e3, 1e5, DIM // 2)])
    matrix = from_matrix(rotated(singular).astype(jnp.float32))
    wide, narrow = (log_determinant(matrix, damping=damping, num_steps=DIM).interval for damping in (1e-3, 1e3))
    assert wide[1] - wide[0] > 100 * (narrow[1] - narrow[0])


def test_wrong_arguments_are_refused():
    indefinite = from_diagonal(jnp.linspace(-1, 1, 64))
    with pytest.raises(InputError, match=r"lower \+ damping must be positive and finite, got 0.0. The logarithm needs"):
        log_determinant(indefinite)
    with pytest.raises(InputError, match=r"diagonal has an eigenvalue of at most -[01].*, below 0. Give that bound"):
        log_determinant(indefinite, damping=0.1)
    with pytest.raises(InputError, match="num_probes must be a whole number of at least 2, got 1"):
        log_determinant(indefinite, damping=2.0, num_probes=1)
