"""Random layers of finite width N: what one of them does to the logarithm of a length, to an angle, and to itself.

Weights are Gaussian of variance 2 / N into ReLU (He's rule) and 1 / N into a linear layer, or orthogonal of the same
scale; biases are 0. The squared length is kept in the mean, its logarithm takes steps that are independent and alike:
among K ~ Binomial(N, 1/2) units that are on, (2 / N) chi^2_K for Gaussian weights, 2 Beta(K / 2, (N - K) / 2) for
orthogonal ones. After L layers its variance is about 5 L / N and 3 L / N; of linear layers 2 L / N and 0.
"""

from typing import Annotated, Any, NamedTuple

import numpy as np
from scipy import special, stats
from typing_extensions import TypeAliasType

from jaxopt_lab.core.errors import require_choice
from jaxopt_lab.theory.arguments import Count, Floats, Range, checked

__all__ = ["LogLength", "born_dead_probability", "log_length_step", "relu_correlation"]

Cosine = TypeAliasType("Cosine", Annotated[Any, Range("[-1, 1]")])


class LogLength(NamedTuple):
    """What one layer adds to ln |h|^2.

    Attributes:
      mean: of the step.
      variance: of the step.
    """

    mean: float
    variance: float


@checked
def log_length_step(activation: str, width: Count, initializer: str = "gaussian") -> LogLength:
    """Mean and variance of ln (|h'|^2 / |h|^2) over one layer, exact; a ReLU layer that is all off is left out.

    Args:
      activation: "relu" or "identity".
      width: N, units in and out.
      initializer: "gaussian" or "orthogonal".

    Example:
      >>> for activation in ("relu", "identity"):
      ...     for weights in ("gaussian", "orthogonal"):
      ...         step = log_length_step(activation, 1000, weights)
      ...         print(f"{activation} {weights}: {1000 * step.mean:.2f} / N, {1000 * step.variance:.2f} / N")
      relu gaussian: -2.50 / N, 5.02 / N
      relu orthogonal: -1.50 / N, 3.02 / N
      identity gaussian: -1.00 / N, 2.00 / N
      identity orthogonal: 0.00 / N, 0.00 / N

    Reference: Hanin and Nica 2018, arXiv 1812.05994, for wide layers; the moments of ln chi^2 here.
    """
    require_choice("log_length_step", "activation", activation, ("relu", "identity"))
    require_choice("log_length_step", "initializer", initializer, ("gaussian", "orthogonal"))
    on = np.arange(1, width + 1) if activation == "relu" else np.array([width])
    chance = stats.binom.pmf(on, width, 0.5) if activation == "relu" else np.ones(1)
    chance = chance / chance.sum()
    means, gain = special.digamma(on / 2), np.log(2) if activation == "relu" else 0.0
    mean = float(chance @ means)
    variance = float(chance @ (special.polygamma(1, on / 2) + np.square(means - mean)))
    if initializer == "orthogonal":
        lost = float(special.polygamma(1, width / 2))
        return LogLength(mean - float(special.digamma(width / 2)) + gain, variance - lost)
    return LogLength(mean + float(np.log(2 / width)) + gain, variance)


@checked
def relu_correlation(correlation: Cosine) -> Floats:
    """The cosine between two inputs after one wide ReLU layer: (sqrt(1 - c^2) + (pi - arccos c) c) / pi.

    It has one fixed point, 1, which it approaches as 1 - c = 9 pi^2 / (2 l^2) after l layers.

    Example:
      >>> relu_correlation([-1.0, 0.0, 1.0]).round(4).tolist()
      [0.0, 0.3183, 1.0]

    Reference: Cho and Saul 2009, the arc-cosine kernel of degree 1.
    """
    return (np.sqrt(1 - np.square(correlation)) + (np.pi - np.arccos(correlation)) * correlation) / np.pi


@checked
def born_dead_probability(width: Count, depth: Count) -> float:
    """Chance that for one input a layer of a random ReLU network is all off: 1 - (1 - 2^-N)^depth, depth hidden layers.

    Example:
      >>> print(f"{born_dead_probability(2, 9):.5f} {born_dead_probability(4, 19):.4f}")
      0.92492 0.7066

    Reference: Lu, Shin, Su, Karniadakis 2019, arXiv 1903.06733; for one input each unit is off with chance 1/2.
    """
    return float(-np.expm1(depth * np.log1p(-(2.0**-width))))
