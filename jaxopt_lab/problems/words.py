"""What the words of a command line name: a rule, and options as NAME=VALUE."""

import ast
from collections.abc import Callable, Iterable
from typing import Any

import optax

from jaxopt_lab import rules
from jaxopt_lab.core import fail, require_choice
from jaxopt_lab.problems.registry import load_function

_OPTAX = (
    "adam", "adamw", "adamax", "nadam", "nadamw", "amsgrad", "adabelief", "adagrad", "adadelta", "rmsprop", "lion",
    "lamb", "lars", "novograd", "radam", "rprop", "sm3", "yogi", "fromage", "noisy_sgd", "sign_sgd", "adan",
)  # fmt: skip


def find_rule(name: str, where: str) -> Callable[..., optax.GradientTransformation]:
    """The factory of a rule that takes a learning rate: one of this package, one of optax, or module:function.

    Args:
      name: of the rule; with "-" or "_".
      where: the verb, for the errors.

    Returns:
      The factory.

    Raises:
      InputError: no such rule.

    Example:
      >>> find_rule("heavy-ball", "sweep").__name__
      'heavy_ball'
    """
    if ":" in name:
        return load_function(name, where)
    ours = {label: spec.factory for label, spec in rules.REGISTRY.items() if "learning_rate" in spec.defaults}
    known = {label: getattr(optax, label) for label in _OPTAX if hasattr(optax, label)} | ours
    require_choice(where, "--rule", name.replace("-", "_"), known)
    return known[name.replace("-", "_")]


def parse_settings(words: Iterable[str], where: str) -> dict[str, Any]:
    """Options from words NAME=VALUE.

    Args:
      words: the words.
      where: the option or the verb, for the errors.

    Returns:
      Name -> value.

    Raises:
      InputError: a word without "=".

    Example:
      >>> parse_settings(["width=32", "activation=tanh"], "--set")
      {'width': 32, 'activation': 'tanh'}
    """
    settings = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals):
            raise fail(where, f"an option must be NAME=VALUE, got {word!r}")
        settings[name.replace("-", "_")] = _value(value)
    return settings


def _value(text: str) -> Any:
    """A number or another Python literal; a word that is none stays text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
