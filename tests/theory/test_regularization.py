import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import regularization


def test_the_penalty_of_dropout_is_the_mean_over_all_masks():
    inputs, weights, rate = np.array([[1.0, -2.0, 0.5], [0.3, 1.0, 2.0]]), np.array([0.7, -1.0, 2.0]), 0.3
    added = 0.0
    for mask in np.ndindex(2, 2, 2):
        kept = np.array(mask)
        chance = (1 - rate) ** kept.sum() * rate ** (3 - kept.sum())
        added += chance * np.square(1.0 - (inputs * kept) @ weights / (1 - rate)).mean()
    added -= np.square(1.0 - inputs @ weights).mean()
    law = regularization.dropout_penalty(weights, np.square(inputs).mean(0), rate)
    assert law == pytest.approx(added, rel=1e-12)


def test_the_noise_of_dropout_is_the_variance_over_all_masks():
    inputs, weights, rate = np.array([[1.0, -2.0, 0.5], [0.3, 1.0, 2.0]]), np.array([0.7, -1.0, 2.0]), 0.3
    labels, first, second = np.array([1.0, -0.5]), np.zeros((2, 3)), np.zeros(2)
    for mask in np.ndindex(2, 2, 2):
        kept = np.array(mask)
        chance = (1 - rate) ** kept.sum() * rate ** (3 - kept.sum())
        dropped = inputs * kept / (1 - rate)
        gradient = dropped * (dropped @ weights - labels)[:, None]
        first, second = first + chance * gradient, second + chance * np.square(gradient).sum(1)
    law = regularization.dropout_gradient_variance(inputs, labels, weights, rate)
    np.testing.assert_allclose(law, second - np.square(first).sum(1), rtol=1e-12)


def test_the_condition_number_is_that_of_the_dense_matrix():
    matrix = np.diag([4.0, 1.0, 0.01]) + 0.5 * np.eye(3)
    assert regularization.regularized_condition_number(4.0, 0.01, 0.5) == pytest.approx(np.linalg.cond(matrix))


def test_the_variance_ratio_is_the_largest_over_a_grid():
    s = np.geomspace(1e-3, 1e3, 100_001)
    ratio = np.square(-np.expm1(-s) * (1 + s) / s)
    assert regularization.largest_variance_ratio() == pytest.approx(ratio.max(), rel=1e-8)  # the grid's spacing squared
    assert regularization.largest_variance_ratio() >= ratio.max() * (1 - 1e-12)


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match=r"^dropout_penalty: rate must be in \(0, 1\), got 1"):
        regularization.dropout_penalty([1.0], [1.0], 1.0)
