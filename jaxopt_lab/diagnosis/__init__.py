"""Why training is slow, in words, numbers and figures; what fixes it, and the proof.

`diagnose` gathers evidence within a budget, the causes look at it, and findings come ranked, each with a prescription
that can be applied and proven by a paired re-run.
"""

from jaxopt_lab.diagnosis.budget import Budget
from jaxopt_lab.diagnosis.command import diagnose_command, spectrum_command
from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import CAUSES, Diagnosis, Finding, Measurement, Prescription
from jaxopt_lab.diagnosis.pipeline import diagnose
from jaxopt_lab.diagnosis.proving import Proof, prove
from jaxopt_lab.diagnosis.quadratic_model import Method, QuadraticModel, measure_model

__all__ = [
    "CAUSES",
    "Budget",
    "Diagnosis",
    "Evidence",
    "Finding",
    "QuadraticModel",
    "Method",
    "Prescription",
    "Proof",
    "Measurement",
    "diagnose",
    "diagnose_command",
    "measure_model",
    "prove",
    "spectrum_command",
]
