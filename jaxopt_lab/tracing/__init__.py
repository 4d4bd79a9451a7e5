"""What the program of a loss tells: its layers and activations, their signals, where a number stops to be finite."""

from jaxopt_lab.tracing.layer_statistics import measure_signals
from jaxopt_lab.tracing.non_finite import find_non_finite

__all__ = [
    "find_non_finite",
    "measure_signals",
]
