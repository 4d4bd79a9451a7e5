"""`from_loss` on what users hold: losses of other forms, and errors of their own."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab.core import InputError, Problem, from_loss
from jaxopt_lab.core.losses import require_scalar_loss

DATA = (jnp.ones((8, 3)), jnp.zeros(8))


def square(w, batch, key):
    return jnp.mean((batch[0] @ w - batch[1]) ** 2)


def noisy(w, batch, key):
    return square(w, batch, key) + jax.random.normal(key)


def broken(w, batch, key):
    return jnp.mean(batch[0] @ w["kernel"])


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda w, b: square(w, b, None), r"is called as loss\(params, batch, key\), <lambda> takes \(w, b\)\. Write lambda params, batch, key: loss\(params, batch\); a"),
        (lambda w: jnp.sum(w), r"<lambda> takes \(w\)\. Write lambda params, batch, key: loss\(params\);"),
        (lambda w, b, k, t: jnp.sum(w), r"takes \(w, b, k, t\)\. Bind what else it takes with functools\.partial\.$"),
        (lambda w, b, *, key: jnp.sum(w), r"takes \(w, b, key\)\. Write lambda params, batch, key: loss\(params, batch\);"),
        (lambda w, b, k: (square(w, b, k), {"seen": jnp.ones(2)}), r"returns a tuple \(0 float32\[\], 1/seen float32\[2\]\)\. Return the scalar alone, as .*\[0\]; give .*metrics=\{name"),
        (noisy, r"the loss noisy needs its key: without one it fails \(TypeError: .*\); it was called with params float32\[3\]; batch .*; key None\. Without a key .* draw nothing where key is None"),
        (broken, r"the loss broken fails \(.*\); it was called with params float32\[3\]; batch 0 float32\[8, 3\], 1 float32\[8\]; key key<fry>\[\]\.$"),
        (3.0, r"loss must be a function \(params, batch, key\) -> scalar, got float"),
        (lambda w, b, k: jnp.sum(w).astype(int), r"loss must return a real scalar, <lambda> returns int32\[\]\. Take the mean"),
    ],
)  # fmt: skip
def test_a_loss_of_another_form_gets_a_sentence_with_its_remedy(loss, message):
    with pytest.raises(InputError, match=message):
        from_loss(loss, jnp.zeros(3), DATA)


def test_the_users_own_error_is_the_cause_of_the_sentence():
    with pytest.raises(InputError) as caught:
        from_loss(broken, {"weights": jnp.zeros(3)}, DATA)
    cause = caught.value.__cause__
    assert isinstance(cause, KeyError)
    frames = []
    trace = cause.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert "broken" in frames


def test_a_loss_with_defaults_or_bound_arguments_is_taken():
    weighted = lambda scale, w, batch, key=None: scale * square(w, batch, key)  # noqa: E731
    problem = from_loss(functools.partial(weighted, 2.0), jnp.ones(3), DATA)
    assert float(problem.full_loss(jnp.ones(3))) == 18.0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((DATA[0], np.array(["a"] * 8)), r"the leaf 1 of data holds text \(<U1\), which no compiled program takes\. Encode it"),
        ({"x": DATA[0], "label": ["a"] * 8}, r"the leaf label/0 of data holds text \(str\)"),
        ({"x": DATA[0], "label": np.array([None] * 8)}, r"the leaf label of data holds values of type object"),
        ([[1.0, 2.0], [3.0, 4.0]], r"share their leading axis.*lists? are leaves of their own: make it an array, jnp.asarray"),
    ],
)  # fmt: skip
def test_data_that_are_no_arrays_of_numbers_are_named(data, message):
    with pytest.raises(InputError, match=message):
        from_loss(lambda w, batch, key: jnp.sum(w), jnp.zeros(3), data)


def test_text_in_the_validation_data_is_named_too():
    with pytest.raises(InputError, match="the leaf 1 of validation holds text"):
        from_loss(square, jnp.zeros(3), DATA, validation=(DATA[0], np.array(["a"] * 8)))


def test_keys_may_stand_in_the_data():
    keys = jax.random.split(jax.random.key(0), 8)
    problem = from_loss(lambda w, b, key: jnp.mean(jax.vmap(jax.random.normal)(b)) * jnp.sum(w), jnp.zeros(3), keys)
    assert problem.num_examples == 8


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"w": jnp.zeros(3), "i": jnp.asarray(2)}, r"parameter i is int32\[\], so that the loss cannot be differentiated in it\. Make it floating"),
        (jnp.arange(3), r"the parameter is int32\[3\], so that"),
        ({"w": jnp.zeros(3), "kind": "relu"}, r"parameter kind is a Python str, .* Let the loss close over it"),
        ({"w": jnp.zeros(3), "f": jnp.tanh}, r"parameter f is a .*, so that the loss cannot be differentiated"),
        ({"w": jnp.zeros(3), "on": True}, r"parameter on is a Python bool"),
    ],
)  # fmt: skip
def test_parameters_that_cannot_be_trained_are_named(params, message):
    with pytest.raises(InputError, match=message):
        from_loss(lambda w, batch, key: jnp.zeros(()), params, DATA)


def test_an_initializer_that_fails_is_named_with_its_own_error():
    def start(key):
        return {"a": jnp.zeros(3)}["b"]

    with pytest.raises(InputError, match=r"the initializer start\(key\) fails \(KeyError: 'b'\)\. It is called with a PRNG") as caught:  # fmt: skip
        from_loss(square, start, DATA)
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_problem_made_by_hand_is_checked_by_the_same_sentences():
    problem = Problem(loss=noisy, init=lambda key: jnp.zeros(3), data=DATA, name="mine")
    with pytest.raises(InputError, match="the loss mine needs its key"):
        require_scalar_loss("here", problem)


def test_nothing_is_computed_by_the_checks():
    big = jax.ShapeDtypeStruct((10**12,), jnp.float32)
    problem = Problem(loss=lambda w, b, key: jnp.sum(w), init=lambda key: jnp.zeros(big.shape), name="big")
    require_scalar_loss("here", problem)
    chex.assert_shape(jax.eval_shape(problem.init, jax.random.key(0)), big.shape)
