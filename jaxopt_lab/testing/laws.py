"""Laws by name, and how a broken one is told."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jaxopt_lab.core.errors import require_choice

Law = Callable[..., None]


class LawError(AssertionError):
    """A law does not hold; the cause says where it broke."""


def named(*laws: Law) -> dict[str, Law]:
    """The laws by their names, which are their functions' with spaces."""
    return {law.__name__.replace("_", " "): law for law in laws}


def check(what: str, laws: Mapping[str, Law], names: Iterable[str] | None, *given: Any) -> None:
    """Runs laws one after the other.

    Args:
      what: what is checked, for the error.
      laws: name -> law.
      names: which of them; None for all.
      *given: the arguments of each law.

    Raises:
      InputError: an unknown name.
      LawError: the first law that does not hold.
    """
    chosen = list(laws) if names is None else list(names)
    for name in chosen:
        require_choice("check", "a law", name, laws)
    for name in chosen:
        try:
            laws[name](*given)
        except Exception as error:
            raise LawError(f"{what}: {name} ({type(error).__name__})") from error
