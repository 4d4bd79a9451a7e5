"""What a wide random layer does to the variance of its pre-activations and to the gradient, in the mean-field limit.

    q'  = weight_variance E[a(sqrt(q) z)^2] + bias_variance           z ~ N(0, 1)
    chi = weight_variance E[a'(sqrt(q) z)^2]

Weights have variance weight_variance / fan-in: 2 for He's rule, 1 for LeCun's. q is the mean square of the
pre-activations, and chi the factor on the mean square of the gradient from a layer to the one before. At chi = 1 both
keep; else they reach about -1 / ln chi layers. The activations are "relu", "tanh", "sigmoid" and "identity", for one
layer also "gelu", "silu" and "elu", of which the fixed point need not be one only.
"""

from typing import NamedTuple

import numpy as np
from scipy import optimize

from jaxopt_lab.core.errors import fail, require_choice
from jaxopt_lab.theory.arguments import Floats, NonNegative, Positive, checked

__all__ = ["MeanField", "depth_scale", "mean_field_factor", "mean_field_step"]

# Equal steps converge exponentially for a Gaussian mean of an analytic function; 201 Gauss-Hermite nodes lie too far
# apart for the derivative of tanh(10 z).
_NODES = np.linspace(-12.0, 12.0, 4801)
_SHARES = np.exp(-0.5 * np.square(_NODES)) / np.exp(-0.5 * np.square(_NODES)).sum()
_LARGEST = 1e6


class MeanField(NamedTuple):
    """The state of a wide random network.

    Attributes:
      variance: mean square q of the pre-activations.
      factor: chi, the factor on the mean square of the gradient per layer, going back.
    """

    variance: Floats
    factor: Floats


@checked
def mean_field_step(
    activation: str, variance: NonNegative, weight_variance: Positive, bias_variance: NonNegative = 0.0
) -> MeanField:
    """One layer: the next mean square q', and chi at q, the `variance` of the pre-activations that go in.

    Example:
      >>> step = mean_field_step("relu", 1.0, 2.0)
      >>> print(f"{step.variance:.6f} {step.factor:.6f}")
      1.000000 1.000000
    """
    require_choice("mean_field_step", "activation", activation, _SECOND_MOMENTS)
    square, slope = _SECOND_MOMENTS[activation](variance)
    return MeanField(weight_variance * square + bias_variance, weight_variance * slope)


@checked
def mean_field_factor(activation: str, weight_variance: Positive, bias_variance: NonNegative = 0.0) -> MeanField:
    """The fixed point q* of the layers' map, infinite where the map only grows, and chi there; of single numbers.

    ReLU and the identity have the same chi at every q; at chi = 1 they keep every q, which is an InputError.

    Example:
      >>> for name, variance in (("sigmoid", 1.0), ("sigmoid", 16.0), ("tanh", 2.25), ("tanh", 1.0)):
      ...     point = mean_field_factor(name, variance)
      ...     print(f"{name} {variance}: q = {point.variance:.6f}, chi = {point.factor:.6f}")
      sigmoid 1.0: q = 0.264687, chi = 0.055721
      sigmoid 16.0: q = 5.855404, chi = 0.398879
      tanh 2.25: q = 0.793354, chi = 1.139323
      tanh 1.0: q = 0.000000, chi = 1.000000

    Reference: Poole et al. 2016, arXiv 1606.05340; Schoenholz et al. 2017, arXiv 1611.01232.
    """
    require_choice("mean_field_factor", "activation", activation, _ONE_FIXED_POINT)
    start = mean_field_step(activation, 0.0, weight_variance, bias_variance)
    if activation in ("relu", "identity"):
        chi = mean_field_step(activation, 1.0, weight_variance).factor
        if chi == 1 and bias_variance == 0:
            problem = f"{activation} at weight_variance {weight_variance:g} keeps every q: no fixed point"
            raise fail("mean_field_factor", problem, "chi is 1.")
        stays = bias_variance == 0 and chi < 1
        variance = 0.0 if stays else (bias_variance / (1 - chi) if chi < 1 else np.inf)
        return MeanField(np.asarray(variance), chi)
    if start.variance == 0 and start.factor <= 1:
        return MeanField(np.asarray(0.0), start.factor)
    excess = lambda q: float(mean_field_step(activation, q, weight_variance, bias_variance).variance - q)  # noqa: E731
    low = 0.0 if start.variance > 0 else 1e-12
    root = optimize.bisect(excess, low, _LARGEST, xtol=1e-14) if excess(low) > 0 else low
    return MeanField(np.asarray(root), mean_field_step(activation, root, weight_variance).factor)


@checked
def depth_scale(factor: Positive) -> Floats:
    """Layers after which a signal has changed by a factor e, -1 / ln chi; negative where it grows, infinite at chi = 1.

    Example:
      >>> depth_scale([0.055721, 1.0]).round(4).tolist()
      [0.3463, inf]

    Reference: Schoenholz et al. 2017.
    """
    logarithm = np.log(factor)
    return np.where(logarithm == 0, np.inf, -1 / np.where(logarithm == 0, 1.0, logarithm))


def _relu(variance: Floats) -> tuple[Floats, Floats]:
    return 0.5 * variance, np.full_like(variance, 0.5)


def _identity(variance: Floats) -> tuple[Floats, Floats]:
    return variance, np.ones_like(variance)


def _tanh(variance: Floats) -> tuple[Floats, Floats]:
    values = np.tanh(np.sqrt(variance)[..., None] * _NODES)
    return np.square(values) @ _SHARES, np.square(1 - np.square(values)) @ _SHARES


def _sigmoid(variance: Floats) -> tuple[Floats, Floats]:
    values = 0.5 * (1 + np.tanh(0.5 * np.sqrt(variance)[..., None] * _NODES))
    return np.square(values) @ _SHARES, np.square(values * (1 - values)) @ _SHARES


def _gelu(variance: Floats) -> tuple[Floats, Floats]:
    # the approximation by tanh that JAX and Flax take by default
    z = np.sqrt(variance)[..., None] * _NODES
    gate = np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))
    slope = 0.5 * (1 + gate) + 0.5 * z * (1 - gate**2) * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * z**2)
    return np.square(0.5 * z * (1 + gate)) @ _SHARES, np.square(slope) @ _SHARES


def _silu(variance: Floats) -> tuple[Floats, Floats]:
    z = np.sqrt(variance)[..., None] * _NODES
    gate = 0.5 * (1 + np.tanh(0.5 * z))
    return np.square(z * gate) @ _SHARES, np.square(gate * (1 + z * (1 - gate))) @ _SHARES


def _elu(variance: Floats) -> tuple[Floats, Floats]:
    z = np.sqrt(variance)[..., None] * _NODES
    below = np.minimum(z, 0)
    return np.square(np.where(z > 0, z, np.expm1(below))) @ _SHARES, np.exp(2 * below) @ _SHARES


_ONE_FIXED_POINT = ("relu", "identity", "tanh", "sigmoid")
_SECOND_MOMENTS = {
    "relu": _relu,
    "identity": _identity,
    "tanh": _tanh,
    "sigmoid": _sigmoid,
    "gelu": _gelu,
    "silu": _silu,
    "elu": _elu,
}
