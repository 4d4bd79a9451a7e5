import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxopt_lab import networks
from jaxopt_lab.core import InputError, precision, vectors
from jaxopt_lab.networks.activations import ACTIVATIONS, resolve_activation
from jaxopt_lab.networks.initializers import INITIALIZERS, resolve_initializer

IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(6, 8, 8, 1)), jnp.float32)
TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, 7, size=(2, 5)), jnp.int32)


def small(kind, **options):
    rngs = nnx.Rngs(0)
    if kind == "MLP":
        return networks.MLP(64, 3, **{"width": 4, "depth": 2, **options}, rngs=rngs)
    if kind == "Transformer":
        return networks.Transformer(7, 5, **{"width": 8, "depth": 1, "num_heads": 2, **options}, rngs=rngs)
    return getattr(networks, kind)(1, 3, **{"width": 2, "depth": 1, **options}, rngs=rngs)


def inputs_of(kind):
    return TOKENS if kind == "Transformer" else IMAGES


KINDS = ("MLP", "ConvNet", "ResNet", "Transformer")


def test_the_perceptron_is_its_formula_in_float64():
    with precision("float64"):
        model = small("MLP", activation="tanh")
        values = np.asarray(IMAGES, np.float64).reshape(6, 64)
        for layer in model.hidden:
            values = np.tanh(values @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...]))
        expected = values @ np.asarray(model.output.kernel[...]) + np.asarray(model.output.bias[...])
        outputs = model(jnp.asarray(IMAGES, float))
    np.testing.assert_allclose(outputs, expected, rtol=1e-12)  # sums of 64 terms


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (lambda rngs: networks.MLP(64, 10, width=280, depth=2, rngs=rngs), 99_690),
        (lambda rngs: networks.MLP(3, 2, width=4, depth=1, norm="batch", rngs=rngs), 3 * 4 + 4 + 8 + 4 * 2 + 2),
        (lambda rngs: networks.ConvNet(1, 3, width=2, depth=2, rngs=rngs), 9 * 2 + 2 + 9 * 8 + 4 + 4 * 3 + 3),
        (lambda rngs: networks.Transformer(7, 5, width=8, depth=1, num_heads=2, rngs=rngs),
         7 * 8 + 5 * 8 + 3 * 16 + (8 * 24 + 24) + (8 * 8 + 8) + (8 * 32 + 32) + (32 * 8 + 8) + (8 * 7 + 7)),
    ],
    ids=["mlp", "mlp-batch", "convnet", "transformer"],
)  # fmt: skip
def test_the_number_of_parameters_is_the_one_counted_by_hand(model, expected):
    shapes = jax.eval_shape(lambda key: networks.functional_nnx(model(nnx.Rngs(key))).params, jax.random.key(0))
    assert vectors.size(shapes) == expected


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_parameters_and_outputs_have_the_dtype_that_was_asked_for(kind, dtype):
    def build_and_apply(inputs):
        model = small(kind, dtype=dtype, norm="layer")
        return networks.functional_nnx(model).params, model(inputs)

    params, outputs = jax.eval_shape(build_and_apply, inputs_of(kind))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
    assert outputs.dtype == jnp.dtype(dtype)
    assert outputs.shape == ((2, 5, 7) if kind == "Transformer" else (6, 3))


def test_a_position_of_the_transformer_never_sees_a_later_one():
    model = small("Transformer")
    changed = TOKENS.at[:, 3].set((TOKENS[:, 3] + 1) % 7)
    before, after = model(TOKENS), model(changed)
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert not np.array_equal(before[:, 3:], after[:, 3:])


def test_a_residual_block_whose_last_convolution_is_zero_is_the_identity():
    block = small("ResNet", norm="none").blocks[0]
    block.convolutions[1].kernel[...] = jnp.zeros_like(block.convolutions[1].kernel[...])
    values = jnp.asarray(np.random.default_rng(1).normal(size=(2, 4, 4, 2)), jnp.float32)
    np.testing.assert_array_equal(block(values, None, 0), values)


def test_layer_normalization_of_inputs_far_from_zero_keeps_its_digits():
    options = networks.MLP(4, 1, width=4, depth=1, norm="layer", rngs=nnx.Rngs(0))
    values = 1000.0 + jnp.arange(4.0)[None]
    expected = (np.arange(4) - 1.5) / np.sqrt(1.25)
    np.testing.assert_allclose(options.norms[0](values)[0], expected, rtol=1e-3)  # one rounding of 1000 is 6e-5


def test_dropout_depends_on_its_key_alone_and_keeps_the_mean():
    model = small("MLP", width=2000, depth=1, dropout=0.5, activation="identity")
    layer = model.dropout
    ones = jnp.ones((1, 2000))
    first, again, other = (layer(ones, jax.random.key(seed), 0) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert set(np.unique(first)) == {0.0, 2.0}
    assert float(first.mean()) == pytest.approx(1.0, abs=0.1)  # 4 standard errors of 2000 fair coins
    np.testing.assert_array_equal(layer(ones, None, 0), ones)
    assert not np.array_equal(layer(ones, jax.random.key(1), 1), first)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_cut_gaussian_has_the_bits_of_jax(dtype):
    for shape in ((5, 7), (3, 3, 4, 8)):
        ours = resolve_initializer("xavier_normal", 1.5)(jax.random.key(1), shape, dtype)
        theirs = jax.nn.initializers.variance_scaling(1.5**2, "fan_avg", "truncated_normal")(
            jax.random.key(1), shape, dtype
        )
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_every_initializer_has_its_standard_deviation(name):
    weights = np.asarray(resolve_initializer(name, 2.0)(jax.random.key(0), (300, 100), jnp.float32))
    squares = {
        "scaled": 1 / 300, "lecun_normal": 1 / 300, "lecun_uniform": 1 / 300, "he_normal": 2 / 300, "he_uniform": 2 / 300,
        "xavier_normal": 2 / 400, "xavier_uniform": 2 / 400, "orthogonal": 1 / 300,
    }  # fmt: skip
    assert weights.std() == pytest.approx(2 * np.sqrt(squares[name]), rel=0.03)  # 7 standard errors of 30000 draws
    assert abs(weights.mean()) < 5 * weights.std() / np.sqrt(weights.size)


def test_every_activation_is_a_function_of_each_number():
    values = jnp.linspace(-2.0, 2.0, 5)
    for name in ACTIVATIONS:
        activation = resolve_activation(name)
        np.testing.assert_allclose(
            activation(values)[3], activation(values[3]), rtol=1e-6, err_msg=name
        )  # one rounding


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("MLP", {"width": 0}, r"MLP: width must be a whole number of at least 1, got 0"),
        ("ConvNet", {"depth": 0}, r"ConvNet: depth must be a whole number of at least 1, got 0"),
        ("ResNet", {"dropout": 1.0}, r"ResNet: dropout must be in \[0, 1\), got 1.0. With 1 nothing passes."),
        ("MLP", {"activation": "rely"}, r"activation must be one of: .*; got 'rely'. Did you mean 'relu'\?"),
        ("MLP", {"initializer": "he_norm"}, r"initializer must be one of: .*; got 'he_norm'. Did you mean 'he_normal'"),
        ("MLP", {"norm": "bach"}, r"MLP: norm must be one of: none, batch, layer; got 'bach'. Did you mean 'batch'\?"),
        ("MLP", {"gain": 0.0}, r"gain must be positive and finite, got 0.0"),
        ("Transformer", {"num_heads": 3}, r"Transformer: width must be a multiple of num_heads, got 8 and 3"),
        ("Transformer", {"norm": "batch"}, r"norm 'batch' lets a position see later ones. Take 'layer' or 'none'"),
    ],
)
def test_a_wrong_option_gets_a_clear_sentence(kind, options, message):
    with pytest.raises(InputError, match=message):
        small(kind, **options)


@pytest.mark.parametrize(
    ("kind", "inputs", "message"),
    [
        ("MLP", jnp.ones((2, 5)), r"MLP: inputs must be \[n, ...\] with 64 numbers an example, got \(2, 5\)"),
        ("ConvNet", jnp.ones((2, 8, 8, 3)), r"ConvNet: inputs must be images \[n, h, w, 1\], got \(2, 8, 8, 3\)"),
        ("Transformer", jnp.ones((2, 6), int), r"Transformer: tokens must be integers \[n, t\] with t <= 5, got int32"),
    ],
)
def test_inputs_of_a_wrong_shape_get_a_clear_sentence(kind, inputs, message):
    with pytest.raises(InputError, match=message):
        small(kind)(inputs)
