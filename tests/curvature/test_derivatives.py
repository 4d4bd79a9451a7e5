"""A loss without the derivative that is asked for is refused in one sentence, before anything is computed."""

import types
import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxopt_lab as lab
from jaxopt_lab import curvature
from jaxopt_lab.core import Composite, InputError, Problem, precision, vectors
from jaxopt_lab.curvature import differences

with warnings.catch_warnings():
    # It leaves jax for a package of its own: a warning from jax 0.11 on.
    warnings.simplefilter("ignore", DeprecationWarning)
    from jax.experimental.pallas.ops.gpu import attention


@jax.custom_vjp
def slope(x):
    return 1 - jnp.tanh(x) ** 2


@jax.custom_vjp
def fused(x):
    """Like a fused kernel: a gradient, no forward derivative and no second one."""
    return jnp.tanh(x)


@jax.custom_vjp
def reversible(x):
    """A gradient that can be differentiated, and no forward derivative."""
    return jnp.tanh(x)


slope.defvjp(lambda x: (slope(x), x), lambda x, out: (-2 * out * jnp.tanh(x) * slope(x),))
fused.defvjp(lambda x: (jnp.tanh(x), x), lambda x, out: (out * slope(x),))
reversible.defvjp(lambda x: (jnp.tanh(x), x), lambda x, out: (out * (1 - jnp.tanh(x) ** 2),))

PARAMS = {"in": jnp.linspace(-1.0, 1.0, 3), "out": jnp.asarray(0.5)}
FORWARD = (curvature.gauss_newton, curvature.fisher, curvature.empirical_fisher, curvature.gradient_covariance)


def problem_of(function, outputs=lambda value: value):
    data = (jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)), jnp.float32), jnp.ones(6))
    model = lambda params, batch: outputs(params["out"] * function(batch[0] @ params["in"]))  # noqa: E731
    criterion = lambda values, batch: jnp.mean((jax.tree.leaves(values)[0] - batch[1]) ** 2) / 2  # noqa: E731
    loss = lambda params, batch, key: criterion(model(params, batch), batch)  # noqa: E731
    return Problem(loss, lambda key: PARAMS, data, composite=Composite(model, criterion, "gaussian"), name="mine")


@pytest.fixture
def nothing_is_computed(monkeypatch):
    def compute(*arguments):
        raise AssertionError("a gradient was computed")

    monkeypatch.setattr("jaxopt_lab.curvature.points.mean_over_chunks", compute)


@pytest.mark.usefixtures("nothing_is_computed")
def test_a_missing_second_derivative_is_said_first():
    message = (
        r"^mine: the loss has no second derivative: fused in it has a derivative rule of its own \(TypeError: .*\). What"
        r" needs none: gauss_newton, .*; a `block` of parameters .*; hessian\(..., product=\"finite-difference\"\).$"
    )
    with pytest.raises(InputError, match=message):
        curvature.hessian(problem_of(fused), PARAMS, product="exact")
    data = problem_of(fused).data
    with pytest.raises(InputError, match=message):
        curvature.hessian(problem_of(fused), PARAMS, data=lambda: iter([data]), product="exact")
    with pytest.raises(InputError, match=r"product must be one of: .* Did you mean 'finite-difference'"):
        curvature.hessian(problem_of(fused), PARAMS, product="finite")


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize("factory", FORWARD)
@pytest.mark.parametrize("function", [fused, reversible])
def test_a_missing_forward_derivative_is_said_first(factory, function):
    what = "outputs" if factory in FORWARD[:2] else "examples' losses"
    message = (
        f"^mine: the {what} have no forward derivative: {function.__name__} in it has a derivative rule of its own"
    )
    with pytest.raises(InputError, match=message):
        factory(problem_of(function), PARAMS)


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize("factory", FORWARD[:2])
@pytest.mark.parametrize(
    ("outputs", "got"),
    [(lambda z: (100 * z).astype(jnp.int32), r"int32\[6\]"), (lambda z: (z, z.argmax(keepdims=True)), r"int32\[1\]")],
)
def test_outputs_that_are_whole_numbers_are_refused(factory, outputs, got):
    with pytest.raises(InputError, match=f"the outputs must be real and floating, got {got}. Leave out"):
        factory(problem_of(jnp.tanh, outputs), PARAMS)


@pytest.mark.usefixtures("nothing_is_computed")
def test_examples_that_cannot_be_told_apart_are_refused():
    with pytest.raises(InputError, match=r"its examples cannot be told apart .* as their leading axis"):
        curvature.empirical_fisher(problem_of(jnp.tanh, lambda z: (z, z.sum())), PARAMS)


def test_what_has_the_derivative_is_as_it_was():
    """A gradient's rule that can be differentiated has a second derivative; a block behind a kernel needs none."""
    smooth, other = problem_of(jnp.tanh), problem_of(reversible)
    one, two = (curvature.hessian(p, PARAMS)(PARAMS) for p in (smooth, other))
    chex.assert_trees_all_close(one, two, rtol=1e-5)  # the same derivatives in another order, float32
    found = curvature.hessian(problem_of(fused), PARAMS, block="out")({"out": jnp.ones(())})
    expected = curvature.hessian(smooth, PARAMS, block="out")({"out": jnp.ones(())})
    np.testing.assert_allclose(found["out"], expected["out"], rtol=1e-5)  # likewise


def halves(problem):
    """The problem's examples in two batches, read anew."""
    return lambda: (jax.tree.map(lambda leaf, k=k: leaf[3 * k : 3 * k + 3], problem.data) for k in range(2))


@pytest.mark.parametrize(("dtype", "least"), [("float32", 1e-3), ("float64", 1e-7)])
@pytest.mark.parametrize("read", [lambda problem: None, halves])
def test_differences_of_gradients_take_the_place_of_a_second_derivative(dtype, least, read):
    with precision(dtype):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), PARAMS)
        problem = problem_of(fused)
        operator = curvature.hessian(problem, params, data=read(problem))
        exact = curvature.hessian(problem_of(jnp.tanh), params)
        assert operator.epsilon < least  # the optimum of both errors, eps^(2/3): 2e-5 in float32, 4e-11 in float64
        assert operator.notes[-1].startswith("Products are central differences of the gradient, with a relative error")
        found, true = curvature.eigenpairs(operator, 1, 1), curvature.eigenpairs(exact, 1, 1)
        for one, other in ((found.largest, true.largest), (found.smallest, true.smallest)):
            assert abs(one.values[0] - other.values[0]) <= one.errors[0] + other.errors[0]
        low, high = curvature.trace(operator).interval
        assert low <= curvature.trace(exact).value <= high
        assert float(vectors.norm(operator(vectors.zeros_like(params)))) == 0


def test_differences_are_taken_where_they_are_asked_for():
    operator = curvature.hessian(problem_of(jnp.tanh), PARAMS, product="finite-difference")
    assert not curvature.hessian(problem_of(jnp.tanh), PARAMS).notes
    assert operator.notes
    assert 2.0**-23 < operator.epsilon < 1e-3


@pytest.mark.parametrize(
    ("products", "apart"),
    [((2.0, 1.0), 0.5), ((1.0, 2.0), 0.5), ((0.0, 0.0), 0.0), ((1.0, jnp.inf), jnp.inf), ((jnp.nan, 1.0), jnp.inf)],
)
def test_two_lengths_of_a_difference_are_held_against_each_other(products, apart, monkeypatch):
    """The gap over the larger one; no product that is not finite is ever the best."""
    found = dict(zip((0.25, 0.5), products, strict=True))
    monkeypatch.setattr(differences, "_product", lambda loss, params, chunks, size, vector: {"w": found[float(size)]})
    point = types.SimpleNamespace(loss=None, params=None, chunks=None)
    assert differences._disagreement(point, 0.25, None) == apart


def test_differences_that_are_all_rounding_are_refused():
    """In bfloat16 the parameters stay where they are, or go eight bits at a time."""
    coarse = lambda x: jnp.tanh(x.astype(jnp.bfloat16)).astype(jnp.float32)  # noqa: E731
    with pytest.raises(InputError, match=r"^Hessian of mine: central differences of .* disagree by .* lab.pre"):
        curvature.hessian(problem_of(coarse), PARAMS, product="finite-difference")


def test_fused_attention_has_curvature():
    """JAX's own Pallas kernel, interpreted: a gradient and nothing more."""
    length, heads, size = 16, 1, 16
    names = ("block_q", "block_k", "block_q_dkv", "block_kv_dkv", "block_q_dq", "block_kv_dq")
    blocks = attention.BlockSizes(**dict.fromkeys(names, length))

    def loss(params, batch, key):
        rows = (batch @ params).reshape(-1, length, heads, size)
        return jnp.mean(attention.mha(rows, rows, rows, None, block_sizes=blocks, interpret=True) ** 2)

    params = jax.random.normal(jax.random.key(0), (4, heads * size))
    problem = lab.from_loss(loss, params, jax.random.normal(jax.random.key(1), (2, length, 4)), name="attention")
    with pytest.raises(
        InputError, match=r"^attention: the loss has no second derivative: mha in it has a derivative rule"
    ):
        curvature.hessian(problem, params, product="exact")

    def plain(params, batch, key):
        rows = batch @ params
        weights = jax.nn.softmax(jnp.einsum("nqd,nkd->nqk", rows, rows))
        return jnp.mean((weights @ rows) ** 2)

    operator = curvature.hessian(problem, params)
    exact = curvature.hessian(lab.from_loss(plain, params, problem.data), params)
    found, true = curvature.eigenpairs(operator), curvature.eigenpairs(exact)
    assert operator.epsilon < 4e-3
    assert abs(found.largest.values[0] - true.largest.values[0]) <= found.largest.errors[0] + true.largest.errors[0]


@pytest.mark.parametrize("product", curvature.products.PRODUCTS)
def test_a_loss_without_a_gradient_is_refused_in_a_sentence(product):
    def loss(w, batch, key):
        return jnp.sum(jax.lax.while_loop(lambda x: jnp.sum(x) < 10.0, lambda x: 2 * x, jnp.abs(w) + 1))

    with pytest.raises(InputError, match=r"no gradient|no second derivative|derivative") as raised:
        curvature.hessian(lab.from_loss(loss, jnp.ones(3)), jnp.ones(3), product=product)
    assert "Reverse-mode" in str(raised.value)
