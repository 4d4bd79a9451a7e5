from decimal import Decimal, getcontext
from fractions import Fraction

import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import modes, rates

GRID = [
    (h, rho, lookahead)
    for h in (0.0, 1e-12, 1e-3, 0.0025, 0.05, 0.3, 0.999, 1.0, 1.2, 1.357, 1.9, 2.5, 3.79, 4.5)
    for rho in (0.0, 0.5, 0.9, 0.999)
    for lookahead in sorted({0.0, rho, rho / 3})
]


def recursion(h, rho, lookahead, steps):
    h, rho, lookahead = map(Fraction, (h, rho, lookahead))
    now, move = Fraction(1), Fraction(0)
    for _ in range(steps):
        move = rho * move - h * (now + lookahead * move)
        now += move
    return float(now)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 24])
def test_the_closed_form_response_is_the_exact_rational_recursion(steps):
    for h, rho, lookahead in GRID:
        expected = recursion(h, rho, lookahead, steps)
        found = modes.mode_value(steps, 1.0, h, rho, lookahead)
        # Near a double root the two exponentials of size k cancel, and growth scales the error.
        assert found == pytest.approx(expected, rel=1e-11, abs=1e-12 * max(1, abs(expected))), (h, rho, lookahead)


def test_the_radius_is_that_of_the_companion_matrix():
    for h, rho, lookahead in GRID:
        matrix = [[1 + rho - h * (1 + lookahead), -rho + h * lookahead], [1, 0]]
        expected = np.abs(np.linalg.eigvals(matrix)).max()
        found = modes.spectral_radius(0.5, 2 * h, rho, lookahead)
        assert found == pytest.approx(expected, abs=3e-8), (h, rho, lookahead)  # sqrt(eps) at double roots


def test_decay_is_minus_the_logarithm_of_the_radius():
    for h, rho, lookahead in GRID:
        radius = modes.spectral_radius(1.0, h, rho, lookahead)
        expected = -np.log(radius) if radius > 0 else np.inf
        assert modes.decay_rate(1.0, h, rho, lookahead) == pytest.approx(expected, abs=1e-14), (h, rho, lookahead)


def test_decay_of_a_flat_mode_is_the_effective_learning_rate():
    h = np.array([1e-10, 1e-20, 1e-40])
    decay = modes.decay_rate(1.0, h, 0.9, np.array([[0.0], [0.9]]))
    np.testing.assert_allclose(decay, [h / (1 - 0.9)] * 2, rtol=1e-7)  # first order in h / (1 - rho)^2


def test_decay_keeps_its_digits_when_momentum_is_nearly_one():
    getcontext().prec = 50
    for gap in (2.0**-20, 2.0**-40):
        for h in (0.1 * gap**2, 0.2 * gap**2, 0.3 * gap**2, 1e-9 * gap**2):
            trace, product = 2 - Decimal(gap) - Decimal(h), 1 - Decimal(gap)
            square = trace**2 - 4 * product
            radius = (trace + square.sqrt()) / 2 if square > 0 else product.sqrt()
            # The discriminant is a difference of terms of size gap^2: a few eps, times 1 / .2 next to the double root.
            assert modes.decay_rate(1.0, h, 1 - gap) == pytest.approx(-float(radius.ln()), rel=1e-14), (gap, h)


def test_decay_of_a_deadbeat_mode_is_infinite():
    assert modes.decay_rate(1.0, 1.0) == np.inf
    assert modes.mode_value(5, 1.0, 1.0) == 0
    assert modes.mode_value(0, 1.0, 1.0) == 1


def test_negative_curvature_escapes_at_the_published_factors():
    assert modes.spectral_radius(1.0, -0.01) == pytest.approx(1.01, rel=1e-14)
    assert modes.spectral_radius(1.0, -0.01, 0.9) == pytest.approx(1.06465856, abs=6e-9)
    assert modes.spectral_radius(1.0, -0.01, 0.9, 0.9) == pytest.approx(1.06738999, abs=6e-9)
    assert modes.decay_rate(1.0, -1e-5) / modes.decay_rate(1.0, -1e-5, 0.9) == pytest.approx(1 / 9.991, rel=1e-4)


def test_critical_momentum_is_the_fastest_one():
    rho = np.linspace(0.3, 0.95, 65001)
    for h, published in ((0.01, 0.8109), (0.1, 0.46795)):
        best = rho[np.argmax(modes.decay_rate(1.0, h, rho))]
        assert best == pytest.approx(modes.critical_rho(1.0, h), abs=2e-5)  # two grid cells
        assert best == pytest.approx(published, abs=1e-3)  # the published argmin is from a coarser grid


def test_a_huge_number_of_steps_follows_the_slow_root():
    assert modes.mode_value(10**12, 1.0, 1e-13, 0.9) == pytest.approx(np.exp(-1.0), rel=1e-9)
    assert modes.mode_value(10**14, 1.0, 0.5, 0.9) == 0
    assert modes.mode_value(10**6, 1.0, 5.0, 0.9) in (np.inf, -np.inf)


def test_the_tuned_rate_is_the_decay_at_the_ends_of_the_spectrum():
    for kappa in (10.0, 1e6, 1e12):
        tuning = rates.optimal_gradient_descent(kappa, 1.0)
        for eigenvalue in (1.0, kappa):
            # At the top end 2 - learning_rate L is a difference of numbers near 2: relative error kappa eps.
            assert modes.decay_rate(tuning.learning_rate, eigenvalue) == pytest.approx(
                tuning.decay, rel=1e-14 if eigenvalue == 1 else 1e-15 * kappa
            )


def test_wrong_arguments_are_named_with_a_remedy():
    with pytest.raises(InputError, match=r"^spectral_radius: rho must be in \[0, 1\), got 1.5. With rho >= 1 the vel"):
        modes.spectral_radius(0.1, 1.0, rho=1.5)
    with pytest.raises(InputError, match=r"^decay_rate: lookahead must be in \[0, 1\], got 2. It is 0 for heavy ball"):
        modes.decay_rate(0.1, 1.0, lookahead=2)
    with pytest.raises(InputError, match=r"^critical_rho: learning_rate \* eigenvalue must be in \(0, 4\), got 5. Bey"):
        modes.critical_rho(1.0, 5.0)
    with pytest.raises(InputError, match=r"^mode_value: eigenvalue must be in \[0, inf\), got -1. At a saddle"):
        modes.mode_value(1, 1.0, -1.0)
    with pytest.raises(InputError, match=r"^spectral_radius: learning_rate must be in \[0, inf\), got nan"):
        modes.spectral_radius([0.1, np.nan], 1.0)
