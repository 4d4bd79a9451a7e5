import chex
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from experiments.generalization import regularization, transfer
from jaxopt_lab.core import InputError
from jaxopt_lab.datasets import images


@pytest.mark.parametrize(
    ("config", "options", "wording"),
    [
        (regularization.Config, {"dropout_rates": (1.0,)}, r"dropout_rates must be in \(0, 1\), got 1.0"),
        (regularization.Config, {"strengths": (0.3, 0.1)}, "strengths must hold at least two strengths that increase"),
        (transfer.Config, {"images": "fashionable"}, r"Did you mean .fashion.\?"),
        (transfer.Config, {"num_new": 10}, "num_new must be one of: 2, 3"),
        (transfer.Config, {"num_examples": 119}, "num_examples must be at most dim - 2, got 119 and 120"),
    ],
)
def test_a_wrong_config_is_a_clear_sentence(config, options, wording):
    with pytest.raises(InputError, match=wording):
        config(**options)


def test_more_examples_than_two_classes_hold_are_refused_before_anything_runs():
    with pytest.raises(InputError, match=r"sizes must be at most 2[0-9]+, got 400. 2 classes of digits hold no more"):
        transfer.run(transfer.Config(sizes=(5, 15, 400)))


def test_without_fashion_mnist_the_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(images, "FASHION_FOLDER", tmp_path)
    with pytest.raises(InputError, match="Install the Debian package dataset-fashion-mnist"):
        transfer.run(transfer.Config(images="fashion"))


def test_a_convolution_as_one_product_is_flaxs():
    values = jax.random.normal(jax.random.key(0), (2, 7, 8, 3), jnp.float32)
    for stride in (1, 2):
        layer = nnx.Conv(3, 4, (3, 3), strides=stride, rngs=nnx.Rngs(stride))
        expected = layer(values)
        layer.conv_general_dilated = transfer._convolved
        # sums of 27 products in float32
        chex.assert_trees_all_close(layer(values), expected, atol=1e-5)
