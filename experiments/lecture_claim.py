"""What an entry of the lecture's table is."""

from typing import NamedTuple

RIGHT, IF, WRONG = "right", "right with a condition", "wrong"


class LectureClaim(NamedTuple):
    """One claim.

    Attributes:
      says: what the lecture says, in our words.
      verdict: right, right with a condition, or wrong.
      holds: what is true, with its number.
      study: name of the study that judges it.
      judged: the claim of that study that decides; * stands for what depends on its config.
    """

    says: str
    verdict: str
    holds: str
    study: str
    judged: str
