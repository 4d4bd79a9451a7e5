"""A loss without the derivative that is asked for is refused in one sentence, before anything is computed."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxopt_lab as lab
from jaxopt_lab import curvature
from jaxopt_lab.core import Composite, InputError, Problem

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
        r" needs none: gauss_newton, .*; a `block` of parameters .*; central differences of the gradient .*$"
    )
    with pytest.raises(InputError, match=message):
        curvature.hessian(problem_of(fused), PARAMS)
    data = problem_of(fused).data
    with pytest.raises(InputError, match=message):
        curvature.hessian(problem_of(fused), PARAMS, data=lambda: iter([data]))


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
    for one, two in zip(*(jax.tree.leaves(curvature.hessian(p, PARAMS)(PARAMS)) for p in (smooth, other)), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5)  # the same derivatives in another order, float32
    found = curvature.hessian(problem_of(fused), PARAMS, block="out")({"out": jnp.ones(())})
    expected = curvature.hessian(smooth, PARAMS, block="out")({"out": jnp.ones(())})
    np.testing.assert_allclose(found["out"], expected["out"], rtol=1e-5)  # likewise


def test_central_differences_do_what_the_sentence_says():
    problem, smooth, step = problem_of(fused), problem_of(jnp.tanh), 1e-2
    gradient = jax.jit(jax.grad(problem.full_loss))

    def product(vector):
        ahead, behind = (gradient(jax.tree.map(lambda w, v, s=s: w + s * step * v, PARAMS, vector)) for s in (1, -1))
        return jax.tree.map(lambda one, other: (one - other) / (2 * step), ahead, behind)

    ends = curvature.eigenpairs(curvature.operator(product, PARAMS, epsilon=1e-3), 1, 1)
    exact = curvature.eigenpairs(curvature.hessian(smooth, PARAMS), 1, 1)
    for one, other in ((ends.largest, exact.largest), (ends.smallest, exact.smallest)):
        assert abs(one.values[0] - other.values[0]) <= one.errors[0]


def test_fused_attention_is_refused_by_its_name():
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
        curvature.hessian(problem, params)
    assert curvature.locate(problem, params).value > 0
