"""Inputs that nobody thought of: each gives a right result or one sentence, never a traceback, never minutes of silence.

    test_some, test_many = cases(60, body, x=st.floats())

are two tests of one body: 60 cases in the test command, and seventeen times as many behind `slow`.
"""

from collections.abc import Callable
from typing import Any

import hypothesis
import pytest

from jaxopt_lab.core import InputError

MANY = 17
REFUSED = object()
_LONGEST = 60_000  # milliseconds that one case may take


def cases(number: int, body: Callable[..., None], **given: Any) -> tuple[Callable[..., None], Callable[..., None]]:
    """The two tests of a body, from the strategies of its arguments."""

    def sized(most: int) -> Callable[..., None]:
        settings = hypothesis.settings(
            max_examples=most, deadline=_LONGEST, derandomize=True, database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip

        def test(**drawn: Any) -> None:
            body(**drawn)

        return settings(hypothesis.given(**given)(test))

    return sized(number), pytest.mark.slow(sized(MANY * number))


def tried(action: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """What a call returns, or REFUSED where it raises an InputError of one line; every other error goes through."""
    try:
        return action(*given, **named)
    except InputError as error:
        sentence = str(error)
    assert "\n" not in sentence
    return REFUSED
