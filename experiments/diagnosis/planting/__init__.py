"""Planted faults: `plant(family, cause, severity, seed)` is a training run of which it is known what is wrong."""

from typing import Any

from experiments.diagnosis.planting import convolutions, perceptrons, quadratics, regressions, transformers
from experiments.diagnosis.planting.cases import CAUSES, Case
from jaxopt_lab.core import require_between, require_choice, require_count

__all__ = ["CAUSES", "FAMILIES", "Case", "causes_of", "plant"]

FAMILIES = {
    "quadratics": quadratics.PLANTS,
    "regressions": regressions.PLANTS,
    "perceptrons": perceptrons.PLANTS,
    "convolutions": convolutions.PLANTS,
    "transformers": transformers.PLANTS,
}


def causes_of(family: str) -> tuple[str, ...]:
    """What can be planted in a family; two causes at once are joined by "+".

    Raises:
      InputError: an unknown family.
    """
    require_choice("plant", "family", family, FAMILIES)
    return tuple(FAMILIES[family])


def plant(family: str, cause: str, severity: float, seed: int) -> Case:
    """A run with a known fault.

    Args:
      family: of `FAMILIES`.
      cause: of `causes_of(family)`.
      severity: in [0, 1], from mild to severe.
      seed: draws the start, and where there are data which of them; not the programs, which cases share.

    Returns:
      The case.

    Raises:
      InputError: an unknown family, a cause that the family does not have, or a number out of its range.
    """
    require_choice("plant", "cause", cause, causes_of(family))
    require_between("plant", "severity", severity, 0, 1)
    require_count("plant", "seed", seed, 0)
    first, *others = cause.split("+")
    fields: dict[str, Any] = {"params": None, "batch_size": None, "cure": {}} | FAMILIES[family][cause](severity, seed)
    return Case(cause=first, also=tuple(others), family=family, severity=severity, seed=seed, **fields)
