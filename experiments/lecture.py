"""docs/lecture.md: the lecture in its own order, one line a claim, each with the study that judges it.

`python -m experiments.lecture` writes the page anew. A test fails where the page differs from this, where a claim has
no study, and where a study does not judge what is said here in its name.
"""

import re
from collections import Counter
from pathlib import Path

from experiments.lecture_claim import IF, RIGHT, WRONG, LectureClaim
from experiments.lecture_networks import NETWORKS
from experiments.lecture_optimization import OPTIMIZATION
from jaxopt_lab.studies import list_studies

CLAIMS: dict[int, LectureClaim] = NETWORKS | OPTIMIZATION
PAGE = Path(__file__).parents[1] / "docs" / "lecture.md"
_HEAD = """# The lecture, claim by claim

CS231n 2017, lecture 7 (its first half: training neural networks) makes 67 claims. Each has a study here that ends in a
verdict, predicted against measured. Numbers are closed forms unless a sentence says what was run; the study prints what
it measured. This page is made by `python -m experiments.lecture`.

{counts}.

| | the lecture | verdict | what holds | judged in |
|---|---|---|---|---|
"""


def page() -> str:
    """The page, in Markdown.

    Raises:
      KeyError: a claim names a study that is not there.
    """
    places = {name: path.parent.name for name, path in list_studies(Path(__file__).parent).items()}
    counted = Counter(claim.verdict for claim in CLAIMS.values())
    counts = ", ".join(f"{counted[verdict]} are {verdict}" for verdict in (RIGHT, IF, WRONG))
    lines = [
        f"| {number} | {_cell(claim.says)} | {claim.verdict} | {_cell(claim.holds)} |"
        f" {places[claim.study]}/[`{claim.study}`](../experiments/{places[claim.study]}/{claim.study}.py) |"
        for number, claim in sorted(CLAIMS.items())
    ]
    return _HEAD.format(counts=counts) + "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text that stays in its cell: its signs are no markup, and its numbers stand as people write them."""
    text = re.sub(r"(?<=\d)e\+?(-?)0*(?=\d)", r"e\1", re.sub(r"(?<=\d)%", " %", text))
    return text.replace("|", "\\|").replace("*", "\\*")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
