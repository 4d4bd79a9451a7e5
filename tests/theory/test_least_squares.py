import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import least_squares


def test_risk_and_its_flat_part_are_those_of_samples():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        inputs, labels = rng.normal(size=(80, 40)), 0.5 * rng.normal(size=80)
        left, singular, _ = np.linalg.svd(inputs, full_matrices=False)
        found.append(np.square(left.T @ labels / singular))
    risks = np.sum(found, axis=1)
    error = 4 * risks.std() / np.sqrt(400)  # 4 standard errors
    assert least_squares.excess_risk(40, 80, 0.25) == pytest.approx(risks.mean(), abs=error)
    flat = np.mean(found, axis=0)[-4:].sum() / risks.mean()
    # The limit's spectrum leaves out the order 1 / d; the share of a sample errs by some percent.
    assert least_squares.flattest_share(40, 0.5, 0.1) == pytest.approx(flat, abs=0.05)


def test_with_many_examples_no_direction_is_special():
    assert least_squares.flattest_share(1000, 1e-6, 0.3) == pytest.approx(0.3, abs=1e-3)  # the spectrum is 0.4 % wide


def test_too_few_examples_are_refused():
    with pytest.raises(
        InputError, match=r"^excess_risk: num_examples must be above dim \+ 1, got 41.0 and 40.0. Take more."
    ):
        least_squares.excess_risk(40, 41)


@pytest.mark.parametrize("squared_distance", [0.1, 4.0])
def test_interpolation_keeps_what_the_start_has_right(squared_distance):
    rng, dim, num, noise = np.random.default_rng(5), 30, 10, 0.5
    risks = []
    for _ in range(2000):
        away = rng.normal(size=dim)
        away *= squared_distance**0.5 / np.linalg.norm(away)
        inputs = rng.normal(size=(num, dim))
        moved = np.linalg.lstsq(inputs, inputs @ away + noise * rng.normal(size=num), rcond=None)[0]
        risks.append(np.square(away - moved).sum())
    law = least_squares.interpolation_risk(dim, num, squared_distance, noise**2)
    assert law == pytest.approx(np.mean(risks), abs=4 * np.std(risks) / len(risks) ** 0.5)
    with pytest.raises(InputError, match=r"num_examples must be below dim - 1, got 29\.0 and 30\.0"):
        least_squares.interpolation_risk(30, 29, 1.0)
