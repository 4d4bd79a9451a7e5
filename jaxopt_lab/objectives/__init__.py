"""Losses whose truth is known: quadratics with a given spectrum, regressions, saddles, additive noise."""

from jaxopt_lab.objectives import spectra
from jaxopt_lab.objectives.landscapes import gaussian_field, spherical_spin_glass
from jaxopt_lab.objectives.linear_networks import PlantedMatrix, balanced_weights, linear_network, planted_matrix
from jaxopt_lab.objectives.noise import with_noise
from jaxopt_lab.objectives.octopus import octopus
from jaxopt_lab.objectives.phase_retrieval import phase_retrieval
from jaxopt_lab.objectives.quadratics import laplacian, laplacian_eigenvector, quadratic
from jaxopt_lab.objectives.registry import REGISTRY
from jaxopt_lab.objectives.regressions import linear_regression, logistic_regression, streaming_regression
from jaxopt_lab.objectives.saddles import degenerate_saddle, monkey_saddle, quadratic_saddle
from jaxopt_lab.objectives.student_teacher import student_teacher
from jaxopt_lab.objectives.wells import rosenbrock, two_layers, two_wells

__all__ = [
    "PlantedMatrix",
    "REGISTRY",
    "balanced_weights",
    "degenerate_saddle",
    "gaussian_field",
    "laplacian",
    "laplacian_eigenvector",
    "linear_network",
    "linear_regression",
    "logistic_regression",
    "monkey_saddle",
    "octopus",
    "phase_retrieval",
    "planted_matrix",
    "quadratic",
    "quadratic_saddle",
    "rosenbrock",
    "spectra",
    "spherical_spin_glass",
    "streaming_regression",
    "student_teacher",
    "two_layers",
    "two_wells",
    "with_noise",
]
