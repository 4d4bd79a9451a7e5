"""Update rules as optax gradient transformations, a family a file, and `REGISTRY`, the table of all of them.

A rule that optax has with the same mathematics is used from optax; here are the lecture's forms and what optax lacks.
"""

from jaxopt_lab.rules.accelerated import adaptive_restart, chebyshev, triple_momentum
from jaxopt_lab.rules.averaging import average_iterates, averaged_params
from jaxopt_lab.rules.escape import noisy, perturbed
from jaxopt_lab.rules.momentum import (
    aggregated_momentum,
    heavy_ball,
    nesterov,
    nesterov_lookahead,
    quasi_hyperbolic,
    sgd,
)
from jaxopt_lab.rules.registry import REGISTRY, RuleSpec
from jaxopt_lab.rules.spectral_steps import barzilai_borwein

__all__ = [
    "REGISTRY",
    "RuleSpec",
    "adaptive_restart",
    "aggregated_momentum",
    "average_iterates",
    "averaged_params",
    "barzilai_borwein",
    "chebyshev",
    "heavy_ball",
    "nesterov",
    "nesterov_lookahead",
    "noisy",
    "perturbed",
    "quasi_hyperbolic",
    "sgd",
    "triple_momentum",
]
