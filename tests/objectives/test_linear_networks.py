import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab import objectives, theory
from jaxopt_lab.core import InputError, precision
from jaxopt_lab.objectives.linear_networks import balanced_weights, mode_strengths

SUBSETS = ([], [0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2])


def test_every_subset_of_triples_is_a_saddle_of_its_own_index():
    values, dim, width = np.array([3.0, 2.0, 1.0]), 4, 4
    with precision():
        target = objectives.planted_matrix(values, dim, seed=3)
        problem = objectives.linear_network(target, width=width)

        def loss(flat):
            return problem.full_loss((flat[:16].reshape(4, 4), flat[16:].reshape(4, 4)))

        strengths = np.array([[value if k in chosen else 0.0 for k, value in enumerate(values)] for chosen in SUBSETS])
        points = jax.vmap(lambda given: balanced_weights(target, given, width=width))(strengths)
        flat = jnp.concatenate([layer.reshape(8, 16) for layer in points], axis=1)
        losses, gradients, hessians = jax.jit(jax.vmap(lambda x: (*jax.value_and_grad(loss)(x), jax.hessian(loss)(x))))(
            flat
        )
    np.testing.assert_allclose(gradients, 0.0, atol=1e-12)
    eigenvalues = np.linalg.eigvalsh(np.asarray(hessians))
    for chosen, value, spectrum in zip(SUBSETS, losses, eigenvalues, strict=True):
        law = theory.linear_networks.linear_network_saddle(values, chosen, width)
        assert float(value) == pytest.approx(law.loss, abs=1e-12)
        assert int((spectrum < -1e-9).sum()) == law.index
        assert spectrum[0] == pytest.approx(law.smallest, abs=1e-9)
    assert problem.truth.index == int((eigenvalues[0] < -1e-9).sum())
    assert problem.truth.smoothness == pytest.approx(eigenvalues[0, -1])


@pytest.mark.parametrize("depth", [3, 4])
def test_a_balanced_start_learns_after_the_time_of_its_depth(depth):
    """Descent of the layers themselves, in NumPy, from the start that the objective makes."""
    rate, scale = 5e-3, 0.2
    with precision():
        target = objectives.planted_matrix([1.0], 2)
        problem = objectives.linear_network(target, depth=depth, width=1, start="balanced", scale=scale)
        layers = [np.asarray(layer) for layer in problem.init(jax.random.key(0))]
        planted = np.asarray(target.left * target.values @ target.right.T)
    steps = 0
    while np.linalg.norm(product := np.linalg.multi_dot(layers[::-1])) < 0.5:
        error, steps = product - planted, steps + 1
        slopes = []
        for place in range(depth):
            above = np.linalg.multi_dot([np.eye(2), *layers[:place:-1]]) if place < depth - 1 else np.eye(2)
            below = np.linalg.multi_dot([*layers[:place][::-1], np.eye(2)]) if place else np.eye(2)
            slopes.append(above.T @ error @ below.T)
        layers = [layer - rate * slope for layer, slope in zip(layers, slopes, strict=True)]
    expected = theory.linear_networks.deep_learning_time(depth, scale**depth)
    assert steps * rate == pytest.approx(expected, rel=0.01)  # a finite rate


def test_starts_have_the_size_that_is_asked_for():
    with precision():
        target = objectives.planted_matrix([5.0, 2.0], 300, 200, seed=1)
        weights = objectives.linear_network(target, width=400, scale=1e-3).init(jax.random.key(0))
        balanced = objectives.linear_network(target, width=3, scale=0.1, start="balanced").init(jax.random.key(0))
        strengths = mode_strengths(target, balanced)
    assert [layer.shape for layer in weights] == [(400, 200), (300, 400)]
    lengths = np.linalg.norm(np.asarray(weights[0]) @ np.asarray(target.right), axis=0)
    np.testing.assert_allclose(lengths, 1e-3, rtol=4 / np.sqrt(2 * 400))  # 4 deviations of chi with 400 entries
    np.testing.assert_allclose(
        np.linalg.svd(np.asarray(balanced[1]) @ np.asarray(balanced[0]))[1][:2], 0.01, rtol=1e-10
    )
    np.testing.assert_allclose(strengths, 0.01, rtol=1e-10)


TARGET = objectives.planted_matrix([2.0, 1.0], 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: objectives.planted_matrix([1.0, -1.0], 3), "singular_values must be positive numbers"),
        (lambda: objectives.planted_matrix([1.0, 2.0], 3, 1), "a 3 x 1 matrix cannot have rank 2"),
        (lambda: objectives.linear_network(TARGET, width=1), "width must be at least the rank 2 of the target, got 1"),
        (lambda: objectives.linear_network(TARGET, depth=1), "One layer has no saddle"),
        (lambda: objectives.linear_network(TARGET, scale=0.0), "the start is the saddle itself"),
        (lambda: objectives.linear_network(TARGET, scale=-1.0), r"scale must be in \(0, inf\), got -1.0"),
        (lambda: objectives.linear_network(TARGET, start="zeros"), "start must be one of: random, balanced"),
        (lambda: objectives.linear_network(TARGET, width=10**12), "a network of 6e.12 weights needs"),
        (lambda: balanced_weights(TARGET, [1.0], width=2), "strengths must be 2 numbers"),
        (lambda: balanced_weights(TARGET, [1.0, -1.0], width=2), "strengths must be 2 numbers"),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
