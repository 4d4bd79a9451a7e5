"""Flax networks, initializers and activations by name, and the way from any Flax module to a `Problem`."""

from jaxopt_lab.networks import criteria
from jaxopt_lab.networks.activations import resolve_activation
from jaxopt_lab.networks.conversion import from_linen, from_nnx
from jaxopt_lab.networks.convolutional import ConvNet, ResNet
from jaxopt_lab.networks.functional import Functional
from jaxopt_lab.networks.linear import Linear
from jaxopt_lab.networks.linen_modules import functional_linen
from jaxopt_lab.networks.nnx_modules import functional_nnx
from jaxopt_lab.networks.perceptron import MLP
from jaxopt_lab.networks.transformer import Transformer

__all__ = [
    "ConvNet",
    "Functional",
    "Linear",
    "MLP",
    "ResNet",
    "Transformer",
    "criteria",
    "from_linen",
    "from_nnx",
    "functional_linen",
    "functional_nnx",
    "resolve_activation",
]
