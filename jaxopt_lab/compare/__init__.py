"""Comparison: rules side by side by a protocol that says "no difference shown" where none is."""

from jaxopt_lab.compare.candidates import CANDIDATES, Candidate
from jaxopt_lab.compare.comparison import GRADIENTS, Comparison, load_comparison
from jaxopt_lab.compare.pairwise_tests import PairwiseResult
from jaxopt_lab.compare.plan import Protocol
from jaxopt_lab.compare.protocol import compare
from jaxopt_lab.compare.statistics import holm, paired_test, performance_profile

__all__ = [
    "CANDIDATES",
    "GRADIENTS",
    "Candidate",
    "Comparison",
    "PairwiseResult",
    "Protocol",
    "compare",
    "holm",
    "load_comparison",
    "paired_test",
    "performance_profile",
]
