"""What is certified was looked at before: products that repeat and are symmetric, every example once in each pass."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab import curvature
from jaxopt_lab.core import Composite, InputError, Problem, precision
from jaxopt_lab.curvature.quadratures import gauss_quadrature_of
from jaxopt_lab.curvature.soundness import require_sound

SKEWED = jnp.diag(jnp.array([1.0, 2.0, 3.0])) + jnp.triu(jnp.ones((3, 3)), 1)
FEW = {"num_probes": 2, "num_steps": 2}
ESTIMATORS = {
    "eigenpairs": curvature.eigenpairs,
    "condition_number": curvature.condition_number,
    "trace": curvature.trace,
    "frobenius": lambda operator: curvature.frobenius(operator, num_products=4),
    "density": lambda operator: curvature.spectral_density(operator, **FEW),
    "index": lambda operator: curvature.index(operator, **FEW),
    "log_determinant": lambda operator: curvature.log_determinant(operator, lower=0.5, **FEW),
    "whole_log_determinant": lambda operator: curvature.log_determinant(operator, lower=0.5, num_steps=3),
    "quadrature": lambda operator: gauss_quadrature_of(operator, jnp.ones(3), 2),
    "negative_curvature": curvature.negative_curvature,
    "track": lambda operator: next(curvature.track(lambda _: operator, [(0, 0)])),
    "noise_scale": lambda operator: curvature.noise_scale(classifier(), jnp.zeros((2, 3)), hessian=operator),
}


def perceptron(params, batch):
    return jax.nn.relu(batch["x"] @ params["first"]) @ params["last"]


def criterion(logits, batch):
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]))


def classifier(outputs=lambda params, batch: batch["x"] @ params, num=60):
    """Two separable clouds in three classes; a kinked network where `perceptron` is given."""
    rng = np.random.default_rng(0)
    data = {"x": jnp.asarray(rng.normal(size=(num, 2)), jnp.float32), "y": jnp.asarray(rng.integers(0, 3, num))}
    loss = lambda params, batch, key: criterion(outputs(params, batch), batch)  # noqa: E731
    return Problem(loss, None, data, composite=Composite(outputs, criterion, "categorical"), name="clouds")


def weights(scale=1.0):
    keys = jax.random.split(jax.random.key(0))
    return {"first": scale * jax.random.normal(keys[0], (2, 8)), "last": scale * jax.random.normal(keys[1], (8, 3))}


def batches(problem, change=lambda batch, rng: batch, shuffled=True):
    """A source of batches of 7, the last one ragged, in another order in each pass; `change` has one generator."""
    rng, num = np.random.default_rng(1), problem.num_examples

    def source():
        order = rng.permutation(num) if shuffled else np.arange(num)
        for low in range(0, num, 7):
            yield change(jax.tree.map(lambda leaf, low=low: leaf[order[low : low + 7]], problem.data), rng)

    return source


def noisy(size):
    return lambda batch, rng: {**batch, "x": batch["x"] + size * rng.normal(size=batch["x"].shape).astype(np.float32)}


@pytest.mark.parametrize("estimate", ESTIMATORS.values(), ids=ESTIMATORS)
def test_a_product_that_is_not_symmetric_is_refused(estimate):
    if estimate is ESTIMATORS["noise_scale"]:
        skewed = curvature.operator(
            lambda v: jnp.reshape(jnp.triu(jnp.ones((6, 6))) @ v.ravel(), v.shape), jnp.zeros((2, 3))
        )
    else:
        skewed = curvature.operator(lambda v: SKEWED @ v, jnp.zeros(3))
    with pytest.raises(InputError, match=r"operator: the product is not symmetric: u'Av = .* Take \(A \+ A'\) / 2"):
        estimate(skewed)


@pytest.mark.parametrize("estimate", ESTIMATORS.values(), ids=ESTIMATORS)
def test_a_product_that_does_not_repeat_is_refused(estimate):
    rng, shape = np.random.default_rng(0), (2, 3) if estimate is ESTIMATORS["noise_scale"] else (3,)
    restless = curvature.operator(lambda v: v * (1 + 1e-3 * rng.normal()), jnp.zeros(shape))
    with pytest.raises(InputError, match=r"a product repeated, .*, differs by .* of itself. Make the product the same"):
        estimate(restless)


@pytest.mark.parametrize("size", [1e-3, 1.0])
@pytest.mark.parametrize("factory", [curvature.hessian, curvature.gauss_newton, curvature.empirical_fisher])
def test_fresh_noise_in_each_pass_is_refused(factory, size):
    problem, params = classifier(perceptron), weights()
    operator = factory(problem, params, data=batches(problem, noisy(size)))
    with pytest.raises(InputError, match=r"the examples change from one pass over the data to the next. Let each pass"):
        curvature.eigenpairs(operator)
    preconditioned = curvature.preconditioned(operator, jax.tree.map(jnp.ones_like, params))
    with pytest.raises(InputError, match="the examples change from one pass"):
        curvature.trace(preconditioned)


def test_a_pass_with_fewer_examples_is_refused_whenever_it_comes():
    problem, params = classifier(perceptron), weights()
    for last_whole in (1, 2, 4):
        passes = []

        def source(passes=passes, last_whole=last_whole):
            passes.append(1)
            whole = list(batches(problem, shuffled=False)())
            return iter(whole if len(passes) <= last_whole else whole[:4])

        with pytest.raises(
            InputError, match=r"the first pass over data gave 60 examples, this one gave 28. Let each call"
        ):
            curvature.eigenpairs(curvature.hessian(problem, params, data=source))


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
@pytest.mark.parametrize(
    "factory", [curvature.hessian, curvature.gauss_newton, curvature.fisher, curvature.gradient_covariance]
)
def test_the_same_examples_in_any_order_are_sound(factory, scale):
    """At scale 30 the logits are some 1e3 apart: terms cancel, and rounding is 1e3 times what it is elsewhere."""
    problem, params = classifier(perceptron), weights(scale)
    shuffled = factory(problem, params, data=batches(problem))
    assert require_sound(shuffled)[1] == 3
    assert require_sound(dataclasses.replace(factory(problem, params, chunk_size=7), sound=False))[1] == 3


def test_a_model_that_computes_in_half_precision_is_sound():
    def half(params, batch):
        coarse = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (params, batch["x"]))
        return perceptron(coarse[0], {"x": coarse[1]}).astype(jnp.float32)

    problem = classifier(half)
    operator = curvature.hessian(problem, weights(), data=batches(problem))
    assert require_sound(operator)[1] == 3
    bfloat = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), weights())
    assert require_sound(curvature.hessian(classifier(perceptron), bfloat, data=batches(problem)))[1] == 3


@pytest.mark.parametrize("kind", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit])
def test_sharded_vectors_are_checked_where_they_lie(kind):
    mesh = jax.make_mesh((4,), ("x",), axis_types=(kind,))
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    diagonal = jax.device_put(jnp.linspace(1.0, 2.0, 64), place)
    assert require_sound(curvature.operator(lambda v: diagonal * v, diagonal))[1] == 3
    with pytest.raises(InputError, match="not symmetric"):
        require_sound(curvature.operator(lambda v: jnp.roll(v, 1), jnp.zeros(64)))


def test_rounding_that_has_eaten_a_product_is_said():
    """sin z - 2 sin(z / 2) cos(z / 2) is 0: what is left of its curvature in float32 is rounding."""

    def loss(params, batch, key):
        z = params * batch[:, None]
        return 1e7 * jnp.mean(jnp.sin(z) - 2 * jnp.sin(z / 2) * jnp.cos(z / 2))

    data = jnp.linspace(0.5, 1.5, 8)
    lost = Problem(loss, None, data, name="lost")
    operator = curvature.hessian(lost, jnp.linspace(0.1, 0.2, 5), data=lambda: iter([data]))
    with pytest.raises(InputError, match=r"the examples stay the same, it is lost to rounding. Repeat it in float64"):
        curvature.trace(operator)


def test_a_product_of_zeros_is_sound():
    assert require_sound(curvature.operator(lambda v: 0 * v, jnp.zeros(5)))[1] == 3
    factors = iter([0.0, 0.0, 1.0])
    with pytest.raises(InputError, match="differs by inf of itself"):
        require_sound(curvature.operator(lambda v: next(factors) * v, jnp.zeros(5)))


def test_the_check_is_made_once_and_its_products_are_counted():
    calls = []
    truth = np.linspace(1.0, 2.0, 40)

    def product(vector):
        calls.append(1)
        return jnp.asarray(truth, jnp.float32) * vector

    first = curvature.operator(product, jnp.zeros(40))
    ends = curvature.eigenpairs(first, 1, 1)
    assert ends.products == len(calls)
    bare = curvature.eigenpairs(curvature.from_diagonal(jnp.asarray(truth, jnp.float32)), 1, 1)
    assert (ends.products, ends.largest.products) == (bare.products + 3, bare.largest.products + 3)
    np.testing.assert_array_equal(ends.largest.values, bare.largest.values)
    calls.clear()
    assert curvature.trace(first, num_products=12).cost == len(calls) <= 12
    for estimate in (
        lambda operator: curvature.trace(operator, num_products=12).cost,
        lambda operator: curvature.trace(operator, num_products=40).cost,
        lambda operator: curvature.frobenius(operator, num_products=12).cost,
        lambda operator: curvature.index(operator, **FEW).negative.cost,
        lambda operator: curvature.spectral_density(operator, **FEW).products,
        lambda operator: curvature.log_determinant(operator, lower=0.5, **FEW).cost,
        lambda operator: curvature.log_determinant(operator, lower=0.5, num_steps=40).cost,
        lambda operator: gauss_quadrature_of(operator, jnp.ones(40), 5).products,
        lambda operator: curvature.condition_number(operator).absolute.cost,
        lambda operator: curvature.negative_curvature(operator).value.cost,
    ):
        calls.clear()
        assert estimate(curvature.operator(product, jnp.zeros(40))) == len(calls)


def test_what_is_sound_by_construction_costs_nothing():
    problem, params = classifier(perceptron), weights()
    for operator in (
        curvature.hessian(problem, params),
        curvature.gauss_newton(problem, params, chunk_size=7),
        curvature.fisher(problem, params),
        curvature.empirical_fisher(problem, params),
        curvature.from_matrix(jnp.eye(3)),
        curvature.preconditioned(curvature.hessian(problem, params), jax.tree.map(jnp.ones_like, params)),
    ):
        assert require_sound(operator)[1] == 0


def test_a_rule_that_is_no_derivative_is_found_out():
    """A straight-through estimator: what is called its Hessian is not symmetric."""

    @jax.custom_vjp
    def rounded(x):
        return jnp.round(x)

    @jax.custom_vjp
    def scaled(x):
        return 2 * x

    rounded.defvjp(lambda x: (jnp.round(x), x), lambda x, slope: (slope * x[::-1],))
    scaled.defvjp(lambda x: (2 * x, None), lambda _, slope: (2 * slope,))
    loss = lambda rule: lambda w, batch, key: jnp.sum(rule(w) ** 2)  # noqa: E731
    wrong = curvature.hessian(Problem(loss(rounded), None, name="rounded"), jnp.array([0.3, 1.4, 2.2]))
    with pytest.raises(
        InputError, match=r"Hessian of rounded: the product is not symmetric.*custom_jvp and custom_vjp"
    ):
        curvature.trace(wrong)
    right = curvature.hessian(Problem(loss(scaled), None, name="scaled"), jnp.array([0.3, 1.4, 2.2]))
    assert curvature.trace(right).value == pytest.approx(24.0, rel=1e-6)  # one product of 8 with each of 3 entries
    assert not right.sound


def test_the_rounding_that_a_user_gives_is_allowed():
    """Central differences of a gradient: float32's rounding over the step, 6e-3; 3.5e-4 pass without a word."""
    gradient = jax.grad(lambda w: jnp.sum(jnp.cosh(w)))
    point, step = jnp.linspace(-1.0, 1.0, 20), 1e-5

    def product(vector):
        return (gradient(point + step * vector) - gradient(point - step * vector)) / (2 * step)

    with pytest.raises(InputError, match="or give its relative rounding error as `epsilon`"):
        curvature.trace(curvature.operator(product, point))
    estimate = curvature.trace(curvature.operator(product, point, epsilon=1e-2))
    assert estimate.interval[0] <= float(jnp.sum(jnp.cosh(point))) <= estimate.interval[1]


@pytest.mark.parametrize("step", [1e-3, 3e-4])
def test_rounding_that_passes_without_a_word_is_in_the_interval(step):
    gradient = jax.grad(lambda w: jnp.sum(jnp.cosh(w)))
    point = jnp.linspace(-1.0, 1.0, 20)
    product = lambda v: (gradient(point + step * v) - gradient(point - step * v)) / (2 * step)  # noqa: E731
    operator, truth = curvature.operator(product, point), np.cosh(np.linspace(-1, 1, 20))
    for _ in range(2):  # the second time it is not checked again
        low, high = curvature.trace(operator).interval
        assert low <= truth.sum() <= high
        ends = curvature.eigenpairs(operator, 1, 1)
        assert abs(ends.largest.values[0] - truth.max()) <= ends.largest.errors[0]
        assert abs(ends.smallest.values[0] - truth.min()) <= ends.smallest.errors[0]


def test_float64_allows_what_float64_rounds():
    with precision():
        matrix = np.random.default_rng(0).normal(size=(50, 50))
        symmetric = jnp.asarray(matrix + matrix.T)
        assert require_sound(curvature.operator(lambda v: symmetric @ v, jnp.zeros(50)))[1] == 3
        slightly = symmetric.at[0, 1].add(1e-8)
        with pytest.raises(InputError, match="not symmetric"):
            require_sound(curvature.operator(lambda v: slightly @ v, jnp.zeros(50)))
