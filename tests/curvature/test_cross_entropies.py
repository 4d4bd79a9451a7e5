import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab import curvature, rules
from jaxopt_lab.core import Composite, InputError
from jaxopt_lab.curvature.cross_entropies import ChunkedCrossEntropy
from jaxopt_lab.rules.frozen import without_frozen

TOKENS, WIDTH, CLASSES = 7, 4, 11


def hidden_of(params, batch, key):
    return jnp.tanh(params["embedding"][batch["tokens"]])


def chunked(chunk_size, bias=True):
    head = (lambda p: (p["kernel"], p["bias"])) if bias else (lambda p: p["kernel"])
    return ChunkedCrossEntropy(hidden_of, head, lambda batch: batch["labels"], chunk_size)


def plain_loss(outputs, batch):
    labels = batch["labels"]
    chosen = jnp.take_along_axis(jax.nn.log_softmax(outputs), jnp.maximum(labels, 0)[..., None], -1)[..., 0]
    return -jnp.mean(jnp.where(labels < 0, 0.0, chosen))


@pytest.fixture(scope="module")
def setting():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, (3, TOKENS))
    labels[0, 4:] = -1  # padding
    data = {"tokens": jnp.asarray(rng.integers(0, 5, (3, TOKENS))), "labels": jnp.asarray(labels)}
    shapes = {"embedding": (5, WIDTH), "kernel": (WIDTH, CLASSES), "bias": (CLASSES,)}
    params = {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()}

    def outputs(p, batch):
        return hidden_of(p, batch, None) @ p["kernel"] + p["bias"]

    whole = lab.from_loss(lambda p, batch, key: plain_loss(outputs(p, batch), batch), params, data)
    return dataclasses.replace(whole, composite=Composite(outputs, plain_loss)), params, data


def in_chunks(data, params, chunk_size, **options):
    found = chunked(chunk_size, **options)
    return dataclasses.replace(lab.from_loss(found.loss, params, data), composite=found.composite)


@pytest.mark.parametrize("chunk_size", [1, 5, 21, 1000])
def test_loss_gradient_and_products_are_those_of_the_whole_logits(setting, chunk_size):
    whole, params, data = setting
    parts = in_chunks(data, params, chunk_size)
    np.testing.assert_allclose(parts.full_loss(params), whole.full_loss(params), rtol=1e-6)
    vector = jax.tree.map(lambda leaf: jnp.cos(3 * leaf), params)
    for take in (
        lambda problem: jax.grad(problem.full_loss)(params),
        lambda problem: curvature.hessian(problem, params)(vector),
        lambda problem: curvature.gauss_newton(problem, params)(vector),
    ):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6), take(parts), take(whole))


def test_a_block_of_the_parameters_and_rules_take_the_products_in_chunks(setting):
    whole, params, data = setting
    parts = in_chunks(data, params, 5)
    block = [curvature.gauss_newton(each, params, block="embedding") for each in (whole, parts)]
    vector = jax.tree.map(lambda like: jnp.ones(like.shape), block[0].like)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *(b(vector) for b in block))
    maker = partial(rules.newton_cg, curvature="gauss_newton")
    ends = [lab.training.run(each, maker, {"learning_rate": 0.5}, steps=3).params for each in (whole, parts)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), *ends)


def test_frozen_parameters_stay_out_of_the_products_in_chunks(setting):
    whole, params, data = setting
    frozen = (False, True, False)  # bias, embedding, kernel
    found = []
    for problem in (whole, in_chunks(data, params, 5)):
        restricted, _, kept = without_frozen(problem, optax.sgd(0.1), params, frozen)
        vector = jax.tree.map(jnp.ones_like, kept)
        found.append(curvature.gauss_newton(restricted, kept)(vector))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *found)


def test_logits_are_never_held_at_once():
    rng, classes = np.random.default_rng(0), 20_000
    data = {
        "tokens": jnp.asarray(rng.integers(0, 5, (64, 8))),
        "labels": jnp.asarray(rng.integers(0, classes, (64, 8))),
    }
    params = {"embedding": jnp.ones((5, 2)), "kernel": jnp.ones((2, classes))}
    logits = 64 * 8 * classes * 4
    problem = in_chunks(data, params, 16, bias=False)
    product = curvature.gauss_newton(problem, params)
    for function in (jax.grad(problem.full_loss), lambda p: product.product(p)):
        memory = jax.jit(function).lower(params).compile().memory_analysis()
        assert memory.temp_size_in_bytes < logits / 4


def test_a_head_without_a_bias_and_half_precision_are_taken(setting):
    _, params, data = setting
    small = {name: params[name].astype(jnp.bfloat16) for name in ("embedding", "kernel")}
    problem = in_chunks(data, small, 5, bias=False)
    assert problem.full_loss(small).dtype == jnp.float32
    exact = dataclasses.replace(problem, composite=dataclasses.replace(problem.composite, in_chunks=None))
    operators = [curvature.gauss_newton(each, small) for each in (problem, exact)]
    vector = jax.tree.map(lambda like: jnp.ones(like.shape, like.dtype), operators[0].like)
    found, expected = (each(vector) for each in operators)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0.05, atol=2e-3), found, expected)


def test_a_label_beyond_the_classes_is_not_taken_for_the_last_one(setting):
    _, params, data = setting
    beyond = data | {"labels": data["labels"].at[1, 0].set(CLASSES)}
    assert np.isnan(in_chunks(beyond, params, 5).full_loss(params))


def test_a_chunk_of_nothing_is_refused():
    with pytest.raises(InputError, match="chunk_size"):
        chunked(0)
