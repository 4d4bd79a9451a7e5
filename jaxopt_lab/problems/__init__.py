"""Ready-made problems by name, each with data, validation data, metrics and the form that curvature needs."""

from jaxopt_lab.problems.flattening import flattened
from jaxopt_lab.problems.registry import REGISTRY, ProblemSpec, load_function, load_problem
from jaxopt_lab.problems.words import build_rule, find_rule, parse_settings

__all__ = [
    "REGISTRY",
    "ProblemSpec",
    "build_rule",
    "find_rule",
    "flattened",
    "load_function",
    "load_problem",
    "parse_settings",
]
