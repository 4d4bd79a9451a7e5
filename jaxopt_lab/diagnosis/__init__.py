"""Why training is slow, in words, numbers and figures; what fixes it, and the proof.

`diagnose` gathers evidence within a budget, the causes look at it, and findings come ranked, each with a prescription
that can be applied and proven by a paired re-run. `measure_spectrum` shows the whole spectrum at a point, `identify`
tells the rule in use, `measure_signals` what each layer does, `find_culprit` where a NaN is made.
"""

from jaxopt_lab.diagnosis.budgets import Budget
from jaxopt_lab.diagnosis.commands import diagnose_command, spectrum_command
from jaxopt_lab.diagnosis.culprits import Culprit, find_culprit
from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.examination import diagnose
from jaxopt_lab.diagnosis.figures import draw_spectrum
from jaxopt_lab.diagnosis.findings import CAUSES, Diagnosis, Finding, Prescription, Reading
from jaxopt_lab.diagnosis.identification import RuleInUse, identify
from jaxopt_lab.diagnosis.layer_signals import ActivationSignal, LayerSignal, Signals
from jaxopt_lab.diagnosis.layers import measure_signals
from jaxopt_lab.diagnosis.local_models import LocalModel, Method, measure_model
from jaxopt_lab.diagnosis.monitoring import Monitor, observe
from jaxopt_lab.diagnosis.proving import Proof, prove
from jaxopt_lab.diagnosis.signs import Signs, read_signs
from jaxopt_lab.diagnosis.spectra import Spectrum, measure_spectrum

__all__ = [
    "CAUSES",
    "ActivationSignal",
    "Budget",
    "Culprit",
    "Diagnosis",
    "Evidence",
    "Finding",
    "LayerSignal",
    "LocalModel",
    "Method",
    "Monitor",
    "Prescription",
    "Proof",
    "Reading",
    "RuleInUse",
    "Signals",
    "Signs",
    "Spectrum",
    "diagnose",
    "diagnose_command",
    "draw_spectrum",
    "find_culprit",
    "identify",
    "measure_model",
    "measure_signals",
    "measure_spectrum",
    "observe",
    "prove",
    "read_signs",
    "spectrum_command",
]
