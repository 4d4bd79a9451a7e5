"""Ready-made problems by name, each with data, validation data, metrics and the form that curvature needs."""

from jaxopt_lab.problems.flattening import flattened
from jaxopt_lab.problems.registry import REGISTRY, load_problem

__all__ = [
    "REGISTRY",
    "flattened",
    "load_problem",
]
