import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab import objectives, rules, training
from jaxopt_lab.core import InputError, Status, from_loss
from jaxopt_lab.training.feasibility import Feasibility


def test_each_way_to_diverge_is_told_apart():
    losses = np.array(
        [
            [1.0, 0.5, 0.2, 0.1],
            [1.0, np.nan, 0.2, 0.1],
            [1.0, 12.0, np.inf, 0.1],
            [np.inf, 1.0, 1.0, 1.0],
            [0.0, 1e9, 1e9, 1e9],
            [-1.0, -2.0, -1.0, 3.6e24],
            [1.0, -5.0, 44.0, 44.9],
            [-1.0, -1.0, -9.5, 8.0],
        ]
    )
    record, status = Feasibility(blow_up=10.0).first_failures(losses)
    assert record.tolist() == [4, 1, 1, 0, 4, 3, 4, 4]  # a loss that has been nothing but zero has no range
    expected = [Status.RUNNING, Status.NON_FINITE, Status.BLOWN_UP, Status.NON_FINITE, Status.RUNNING,
                Status.BLOWN_UP, Status.RUNNING, Status.RUNNING]  # fmt: skip
    assert status.tolist() == expected


@pytest.mark.parametrize(("range_of", "diverged"), [({}, True), ({"baseline": 2.3}, False), ({"reach": 0.5}, False)])
def test_growth_is_measured_in_what_the_loss_can_range_over(range_of, diverged):
    limits = Feasibility(baseline=range_of.get("baseline"))
    _, status = limits.first_failures(np.array([[1.9e-12, 1.9e-12, 2.7e-5]]), range_of.get("reach", 0.0))
    assert (status[0] == Status.BLOWN_UP) == diverged


def test_a_run_that_begins_at_the_minimum_and_is_shaken_up_to_its_noise_floor_has_not_diverged():
    problem = objectives.with_noise(objectives.quadratic([1.0, 0.5], start=1.0), "gaussian", 0.1)
    trace = training.run(problem, rules.sgd, {"learning_rate": 0.1}, steps=20, params=jnp.full(2, 1e-6))
    assert trace["loss"][0, -1] > 1e6 * trace["loss"][0, 0]
    assert trace.status == (Status.COMPLETED,)


def test_a_loss_that_begins_below_zero_and_grows_without_end_has_diverged():
    problem = from_loss(lambda w, batch, key: jnp.sum(w**4) - 1.0, jnp.full(3, 0.5))
    trace = training.run(problem, rules.sgd, {"learning_rate": 5.0}, steps=3)
    assert trace["loss"][0, 0] < 0
    assert np.isfinite(trace["loss"][0, 1:3]).any()
    assert trace.status == (Status.BLOWN_UP,)


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
