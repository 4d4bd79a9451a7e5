"""Comparison: rules side by side by a protocol that says "no difference shown" where none is."""

from jaxopt_lab.compare.candidates import CANDIDATES, Candidate
from jaxopt_lab.compare.comparison import GRADIENTS, Comparison
from jaxopt_lab.compare.pairwise_tests import PairwiseResult, pairwise_results
from jaxopt_lab.compare.protocol import compare, load_comparison
from jaxopt_lab.compare.report import write_comparison_page
from jaxopt_lab.compare.statistics import (
    budget_ladder,
    good_decades,
    holm,
    paired_test,
    performance_profile,
    seeds_for_misses,
)

__all__ = [
    "CANDIDATES",
    "GRADIENTS",
    "PairwiseResult",
    "Comparison",
    "Candidate",
    "budget_ladder",
    "pairwise_results",
    "compare",
    "good_decades",
    "holm",
    "load_comparison",
    "paired_test",
    "performance_profile",
    "seeds_for_misses",
    "write_comparison_page",
]
