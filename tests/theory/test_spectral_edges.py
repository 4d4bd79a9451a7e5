import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import spectral_edges


def test_the_ends_of_a_sample_have_the_mean_and_deviation():
    rng = np.random.default_rng(0)
    found = np.array(
        [np.linalg.svd(rng.normal(size=(160, 40)), compute_uv=False)[[-1, 0]] ** 2 / 160 for _ in range(400)]
    )
    ends = spectral_edges.sample_edges(40, 0.25)
    # The next order is 1 / d; 4 standard errors of 400 draws are a fifth of a deviation.
    assert ends.smallest == pytest.approx(found[:, 0].mean(), abs=0.2 * ends.smallest_deviation + 0.25 / 40)
    assert ends.largest == pytest.approx(found[:, 1].mean(), abs=0.2 * ends.largest_deviation + 2.25 / 40)
    np.testing.assert_allclose([ends.smallest_deviation, ends.largest_deviation], found.std(0), rtol=0.25)


def test_the_condition_number_goes_to_its_limit():
    kappa, deviation = spectral_edges.sample_condition_number([1e2, 1e4, 1e8], 0.25)
    assert (np.diff(kappa) > 0).all()
    assert (np.diff(deviation) < 0).all()
    # what is left is of the order d^(-2/3), 5e-6
    assert kappa[-1] == pytest.approx(9.0, rel=2e-5)


def test_a_symmetric_matrix_has_a_condition_number_in_proportion_to_its_size():
    rng = np.random.default_rng(0)
    entries = rng.normal(size=(2000, 40, 40))
    sizes = np.abs(np.linalg.eigvalsh(entries + entries.transpose(0, 2, 1)))
    # 4 standard errors of the median are 6 %; the surmise and the size add some percent.
    found = np.median(sizes.max(1) / sizes.min(1))
    assert spectral_edges.symmetric_condition_number(40) == pytest.approx(found, rel=0.1)


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match=r"^sample_edges: aspect_ratio must be in \(0, 1\), got 1"):
        spectral_edges.sample_edges(10, 1.0)
