"""Update rules as optax gradient transformations, a family a file, and `REGISTRY`, the table of all of them.

A rule that optax has with the same mathematics is used from optax, under its name and with its arguments checked; here
are the lecture's forms and what optax lacks.
"""

from jaxopt_lab.rules.accelerated import adaptive_restart, chebyshev, triple_momentum
from jaxopt_lab.rules.adaptive import adagrad, adam, rmsprop
from jaxopt_lab.rules.averaging import average_iterates, averaged_params
from jaxopt_lab.rules.escape import negative_curvature_step, noisy, perturbed
from jaxopt_lab.rules.identification import identify
from jaxopt_lab.rules.momentum import (
    aggregated_momentum,
    heavy_ball,
    nesterov,
    nesterov_lookahead,
    quasi_hyperbolic,
    sgd,
)
from jaxopt_lab.rules.monitor import Monitor, observe
from jaxopt_lab.rules.monitor_summary import summarize_monitor
from jaxopt_lab.rules.registry import REGISTRY
from jaxopt_lab.rules.second_order import cubic_newton, newton_cg, saddle_free_newton
from jaxopt_lab.rules.spectral_steps import barzilai_borwein
from jaxopt_lab.rules.step_stability import critical_learning_rate, step_multipliers

__all__ = [
    "Monitor",
    "REGISTRY",
    "adagrad",
    "adam",
    "adaptive_restart",
    "aggregated_momentum",
    "average_iterates",
    "averaged_params",
    "barzilai_borwein",
    "chebyshev",
    "critical_learning_rate",
    "cubic_newton",
    "heavy_ball",
    "identify",
    "negative_curvature_step",
    "nesterov",
    "nesterov_lookahead",
    "newton_cg",
    "noisy",
    "observe",
    "perturbed",
    "quasi_hyperbolic",
    "rmsprop",
    "saddle_free_newton",
    "sgd",
    "step_multipliers",
    "summarize_monitor",
    "triple_momentum",
]
