"""What is to be said about a problem at a point, in words, numbers and figures, and about the rule in use."""

from jaxopt_lab.diagnosis.commands import spectrum_command
from jaxopt_lab.diagnosis.figures import draw_spectrum
from jaxopt_lab.diagnosis.identification import RuleInUse, identify
from jaxopt_lab.diagnosis.spectra import Spectrum, measure_spectrum

__all__ = ["RuleInUse", "Spectrum", "draw_spectrum", "identify", "measure_spectrum", "spectrum_command"]
