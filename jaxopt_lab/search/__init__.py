"""Search: spaces, samplers, schedules, adaptive searches, and sweeps that are one compiled program each.

`sweep` tries the points of a non-adaptive sampler, keeps all curves, and continues after a kill. `coarse_to_fine`,
`block_coordinate`, `successive_halving` and `ask_and_tell` choose their next trials by the last ones: they are for
exploring, and keep a record of why they went where they went.
"""

from jaxopt_lab.search import schedules
from jaxopt_lab.search.adaptive import block_coordinate, coarse_to_fine, successive_halving
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
from jaxopt_lab.search.export import write_summaries
from jaxopt_lab.search.history import SearchResult, SearchRound, evaluator
from jaxopt_lab.search.optuna_bridge import ask_and_tell
from jaxopt_lab.search.report import write_sweep_page
from jaxopt_lab.search.results import Sweep, load_sweep
from jaxopt_lab.search.samplers import SAMPLERS, grid_points, halton_points, random_points, sample, sobol_points
from jaxopt_lab.search.schedules import Scheduled
from jaxopt_lab.search.spaces import Space, parse_dimension, parse_space
from jaxopt_lab.search.sweeps import sweep
from jaxopt_lab.search.trials import Trials, median_interval

__all__ = [
    "SearchRound",
    "Dimension",
    "SearchResult",
    "SAMPLERS",
    "Scheduled",
    "Space",
    "Sweep",
    "Trials",
    "ask_and_tell",
    "block_coordinate",
    "choices",
    "coarse_to_fine",
    "effective_rate",
    "evaluator",
    "grid_points",
    "halton_points",
    "integers",
    "load_sweep",
    "log_uniform",
    "median_interval",
    "one_minus_log_uniform",
    "parse_dimension",
    "parse_space",
    "random_points",
    "sample",
    "schedules",
    "sobol_points",
    "successive_halving",
    "sweep",
    "uniform",
    "when",
    "write_summaries",
    "write_sweep_page",
]
