"""Search: spaces, samplers, schedules, adaptive searches, and sweeps that are one compiled program each.

`sweep` tries the points of a non-adaptive sampler, keeps all curves, and continues after a kill. `compare` puts rules
side by side by the protocol that it describes, and says "no difference shown" where none is. `coarse_to_fine`,
`block_coordinate`, `successive_halving` and `ask_and_tell` choose their next trials by the last ones: they are for
exploring, and keep a record of why they went where they went.
"""

from jaxopt_lab.search import schedules
from jaxopt_lab.search.asking import ask_and_tell
from jaxopt_lab.search.boxes import Box, Found
from jaxopt_lab.search.claims import Claim, claims_of
from jaxopt_lab.search.comparing import compare, load_comparison
from jaxopt_lab.search.comparison_pages import write_comparison_page
from jaxopt_lab.search.comparisons import GRADIENTS, Comparison
from jaxopt_lab.search.dimensions import (
    Dimension,
    choices,
    effective_rate,
    integers,
    log_uniform,
    one_minus_log_uniform,
    uniform,
    when,
)
from jaxopt_lab.search.entrants import ENTRANTS, Entrant
from jaxopt_lab.search.evaluating import evaluator
from jaxopt_lab.search.outcomes import Sweep, Trials, median_interval
from jaxopt_lab.search.pages import write_sweep_page
from jaxopt_lab.search.parsing import parse_dimension, parse_space
from jaxopt_lab.search.samplers import SAMPLERS, grid_points, halton_points, random_points, sample, sobol_points
from jaxopt_lab.search.schedules import Scheduled
from jaxopt_lab.search.significance import (
    budget_ladder,
    good_decades,
    holm,
    paired_test,
    performance_profile,
    seeds_for_misses,
)
from jaxopt_lab.search.spaces import Space
from jaxopt_lab.search.strategies import block_coordinate, coarse_to_fine, successive_halving
from jaxopt_lab.search.summaries import write_summaries
from jaxopt_lab.search.sweeps import sweep
from jaxopt_lab.search.tables import load_sweep

__all__ = [
    "Box",
    "Claim",
    "Comparison",
    "Dimension",
    "ENTRANTS",
    "Entrant",
    "Found",
    "GRADIENTS",
    "SAMPLERS",
    "Scheduled",
    "Space",
    "Sweep",
    "Trials",
    "ask_and_tell",
    "block_coordinate",
    "budget_ladder",
    "choices",
    "claims_of",
    "coarse_to_fine",
    "compare",
    "effective_rate",
    "evaluator",
    "good_decades",
    "grid_points",
    "halton_points",
    "holm",
    "integers",
    "load_comparison",
    "load_sweep",
    "log_uniform",
    "median_interval",
    "one_minus_log_uniform",
    "paired_test",
    "parse_dimension",
    "parse_space",
    "performance_profile",
    "random_points",
    "sample",
    "schedules",
    "seeds_for_misses",
    "sobol_points",
    "successive_halving",
    "sweep",
    "uniform",
    "when",
    "write_comparison_page",
    "write_summaries",
    "write_sweep_page",
]
