"""What the words of a command line name: a rule, options as NAME=VALUE; and what several verbs have in common."""

import argparse
import ast
import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optax

from jaxopt_lab import rules
from jaxopt_lab.core import InputError, fail
from jaxopt_lab.core.errors import require_between, require_choice, require_positive
from jaxopt_lab.problems.registry import load_function
from jaxopt_lab.rules.contributed import CONTRIBUTED
from jaxopt_lab.storage import read_record
from jaxopt_lab.storage.folder import RECORD

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


def words_of(owner: str, words: Sequence[str]) -> list[str]:
    """The words [OWNER.]NAME=VALUE that speak of one owner, those of it alone last.

    Example:
      >>> words_of("sgd", ["sgd.learning_rate=0.1", "adam.b1=0.5", "rho=0.9"])
      ['rho=0.9', 'learning_rate=0.1']
    """
    named = [word for word in words if _owner(word) is not None]
    mine = [word.removeprefix(f"{owner}.") for word in named if word.startswith(f"{owner}.")]
    return [word for word in words if word not in named] + mine


def require_owners(
    where: str, what: str, words: Sequence[str], owners: Iterable[str], *, always: bool = False
) -> None:  # fmt: skip
    """Raises InputError where a word [OWNER.]NAME=VALUE has an owner that is not there.

    Args:
      where: the verb, for the error.
      what: what the owner is, for the error.
      words: the words.
      owners: those that are there.
      always: whether each word must have one.
    """
    for word in words:
        owner = _owner(word)
        if always or owner is not None:
            require_choice(where, what, owner or "", dict.fromkeys(owners))


def add_search_options(
    parser: argparse.ArgumentParser, num_trials: int, num_seeds: int, samplers: Iterable[str]
) -> None:
    """Adds the options that a sweep and the searches of a comparison have in common.

    Args:
      parser: gets them.
      num_trials: default of --trials.
      num_seeds: default of --seeds.
      samplers: names.
    """
    add = parser.add_argument
    add("--trials", type=int, default=num_trials,
        help=f"settings tried of each rule on each problem (default: {num_trials})")  # fmt: skip
    add("--seeds", type=int, default=num_seeds, help=f"seeds of each trial (default: {num_seeds})")
    add("--batch-size", type=int, metavar="B", help="examples a step (default: all)")
    add("--sampler", default="random", help=f"{', '.join(samplers)} (default: random)")
    add("--seed", type=int, default=0, help="of all that is drawn, and the first of the seeds (default: 0)")
    add("--out", type=Path, default=Path("results"), metavar="DIR", help="default: results")


def recorded_argv(folder: Path, kind: str) -> list[str]:
    """The words after the verb that began what a folder holds.

    Args:
      folder: the folder.
      kind: "sweep" or "comparison".

    Raises:
      InputError: the folder holds nothing of the kind, or what a Python program began.
    """
    record = read_record(folder, kind)
    if not record.get("argv"):
        raise fail("resume", f"{folder} was begun by a Python program", "Run that program again: it continues.")
    if not all(isinstance(word, str) for word in record["argv"]):
        raise fail("resume", f"{folder}: argv in {RECORD} holds something else than words")
    return record["argv"]


def require_trusted(folder: Path, names: Mapping[str, str], trusted: Sequence[str]) -> None:
    """Raises InputError where a folder's record names code, as module:function, that the user did not name as well.

    A results folder is data, perhaps from somebody else: what it names is run only where the command line names it too.

    Args:
      folder: the folder.
      names: what the record names -> the option with which the user can name it too.
      trusted: what the user named.
    """
    unknown = {name: option for name, option in names.items() if ":" in name and name not in trusted}
    if unknown:
        named = " ".join(f"{option} {shlex.quote(name)}" for name, option in unknown.items())
        raise fail(
            "resume", f"the record in {folder} names code that would be run: {', '.join(unknown)}",
            f"If you trust it, name it yourself: jaxopt-lab resume {folder} {named}.",
        )  # fmt: skip


def _owner(word: str) -> str | None:
    owner, dot, _ = word.partition("=")[0].rpartition(".")
    return owner if dot else None


def _value(text: str) -> Any:
    """A number or another Python literal; a word that is none stays text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
