"""What is to be said about a problem at a point: its spectrum in words, numbers and figures."""

from jaxopt_lab.diagnosis.commands import spectrum_command
from jaxopt_lab.diagnosis.figures import draw_spectrum
from jaxopt_lab.diagnosis.spectra import Spectrum, measure_spectrum

__all__ = ["Spectrum", "draw_spectrum", "measure_spectrum", "spectrum_command"]
