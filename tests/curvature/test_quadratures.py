import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab import curvature
from jaxopt_lab.core import InputError, precision
from jaxopt_lab.curvature.operators import random_vector
from jaxopt_lab.curvature.quadratures import gauss_quadratures


def of(values, dtype="float32"):
    return curvature.from_diagonal(jnp.asarray(np.asarray(values, dtype)))


def piled_up(seed):
    """A spectrum as networks have it: eigenvalues of both signs pile up at zero over many decades, with outliers."""
    rng = np.random.default_rng(seed)
    bulk = np.concatenate([np.exp(rng.normal(-6, 3, 1800)), -np.exp(rng.normal(-7, 2, 190))])
    return np.concatenate([bulk / np.abs(bulk).max(), np.linspace(1, 3, 10)])


def test_gauss_rules_integrate_polynomials_exactly():
    with precision():
        (rule,) = gauss_quadratures(of(np.linspace(-1, 1, 50), "float64"), 1, 5, jax.random.key(3))
        signs = np.asarray(random_vector(jax.random.split(jax.random.key(3), 1)[0], jax.ShapeDtypeStruct((50,), jnp.float64), "rademacher"))  # fmt: skip
    nodes, weights = rule.rule
    for power in range(2 * 5):
        expected = np.mean(signs**2 * np.linspace(-1, 1, 50) ** power)
        np.testing.assert_allclose(weights @ nodes**power, expected, atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("threshold", [1e-4, 1e-2])
def test_the_bracket_holds_the_true_shares(seed, threshold):
    truth = piled_up(seed)
    found = curvature.index(of(truth), threshold, num_probes=6, num_steps=40, key=jax.random.key(seed))
    for share, estimate in (
        (np.mean(truth < -found.threshold), found.negative),
        (np.mean(truth > found.threshold), found.positive),
    ):
        low, high = estimate.interval
        assert low <= share <= high


def test_where_eigenvalues_pile_up_at_the_threshold_it_says_that_it_cannot_tell():
    found = curvature.index(of(piled_up(0)), 1e-6, num_probes=4, num_steps=20)
    assert not found.resolved
    assert str(found).startswith("cannot tell: between")


def test_a_clear_index_is_resolved():
    truth = np.concatenate([np.full(90, -1.0), np.full(210, 2.0)])
    found = curvature.index(of(truth), 1e-3)
    assert found.resolved
    low, high = found.negative.interval
    assert low <= 0.3 <= high


def test_the_density_is_that_of_the_smoothed_spectrum():
    truth = np.linspace(0, 1, 2000)
    density = curvature.spectral_density(of(truth), num_probes=8, num_steps=80, width=0.1)
    kernel = np.exp(-0.5 * ((density.grid[:, None] - truth) / density.width) ** 2) / (
        density.width * np.sqrt(2 * np.pi)
    )
    off = np.abs(density.values - kernel.mean(1))
    # Eight probes: four standard errors, beside the quadrature's own ripple.
    assert (off <= 4 * density.errors + 0.02).all()
    np.testing.assert_allclose(np.trapezoid(density.values, density.grid), 1.0, atol=1e-3)


GHOSTLY = {
    "outliers": lambda rng: np.concatenate([np.exp(rng.normal(-6, 3, 3000)).clip(0, 0.5), [10, 20, 40, 80]]),
    "gaps": lambda rng: np.concatenate([np.zeros(2000), rng.normal(0, 1e-3, 500), [1, 1e2, 1e4]]),
    "even": lambda rng: np.linspace(-1, 1, 3000),
    "signs": lambda rng: np.concatenate([rng.normal(0, 0.1, 3000), -np.exp(rng.normal(-7, 2, 190)), [5, 6, 7, -4]]),
}


@pytest.mark.parametrize("name", GHOSTLY)
@pytest.mark.parametrize("seed", range(3))
def test_without_a_basis_the_bounds_on_masses_hold_although_there_are_ghosts(name, seed):
    rng = np.random.default_rng(seed)
    truth, key = GHOSTLY[name](rng), jax.random.key(seed)
    (rule,) = gauss_quadratures(of(truth), 1, 120, key, basis="none")
    if name in ("outliers", "gaps"):
        nodes = rule.rule[0]
        assert (np.abs(nodes - truth.max()) < 1e-4 * truth.max()).sum() > 1, "no ghosts: the case is too easy"
    for point in np.quantile(truth, np.linspace(0.01, 0.99, 25)):
        low, high = rule.mass_below(point)
        assert low <= np.mean(truth < point)
        assert np.mean(truth <= point) <= high


def test_without_a_basis_the_density_is_the_same_within_its_bound():
    truth = GHOSTLY["outliers"](np.random.default_rng(0))
    kept, dropped = (
        curvature.spectral_density(of(truth), num_probes=2, num_steps=60, width=0.5, basis=basis)
        for basis in ("device", "none")
    )
    masses = [np.cumsum(density.values) * np.diff(density.grid)[0] for density in (kept, dropped)]
    np.testing.assert_allclose(*masses, atol=np.sqrt(2.0**-23))
    logarithmic = curvature.spectral_density(of(truth), axis="log", num_steps=60, basis="none")
    assert logarithmic.near_zero == pytest.approx(np.mean(truth < 80 * np.sqrt(2.0**-23)), abs=0.05)


def test_without_a_basis_a_closed_space_gives_the_measure_itself():
    (rule,) = gauss_quadratures(of([1.0, 1.0, 3.0, 3.0]), 1, 4, basis="none")
    assert (rule.exact, rule.products) == (True, 2)
    np.testing.assert_allclose(rule.rule, [[1, 3], [0.5, 0.5]], rtol=1e-5)


def test_without_a_basis_the_memory_does_not_grow_with_the_steps(monkeypatch):
    monkeypatch.setattr("jaxopt_lab.curvature.quadratures.available_memory", lambda: 5 * 400)
    assert gauss_quadratures(of(np.linspace(1, 2, 100)), 1, 50, basis="none")[0].products > 5
    monkeypatch.setattr("jaxopt_lab.curvature.quadratures.available_memory", lambda: 4 * 400)
    with pytest.raises(InputError, match="a recurrence of 5 vectors needs"):
        gauss_quadratures(of(np.linspace(1, 2, 100)), 1, 50, basis="none")


@pytest.mark.parametrize("basis", ["bfloat16", "host"])
@pytest.mark.parametrize("name", [*GHOSTLY, "whole"])
def test_a_rounded_or_distant_basis_gives_the_nodes_of_the_one_on_the_device(name, basis):
    rng, key = np.random.default_rng(1), jax.random.key(1)
    truth = GHOSTLY[name](rng) if name in GHOSTLY else np.concatenate([rng.normal(0, 0.1, 90), [5, 6, 7, -4]])
    steps = min(120, len(truth))
    (expected,), (rule,) = (gauss_quadratures(of(truth), 1, steps, key, basis=each) for each in ("device", basis))
    np.testing.assert_allclose(rule.rule[0], expected.rule[0], rtol=0, atol=rule.rounding / 4)
    for point in np.quantile(truth, np.linspace(0.01, 0.99, 25)):
        low, high = rule.mass_below(point)
        assert low <= np.mean(truth < point) + 1e-9
        assert np.mean(truth <= point) - 1e-9 <= high


def test_a_rounded_basis_takes_half_of_the_memory_and_one_on_the_host_none(monkeypatch):
    room, matrix = "jaxopt_lab.curvature.quadratures.available_memory", of(np.linspace(1, 2, 100))
    for basis, vectors in (("device", 53), ("bfloat16", 31), ("host", 5)):
        monkeypatch.setattr(room, lambda vectors=vectors: vectors * 400)
        assert gauss_quadratures(matrix, 1, 50, basis=basis)[0].rounding < 1e-3
        monkeypatch.setattr(room, lambda vectors=vectors: vectors * 400 - 1)
        with pytest.raises(InputError, match="needs"):
            gauss_quadratures(matrix, 1, 50, basis=basis)
    monkeypatch.setattr(room, lambda: 5 * 400)
    monkeypatch.setattr("jaxopt_lab.curvature.quadratures.available_host_memory", lambda: 49 * 400)
    with pytest.raises(InputError, match="a basis of 50 vectors"):
        gauss_quadratures(matrix, 1, 50, basis="host")


def test_an_unknown_basis_is_refused():
    with pytest.raises(InputError, match="basis must be"):
        curvature.spectral_density(of([1.0, 2.0]), basis="float16")


def test_the_log_axis_keeps_signs_apart_and_counts_what_is_near_zero():
    truth = np.concatenate([np.full(1000, -1e-3), np.zeros(600), np.full(400, 1.0)])
    density = curvature.spectral_density(of(truth), axis="log", num_probes=6, num_steps=10)
    shares = [np.trapezoid(side, np.log10(density.grid)) for side in (density.values, density.negative)]
    np.testing.assert_allclose([*shares, density.near_zero], [0.2, 0.5, 0.3], atol=0.06)  # scatter of six probes


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda op: curvature.index(op, 0.0), "threshold must be positive"),
        (lambda op: curvature.index(op, num_probes=1), "num_probes must be a whole number of at least 2"),
        (lambda op: curvature.index(op, resolution=2.0), r"resolution must be in \(0, 1\]"),
        (lambda op: curvature.spectral_density(op, axis="logarithmic"), "axis must be one of: linear, log"),
        (lambda op: curvature.spectral_density(op, width=-1.0), "width must be positive"),
        (lambda op: curvature.spectral_density(op, num_steps=0), "num_steps must be a whole number"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call(of(np.ones(5)))


def test_a_basis_that_does_not_fit_is_refused_with_the_number_that_would(monkeypatch):
    monkeypatch.setattr("jaxopt_lab.curvature.quadratures.available_memory", lambda: 20 * 400)
    with pytest.raises(InputError, match="17 would fit"):
        gauss_quadratures(of(np.ones(100)), 1, 50)
