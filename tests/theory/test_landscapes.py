import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import landscapes


def wigner(rng, dim):
    """A symmetric matrix whose eigenvalues fill a semicircle of radius 2."""
    matrix = rng.normal(size=(dim, dim))
    return (matrix + matrix.T) / np.sqrt(2 * dim)


def test_the_semicircle_is_that_of_a_random_matrix():
    values = np.linalg.eigvalsh(wigner(np.random.default_rng(0), 600))
    for point in (-1.5, -0.4, 0.3, 1.9):
        assert abs((values < point).mean() - landscapes.semicircle_cdf(point)) < 2 / 600 * 2  # the bulk's law to 2 / N


def test_below_the_network_threshold_no_direction_leads_down():
    rng, dim, phi = np.random.default_rng(1), 600, 0.25
    data = rng.normal(size=(dim, round(dim / phi)))
    wishart = data @ data.T / data.shape[1]
    edge = landscapes.network_index_threshold(phi)
    for share, expected in ((0.5, 0.0), (1.5, 0.018), (3.0, 0.080)):
        values = np.linalg.eigvalsh(wishart + np.sqrt(2 * share * edge) * wigner(rng, dim))
        assert abs((values < 0).mean() - expected) < 0.006  # a few eigenvalues of 600


def test_the_index_of_a_random_matrix_hardly_fluctuates():
    rng = np.random.default_rng(2)
    counts = [int((np.linalg.eigvalsh(wigner(rng, 40)) < 0).sum()) for _ in range(4000)]
    error = np.sqrt(2 / 4000) * np.var(counts)  # of a variance
    assert abs(np.var(counts) - landscapes.index_variance(40)) < 4 * error


@pytest.mark.parametrize("degree", [3, 4, 10])
def test_minima_of_the_spin_model_begin_at_its_threshold(degree):
    edge = landscapes.spherical_threshold(degree)
    assert landscapes.spherical_index(edge - 1e-6, degree) == 0
    assert landscapes.spherical_index(edge + 1e-3, degree) > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: landscapes.spherical_index(0.0, 2), "degree must be a whole number of at least 3, got 2"),
        (lambda: landscapes.semicircle_cdf(0.0, -1.0), "radius must be in"),
        (lambda: landscapes.network_index_threshold(1.5), "parameters_per_example must be in"),
        (lambda: landscapes.index_variance(1), "dim must be in"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
