"""What is found in a program without running it: activations, layers, outputs; and a loss with its outputs changed."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxopt_lab as lab
from jaxopt_lab.tracing.initializers import LSUVInit, _bias_of
from jaxopt_lab.tracing.jaxprs import lay_out
from jaxopt_lab.tracing.layer_detection import find_places
from jaxopt_lab.tracing.outputs import BypassActivation, LighterPenalty, NormalizeOutputs, find_outputs
from jaxopt_lab.tracing.randomness import asks_for_noise

PARAMS = {"first": jnp.ones((4, 3)), "scale": jnp.ones(3), "second": jnp.ones((3, 2))}
BATCH = jnp.arange(8.0).reshape(2, 4)
WEIGHTS = jnp.array([[1.0, 2.0], [0.5, -1.0], [0.0, 1.0], [-1.0, 0.5]])


def laid(loss, params=PARAMS, *rest):
    return lay_out(loss, params, *(rest or (BATCH,)), open_derivatives=False)


def hidden(activation):
    return lambda params, batch: jnp.sum(activation(batch @ params["first"], params["scale"]) @ params["second"])


@pytest.mark.parametrize(
    ("activation", "names"),
    [
        (lambda x, s: jnp.where(x > 0, x, 0), ["relu"]),
        (lambda x, s: jnp.where(x <= 0, 0, x), ["relu"]),
        (lambda x, s: jnp.where(x > 1, x, 0), []),  # its kink is not at zero
        (lambda x, s: jnp.where(x > 0, x, 1), []),
        (lambda x, s: jnp.where(x > 0, s, 0), []),
        (lambda x, s: 0.5 * x * (1 + jax.lax.erf(x / np.sqrt(2))), ["gelu"]),
        (lambda x, s: x * s, []),
    ],
)
def test_an_activation_is_told_from_what_looks_like_one(activation, names):
    _, found, _ = find_places(laid(hidden(activation)), 3)
    assert [place.operation for place in found] == names


@pytest.mark.parametrize(
    ("scaled", "maker"), [(lambda x, s: x / np.sqrt(2), "dot_general"), (lambda x, s: 2 * (x * s), "mul")]
)
def test_the_argument_of_an_error_function_is_what_comes_before_literals(scaled, maker):
    program = laid(hidden(lambda x, s: x * jax.lax.erf(scaled(x, s))))
    (place,) = find_places(program, 3)[1]
    (made,) = [each for each in program.operations if place.value in each.outputs]
    assert made.name == maker


@pytest.mark.parametrize(
    ("layout", "kernel", "images", "axis"),
    [
        (("NHWC", "HWIO", "NHWC"), (3, 3, 2, 5), (1, 8, 8, 2), 3),
        (("NCHW", "OIHW", "NCHW"), (5, 2, 3, 3), (1, 2, 8, 8), 1),
    ],
)
def test_a_unit_of_a_convolution_reads_its_window_in_all_channels(layout, kernel, images, axis):
    def loss(weight, batch):
        return jnp.sum(jax.lax.conv_general_dilated(batch, weight, (1, 1), "SAME", dimension_numbers=layout))

    ((layer,), _, _) = find_places(laid(loss, jnp.ones(kernel), jnp.ones(images)), 1)
    assert (layer.fan_in, layer.unit_axes) == (3 * 3 * 2, (axis,))


@pytest.mark.parametrize(("called", "opened"), [(lambda x: x, True), (None, False)])
def test_a_derivative_of_its_own_stays_closed_around_a_kernel(called, opened):
    """Opened, the kernel, here a call into Python, could not be differentiated."""

    @jax.custom_jvp
    def layer(x, weight):
        values = x @ weight
        return called(values) if called else jax.pure_callback(lambda y: y, values, values)

    layer.defjvp(lambda primals, tangents: (layer(*primals), tangents[0] @ primals[1]))
    program = laid(lambda params, batch: jnp.sum(layer(batch, params["first"])))
    assert ("dot_general" in [each.name for each in program.operations]) is opened


def penalized(weights, batch):
    """Squared outputs, and half of the squared norm of the weights."""
    return jnp.sum((batch @ weights) ** 2) + 0.5 * jnp.sum(weights**2)


def layerless(weights, batch):
    return jnp.sum(weights**2) + jnp.sum(batch)


def unread(weights, batch):
    """A layer of which nothing reaches the loss."""
    jax.lax.stop_gradient(batch @ weights)
    return jnp.sum(weights**2)


@pytest.mark.parametrize("loss", [layerless, unread])
def test_without_a_layer_behind_the_loss_there_are_no_outputs_and_nothing_changes(loss):
    assert find_outputs(laid(loss, WEIGHTS), 1) is None
    for change in (NormalizeOutputs(), BypassActivation("relu"), LighterPenalty(0.0)):
        assert change(loss, WEIGHTS, BATCH) == loss(WEIGHTS, BATCH)


def test_noise_is_asked_for_only_where_there_are_outputs():
    loss = lambda weights, batch, key: jnp.sum(weights * batch - jax.random.normal(key, batch.shape))  # noqa: E731
    assert not asks_for_noise(laid(loss, jnp.ones((2, 4)), BATCH, jax.random.key(0)), 1)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_lighter_penalty_keeps_its_share(share):
    fit = float(jnp.sum((BATCH @ WEIGHTS) ** 2))
    whole = 0.5 * float(jnp.sum(WEIGHTS**2))
    assert LighterPenalty(share)(penalized, WEIGHTS, BATCH) == pytest.approx(fit + share * whole, rel=1e-6)
    both = lambda weights, batch: (penalized(weights, batch), 7.0)  # noqa: E731
    found = LighterPenalty(share)(both, WEIGHTS, BATCH)
    assert (float(found[0]), found[1]) == (pytest.approx(fit + share * whole, rel=1e-6), 7.0)


def test_outputs_are_normalized_and_an_activation_hands_them_on():
    outputs = BATCH @ WEIGHTS
    chosen = lambda weights, batch: -jnp.mean((batch @ weights)[:, 0])  # noqa: E731
    expected = -jnp.mean(jax.nn.log_softmax(outputs)[:, 0])
    np.testing.assert_allclose(NormalizeOutputs()(chosen, WEIGHTS, BATCH), expected, rtol=1e-6)
    bent = lambda weights, batch: jnp.sum(jnp.tanh(batch @ weights) * 2)  # noqa: E731
    np.testing.assert_allclose(BypassActivation("tanh")(bent, WEIGHTS, BATCH), 2 * jnp.sum(outputs), rtol=1e-6)
    assert BypassActivation("relu")(bent, WEIGHTS, BATCH) == bent(WEIGHTS, BATCH)


def test_a_scaled_initialization_that_is_traced_gives_the_shapes_alone():
    problem = lab.from_loss(lambda w, batch, key: penalized(w, batch), lambda key: jnp.ones((4, 2)), BATCH)
    shapes = jax.eval_shape(LSUVInit(problem), jax.random.key(0))
    assert (shapes.shape, shapes.dtype) == ((4, 2), jnp.float32)


@pytest.mark.parametrize(
    ("beside", "bias"),
    [({"b": jnp.ones(3)}, "layer/b"), ({"b": jnp.ones(2)}, None), ({}, None), ({"c": jnp.ones((3, 3))}, None)],
)
def test_a_bias_lies_beside_its_weight_with_a_number_a_unit(beside, bias):
    params = {"layer": {"w": jnp.ones((2, 3))} | beside, "other": {"b": jnp.ones(3)}}
    assert _bias_of(params, types.SimpleNamespace(name="layer/w", num_units=3)) == bias
