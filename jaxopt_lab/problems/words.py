"""What the words of a command line name: a rule, and options as NAME=VALUE."""

import ast
import math
from collections.abc import Callable, Iterable
from typing import Any

import optax

from jaxopt_lab import rules
from jaxopt_lab.core import InputError, fail
from jaxopt_lab.core.errors import require_between, require_choice, require_positive
from jaxopt_lab.problems.registry import load_function
from jaxopt_lab.rules.contributed import CONTRIBUTED

_OPTAX = (
    "adamw", "adamax", "nadam", "nadamw", "amsgrad", "adabelief", "adadelta", "lion", "lamb", "lars", "novograd",
    "radam", "rprop", "sm3", "yogi", "fromage", "noisy_sgd", "sign_sgd", "adan",
)  # fmt: skip

_FRACTIONS = ("b1", "b2", "b3", "momentum", "decay", "rho", "beta")
_NOT_NEGATIVE = ("eps", "eps_root", "weight_decay", "lambda")


def find_rule(name: str, where: str) -> Callable[..., optax.GradientTransformation]:
    """The factory of a rule that takes a learning rate: of this package, of optax, its contrib, or module:function.

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
    if ":" in name or name.endswith(".py"):
        return load_function(name, where)
    ours = {label: spec.factory for label, spec in rules.REGISTRY.items() if "learning_rate" in spec.defaults}
    known = {label: getattr(optax, label) for label in _OPTAX if hasattr(optax, label)} | CONTRIBUTED | ours
    require_choice(where, "--rule", name.replace("-", "_"), known)
    return known[name.replace("-", "_")]


def build_rule(name: str, where: str, **options: Any) -> optax.GradientTransformation:
    """A rule with its options, all that is known of them checked before anything is measured.

    Args:
      name: as in `find_rule`.
      where: the verb, for the errors.
      **options: of the rule, `learning_rate` among them.

    Returns:
      The rule.

    Raises:
      InputError: no such rule, an option that it does not take, or a value that it cannot have.

    Example:
      >>> build_rule("adam", "diagnose", learning_rate=0.1, b1=2.0)
      Traceback (most recent call last):
      jaxopt_lab.core.errors.InputError: adam: b1 must be in [0, 1), got 2.0.
    """
    factory = find_rule(name, where)
    for option, value in options.items():
        if option in _FRACTIONS:
            require_between(name, option, value, 0, 1, ends="[)")
        elif option in _NOT_NEGATIVE:
            require_between(name, option, value, 0, math.inf, ends="[)")
    require_positive(name, "learning_rate", options.get("learning_rate", 1.0), "A negative one would climb.")
    try:
        rule = factory(**options)
    except InputError:
        raise
    except Exception as error:
        raise fail(where, f"--rule {name} does not take these options ({error})", "See --rule-set.") from error
    if not isinstance(rule, optax.GradientTransformation):
        raise fail(where, f"{name} must return an optax.GradientTransformation, got {type(rule).__name__}")
    return rule


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
