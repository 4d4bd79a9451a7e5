import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import rates, trajectories, transients

PRODUCTS = [1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3, 0.5, 0.9, 1.0, 1.2, 1.34, 1.4, 2.0]
# (rho, lookahead): overshoots at PRODUCTS, as published with two or three digits.
TABLE = {
    (0.9, 0.0): [0, 0, 0.153, 0.379, 0.604, 0.778, 0.842, 0.890, 0.900, 1.04, 1.09, 1.10, 1.00],
    (0.9, 0.9): [0, 0, 0.119, 0.277, 0.355, 0.299, 0.202, 0.071, 0, 0.20, 0.44, np.inf, np.inf],
    (0.99, 0.0): [0.162, 0.604, 0.855, 0.914, 0.957, 1.01, 1.04, 1.08, 0.99, 1.15, 1.21, 1.23, 1.0],
    (0.99, 0.99): [0.158, 0.574, 0.730, 0.694, 0.575, 0.387, 0.245, 0.079, 0, 0.20, np.inf, np.inf, np.inf],
}


def run(gradient, start, learning_rate, rho, lookahead, steps):
    before = now = start
    path = [now]
    for _ in range(steps):
        ahead = now + lookahead * (now - before)
        before, now = now, now + rho * (now - before) - learning_rate * gradient(ahead)
        path.append(now)
    return np.array(path)


@pytest.mark.parametrize("kappa", [1.0, 2.0, 30.0, 100.0, 1e4])
def test_the_transient_is_a_direct_run_along_the_top_eigenvector(kappa):
    tuning = rates.optimal_heavy_ball(kappa, 1.0)
    path = run(lambda x: kappa * x, 1.0, tuning.learning_rate, tuning.rho, 0.0, 400)
    found = transients.heavy_ball_transient(np.arange(401), kappa)
    # A rounded tuning splits the double root; over k steps the split shows as k^2 eps, times the peak.
    np.testing.assert_allclose(found, path, atol=1e-10)
    peak = transients.heavy_ball_peak(kappa)
    assert peak.height == pytest.approx(np.abs(path).max(), rel=1e-10)
    assert abs(path[int(peak.step)]) == pytest.approx(peak.height, rel=1e-10)


def test_the_peak_is_the_published_one():
    heights = transients.heavy_ball_peak(np.array([1e2, 1e4, 1e6])).height
    np.testing.assert_allclose(heights, [3.707, 36.790, 367.8797], rtol=1e-4)  # the published digits
    np.testing.assert_allclose(heights, [3.707, 36.790, 367.8797], atol=6e-4)


def test_the_peak_tends_to_its_asymptote():
    kappa = np.array([1e8, 1e12, 1e16])
    peaks = transients.heavy_ball_peak(kappa).height / transients.heavy_ball_peak_asymptote(kappa)
    np.testing.assert_allclose(peaks, 1, rtol=1e-7)  # the correction is O(1 / kappa), less whole steps near the top


@pytest.mark.parametrize("kind", list(TABLE))
def test_overshoots_are_those_of_the_table(kind):
    found = transients.overshoot(1.0, np.array(PRODUCTS), *kind)
    stable = np.isfinite(found)
    deepest = -trajectories.mode_responses(np.array(PRODUCTS)[stable], 1.0, 3000, *kind).min(0)
    # The table lists the deepest minimum; it is the first one except in two cells.
    np.testing.assert_array_equal(np.isfinite(TABLE[kind]), stable)
    np.testing.assert_allclose(np.maximum(deepest, 0), np.array(TABLE[kind])[stable], atol=6e-3)  # two digits
    later = np.flatnonzero(np.abs(found[stable] - TABLE[kind][: stable.sum()]) > 6e-3)
    expected = {(0.9, 0.9): [1.34], (0.99, 0.0): [0.9]}.get(kind, [])
    assert [PRODUCTS[index] for index in later] == expected


@pytest.mark.parametrize("kind", [*TABLE, (0.0, 0.0), (0.5, 0.2), (0.999, 0.0)])
def test_the_overshoot_is_the_first_minimum_of_a_direct_run(kind):
    for product in [*PRODUCTS, 0.0371, 0.77, 1.9, 1.25]:
        path = run(lambda x, h=product: h * x, 1.0, 1.0, *kind, 4000)
        rises = np.flatnonzero(np.diff(path) >= 0)
        edge = 2 * (1 + kind[0]) / (1 + 2 * kind[1])
        expected = np.inf if product > edge else max(0.0, -path[rises[0]]) if rises.size else 0.0
        if not rises.size:
            assert path[-1] >= 0
        found = transients.overshoot(1.0, product, *kind)
        assert found == pytest.approx(expected, abs=1e-11), (kind, product)  # up to 4000 steps of rounding


def test_the_oscillator_approximates_the_overshoot_of_small_steps():
    h = np.geomspace(1e-4, 0.1, 30)
    for rho in (0.9, 0.99):
        for lookahead in (0.0, rho):
            exact = transients.overshoot(1.0, h, rho, lookahead)
            near = transients.overshoot_of_oscillator(1.0, h, rho, lookahead)
            np.testing.assert_allclose(near, exact, atol=0.025)  # the published bound .02, measured .021 near h = .1


def test_heavy_ball_circles_on_the_published_cycle():
    for start in (3.07, 3.3, 3.46):
        path = run(transients.cycling_gradient, start, 1 / 9, 4 / 9, 0.0, 3000)
        np.testing.assert_allclose(np.sort(path[-3:]), np.sort(transients.heavy_ball_cycle()), atol=1e-12)
    for start in (2.0, 5.0):
        assert abs(run(transients.cycling_gradient, start, 1 / 9, 4 / 9, 0.0, 3000)[-1]) < 1e-12
    nesterov = rates.standard_nesterov(25.0, 1.0)
    path = run(transients.cycling_gradient, 3.3, nesterov.learning_rate, nesterov.rho, nesterov.lookahead, 3000)
    assert abs(path[-1]) < 1e-12


def test_the_cycling_gradient_is_the_slope_of_the_loss():
    x = np.array([-1.0, 0.9, 1.1, 1.9, 2.1, 4.0])
    slope = (transients.cycling_loss(x + 1e-5) - transients.cycling_loss(x - 1e-5)) / 2e-5
    np.testing.assert_allclose(transients.cycling_gradient(x), slope, rtol=1e-9)  # central differences are exact here
    below, above = np.array([1, 2]) - 1e-9, np.array([1, 2]) + 1e-9
    np.testing.assert_allclose(transients.cycling_loss(below), transients.cycling_loss(above), rtol=1e-7)


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match=r"^heavy_ball_peak: kappa must be in \[1, inf\), got 0.5. It is the largest"):
        transients.heavy_ball_peak(0.5)
    with pytest.raises(InputError, match=r"^overshoot: eigenvalue must be in \(0, inf\), got 0"):
        transients.overshoot(0.1, 0.0)


def test_the_first_local_minimum_counts_and_not_a_deeper_one_later():
    assert transients.overshoot_of_path(np.array([1.0, -0.2, 0.1, -0.5])) == 0.2
    assert transients.overshoot_of_path(np.array([1.0, 0.5, 0.2, 0.1])) == 0.0


@pytest.mark.parametrize(("rate", "rho"), [(0.01, 0.9), (0.5, 0.9), (1.0, 0.5)])
def test_the_reported_point_overshoots_as_in_a_plain_loop(rate, rho):
    x, v, path = 1.0, 0.0, [1.0]
    for _ in range(200):
        new = rho * v - rate * (x + rho * v)
        x, v = x + new, new
        path.append(x + rho * v)
    measured = transients.overshoot_of_path(np.array(path))
    assert transients.overshoot_of_reported_point(np.array([rate]), rho) == pytest.approx(measured, abs=1e-12)
