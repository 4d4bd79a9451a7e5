import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab import curvature
from jaxopt_lab.core import precision
from jaxopt_lab.curvature import conditioning, lanczos
from jaxopt_lab.curvature.conditioning import describe


def measured(values, dtype="float32", **options):
    return curvature.condition_number(curvature.from_diagonal(jnp.asarray(np.asarray(values, dtype))), **options)


@pytest.mark.parametrize("kappa", [1e2, 1e4])
def test_the_interval_holds_the_truth(kappa):
    low, high = measured(np.geomspace(1 / kappa, 1, 300)).absolute.interval
    assert low <= kappa <= high < np.inf


def test_float32_gives_a_bound_where_it_cannot_certify():
    low, high = measured(np.geomspace(1e-6, 1, 300)).absolute.interval
    assert 1e5 < low <= 1e6
    assert high == np.inf


def test_float64_certifies_what_float32_cannot():
    truth = np.geomspace(1e-9, 1, 300)
    coarse = measured(truth)
    assert coarse.absolute.interval[1] == np.inf
    assert str(coarse).startswith(">= ")
    with precision():
        low, high = measured(truth, "float64").absolute.interval
    assert low <= 1e9 <= high < 1.01e9


def test_an_indefinite_operator_gets_a_lower_bound_that_holds():
    truth = np.concatenate([np.geomspace(1e-3, 1, 1500), -np.geomspace(1e-2, 2, 1500)])
    found = measured(truth, max_products=200)
    assert 1 < found.absolute.interval[0] <= 2 / 1e-3
    assert 1 < found.positive.interval[0] <= 1 / 1e-3
    assert found.absolute.interval[1] == found.positive.interval[1] == np.inf


def test_a_small_indefinite_operator_is_exact():
    found = measured([-4.0, 0.5, 3.0, 2.0])
    np.testing.assert_allclose([found.absolute.value, found.positive.value], [8.0, 6.0], rtol=1e-5)


def test_a_negative_operator_has_no_positive_part():
    assert describe(measured([-1.0, -2.0]).positive) == "does not exist"


def test_a_singular_operator_is_never_certified():
    assert measured([0.0, 1.0, 2.0]).absolute.interval[1] == np.inf


def settled(monkeypatch, values, errors, least_norm):
    """The condition number where both ends are known but the space is not the whole space."""
    values, errors = np.asarray(values), np.asarray(errors)
    side = lanczos.Eigenpairs(values[:1], errors[:1], np.ones(1, bool), None, 1)
    ends = lanczos.Ends(side, side, np.abs(values).max(), 1, True, False, least_norm, values, errors)
    monkeypatch.setattr(conditioning, "eigenpairs", lambda *given, **options: ends)
    return curvature.condition_number(curvature.from_diagonal(jnp.ones(9)))


def test_certified_ends_are_moved_outwards_by_their_errors(monkeypatch):
    found = settled(monkeypatch, [1.0, 2.0, 4.0], [0.1, 0.1, 0.2], 1.05)
    assert found.absolute.interval == pytest.approx((3.8 / 1.05, 4.2 / 0.9))
    assert found.positive.interval == pytest.approx((3.8 / 1.1, 4.2 / 0.9))


def test_a_negative_definite_operators_inner_edge_is_its_largest_eigenvalue(monkeypatch):
    found = settled(monkeypatch, [-4.0, -2.0, -1.0], [0.2, 0.1, 0.1], 1.05)
    assert found.absolute.interval == pytest.approx((3.8 / 1.05, 4.2 / 0.9))
    assert np.isnan(found.positive.interval).all()


def test_an_indefinite_operator_has_no_certified_inner_edge(monkeypatch):
    found = settled(monkeypatch, [-4.0, 1.0, 4.0], [0.2, 0.1, 0.2], 0.5)
    assert found.absolute.interval == pytest.approx((3.8 / 0.5, np.inf))
