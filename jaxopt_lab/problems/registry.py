"""The table of ready-made problems, and `load_problem`, which takes a name of it or the user's `module:function`."""

import dataclasses
import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from jaxopt_lab.core import Problem, fail, require_choice
from jaxopt_lab.networks import MLP
from jaxopt_lab.problems.images import image_problem


@dataclasses.dataclass(frozen=True)
class ProblemSpec:
    """One entry of the table.

    Attributes:
      build: options -> problem.
      options: every option with its default.
      summary: one line for tables.
    """

    build: Callable[..., Problem]
    options: Mapping[str, Any]
    summary: str


def load_problem(name: str, **options: Any) -> Problem:
    """A problem by name.

    Args:
      name: a name of `REGISTRY`, or `module:function`, where the function returns a `Problem`.
      **options: of the problem, as its entry's `options` lists them; or arguments of the user's function.

    Returns:
      The problem.

    Raises:
      InputError: an unknown name or option, no such module or function, or a function that returns no problem.

    Example:
      >>> problem = load_problem("digits-mlp", width=8, depth=1, num_examples=50)
      >>> problem.num_examples, problem.composite.family
      (50, 'categorical')
    """
    if ":" in name:
        return _from_user(name, options)
    require_choice("load_problem", "name", name, REGISTRY)
    spec = REGISTRY[name]
    for option in options:
        require_choice(name, "an option", option, spec.options)
    return spec.build(**{**spec.options, **options})


def _from_user(name: str, options: Mapping[str, Any]) -> Problem:
    module_name, _, function_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise fail(
            "load_problem", f"there is no module {module_name!r}",
            "It must be importable: run where the file lies, or set PYTHONPATH.",
        ) from error  # fmt: skip
    functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    if not callable(getattr(module, function_name, None)):
        require_choice("load_problem", f"the function of {module_name}", function_name, functions)
    problem = getattr(module, function_name)(**options)
    if not isinstance(problem, Problem):
        raise fail(
            "load_problem", f"{name} must return a Problem, got {type(problem).__name__}",
            "Make one with from_loss, from_nnx or from_linen.",
        )  # fmt: skip
    return problem


def _network(
    name: str, build: Callable[..., Problem], source: str, network: Any, summary: str, **defaults: Any
) -> ProblemSpec:
    """An entry whose options are those of the builder and of the network."""
    options = {**_defaults(build), **_defaults(network.__init__), **defaults}
    return ProblemSpec(functools.partial(build, name, source, network), options, summary)


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}


REGISTRY: dict[str, ProblemSpec] = {
    "digits-mlp": _network(
        "digits-mlp", image_problem, "digits", MLP, "a perceptron on 8 x 8 images of digits, 10 classes"
    ),
}
