import numpy as np
import pytest
from scipy.integrate import quad

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import escapes, linear_networks


@pytest.mark.parametrize("depth", [2, 3, 4, 8])
def test_a_deep_mode_takes_the_integral_of_its_flow(depth):
    points = [2e-3, 1e-2, 1e-1]  # where the integrand is steep
    slow = quad(lambda a: 1 / (depth * a ** (2 - 2 / depth) * (2 - a)), 1e-3, 1.0, limit=500, points=points)[0]
    np.testing.assert_allclose(linear_networks.deep_learning_time(depth, 1e-3, 2.0), slow, rtol=1e-10)


def test_the_plateau_is_the_leading_term_of_the_learning_time():
    starts = np.array([1e-6, 1e-8])
    for depth in (3, 4, 8):
        ratio = linear_networks.deep_learning_time(depth, starts) / linear_networks.deep_plateau_time(depth, starts)
        assert abs(ratio[1] - 1) < abs(ratio[0] - 1) < 0.03


def test_two_layers_learn_along_the_logistic_curve():
    time = linear_networks.deep_learning_time(2, 1e-4, 3.0, 0.9)
    np.testing.assert_allclose(linear_networks.mode_strength(time, 3.0, 1e-4), 2.7, rtol=1e-12)


def test_a_start_beyond_the_end_is_refused():
    with pytest.raises(InputError, match=r"start / \(share s\) must be in \(0, 1\), got 2"):
        linear_networks.deep_learning_time(3, 1.0)


def test_index_and_smallest_eigenvalue_are_those_of_the_dense_hessian():
    import jax
    import jax.numpy as jnp

    from jaxopt_lab.core import precision

    values, dim, width = np.array([3.0, 2.0, 1.0]), 4, 4
    target = np.zeros((dim, dim))
    target[np.arange(3), np.arange(3)] = values
    with precision():
        for fitted in ([], [0], [0, 1], [0, 1, 2], [2], [1, 2]):
            first, second = np.zeros((width, dim)), np.zeros((dim, width))
            for place in fitted:
                first[place, place] = second[place, place] = np.sqrt(values[place])

            def loss(flat):
                inner, outer = flat[: width * dim].reshape(width, dim), flat[width * dim :].reshape(dim, width)
                return 0.5 * jnp.sum((outer @ inner - target) ** 2)

            point = jnp.asarray(np.concatenate([first.ravel(), second.ravel()]))
            eigenvalues = np.linalg.eigvalsh(np.asarray(jax.jit(jax.hessian(loss))(point)))
            law = linear_networks.linear_network_saddle(values, fitted, width)
            assert float(loss(point)) == pytest.approx(law.loss, abs=1e-12)
            assert int((eigenvalues < -1e-9).sum()) == law.index
            assert eigenvalues[0] == pytest.approx(law.smallest, abs=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear_networks.linear_network_saddle([1.0, 1.0], [], 3), "must differ from each other"),
        (lambda: linear_networks.linear_network_saddle([2.0, 1.0], [], 1), "width must be at least the rank 2, got 1"),
        (lambda: linear_networks.linear_network_saddle([2.0, 1.0], [2], 3), "fitted must name places below 2"),
        (lambda: linear_networks.plateau_exit_steps(1.0, 2.0, 0.1), "Start smaller"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_mode_alone_leaves_when_the_closed_form_says():
    times = linear_networks.mode_exit_steps([4.0, 1.0], np.full((1, 2), 1e-6), 1e-3)
    # In the middle the strength is .29 s, where linear growth of the component would be at .91 sqrt(s).
    share = 1 - np.sqrt(0.5)
    end = np.sqrt(2 * np.array([4.0, 1.0]) * share / (1 - share))
    expected = escapes.escape_steps(1e-3 * np.array([4.0, 1.0]), 1e-6, end)
    np.testing.assert_allclose(times[0], expected, rtol=5e-4)  # a finite rate
