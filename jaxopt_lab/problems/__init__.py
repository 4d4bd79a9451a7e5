"""Ready-made problems by name, each with data, validation data, metrics and the form that curvature needs."""

from jaxopt_lab.problems.registry import REGISTRY, ProblemSpec, load_function, load_problem

__all__ = ["REGISTRY", "ProblemSpec", "load_function", "load_problem"]
