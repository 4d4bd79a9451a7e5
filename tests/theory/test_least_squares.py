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
