"""The README is short, its two commands stand first, its links lead somewhere, and its example is run.

Words of the example must be exactly those that it prints; numbers of other machines and versions differ in their digits.
"""

import doctest
import math
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?")
# Of short runs: a few per cent between versions of jax, whose kernels and random numbers differ. A cause that changes
# moves them by more than that, and by other words.
ROUGHLY = 0.25


class _Roughly(doctest.OutputChecker):
    """Words as they stand, numbers within a quarter; seconds and what they paid for are the machine's own."""

    def check_output(self, want, got, optionflags):
        want, got = (" ".join(text.replace("<BLANKLINE>", "").split()) for text in (want, got))
        want, got = (
            re.sub(r"[\d.]+ gradient-equivalents, [\d.]+ s, \d+ programs compiled\.", "", text) for text in (want, got)
        )
        if NUMBER.sub("#", want) != NUMBER.sub("#", got):
            return False
        pairs = zip(NUMBER.findall(want), NUMBER.findall(got), strict=True)
        return all(math.isclose(float(a), float(b), rel_tol=ROUGHLY) for a, b in pairs)


def checked(want, got):
    return _Roughly().check_output(want, got, 0)


def test_the_example_prints_what_stands_under_it():
    example = doctest.DocTestParser().get_doctest(TEXT, {}, "README.md", str(README), 0)
    told = []
    outcome = doctest.DocTestRunner(checker=_Roughly(), verbose=False).run(example, out=told.append)
    assert outcome.attempted > 10
    assert outcome.failed == 0, "".join(told)


def test_the_check_would_notice_another_word_or_another_number():
    assert checked(
        "loss 0.446 instead of 1.71.\n\n343 gradient-equivalents, 18.9 s, 150 programs compiled.",
        "loss 0.45 instead of 1.7. 9 gradient-equivalents, 2 s, 3 programs compiled.",
    )
    assert not checked("loss 0.446", "gain 0.446")
    assert not checked("loss 0.446", "loss 0.6")
    assert not checked("adam, momentum 0.9", "adam, momentum none")


def test_it_is_read_in_a_few_minutes():
    assert len(TEXT.split()) <= 900


def test_the_example_has_twelve_lines():
    (source,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    lines = [line for line in source.splitlines() if line.startswith((">>> ", "... "))]
    assert lines.index(">>> print(found)") == 11


def test_the_two_commands_stand_first():
    first, second = re.findall(r"```bash\n(.*?)\n```", TEXT, flags=re.DOTALL)
    assert "-m experiments --preset quick" in first
    assert "-m pytest" in second


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files_that_are_there(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target
