import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab import curvature
from jaxopt_lab.core import InputError, Problem
from jaxopt_lab.curvature.kinks import find_kinks
from jaxopt_lab.curvature.points import locate
from jaxopt_lab.curvature.products import _hessian_at
from jaxopt_lab.curvature.streams import linearized_shapes


def raises_without_text(w, batch, key):
    raise StopIteration


def problem_of(loss, params, data=None):
    return Problem(loss, lambda key: params, data, name="mine")


@pytest.mark.parametrize(
    ("loss", "params", "data", "message"),
    [
        (lambda w, b, k: w, jnp.ones(3), None, r"the loss must be a real scalar, got float32\[3\]"),
        (lambda w, b, k: jnp.log(w).sum(), -jnp.ones(3), None, "the loss is nan at this point"),
        (lambda w, b, k: jnp.sqrt(w).sum(), jnp.zeros(3), None, "the gradient of the parameters is not finite"),
        (raises_without_text, jnp.ones(3), None, r"cannot be evaluated \(StopIteration\)"),
        (lambda w, b, k: jnp.mean(b @ w), jnp.ones(3), None, "cannot be evaluated .* It has no data"),
        (lambda w, b, k: jax.random.normal(k) * w.sum(), jnp.ones(3), None, "without a key it must be deterministic"),
        (lambda w, b, k: w.sum(), jnp.ones(3, int), None, "must be real and floating, got int32"),
        (lambda w, b, k: abs(w.sum()), jnp.ones(3, complex), None, "must be real and floating, got complex64"),
        (lambda w, b, k: 0.0, {}, None, "the parameters hold no number"),
    ],
)
def test_points_without_curvature_are_refused(loss, params, data, message):
    with pytest.raises(InputError, match=message):
        curvature.hessian(problem_of(loss, params, data), params)


def test_batches_of_different_length_are_refused():
    loss = lambda w, b, k: jnp.mean(b[0] * w)  # noqa: E731
    with pytest.raises(InputError, match="must share their leading axis"):
        curvature.hessian(problem_of(loss, jnp.ones(())), jnp.ones(()), data=(jnp.ones(3), jnp.ones(4)))


def test_an_iteration_that_cannot_start_again_is_refused():
    once = iter([jnp.ones(3)])
    loss = lambda w, b, k: jnp.mean(b * w**2)  # noqa: E731
    with pytest.raises(
        InputError, match=r"data returns the same iterator at each call\. Give a function that starts a new one"
    ):
        curvature.hessian(problem_of(loss, jnp.ones(())), jnp.ones(()), data=lambda: once)


def test_a_loss_that_is_not_twice_differentiable_is_said_at_its_first_product():
    loss = lambda w, b, k: jnp.sum(jnp.abs(w) ** 1.5)  # noqa: E731
    operator = curvature.hessian(problem_of(loss, jnp.zeros(3)), jnp.zeros(3))
    with pytest.raises(InputError, match="product 1 is not finite"):
        curvature.eigenpairs(operator)


def test_an_unknown_block_names_the_nearest():
    params = {"layers": {"kernel": jnp.ones(2)}}
    loss = lambda w, b, k: jnp.sum(w["layers"]["kernel"] ** 2)  # noqa: E731
    with pytest.raises(InputError, match="Did you mean 'layers/kernel'"):
        curvature.hessian(problem_of(loss, params), params, block="layer/kernel")


def test_gauss_newton_needs_to_know_the_outputs():
    with pytest.raises(InputError, match="does not say what its outputs are"):
        curvature.gauss_newton(problem_of(lambda w, b, k: w**2, jnp.ones(())), jnp.ones(()))


def test_a_ragged_last_chunk_differs_from_weighting_chunks_alike():
    data = jnp.arange(1.0, 8.0)
    problem = problem_of(lambda w, b, k: jnp.mean(b) * w**2, jnp.ones(()), data)
    product = curvature.hessian(problem, jnp.ones(()), chunk_size=4)(jnp.ones(()))
    assert float(product) == pytest.approx(8.0, rel=1e-6)
    assert abs(float(product) - (2.5 + 6.0)) > 0.3  # what the mean of the two chunks' means would give


@pytest.mark.parametrize(
    ("loss", "kinks"),
    [
        (lambda w, b: jax.nn.relu(w).sum(), "relu"),
        (lambda w, b: jax.nn.leaky_relu(w).sum(), "where"),
        (lambda w, b: jnp.max(w) ** 2, "max"),
        (lambda w, b: jnp.sort(w)[0], "sort"),
        (lambda w, b: jax.lax.cond(w[0] > 0, jnp.sum, jnp.prod, w), "cond"),
        (lambda w, b: jax.lax.cond(w[0] > 0, lambda v: jnp.abs(v)[0], jnp.prod, w), "abs, cond"),
        (lambda w, b: jax.lax.cond(jnp.arange(2.0)[1] > 0, lambda v: jnp.abs(v)[0], jnp.prod, w), "abs"),
        (lambda w, b: jax.lax.cond(jnp.arange(2.0)[1] > 0, jnp.sum, jnp.prod, w), ""),
        (lambda w, b: jax.lax.scan(lambda c, x: (jnp.abs(c) + x, x), w[0], w)[0], "abs"),
        (lambda w, b: jnp.tanh(w).sum() + jax.nn.softplus(w).sum() + jax.nn.gelu(w).sum(), ""),
        (lambda w, b: optax.softmax_cross_entropy_with_integer_labels(w, jnp.asarray(0)), ""),
        (lambda w, b: jnp.sum(w * jax.lax.stop_gradient(jnp.abs(w))), ""),
        (lambda w, b: jnp.sum(jnp.abs(w**2)) + jnp.linalg.norm(w), ""),
    ],
)
def test_kinks_are_said_and_smooth_losses_are_not_accused(loss, kinks):
    notes = find_kinks(loss, jnp.linspace(0.1, 1, 4), None)
    assert (f"({kinks})" in notes[0]) if kinks else notes == ()


def test_the_note_reaches_the_operator():
    operator = curvature.hessian(problem_of(lambda w, b, k: jax.nn.relu(w).sum() ** 2, jnp.ones(3)), jnp.ones(3))
    assert "kinks (relu)" in operator.notes[0]


def test_another_point_compiles_nothing_new():
    problem = problem_of(lambda w, b, k: jnp.sum(jnp.tanh(w) * b), jnp.ones(3), jnp.ones((2, 3)))
    vector = jnp.ones(3)
    curvature.hessian(problem, jnp.ones(3))(vector)
    with jax.log_compiles(), pytest.MonkeyPatch.context() as patch:
        names = []
        patch.setattr("jax._src.interpreters.pxla.logger.log", lambda level, text, *rest: names.append(text % rest))
        curvature.hessian(problem, 2 * jnp.ones(3))(vector)
    assert not [name for name in names if "_linearized" in name or "_apply_kept" in name]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (optax.sgd(0.1).init(jnp.ones(2)), "must hold one second moment, found 0"),
        ((optax.adam(0.1).init(jnp.ones(2)),) * 2, "found 2"),
    ],
)
def test_a_state_without_one_second_moment_is_refused(state, message):
    with pytest.raises(InputError, match=message):
        curvature.preconditioner_of(state)


def test_preconditioners_are_those_by_which_the_rules_divide():
    params, gradient = jnp.ones(3), jnp.array([1.0, -2.0, 4.0])
    for rule in (optax.adam(1.0, b1=0.0), optax.rmsprop(1.0), optax.adagrad(1.0)):
        updates, state = rule.update(gradient, rule.init(params), params)
        # Adam's 1 - b2 = 0.001 and its power carry eps / 0.001 = 1.2e-4 of float32, under a root.
        np.testing.assert_allclose(-gradient / curvature.preconditioner_of(state), updates, rtol=1e-4)


def test_a_preconditioner_before_the_first_step_is_refused():
    operator = curvature.from_diagonal(jnp.ones(2))
    with pytest.raises(InputError, match="must be positive and finite"):
        curvature.preconditioned(operator, jnp.zeros(2))
    with pytest.raises(InputError, match="the preconditioner must be"):
        curvature.preconditioned(operator, {"w": jnp.ones(2)})


def test_what_the_model_recomputes_is_recomputed_in_products_and_not_kept():
    weights = [jax.random.normal(jax.random.key(k), (8, 8)) / 3 for k in range(6)]
    batch = jax.random.normal(jax.random.key(9), (128, 8))

    def layered(layer):
        def loss(weights, batch, key):
            for weight in weights:
                batch = layer(batch, weight)
            return jnp.mean(jnp.square(batch))

        return problem_of(loss, weights, batch)

    layer = lambda x, w: jnp.tanh(x @ w)  # noqa: E731
    kept = []
    for problem in map(layered, (layer, jax.checkpoint(layer))):
        point = locate(problem, weights)
        shapes = linearized_shapes(_hessian_at, (point.loss, point.params), batch)
        product = curvature.hessian(problem, weights)(weights)
        kept.append((sum(leaf.size for leaf in jax.tree.leaves(shapes)), product))
    (plain, expected), (recomputed, product) = kept
    assert recomputed < 0.7 * plain
    chex.assert_trees_all_close(product, expected, rtol=1e-4, atol=1e-6)
