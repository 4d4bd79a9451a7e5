"""Negative curvature against dense eigenvectors and simulated escapes; alignment against exact shares."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import InputError, precision, vectors
from jaxopt_lab.curvature import eigenpairs, from_diagonal, from_matrix, hessian
from jaxopt_lab.curvature.directions import gradient_alignment, negative_curvature
from jaxopt_lab.curvature.points import locate

DIAGONAL = {"a": jnp.array([[3.0, -2.0], [0.5, 1.0]]), "b": jnp.array([-0.1, 0.0])}
GRADIENT = {"a": jnp.array([[0.0, 1e-6], [0.0, 0.0]]), "b": jnp.zeros(2)}


def test_the_direction_is_the_most_negative_one_and_descends():
    found = negative_curvature(from_diagonal(DIAGONAL), gradient=GRADIENT, tolerance=1e-6)
    assert found.certified
    assert found.value.value == pytest.approx(-2, rel=1e-5)
    assert found.value.interval[0] <= -2 <= found.value.interval[1]
    assert found.value.level == 1.0
    np.testing.assert_allclose(found.direction["a"], [[0, -1], [0, 0]], atol=1e-5)  # 16 eps |A| over the gap
    assert found.slope == pytest.approx(-1e-6, rel=1e-5)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_either_side_of_a_saddle_leads_away_from_it(sign):
    gradient = vectors.scale(sign, GRADIENT)
    assert negative_curvature(from_diagonal(DIAGONAL), gradient=gradient).slope < 0


def test_nothing_is_certified_without_a_negative_eigenvalue():
    for diagonal in (jnp.array([1.0, 2.0, 0.0]), jnp.zeros(1), jnp.array([1.0, 0.0, -1e-9])):
        found = negative_curvature(from_diagonal(diagonal), gradient=jnp.ones(diagonal.size))
        assert not found.certified


def test_an_unfinished_search_says_how_far_it_came():
    matrix = np.random.default_rng(0).normal(size=(60, 60))
    matrix = (matrix + matrix.T) / 2
    found = negative_curvature(from_matrix(jnp.asarray(matrix, jnp.float32)), max_products=6)
    assert found.value.cost == 6
    eigenvalues = np.linalg.eigvalsh(matrix)
    low, high = found.value.interval
    assert ((eigenvalues > low) & (eigenvalues < high)).any()


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_the_predicted_escape_is_that_of_a_simulated_run(momentum, nesterov):
    rate, curvature, offset = 1e-2, 0.5, 1e-6
    with precision("float64"):
        saddle = from_diagonal(jnp.array([1.0, -curvature]))
        found = negative_curvature(saddle, gradient=jnp.array([0.0, -curvature * offset]))
    predicted = found.escape_steps(rate, momentum=momentum, nesterov=nesterov)
    before = now = offset
    steps = 0
    while now < 1:
        ahead = now + momentum * (now - before)
        before, now = now, (ahead if nesterov else now) * rate * curvature + ahead
        steps += 1
    assert 0 <= steps - predicted <= 1  # a whole number of steps


def test_heavy_ball_of_optax_leaves_at_the_predicted_step():
    gradient = np.array([-1e-5])
    found = negative_curvature(from_diagonal(jnp.array([-1.0])), gradient=jnp.asarray(gradient, jnp.float32))
    rule = optax.sgd(0.05, momentum=0.5)
    point = jnp.array([1e-5])
    state, steps = rule.init(point), 0
    while float(point[0]) < 1:
        updates, state = rule.update(-point, state)
        point, steps = optax.apply_updates(point, updates), steps + 1
    assert 0 <= steps - found.escape_steps(0.05, momentum=0.5) <= 1


def test_no_escape_is_predicted_where_there_is_none():
    assert negative_curvature(from_diagonal(jnp.array([-1.0, 1.0]))).escape_steps(0.1) == math.inf
    up = negative_curvature(from_diagonal(jnp.array([2.0, 1.0])), gradient=jnp.ones(2))
    assert up.escape_steps(0.1) == math.inf
    gone = negative_curvature(from_diagonal(jnp.array([-1.0, 1.0])), gradient=jnp.array([5.0, 0.0]))
    assert gone.escape_steps(0.1) == 0


def test_alignment_is_the_share_in_the_span():
    pairs = eigenpairs(from_diagonal(DIAGONAL), 6).largest
    gradient = {"a": jnp.array([[3.0, 1.0], [0.0, 4.0]]), "b": jnp.array([2.0, 0.0])}
    found = gradient_alignment(gradient, pairs)
    np.testing.assert_allclose(found.shares, np.cumsum([9, 16, 0, 0, 4, 1]) / 30, atol=1e-5)
    assert found.errors.max() < 1e-3  # float32 residuals over the least gap, 0.1


def test_alignment_of_inexact_vectors_is_off_by_no_more_than_its_error():
    generator = np.random.default_rng(1)
    basis = np.linalg.qr(generator.normal(size=(50, 50)))[0]
    matrix = (basis * np.concatenate([[9.0, 6.0, 4.0], np.linspace(-1, 1, 47)])) @ basis.T
    pairs = eigenpairs(from_matrix(jnp.asarray(matrix, jnp.float32)), 4, tolerance=0.05, verify=False).largest
    gradient = generator.normal(size=50)
    exact = np.cumsum((basis.T @ gradient)[:3] ** 2) / (gradient @ gradient)
    found = gradient_alignment(jnp.asarray(gradient, jnp.float32), pairs)
    assert (np.abs(found.shares[:3] - exact) <= found.errors[:3] + 1e-6).all()
    assert (found.errors[:3] < 0.2).all()
    assert found.errors[3] == 1


def test_a_zero_gradient_says_nothing():
    pairs = eigenpairs(from_diagonal(DIAGONAL), 2).largest
    found = gradient_alignment(vectors.zeros_like(DIAGONAL), pairs)
    assert found.shares.tolist() == [0, 0]
    assert found.errors.tolist() == [1, 1]


def test_the_gradient_of_a_block_fits_the_hessian_of_the_block():
    params = {"a": jnp.ones(2), "b": jnp.full(3, 2.0, jnp.bfloat16)}
    problem = lab.from_loss(lambda w, batch, key: jnp.sum(w["a"] ** 2) - jnp.sum(w["b"] ** 2), params)
    gradient = locate(problem, params, block="b").gradient
    found = negative_curvature(hessian(problem, params, block="b"), gradient=gradient)
    assert found.value.value == pytest.approx(-2, rel=1e-5)
    assert found.slope < 0


def test_sharded_vectors_keep_their_places():
    mesh = jax.make_mesh((4,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    diagonal = jax.device_put(jnp.array([-1.0, 5, 5, 5, 5, 5, 5, 5]), place)
    found = negative_curvature(from_diagonal(diagonal), gradient=jax.device_put(jnp.ones(8), place))
    assert found.direction.sharding.is_equivalent_to(place, 1)
    np.testing.assert_allclose(found.direction, [-1, 0, 0, 0, 0, 0, 0, 0], atol=1e-5)  # 16 eps |A| over the gap, 6


def test_wrong_arguments_are_refused():
    saddle = from_diagonal(jnp.array([-1.0, 1.0]))
    with pytest.raises(
        InputError, match=r"negative_curvature: the gradient must be a vector of the operator, of shapes"
    ):
        negative_curvature(saddle, gradient=jnp.ones(3))
    with pytest.raises(InputError, match=r"gradient_alignment: the gradient must be a vector"):
        gradient_alignment(jnp.ones(3), eigenpairs(saddle, 1).largest)
    found = negative_curvature(saddle)
    with pytest.raises(InputError, match=r"escape_steps: momentum must be in \[0, 1\), got 1.0"):
        found.escape_steps(0.1, momentum=1.0)
    with pytest.raises(InputError, match="escape_steps: learning_rate must be positive and finite, got 0"):
        found.escape_steps(0.0)
    with pytest.raises(InputError, match="escape_steps: distance must be positive and finite, got -1"):
        found.escape_steps(0.1, distance=-1.0)
