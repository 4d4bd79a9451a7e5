"""How a problem whose model carries state is judged: in evaluation mode, on the test part, at the point that is judged."""

import dataclasses

import numpy as np
import pytest

from jaxopt_lab.compare.splits import split_data
from jaxopt_lab.core import Stateful, from_loss
from jaxopt_lab.training.evaluation_params import with_evaluation_params


def evaluate(params, state, batch):
    return params + state * batch.sum()


@pytest.fixture
def problem():
    """Its loss in training mode is the parameter, and its state counts the batches."""
    stateful = Stateful(0.0, lambda params, state, batch, key: (params, state + 1), evaluate)
    validation = np.arange(20.0)
    metrics = {"size": lambda params, batch, state: state + batch.max()}
    given = from_loss(lambda params, batch, key: params, 0.0, np.zeros(8), validation=validation, metrics=metrics)
    return dataclasses.replace(given, stateful=stateful)


def test_the_test_loss_is_that_of_evaluation_mode_on_the_test_part(problem):
    split = split_data(problem).problem
    test = np.setdiff1d(np.arange(20.0), split.validation)
    assert split.metrics["test_loss"](3.0, np.zeros(8), 2.0) == 3 + 2 * test.sum()
    assert split.metrics["test_size"](3.0, np.zeros(8), 2.0) == 2 + test.max()


def test_of_a_pair_the_first_trains_the_state_and_the_second_is_judged(problem):
    pairs = with_evaluation_params(problem)
    assert pairs.stateful.loss((3.0, 5.0), 1.0, np.ones(4), None) == (3.0, 2.0)
    assert pairs.stateful.evaluate((3.0, 5.0), 1.0, np.ones(4)) == 5 + 4
    assert pairs.stateful.initial == 0.0
