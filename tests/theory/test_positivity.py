import math
from decimal import Decimal

import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import landscapes, positivity


def test_small_matrices_have_their_closed_forms():
    # a > 0 and a c > b^2 in the plane is a cone; three rows: Majumdar, Nadal, Scardicchio and Vivo 2011.
    closed = {1: 0.5, 2: (2 - math.sqrt(2)) / 4, 3: (math.pi - 2 * math.sqrt(2)) / (4 * math.pi)}
    for dim, expected in closed.items():
        assert float(positivity.minimum_probability(dim)) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("dim", [4, 5])
def test_it_is_the_share_of_random_matrices_without_a_negative_eigenvalue(dim):
    entries = np.random.default_rng(dim).normal(size=(100_000, dim, dim))
    inside = np.linalg.eigvalsh(entries + entries.transpose(0, 2, 1))[:, 0] > 0
    expected = float(positivity.minimum_probability(dim))
    assert abs(inside.mean() - expected) < 4 * math.sqrt(expected / len(inside))


def test_large_matrices_approach_the_asymptote():
    for dim in (6, 7, 10, 40, 80):
        exact = float(positivity.minimum_probability(dim).log10())
        assert abs(exact - float(landscapes.log10_minimum_probability(dim))) < 0.02 / dim / math.log(10)


def test_all_of_its_digits_are_right():
    # The same Pfaffian with 400 digits gives 1.52636e-777 (another program).
    assert f"{positivity.minimum_probability(80):.5E}" == "1.52636E-777"
    assert positivity.minimum_probability(2) == Decimal("0.1464466094067262377995778189")  # (2 - sqrt 2) / 4


def test_a_size_that_is_no_count_is_refused():
    with pytest.raises(InputError, match="dim must be a whole number of at least 1, got 0"):
        positivity.minimum_probability(0)
