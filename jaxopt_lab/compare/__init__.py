"""Comparison: rules side by side by a protocol that says "no difference shown" where none is."""

from jaxopt_lab.compare.candidates import CANDIDATES, Candidate
from jaxopt_lab.compare.comparison import GRADIENTS, load_comparison
from jaxopt_lab.compare.plan import Protocol
from jaxopt_lab.compare.protocol import compare

__all__ = [
    "CANDIDATES",
    "Candidate",
    "GRADIENTS",
    "Protocol",
    "compare",
    "load_comparison",
]
