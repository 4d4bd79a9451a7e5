"""The table of ready-made problems, and `load_problem`, which takes a name of it or the user's `module:function`."""

import dataclasses
import functools
import importlib
import importlib.util
import inspect
import os
import pathlib
import sys
import traceback
import types
from collections.abc import Callable, Mapping
from typing import Any

from jaxopt_lab.core import InputError, Problem, fail
from jaxopt_lab.core.errors import require_choice
from jaxopt_lab.networks import MLP, ConvNet, Linear, ResNet, Transformer
from jaxopt_lab.problems.images import image_problem
from jaxopt_lab.problems.tables import signal_problem, table_problem
from jaxopt_lab.problems.text import markov_problem, text_problem


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


_KINDS = {bool: "True or False", int: "a whole number", float: "a number", str: "a word"}


def load_problem(name: str, /, **options: Any) -> Problem:
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
    for option, value in options.items():
        require_choice(name, "an option", option, spec.options)
        _require_like(name, option, value, spec.options[option])
    return spec.build(**{**spec.options, **options})


def load_function(name: str, where: str = "load_function") -> Callable[..., Any]:
    """The function that a user names as `module:function`.

    Args:
      name: the module or the path of its file, a colon, and the function; a module is looked for in the current folder
        first.
      where: for the errors.

    Returns:
      The function.

    Raises:
      InputError: there is no such module, or no such function in it.

    Example:
      >>> load_function("math:sqrt")(4.0)
      2.0
    """
    module_name, _, function_name = name.rpartition(":")
    if not module_name or not function_name:
        raise fail(where, f"your own code is named as module:function, got {name!r}", "Example: mine.problems:make.")
    try:
        module = _imported(module_name)
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}.")
        if missing or isinstance(error, FileNotFoundError):
            remedy = "Name a file, or a module: run where it lies, or set PYTHONPATH."
            raise fail(where, f"there is no module {module_name!r}", remedy) from error
        raise fail(where, f"{module_name} cannot be imported: {_said(error)}") from error
    functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    if not callable(getattr(module, function_name, None)):
        require_choice(where, f"the function of {module_name}", function_name, functions)
    return getattr(module, function_name)


def _imported(name: str) -> types.ModuleType:
    """A module by its name or by the path of its file."""
    if not name.endswith(".py"):
        here = os.getcwd()
        if here not in sys.path and "" not in sys.path:
            sys.path.insert(0, here)
        return importlib.import_module(name)
    path = pathlib.Path(name).resolve()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(name)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _said(error: Exception) -> str:
    """What an error of the user's code says, and where it arose."""
    trace = traceback.extract_tb(error.__traceback__)
    place = f", {trace[-1].filename}:{trace[-1].lineno}" if trace else ""
    return f"{type(error).__name__}: {error}{place}"


def _require_like(where: str, option: str, value: Any, default: Any) -> None:
    """Raises unless an option's value is of its default's kind; None says nothing about the kind."""
    kind = type(default)
    if kind not in _KINDS or value is None:
        return
    if not isinstance(value, (int, float) if kind is float else kind) or isinstance(value, bool) != (kind is bool):
        raise fail(where, f"{option} must be {_KINDS[kind]}, got {value!r}", f"By default it is {default!r}.")


def _from_user(name: str, options: Mapping[str, Any]) -> Problem:
    build = load_function(name, "load_problem")
    try:
        problem = build(**options)
    except InputError:
        raise
    except Exception as error:
        raise fail("load_problem", f"{name} failed with {dict(options)}: {_said(error)}") from error
    if not isinstance(problem, Problem):
        raise fail(
            "load_problem", f"{name} must return a Problem, got {type(problem).__name__}",
            "Make one with from_loss, from_nnx or from_linen.",
        )  # fmt: skip
    return problem


def _spec(summary: str, name: str, build: Callable[..., Problem], *parts: Any, **defaults: Any) -> ProblemSpec:
    """An entry whose options are those of the builder and, where it hands them on, of its network, parts[1]."""
    options = _defaults(build)
    if "options" in inspect.signature(build).parameters:
        options |= _defaults(parts[1].__init__)
    return ProblemSpec(functools.partial(build, name, *parts), options | defaults, summary)


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}


REGISTRY: dict[str, ProblemSpec] = {
    "digits-linear": _spec(
        "least squares on digits, classes as one-hot vectors; spectrum and minimum are known",
        "digits-linear", table_problem, "digits", Linear, "squared",
    ),
    "digits-mlp": _spec(
        "a perceptron on 8 x 8 images of digits, 10 classes", "digits-mlp", image_problem, "digits", MLP
    ),
    "digits-convnet": _spec(
        "a convolutional network on the digits", "digits-convnet", image_problem, "digits", ConvNet, depth=2
    ),
    "digits-resnet": _spec(
        "a residual network with batch normalization on the digits", "digits-resnet", image_problem, "digits", ResNet
    ),
    "fashion-mlp": _spec(
        "a perceptron on Fashion-MNIST, 28 x 28 images of clothes, 10 classes",
        "fashion-mlp", image_problem, "fashion", MLP,
    ),
    "fashion-convnet": _spec(
        "a convolutional network on Fashion-MNIST", "fashion-convnet", image_problem, "fashion", ConvNet
    ),
    "fashion-resnet": _spec(
        "a residual network with batch normalization on Fashion-MNIST",
        "fashion-resnet", image_problem, "fashion", ResNet,
    ),
    "mnist1d-mlp": _spec(
        "a perceptron on one-dimensional digits, 10 classes", "mnist1d-mlp", signal_problem, "signals", MLP
    ),
    "tabular-logistic": _spec(
        "logistic regression on breast_cancer, 2 classes; convex, its curvature bounded",
        "tabular-logistic", table_problem, "breast_cancer", Linear, "bernoulli",
    ),
    "wine-softmax": _spec(
        "softmax regression on wine, 3 classes; convex, its curvature bounded",
        "wine-softmax", table_problem, "wine", Linear, "cross_entropy",
    ),
    "diabetes-linear": _spec(
        "least squares on diabetes, one number; spectrum and minimum are known",
        "diabetes-linear", table_problem, "diabetes", Linear, "squared",
    ),
    "text-transformer": _spec(
        "a transformer on the characters of a text", "text-transformer", text_problem, "text", Transformer
    ),
    "markov-transformer": _spec(
        "a transformer on a Markov chain whose entropy rate is known",
        "markov-transformer", markov_problem, "markov", Transformer,
    ),
}  # fmt: skip
