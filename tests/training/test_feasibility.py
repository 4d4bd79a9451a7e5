import numpy as np
import pytest

from jaxopt_lab.core import InputError, Status
from jaxopt_lab.training import Feasibility


def test_each_way_to_diverge_is_told_apart():
    losses = np.array(
        [
            [1.0, 0.5, 0.2, 0.1],
            [1.0, np.nan, 0.2, 0.1],
            [1.0, 11.0, np.inf, 0.1],
            [np.inf, 1.0, 1.0, 1.0],
            [0.0, 1e9, 1e9, 1e9],
        ]
    )
    record, status = Feasibility(blow_up=10.0).first_failures(losses)
    assert record.tolist() == [4, 1, 1, 0, 4]  # a start at zero has no multiple to blow up against
    expected = [Status.RUNNING, Status.NON_FINITE, Status.BLOWN_UP, Status.NON_FINITE, Status.RUNNING]
    assert status.tolist() == expected


def test_an_infinite_limit_leaves_growth_alone():
    record, status = Feasibility(blow_up=np.inf).first_failures(np.array([[1.0, 1e30]]))
    assert (record[0], status[0]) == (2, Status.RUNNING)


def test_the_end_is_compared_with_the_constant_predictor():
    assert Feasibility(baseline=1.0).at_end(1.5) == Status.WORSE_THAN_BASELINE
    assert Feasibility(baseline=1.0).at_end(0.5) == Status.COMPLETED


@pytest.mark.parametrize("blow_up", [0.0, -1.0, float("nan")])
def test_a_limit_that_is_not_positive_is_refused(blow_up):
    with pytest.raises(InputError, match=r"Feasibility: blow_up must be positive and finite, got"):
        Feasibility(blow_up=blow_up)
