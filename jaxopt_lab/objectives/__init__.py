"""Losses whose truth is known: quadratics with a given spectrum, regressions, additive noise; `REGISTRY` lists them."""

from jaxopt_lab.objectives import spectra
from jaxopt_lab.objectives.noise import with_noise
from jaxopt_lab.objectives.quadratics import laplacian, laplacian_eigenvector, quadratic
from jaxopt_lab.objectives.registry import REGISTRY, ObjectiveSpec
from jaxopt_lab.objectives.regressions import linear_regression, logistic_regression, streaming_regression

__all__ = [
    "REGISTRY",
    "ObjectiveSpec",
    "laplacian",
    "laplacian_eigenvector",
    "linear_regression",
    "logistic_regression",
    "quadratic",
    "spectra",
    "streaming_regression",
    "with_noise",
]
