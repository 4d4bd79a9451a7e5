"""Tracked eigenvalues against dense ones, and what a warm start saves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import InputError
from jaxopt_lab.curvature import eigenpairs, from_diagonal, from_matrix, hessian, track

DIM, STEPS = 64, 8
BULK = np.linspace(-1, 1, DIM - 3)


def moving(tops) -> list[np.ndarray]:
    """Matrices whose eigenvectors turn by about one degree a step, above a bulk in [-1, 1]; tops [steps, 3]."""
    generator = np.random.default_rng(0)
    basis = np.linalg.qr(generator.normal(size=(DIM, DIM)))[0]
    turn = generator.normal(size=(DIM, DIM)) / DIM**0.5
    found = []
    for top in tops:
        found.append((basis * np.concatenate([top, BULK])) @ basis.T)
        basis = np.linalg.qr(basis + 0.02 * (turn - turn.T) @ basis)[0]
    return found


def points_of(matrices):
    return [(step, jnp.asarray((matrix + matrix.T) / 2, jnp.float32)) for step, matrix in enumerate(matrices)]


def test_warm_starts_need_fewer_products_than_cold_ones_and_the_values_are_right():
    matrices = moving(np.tile([10.0, 7.0, 4.0], (STEPS, 1)))
    found = list(track(from_matrix, points_of(matrices), k=2, tolerance=1e-4))
    for one, matrix in zip(found, matrices, strict=True):
        exact = np.linalg.eigvalsh(matrix)[::-1][:2]
        np.testing.assert_allclose(one.values, exact, rtol=1e-4)
        assert (np.abs(one.values - exact) <= one.errors).all()
        assert one.converged
    keys = jax.random.split(jax.random.key(1), STEPS)
    cold = [
        eigenpairs(from_matrix(where), 3, tolerance=1e-4, verify=False, key=key).products
        for (_, where), key in zip(points_of(matrices), keys, strict=True)
    ]
    warm = [one.products for one in found[1:]]
    assert max(warm) < min(cold[1:])
    assert [one.step for one in found] == list(range(STEPS))


def test_eigenvalues_that_cross_are_followed_through():
    rising = np.linspace(0, 1, STEPS)[:, None]
    tops = np.hstack([10 - 4 * rising, 6 + 4 * rising, np.full((STEPS, 1), 3.0)])
    found = list(track(from_matrix, points_of(moving(tops)), tolerance=1e-4))
    np.testing.assert_allclose([one.values[0] for one in found], tops.max(1), rtol=1e-4)


def test_an_eigenvalue_that_leaves_the_bulk_is_found():
    tops = np.hstack([np.full((STEPS, 2), [4.0, 3.0]), np.linspace(-0.5, 9, STEPS)[:, None]])
    found = list(track(from_matrix, points_of(moving(tops)), tolerance=1e-3))
    np.testing.assert_allclose([one.values[0] for one in found], tops.max(1), rtol=1e-3)


def test_the_ratio_is_that_to_the_threshold_of_the_step():
    points = [(10 * k, jnp.array([4.0 + k, 1.0, 0.0])) for k in range(3)]
    found = list(track(from_diagonal, points, threshold=lambda step: 4.0 + step / 10))
    for one in found:
        assert one.ratio.value == pytest.approx(1, rel=1e-3)  # the default tolerance
        assert one.ratio.interval[0] <= 1 <= one.ratio.interval[1]
        assert one.ratio.cost == one.products
    assert next(iter(track(from_diagonal, points))).ratio is None


def test_descent_at_the_edge_of_its_stability_is_seen_on_a_problem_with_state():
    problem = lab.from_loss(lambda w, batch, key: jnp.sum(jnp.arange(1.0, 5.0) * w["x"] ** 2) / 2, {"x": jnp.ones(4)})
    seen = []

    def make_operator(params, state):
        seen.append(state)
        return hessian(problem, params)

    points = [(0, {"x": jnp.ones(4)}, "first"), (1, {"x": jnp.zeros(4)}, "second")]
    (before, after) = track(make_operator, points, threshold=2 / 0.5)
    assert before.ratio.value == pytest.approx(1, rel=1e-3)
    assert after.values[0] == pytest.approx(4, rel=1e-3)
    assert seen == ["first", "second"]


def test_points_are_taken_one_by_one():
    taken = []

    def points():
        for step in range(3):
            taken.append(step)
            yield step, jnp.ones(2)

    follow = track(from_diagonal, points())
    assert taken == []
    next(follow)
    assert taken == [0]


def test_one_row_and_sharded_vectors():
    (alone,) = track(from_diagonal, [(0, jnp.full(1, 3.0))])
    assert alone.values.tolist() == pytest.approx([3.0])
    mesh = jax.make_mesh((4,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    points = [(k, jax.device_put(jnp.linspace(0, 2.0 + k, 8), place)) for k in range(2)]
    assert [one.values[0] for one in track(from_diagonal, points)] == pytest.approx([2, 3], rel=1e-3)


def test_wrong_arguments_are_refused_at_once():
    with pytest.raises(InputError, match="track: k must be a whole number of at least 1, got 0"):
        track(from_diagonal, [], k=0)
    with pytest.raises(InputError, match=r"track: share must be in \(0, 1\], got 0"):
        track(from_diagonal, [], share=0)
    with pytest.raises(InputError, match=r"points must give \(step, params\) or \(step, params, state\), got int"):
        next(track(from_diagonal, [3]))
    with pytest.raises(InputError, match=r"num_largest .* must be in \[1, 2\]"):
        next(track(from_diagonal, [(0, jnp.ones(2))], k=3))
