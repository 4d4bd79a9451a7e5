import numpy as np
import pytest

from experiments.pairs import paired_ratio
from jaxopt_lab.core import InputError


def test_a_paired_ratio_is_that_of_each_pair_whatever_their_size():
    sizes = np.geomspace(1.0, 1e6, 6)
    ratio = paired_ratio(0.9 * sizes, sizes)
    assert ratio == pytest.approx((0.9, 0.9, 0.9))


def test_the_interval_of_a_paired_ratio_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    draws = [paired_ratio(np.exp(0.3 + rng.normal(size=5)), np.ones(5)) for _ in range(1000)]
    share = np.mean([low <= np.exp(0.3) <= high for _, low, high in draws])
    # four standard errors of a share of .95 in 1,000 draws
    assert share == pytest.approx(0.95, abs=0.028)


@pytest.mark.parametrize(("values", "wording"), [([1.0], "2 or more pairs"), ([1.0, -1.0], "must be positive")])
def test_a_paired_ratio_that_cannot_be_is_a_clear_sentence(values, wording):
    with pytest.raises(InputError, match=wording):
        paired_ratio(values, np.ones(len(values)))
