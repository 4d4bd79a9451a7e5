"""Why training is slow, in words, numbers and figures; what fixes it, and the proof.

`diagnose` gathers evidence within a budget, the causes look at it, and findings come ranked, each with a prescription
that can be applied and proven by a paired re-run.
"""

from jaxopt_lab.diagnosis.findings import CAUSES
from jaxopt_lab.diagnosis.pipeline import diagnose
from jaxopt_lab.diagnosis.proving import prove

__all__ = [
    "CAUSES",
    "diagnose",
    "prove",
]
